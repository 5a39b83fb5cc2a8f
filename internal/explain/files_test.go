package explain

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postern-project/postern/internal/chain"
	"github.com/postern-project/postern/internal/identity"
)

func file(name, data string) File { return File{Name: name, Data: []byte(data)} }

func csr(t testing.TB, key crypto.Signer, cn string) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader,
		&x509.CertificateRequest{Subject: pkix.Name{CommonName: cn}, DNSNames: []string{"evil.example"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

type filesCase struct {
	files []File
	o     Options
	ok    bool
}

func filesCases(t *testing.T) map[string]filesCase {
	root := issue(t, "Example root", nil, ca)
	clients := issue(t, "clients-1", root, ca)
	phone := issue(t, "ben/phone", clients, client)
	site := issue(t, "pw.example.com", clients, server("pw.example.com", "::1"))
	laptop := issue(t, "ben/laptop", clients, client, expired)
	oldRoot := issue(t, "Old root", nil, ca, expired)
	oldSite := issue(t, "old.example.com", oldRoot, server("old.example.com"))
	key := keyPEM(t, phone.key)
	request := csr(t, newKey(t), "admin")
	broken := append([]byte(nil), request...)
	broken[len(broken)-1] ^= 1
	requestPEM := func(der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
	}
	roots := Options{Roots: certs(root)}
	ben, err := identity.ParseName("ben")
	if err != nil {
		t.Fatal(err)
	}
	withLedger := func(o Options, s Standing) Options {
		o.Ledger = func(c *x509.Certificate) (Standing, error) {
			if !c.Equal(phone.Certificate) {
				t.Errorf("asked about %s", c.Subject)
			}
			return s, nil
		}
		return o
	}
	broke := Options{Roots: roots.Roots, Ledger: func(*x509.Certificate) (Standing, error) { return Standing{}, errors.New("a\x1bb") }}
	forHost := func(h string) Options { return Options{Roots: certs(root), Host: h} }
	return map[string]filesCase{
		"chain with root given":       {[]File{file("cert.pem", pemOf(phone, clients))}, roots, true},
		"folder of join":              {[]File{file("cert.pem", pemOf(phone, clients)), file("key.pem", key), file("root.pem", pemOf(root))}, Options{}, true},
		"key of another certificate":  {[]File{file("cert.pem", pemOf(phone, clients)), file("key.pem", keyPEM(t, newKey(t)))}, roots, false},
		"missing intermediate":        {[]File{file("cert.pem", pemOf(phone))}, roots, false},
		"wrong order":                 {[]File{file("cert.pem", pemOf(clients, phone))}, roots, false},
		"expired certificate":         {[]File{file("cert.pem", pemOf(laptop, clients))}, roots, false},
		"expired root":                {[]File{file("cert.pem", pemOf(oldSite))}, Options{Roots: certs(oldRoot), Host: "old.example.com"}, false},
		"wrong host":                  {[]File{file("site.pem", pemOf(site, clients))}, forHost("shop.example.com"), false},
		"right host, IPv6":            {[]File{file("site.pem", pemOf(site, clients))}, forHost("::1"), true},
		"client certificate for host": {[]File{file("cert.pem", pemOf(phone, clients))}, forHost("pw.example.com"), false},
		"junk between blocks":         {[]File{file("cert.pem", pemOf(phone)+"\x1b[2Jhello\n"+pemOf(clients))}, roots, false},
		"root alone":                  {[]File{file("root.pem", pemOf(root))}, Options{}, true},
		"certificate and key in one":  {[]File{file("all.pem", pemOf(phone, clients)+key)}, roots, true},
		"request":                     {[]File{file("new.csr", requestPEM(request))}, Options{}, true},
		"request with bad signature":  {[]File{file("new.csr", requestPEM(broken))}, Options{}, false},
		"key alone":                   {[]File{file("key.pem", key)}, Options{}, true},
		"locked key":                  {[]File{file("key.pem", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n")}, Options{}, true},
		"something else":              {[]File{file("notes.txt", "dear \x1b[31mreader\nhello")}, Options{}, false},
		"empty file":                  {[]File{file("cert.pem", "\n")}, Options{}, false},
		"DER":                         {[]File{file("cert.der", string(phone.Raw)), file("sub.der", string(clients.Raw))}, roots, true},
		"damaged DER":                 {[]File{file("cert.der", string(phone.Raw[:100]))}, roots, false},
		"sealed root key":             {[]File{file("root.key.age", "age-encryption.org/v1\n-> scrypt")}, Options{}, true},
		"same certificate twice":      {[]File{file("cert.pem", pemOf(phone, clients, phone))}, roots, false},
		"hostile names":               {[]File{file("\x1b]0;x\x07.pem", pemOf(issue(t, "\x1b[31mEve\u202e", nil, client)))}, Options{}, false},
		"cut-off certificate":         {[]File{file("cert.pem", pemOf(phone)[:300])}, roots, false},
		"revoked":                     {[]File{file("cert.pem", pemOf(phone, clients))}, withLedger(roots, Standing{Ours: true, Issued: now, Revoked: now, Reason: "stolen"}), false},
		"suspended above":             {[]File{file("cert.pem", pemOf(phone, clients))}, withLedger(roots, Standing{Ours: true, Issued: now, SuspendedBy: ben}), false},
		"issued":                      {[]File{file("cert.pem", pemOf(phone, clients))}, withLedger(roots, Standing{Ours: true, Issued: now}), true},
		"signed and never issued":     {[]File{file("cert.pem", pemOf(phone, clients))}, withLedger(roots, Standing{Ours: true}), false},
		"of another authority":        {[]File{file("cert.pem", pemOf(phone, clients))}, withLedger(roots, Standing{}), true},
		"ledger out of reach":         {[]File{file("cert.pem", pemOf(phone, clients))}, broke, true},
		"SSH key and PKCS7":           {[]File{file("id", "-----BEGIN OPENSSH PRIVATE KEY-----\nMAA=\n-----END OPENSSH PRIVATE KEY-----\n-----BEGIN PKCS7-----\nMAA=\n-----END PKCS7-----\n")}, Options{}, false},
	}
}

func TestFiles(t *testing.T) {
	for name, c := range filesCases(t) {
		t.Run(name, func(t *testing.T) {
			c.o.Now = now
			r := Files(c.files, c.o)
			if r.OK != c.ok {
				t.Errorf("OK is %v", r.OK)
			}
			if !r.OK && r.Advice == "" {
				t.Error("nothing to do about it")
			}
			golden(t, "files-"+strings.NewReplacer(" ", "-", ",", "").Replace(name), r)
		})
	}
}

func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	big := filepath.Join(dir, "big")
	if err := os.WriteFile(big, make([]byte, chain.MaxPEM+1), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ path, want string }{
		"a folder":            {dir, "is a folder"},
		"larger than a chain": {big, "larger than"},
		"not there":           {filepath.Join(dir, "none"), "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := ReadFile(c.path); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestReadCredentials(t *testing.T) {
	phone := issue(t, "phone", issue(t, "CA", nil, ca), client)
	dir := t.TempDir()
	write := func(name, data string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("cert.pem", pemOf(phone))
	write("key.pem", keyPEM(t, phone.key))
	both := write("both.pem", pemOf(phone)+keyPEM(t, phone.key))
	wrong := write("wrong.pem", pemOf(phone)+keyPEM(t, newKey(t)))
	got, err := ReadCredentials(dir, both, wrong)
	if err != nil {
		t.Fatal(err)
	}
	if got[0].Problem != "" || got[1].Problem != "" || !strings.Contains(got[2].Problem, "does not match") {
		t.Errorf("problems: %q, %q, %q", got[0].Problem, got[1].Problem, got[2].Problem)
	}
	if _, err := ReadCredentials(filepath.Join(dir, "none")); err == nil {
		t.Error("a file that is not there was read")
	}
}

// Whatever a file holds, it is explained in text that a terminal can show.
func FuzzFiles(f *testing.F) {
	root := issue(f, "root", nil, ca)
	f.Add([]byte(pemOf(root)), "")
	f.Add([]byte(keyPEM(f, root.key)), "host")
	f.Add(csr(f, newKey(f), "x"), "::1")
	f.Add(root.Raw, "host")
	f.Add([]byte{0x30, 0x80, 2, 1, 3, 0x30, 0x80, 0, 0}, "")
	f.Fuzz(func(t *testing.T, data []byte, host string) {
		r := Files([]File{{Name: host, Data: data}}, Options{Host: host, Now: now})
		var b strings.Builder
		if err := r.WriteText(&b, false); err != nil {
			t.Fatal(err)
		}
		checkText(t, b.String())
	})
}
