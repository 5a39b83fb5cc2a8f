package join

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/postern-project/postern/internal/invite"
	"github.com/postern-project/postern/internal/keys"
)

// RenewOptions say which certificate to renew.
type RenewOptions struct {
	Dir string // as Run or WriteFiles wrote it
	// Now is this machine's clock; nil means time.Now.
	Now func() time.Time

	// write stands in for the disk in tests; nil means the disk.
	write writer
	run   runner
}

// Renew replaces the certificate in a folder by a new one of the same name for
// a new key, which it obtains with the old one. The old files stay until the
// new ones are complete on the disk.
func Renew(ctx context.Context, o RenewOptions) (Result, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return Result{}, fmt.Errorf("folder %s: %w", o.Dir, err)
	}
	old, err := openHolder(dir, o.Now(), o.run)
	if err != nil {
		return Result{}, err
	}
	s, err := newStage(dir, o.Now(), o.write)
	if err != nil {
		return Result{}, err
	}
	defer s.discard()
	key, err := old.at.born(ctx, s, func() (crypto.Signer, error) { return keys.Like(old.leaf.PublicKey) })
	if err != nil {
		return Result{}, err
	}
	request := invite.Request{CSR: key.csr}
	if request.Proof, err = old.prove(key.pub); err != nil {
		return Result{}, err
	}
	answer, err := old.ask(ctx, s.dir, request, o.Now)
	if err != nil {
		return Result{}, err
	}
	got, err := checkUnder(answer, key, old.roots)
	if err != nil {
		return Result{}, err
	}
	if got.id != old.id {
		return Result{}, fmt.Errorf("the new certificate is for %s and not for %s: tell the person who runs the authority", got.id, old.id)
	}
	state := old.at.describe(got.state(old.state.Authority, answer))
	state.Installed = old.state.Installed
	if len(state.Renew) == 0 {
		state.Renew = old.state.Renew
	}
	if err := s.fill(got, state, old.password); err != nil {
		return Result{}, err
	}
	if old.at.store != nil {
		if err := old.at.store.accept(ctx, s.dir, got); err != nil {
			return Result{}, fmt.Errorf("the store of Windows does not take the new certificate (%w); the old one is still in place", err)
		}
		answer.Notes = nil // certreq put a name into its request, which was ignored
	}
	files, err := s.install(dir)
	if err != nil {
		return Result{}, err
	}
	r := result(dir, files, got, state)
	r.Notes = append(r.Notes, answer.Notes...)
	if old.at.store != nil {
		if err := old.at.store.remove(ctx, old.leaf); err != nil {
			r.Notes = append(r.Notes, "the old certificate is still in Windows' store: "+err.Error())
		}
	}
	return r, nil
}

// A holder is a certificate with its key, as it lies in a folder.
type holder struct {
	*certificate
	dir      string
	at       home
	state    State
	password string // of identity.p12, empty if there is none
}

func openHolder(dir string, now time.Time, run runner) (*holder, error) {
	if err := finish(dir); err != nil {
		return nil, err
	}
	state, err := ReadState(dir)
	if err != nil {
		return nil, err
	}
	c, err := load(dir)
	if err != nil {
		return nil, fmt.Errorf("%w: join again with a new invitation", err)
	}
	at, err := homeOf(state)
	if err != nil {
		return nil, err
	}
	if at.store != nil {
		at.store.run = run
	} else if c.key, err = keys.ReadIn(filepath.Join(dir, KeyFile), at.tpm); err != nil {
		return nil, err
	}
	switch {
	case c.key != nil && !fitsKey(c.leaf.PublicKey, c.key.Public()):
		return nil, fmt.Errorf("%s and %s in %s do not belong together: join again with a new invitation", CertFile, KeyFile, dir)
	case len(state.Renew) == 0:
		return nil, fmt.Errorf("%s names no address for renewal: ask for a new invitation", filepath.Join(dir, StateFile))
	}
	h := &holder{certificate: c, dir: dir, at: at, state: state}
	password, err := readSmall(filepath.Join(dir, PasswordFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	h.password = strings.TrimSpace(string(password))
	return h, nil
}

// prove signs with the old key that the new one is to be certified in its
// place; nil where the old key signs nothing but handshakes.
func (h *holder) prove(pub crypto.PublicKey) ([]byte, error) {
	if h.key == nil {
		return nil, nil
	}
	spki, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, err
	}
	return invite.ProveRenewal(h.key, h.leaf, spki)
}

// ask tries the renewal addresses in turn. A refusal ends the search, since
// every one of them asks the same authority.
func (h *holder) ask(ctx context.Context, stage string, request invite.Request, now func() time.Time) (invite.Answer, error) {
	var all []error
	for _, address := range h.state.Renew {
		answer, err := h.askAt(ctx, stage, address, request, now)
		if err == nil {
			return answer, nil
		}
		if e, ok := errors.AsType[*RefusedError](err); ok && e.Code != "" {
			return invite.Answer{}, h.ended(e, now())
		}
		all = append(all, h.explain(address, err))
	}
	return invite.Answer{}, h.ended(errors.Join(all...), now())
}

// ended adds to a failure what is known here: a certificate whose end has passed
// renews itself only where the operator allows it, and for a while.
func (h *holder) ended(err error, now time.Time) error {
	if !now.After(h.leaf.NotAfter) {
		return err
	}
	return fmt.Errorf("the certificate of %s ended on %s, and cannot renew itself any more (this computer says that it is %s): ask for a new invitation: %w",
		h.id.Name(), h.leaf.NotAfter.UTC().Format(time.DateOnly), now.UTC().Format(time.DateOnly), err)
}

func (h *holder) askAt(ctx context.Context, stage, address string, request invite.Request, now func() time.Time) (invite.Answer, error) {
	if h.at.store != nil {
		return h.at.store.ask(ctx, stage, filepath.Join(h.dir, RootFile), h.certificate, address, request)
	}
	c := h.http(now)
	defer c.CloseIdleConnections()
	return ask(ctx, c, address, request)
}

func (h *holder) explain(address string, err error) error {
	host := address
	if u, perr := url.Parse(address); perr == nil {
		host = u.Host
	}
	if why := unreachable(err); why != "" {
		return fmt.Errorf("%s: %s; the old certificate is still in place: %w", host, why, bare(err))
	}
	return fmt.Errorf("%s: %w; the old certificate is still in place", host, bare(err))
}

// bare takes off the method and address that net/http puts around an error.
func bare(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

// http returns a client that shows the certificate and believes its root.
func (h *holder) http(now func() time.Time) *http.Client {
	shown := tls.Certificate{PrivateKey: h.key, Leaf: h.leaf, Certificate: [][]byte{h.leaf.Raw}}
	for _, above := range h.above {
		shown.Certificate = append(shown.Certificate, above.Raw)
	}
	return bounded(&tls.Config{
		MinVersion: tls.VersionTLS12, RootCAs: pool(h.roots...), Time: now,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &shown, nil },
	})
}
