package join

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/postern-project/postern/internal/keys"
	"github.com/postern-project/postern/internal/trust"
)

// A Placement says what became of an identity in the browsers of this user.
type Placement struct {
	// Browsers are those that hold it now, or that do not any more.
	Browsers []trust.Database `json:"browsers"`
	// Notes say where that was not possible, and what to do.
	Notes []string `json:"notes,omitempty"`
}

// A Machine is a user's account on a computer, with the places where its
// browsers look for identities.
type Machine struct {
	// System is the operating system, as GOOS names it.
	System string
	// Home is the user's home folder.
	Home string

	run runner
}

// Install puts the identity in dir into the keychain of macOS or the store of
// Windows, and into every browser that is built on NSS: Chromium on Linux, and
// Firefox. An older certificate of the same identity gives way once the new one
// is in.
func (m Machine) Install(ctx context.Context, dir string) (Placement, error) {
	p, err := placeIn(ctx, dir, trust.Databases(m.Home))
	if err != nil {
		return p, err
	}
	return m.placeInSystem(ctx, dir, p)
}

// Refresh is Install for the browsers that hold the identity already.
func (m Machine) Refresh(ctx context.Context, dir string) (Placement, error) {
	c, err := load(dir)
	if err != nil {
		return Placement{}, err
	}
	var holding []trust.Database
	for _, d := range trust.Databases(m.Home) {
		if kept, err := d.List(ctx); err == nil && count(kept, c.same) > 0 {
			holding = append(holding, d)
		}
	}
	p, err := placeIn(ctx, dir, holding)
	if state, serr := ReadState(dir); err != nil || serr != nil || state.Installed == "" {
		return p, err
	}
	return m.placeInSystem(ctx, dir, p)
}

// Uninstall takes the identity in dir out of every browser, and deletes its
// files. The certificate stays good until it is revoked.
func (m Machine) Uninstall(ctx context.Context, dir string) (Placement, error) {
	c, err := load(dir)
	if err != nil {
		return Placement{}, fmt.Errorf("%w: name the folder that 'postern join' wrote", err)
	}
	p := m.removeFromSystem(ctx, dir, c)
	for _, d := range trust.Databases(m.Home) {
		switch n, err := d.Remove(ctx, c.same); {
		case err != nil:
			p.Notes = append(p.Notes, fmt.Sprintf("%s in %s: %v", d.Browser, d.Dir, err))
		case n > 0:
			p.Browsers = append(p.Browsers, d)
			dropIssuers(ctx, d, c.above)
		}
	}
	if len(p.Notes) > 0 {
		return p, errors.New("not everything could be removed, so the files stay")
	}
	for _, name := range []string{KeyFile, P12File, PasswordFile, OpenSSLFile, CertFile, RootFile, StateFile} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return p, err
		}
	}
	os.Remove(dir) // unless something else lies in it
	return p, nil
}

// dropIssuers removes issuers that no key in the database needs any more.
func dropIssuers(ctx context.Context, d trust.Database, issuers []*x509.Certificate) {
	kept, err := d.List(ctx)
	if err != nil {
		return
	}
	for _, issuer := range issuers {
		needed := count(kept, func(k trust.Kept) bool { return k.Key && bytes.Equal(k.Certificate.RawIssuer, issuer.RawSubject) })
		if needed == 0 {
			d.Remove(ctx, func(k trust.Kept) bool { return !k.Key && k.Certificate.Equal(issuer) })
		}
	}
}

func count(kept []trust.Kept, match func(trust.Kept) bool) (n int) {
	for _, k := range kept {
		if match(k) {
			n++
		}
	}
	return n
}

// same reports whether a certificate with a key is one of this identity.
func (c *certificate) same(k trust.Kept) bool {
	return k.Key && len(k.Certificate.URIs) == 1 && k.Certificate.URIs[0].String() == c.leaf.URIs[0].String()
}

// placeIn imports the identity in dir into databases.
func placeIn(ctx context.Context, dir string, into []trust.Database) (p Placement, err error) {
	if len(into) == 0 {
		return p, nil
	}
	if state, err := ReadState(dir); err != nil {
		return p, err
	} else if state.bound() {
		for _, d := range into {
			p.Notes = append(p.Notes, fmt.Sprintf("not put into %s, which needs a key that can be copied, and this one stays where it was made", d.Browser))
		}
		return p, nil
	}
	file, password, done, err := pack(dir)
	if err != nil {
		return p, err
	}
	defer done()
	c, err := load(dir)
	if err != nil {
		return p, err
	}
	for _, d := range into {
		if err := c.into(ctx, d, file, password); err != nil {
			p.Notes = append(p.Notes, fmt.Sprintf("not put into %s (%s): %v; then 'postern join --install %s'", d.Browser, d.Dir, err, shellQuote(dir)))
			continue
		}
		p.Browsers = append(p.Browsers, d)
	}
	return p, nil
}

// into imports the file. The browser gives all certificates of one subject one
// name, under which they can only be removed together: so the old ones go when
// the new one has shown that it can come in, and it then comes in again.
func (c *certificate) into(ctx context.Context, d trust.Database, file, password string) error {
	if err := d.Import(ctx, file, password); err != nil {
		return err
	}
	kept, err := d.List(ctx)
	if err != nil {
		return err
	}
	if count(kept, c.same) < 2 {
		return nil
	}
	if _, err := d.Remove(ctx, c.same); err != nil {
		return err
	}
	return d.Import(ctx, file, password)
}

// pack writes the identity in dir into a PKCS#12 file that lasts until done.
func pack(dir string) (file, password string, done func(), err error) {
	c, err := load(dir)
	if err != nil {
		return "", "", nil, err
	}
	if c.key, err = keys.ReadPrivate(filepath.Join(dir, KeyFile)); err != nil {
		return "", "", nil, err
	}
	secret := passwordIf(true)
	data, err := c.p12(secret)
	if err != nil {
		return "", "", nil, err
	}
	temp, err := os.MkdirTemp("", "postern-install-")
	if err != nil {
		return "", "", nil, err
	}
	file, password = filepath.Join(temp, P12File), filepath.Join(temp, PasswordFile)
	for path, content := range map[string][]byte{file: data, password: []byte(secret + "\n")} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return "", "", nil, errors.Join(err, os.RemoveAll(temp))
		}
	}
	return file, password, func() { os.RemoveAll(temp) }, nil
}
