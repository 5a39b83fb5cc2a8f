// Package join is the device's side of an invitation: it makes a key on the
// spot, proves by the link's pin whom it talks to before it sends anything
// secret, and leaves the certificate in files that every tool reads. It prints
// nothing.
package join

import (
	"context"
	"crypto"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/invite"
	"github.com/postern-project/postern/internal/keys"
)

// Options say how to enrol.
type Options struct {
	Link invite.Link
	// Out is the folder for the files; empty means DOMAIN/NAME in Home.
	Out string
	// Home holds the folders of all identities; empty means DataHome.
	Home string
	// P12 asks for identity.p12 as well.
	P12 bool
	// KeyKind is the kind of key to make; empty means ecdsa-p256.
	KeyKind keys.Kind
	// TPM is the device of the TPM that makes and keeps the key, which is then
	// ecdsa-p256; empty means that the key lies in a file.
	TPM string
	// Store has the store of Windows make and keep the key, if it can.
	Store bool
	// Force replaces a certificate in Out that has not expired.
	Force bool
	// Waiting is called with the words to compare when an operator has to say
	// yes first; nil means that Run does not wait for it.
	Waiting func(words string)
	// Now is this machine's clock; nil means time.Now.
	Now func() time.Time

	// write stands in for the disk in tests; nil means the disk.
	write writer
	run   runner
}

func (o Options) home() home {
	h := home{tpm: o.TPM}
	if o.Store {
		h.store = &windows{o.run}
	}
	return h
}

// A Result is what enrolling or renewing left behind.
type Result struct {
	Dir         string        `json:"dir"`
	Files       []string      `json:"files"` // whole paths
	TrustDomain string        `json:"trust_domain"`
	Name        identity.Name `json:"name"`
	Serial      string        `json:"serial"`
	NotAfter    time.Time     `json:"not_after"`
	Sites       []string      `json:"sites,omitempty"` // addresses such as https://pw.example.com/
	Curl        string        `json:"curl"`            // a command that opens the first site
	Notes       []string      `json:"notes,omitempty"` // what a person should know besides
}

// Run uses the invitation. The folder's old files stay until the new ones are
// complete on the disk. Errors that a caller may want to tell apart are
// *ExistsError, *UnreachableError, *PinError, *ClockError and *RefusedError.
func Run(ctx context.Context, o Options) (Result, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	place, err := newPlace(o)
	if err != nil {
		return Result{}, err
	}
	s, err := newStage(place.base, place.now, o.write)
	if err != nil {
		return Result{}, err
	}
	defer s.discard()
	at := o.home()
	if o.P12 && !at.none() {
		return Result{}, fmt.Errorf("%s holds a key that can be copied, and this one stays where it is made: leave one of the two out", P12File)
	}
	generate := func() (crypto.Signer, error) { return keys.Generate(o.KeyKind) }
	key, err := at.born(ctx, s, generate)
	if err != nil && at.store != nil {
		place.notes = append(place.notes, fmt.Sprintf("Windows made no key (%v), so it lies in %s", err, KeyFile))
		at = home{}
		key, err = at.born(ctx, s, generate)
	}
	if err != nil {
		return Result{}, err
	}
	c := newClient(o.Link, o.Now)
	c.waiting = o.Waiting
	answer, err := c.redeem(ctx, key)
	if err != nil {
		return Result{}, err
	}
	got, err := check(answer, key, o.Link.Pin)
	if err != nil {
		return Result{}, err
	}
	dir, err := place.choose(got)
	if err != nil {
		return Result{}, err
	}
	state := at.describe(got.state(o.Link.Base, answer))
	if at.store != nil {
		if err := at.store.accept(ctx, s.dir, got); err != nil {
			return Result{}, fmt.Errorf("the certificate was issued, and Windows does not take it (%w): ask for a new invitation, and join with --no-install", err)
		}
		answer.Notes = nil // certreq put a name into its request, which was ignored
	}
	if err := s.fill(got, state, passwordIf(o.P12)); err != nil {
		return Result{}, err
	}
	files, err := s.install(dir)
	if err != nil {
		return Result{}, err
	}
	r := result(dir, files, got, state)
	r.Notes = append(append(r.Notes, place.notes...), answer.Notes...)
	return r, nil
}

// A place decides where the files go. When Out is given it is known before the
// invitation is spent; otherwise it depends on the name in the certificate.
type place struct {
	out, base string
	now       time.Time
	notes     []string
}

func newPlace(o Options) (*place, error) {
	p := &place{out: o.Out, base: o.Home, now: o.Now()}
	if p.out != "" {
		abs, err := filepath.Abs(p.out)
		if err != nil {
			return nil, fmt.Errorf("folder %s: %w", p.out, err)
		}
		p.out, p.base = abs, abs
		if err := mayReplace(p.out, o.Force, p.now); err != nil {
			return nil, err
		}
	}
	if p.base == "" {
		home, err := DataHome(os.Getenv)
		if err != nil {
			return nil, err
		}
		p.base = home
	}
	return p, nil
}

// choose returns the folder for the certificate. In a folder of our own naming
// a certificate that is still good is set aside and not lost, since it is too
// late to ask: the invitation is spent.
func (p *place) choose(c *certificate) (string, error) {
	if p.out != "" {
		return p.out, nil
	}
	dir := filepath.Join(p.base, c.id.Domain().String(), filepath.FromSlash(c.id.Name().String()))
	if err := mayReplace(dir, false, p.now); err != nil {
		aside, err := setAside(dir)
		if err != nil {
			return "", err
		}
		p.notes = append(p.notes, "the files of the certificate that was there before are in "+aside)
	}
	return dir, nil
}

// DataHome returns the folder that holds the folders of all identities:
// $XDG_DATA_HOME/postern, or ~/.local/share/postern.
func DataHome(getenv func(string) string) (string, error) {
	if dir := getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "postern"), nil
	}
	if home := getenv("HOME"); home != "" {
		return filepath.Join(home, ".local", "share", "postern"), nil
	}
	if home, err := os.UserHomeDir(); err == nil {
		return filepath.Join(home, ".local", "share", "postern"), nil
	}
	return "", fmt.Errorf("this user has no home folder: say where the files should go with --out DIR")
}

func result(dir string, files []string, c *certificate, s State) Result {
	r := Result{
		Dir: dir, Files: files, TrustDomain: s.TrustDomain, Name: c.id.Name(),
		Serial: s.Serial, NotAfter: c.leaf.NotAfter,
	}
	r.Sites = SitesOf(s)
	site := "https://SITE/"
	if len(r.Sites) > 0 {
		site = r.Sites[0]
	}
	r.Curl = c.curlLine(dir, site, s)
	return r
}

// SitesOf returns the addresses of the sites that renew an identity, such as
// https://pw.example.com/.
func SitesOf(s State) (sites []string) {
	for _, renew := range s.Renew {
		if u, err := url.Parse(renew); err == nil {
			sites = append(sites, "https://"+u.Host+"/")
		}
	}
	return sites
}

// curlLine returns a command that opens site with the identity in dir.
func (c *certificate) curlLine(dir, site string, s State) string {
	cert, key := filepath.Join(dir, CertFile), filepath.Join(dir, KeyFile)
	line := []string{"curl"}
	switch {
	case s.Store != "": // for cmd and PowerShell, which quote otherwise
		return fmt.Sprintf(`curl.exe --cert CurrentUser\MY\%s --cacert "%s" %s`, thumbprint(c.leaf), filepath.Join(dir, RootFile), site)
	case s.TPM != "": // a curl that is built on OpenSSL, with the package tpm2-openssl
		line = []string{"OPENSSL_CONF=" + shellQuote(filepath.Join(dir, OpenSSLFile)), "curl"}
	}
	return strings.Join(append(line, "--cert", shellQuote(cert), "--key", shellQuote(key),
		"--cacert", shellQuote(filepath.Join(dir, RootFile)), shellQuote(site)), " ")
}

// shellQuote writes a word so that a POSIX shell reads it as one.
func shellQuote(s string) string {
	plain := func(r rune) bool {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("/._-:@%+=,", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// fitsKey reports whether two public keys are one.
func fitsKey(pub, other crypto.PublicKey) bool {
	p, ok := other.(interface{ Equal(crypto.PublicKey) bool })
	return ok && p.Equal(pub)
}
