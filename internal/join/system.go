package join

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/postern-project/postern/internal/keys"
	"github.com/postern-project/postern/internal/trust"
)

// systemBrowsers are those that ask the operating system for identities.
func (m Machine) systemBrowsers() trust.Database {
	if m.System == "darwin" {
		return trust.Database{Browser: "Safari, Chrome and Edge", Dir: m.keychain()}
	}
	return trust.Database{Browser: "Edge and Chrome", Dir: `Cert:\CurrentUser\My`}
}

// keychain is where macOS keeps what belongs to the user.
func (m Machine) keychain() string {
	return filepath.Join(m.Home, "Library", "Keychains", "login.keychain-db")
}

// placeInSystem copies the identity into the keychain of macOS or the store of
// Windows, from which nobody can copy the key on. What was there before of the
// same identity goes.
func (m Machine) placeInSystem(ctx context.Context, dir string, p Placement) (Placement, error) {
	if m.System != "darwin" && m.System != "windows" {
		return p, nil
	}
	state, err := ReadState(dir)
	switch {
	case err != nil:
		return p, err
	case state.Store != "": // it was made there
		p.Browsers = append(p.Browsers, m.systemBrowsers())
		return p, nil
	case state.TPM != "":
		return p, nil
	}
	c, err := load(dir)
	if err != nil {
		return p, err
	}
	if state.Installed == thumbprint(c.leaf) {
		p.Browsers = append(p.Browsers, m.systemBrowsers())
		return p, nil
	}
	if err := m.importFile(ctx, dir); err != nil {
		p.Notes = append(p.Notes, fmt.Sprintf("not put where %s look: %v; then 'postern join --install %s'", m.systemBrowsers().Browser, err, shellQuote(dir)))
		return p, nil
	}
	old := state.Installed
	state.Installed = thumbprint(c.leaf)
	if err := writeState(dir, state); err != nil {
		return p, err
	}
	if old != "" {
		if err := m.remove(ctx, old); err != nil {
			p.Notes = append(p.Notes, "the old certificate is still there: "+err.Error())
		}
	}
	p.Browsers = append(p.Browsers, m.systemBrowsers())
	return p, nil
}

// importFile has the system's own program import the identity in dir. The
// password on its command line opens a file that is gone a moment later.
func (m Machine) importFile(ctx context.Context, dir string) error {
	file, passwordFile, done, err := pack(dir)
	if err != nil {
		return err
	}
	defer done()
	secret, err := readSmall(passwordFile)
	if err != nil {
		return err
	}
	password := strings.TrimSpace(string(secret))
	if m.System == "darwin" {
		_, err = m.run.do(ctx, "security", "import", file, "-f", "pkcs12", "-x", "-P", password, "-k", m.keychain())
		return err
	}
	_, err = m.run.do(ctx, "certutil", "-user", "-p", password, "-importpfx", "My", file, "NoExport,NoRoot")
	return err
}

// remove deletes the certificate with this thumbprint and its key.
func (m Machine) remove(ctx context.Context, thumbprint string) error {
	if m.System == "darwin" {
		_, err := m.run.do(ctx, "security", "delete-identity", "-Z", thumbprint, m.keychain())
		return err
	}
	return (&windows{m.run}).removeNamed(ctx, thumbprint)
}

// removeFromSystem takes the identity out of the keychain or the store.
func (m Machine) removeFromSystem(ctx context.Context, dir string, c *certificate) (p Placement) {
	state, err := ReadState(dir)
	if err != nil {
		return Placement{Notes: []string{err.Error()}}
	}
	name := state.Installed
	if state.Store != "" {
		name = thumbprint(c.leaf)
	}
	if name == "" {
		return p
	}
	if err := m.remove(ctx, name); err != nil {
		return Placement{Notes: []string{err.Error()}}
	}
	p.Browsers = append(p.Browsers, m.systemBrowsers())
	return p
}

// writeState replaces postern.json.
func writeState(dir string, s State) error {
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(dir, StateFile)
	beside := path + ".new"
	os.Remove(beside)
	if err := writeFile(beside, append(text, '\n'), 0o644); err != nil {
		return folderError(dir, errors.Join(err, os.Remove(beside)))
	}
	if err := os.Rename(beside, path); err != nil {
		return folderError(dir, err)
	}
	return keys.SyncDir(dir)
}
