package trust

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// A Root is a certificate that programs on this machine believe.
type Root struct {
	Certificate *x509.Certificate `json:"-"`
	// Store says who believes it: system, or a browser.
	Store string `json:"store"`
	// File is where it lies: the file that brought it, or the database.
	File string `json:"file"`
	// For says what it may vouch for.
	For string `json:"for"`
}

// bundles are where Linux systems keep the roots that programs read: the first
// that is there is the one in use.
var bundles = []string{
	"/etc/ssl/certs/ca-certificates.crt",                // Debian, Arch
	"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", // Fedora
	"/etc/pki/tls/certs/ca-bundle.crt",
	"/etc/ssl/ca-bundle.pem", // openSUSE
	"/etc/ssl/cert.pem",      // Alpine, macOS
}

// sources are the folders whose files a bundle is made from.
var sources = []string{
	"/usr/local/share/ca-certificates", "/usr/share/ca-certificates",
	"/etc/pki/ca-trust/source/anchors", "/usr/share/pki/trust/anchors", "/etc/ca-certificates/trust-source/anchors",
}

// System returns the roots that the system's programs believe. SSL_CERT_FILE,
// as OpenSSL and Go read it, names another bundle.
func System(getenv func(string) string) ([]Root, error) {
	path := getenv("SSL_CERT_FILE")
	if path == "" {
		if i := slices.IndexFunc(bundles, func(p string) bool { _, err := os.Stat(p); return err == nil }); i >= 0 {
			path = bundles[i]
		}
	}
	if path == "" {
		return nil, fmt.Errorf("where %s keeps its roots is not known to this postern", runtime.GOOS)
	}
	certs, err := readAll(path)
	if err != nil {
		return nil, err
	}
	origin := origins(sources)
	var all []Root
	for _, c := range certs {
		r := Root{Certificate: c, Store: "system", File: path, For: Purpose(c)}
		if file, ok := origin[sha256.Sum256(c.Raw)]; ok && getenv("SSL_CERT_FILE") == "" {
			r.File = file
		}
		all = append(all, r)
	}
	return all, nil
}

// Browsers returns the roots that somebody added to the browsers of the user
// with this home. Those that a browser brings along are not among them.
func Browsers(ctx context.Context, home string) ([]Root, error) {
	var all []Root
	var errs []error
	for _, d := range Databases(home) {
		kept, err := d.List(ctx)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", d.Browser, err))
			continue
		}
		for _, k := range kept {
			if k.Root {
				all = append(all, Root{Certificate: k.Certificate, Store: d.Browser, File: d.Dir, For: Purpose(k.Certificate)})
			}
		}
	}
	return all, errors.Join(errs...)
}

// origins returns which file brought each certificate, by its SHA-256.
func origins(folders []string) map[[32]byte]string {
	all := map[[32]byte]string{}
	for _, folder := range folders {
		filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return nil // what cannot be read brings nothing
			}
			certs, err := readAll(path)
			if err != nil {
				return nil
			}
			for _, c := range certs {
				all[sha256.Sum256(c.Raw)] = path
			}
			return nil
		})
	}
	return all
}

// maxBundle bounds what is read of one file, in bytes.
const maxBundle = 16 << 20

// readAll returns the certificates in a PEM file; blocks that cannot be read
// are believed by nobody.
func readAll(path string) ([]*x509.Certificate, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxBundle || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no file of certificates", path)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var certs []*x509.Certificate
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if c, err := x509.ParseCertificate(block.Bytes); err == nil && block.Type == "CERTIFICATE" {
			certs = append(certs, c)
		}
	}
	return certs, nil
}

// Purpose says in words what a root may vouch for, by its own extensions.
func Purpose(c *x509.Certificate) string {
	what := "anything"
	if len(c.ExtKeyUsage)+len(c.UnknownExtKeyUsage) > 0 {
		var uses []string
		for _, u := range c.ExtKeyUsage {
			switch u {
			case x509.ExtKeyUsageServerAuth:
				uses = append(uses, "servers")
			case x509.ExtKeyUsageClientAuth:
				uses = append(uses, "clients")
			case x509.ExtKeyUsageEmailProtection:
				uses = append(uses, "mail")
			case x509.ExtKeyUsageCodeSigning:
				uses = append(uses, "programs")
			}
		}
		what = strings.Join(uses, ", ")
		if what == "" {
			what = "other purposes"
		}
	}
	if names := append(slices.Clone(c.PermittedDNSDomains), c.PermittedURIDomains...); len(names) > 0 {
		what += ", within " + strings.Join(names, ", ")
	}
	return what
}
