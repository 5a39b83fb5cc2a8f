// Package trust puts certificates where browsers and the system look for them,
// takes them out again, and lists which roots a machine believes.
package trust

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// toolTimeout bounds one run of a tool: one that waits for a lock, or asks
// somebody, is ended.
const toolTimeout = 30 * time.Second

// The errors of a database that cannot be changed now.
var (
	// ErrNoTools means that certutil or pk12util is missing.
	ErrNoTools = errors.New("the programs certutil and pk12util are missing: install the package libnss3-tools (nss-tools on Fedora)")
	// ErrRunning means that the browser whose database it is is open.
	ErrRunning = errors.New("the browser is running: close it first")
	// ErrHeld means that another program was writing to the database, or that
	// it cannot be written.
	ErrHeld = errors.New("it cannot be written now: close the programs that use it, and see that the disk has room")
	// ErrLocked means that the database has a password of its own.
	ErrLocked = errors.New("it has a password of its own: import the file by the browser's settings")
)

// A Database is where a browser built on NSS keeps certificates and keys.
type Database struct {
	// Browser says whose it is, such as Firefox.
	Browser string `json:"browser"`
	// Dir is the folder that holds cert9.db.
	Dir string `json:"dir"`
}

// Databases returns the databases of the browsers of the user with this home:
// Chromium's, and one for each profile of Firefox.
func Databases(home string) []Database {
	var all []Database
	for _, c := range []Database{
		{"Chromium", ".pki/nssdb"}, {"Chromium", ".local/share/pki/nssdb"}, {"Chromium (snap)", "snap/chromium/current/.pki/nssdb"},
		{"Chromium (flatpak)", ".var/app/org.chromium.Chromium/.pki/nssdb"},
	} {
		all = appendIfThere(all, c.Browser, filepath.Join(home, c.Dir))
	}
	for _, f := range []Database{
		{"Firefox", ".mozilla/firefox"}, {"Firefox (snap)", "snap/firefox/common/.mozilla/firefox"},
		{"Firefox (flatpak)", ".var/app/org.mozilla.firefox/.mozilla/firefox"}, {"Firefox", "Library/Application Support/Firefox/Profiles"},
	} {
		profiles, err := filepath.Glob(filepath.Join(escape(home), f.Dir, "*", "cert9.db"))
		if err != nil {
			continue
		}
		for _, db := range profiles {
			all = append(all, Database{f.Browser, filepath.Dir(db)})
		}
	}
	return all
}

func appendIfThere(all []Database, browser, dir string) []Database {
	if _, err := os.Stat(filepath.Join(dir, "cert9.db")); err != nil {
		return all
	}
	return append(all, Database{browser, dir})
}

// escape keeps a folder's name from being a pattern.
func escape(s string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(s)
}

// Running reports whether the browser has its profile open. Firefox holds a
// lock that names its process; Chromium reads the database anew.
func (d Database) Running() bool {
	target, err := os.Readlink(filepath.Join(d.Dir, "lock"))
	if err != nil {
		return false
	}
	_, pid, ok := strings.Cut(target, "+")
	if !ok {
		return true
	}
	_, err = os.Stat("/proc/" + pid)
	return err == nil
}

// Import puts a PKCS#12 file's key and certificates into the database;
// passwordFile holds the file's password. What it holds already stays.
func (d Database) Import(ctx context.Context, file, passwordFile string) error {
	if d.Running() {
		return ErrRunning
	}
	_, err := d.run(ctx, "pk12util", "-i", file, "-w", passwordFile, "-K", "")
	return err
}

// A Kept is a certificate in a database.
type Kept struct {
	Nickname    string
	Certificate *x509.Certificate
	// Key says that its key is there too.
	Key bool
	// Root says that servers are believed on its word.
	Root bool
}

// entry matches a line of certutil's list: a name, then three groups of flags.
var entry = regexp.MustCompile(`(?m)^(.+?)\s+([a-zA-Z]*),([a-zA-Z]*),([a-zA-Z]*)\s*$`)

// List returns the certificates in the database.
func (d Database) List(ctx context.Context) ([]Kept, error) {
	out, err := d.run(ctx, "certutil", "-L")
	if err != nil {
		return nil, err
	}
	var all []Kept
	seen := map[string]bool{}
	for _, m := range entry.FindAllStringSubmatch(string(out), -1) {
		if name := m[1]; !seen[name] && !strings.HasPrefix(name, "Certificate Nickname") {
			seen[name] = true
			certs, err := d.named(ctx, name)
			if err != nil {
				return nil, err
			}
			for _, c := range certs {
				all = append(all, Kept{name, c, strings.Contains(m[2], "u"), strings.Contains(m[2], "C")})
			}
		}
	}
	return all, nil
}

// named returns the certificates under one nickname.
func (d Database) named(ctx context.Context, name string) ([]*x509.Certificate, error) {
	out, err := d.run(ctx, "certutil", "-L", "-a", "-n", name)
	if err != nil {
		return nil, err
	}
	var certs []*x509.Certificate
	for block, rest := pem.Decode(out); block != nil; block, rest = pem.Decode(rest) {
		if c, err := x509.ParseCertificate(block.Bytes); err == nil {
			certs = append(certs, c)
		}
	}
	return certs, nil
}

// Remove takes out what matches, with its keys, and returns how many
// certificates that were. A nickname that something else shares is left alone.
func (d Database) Remove(ctx context.Context, match func(Kept) bool) (int, error) {
	if d.Running() {
		return 0, ErrRunning
	}
	all, err := d.List(ctx)
	if err != nil {
		return 0, err
	}
	keep, drop := map[string]bool{}, map[string][]Kept{}
	for _, k := range all {
		if match(k) {
			drop[k.Nickname] = append(drop[k.Nickname], k)
		} else {
			keep[k.Nickname] = true
		}
	}
	removed := 0
	for name, certs := range drop {
		if keep[name] {
			return removed, fmt.Errorf("%s: %q is also the name of another certificate: remove it by the browser's settings", d.Dir, name)
		}
		for _, k := range certs {
			verb := "-D"
			if k.Key {
				verb = "-F" // with its key
			}
			if _, err := d.run(ctx, "certutil", verb, "-n", name); err != nil {
				return removed, err
			}
			removed++
		}
	}
	return removed, nil
}

// AddRoot has the browser believe servers on a root's word.
func (d Database) AddRoot(ctx context.Context, root *x509.Certificate, name string) error {
	if d.Running() {
		return ErrRunning
	}
	file, err := os.CreateTemp("", "postern-root-*.pem")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	if err := pem.Encode(file, &pem.Block{Type: "CERTIFICATE", Bytes: root.Raw}); err != nil {
		return errors.Join(err, file.Close())
	}
	if err := file.Close(); err != nil {
		return err
	}
	_, err = d.run(ctx, "certutil", "-A", "-t", "C,,", "-n", name, "-i", file.Name())
	return err
}

// run runs one of NSS's tools on the database.
func (d Database) run(ctx context.Context, tool string, args ...string) ([]byte, error) {
	path, err := lookup(tool)
	if err != nil {
		return nil, ErrNoTools
	}
	ctx, cancel := context.WithTimeout(ctx, toolTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, append(args, "-d", "sql:"+d.Dir)...)
	var out, errout bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errout // no standard input: nothing is asked
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	said := errout.String() + out.String()
	switch {
	case err == nil:
		return out.Bytes(), nil
	case ctx.Err() != nil:
		return nil, ErrHeld
	case strings.Contains(said, "SEC_ERROR_BAD_PASSWORD") || strings.Contains(said, "uthenticat") || strings.Contains(said, "SEC_ERROR_TOKEN_NOT_LOGGED_IN"):
		return nil, ErrLocked
	case strings.Contains(said, "SEC_ERROR_PKCS11_GENERAL_ERROR") || strings.Contains(said, "SEC_ERROR_READ_ONLY"):
		return nil, ErrHeld
	}
	return nil, fmt.Errorf("%s: %s says %q", d.Dir, tool, lastLine(said))
}

func lookup(tool string) (string, error) {
	if path, err := exec.LookPath(tool); err == nil {
		return path, nil
	}
	return exec.LookPath("/usr/sbin/" + tool)
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}
