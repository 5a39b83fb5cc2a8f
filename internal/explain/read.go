package explain

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/postern-project/postern/internal/chain"
)

// ReadFile reads what Files explains, at most chain.MaxPEM bytes.
func ReadFile(path string) (File, error) {
	f, err := os.Open(path)
	if err != nil {
		return File{}, err
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return File{}, fmt.Errorf("%s is a folder: name the files in it", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, chain.MaxPEM+1))
	if err != nil {
		return File{}, err
	}
	if len(data) > chain.MaxPEM {
		return File{}, fmt.Errorf("%s is larger than %d bytes, so it is no certificate or key", path, chain.MaxPEM)
	}
	return File{Name: path, Data: data}, nil
}

// ReadRoots reads the anchors in a PEM or DER file.
func ReadRoots(path string) ([]*x509.Certificate, error) {
	f, err := ReadFile(path)
	if err != nil {
		return nil, err
	}
	if c, err := chain.ParseDER(f.Data); err == nil {
		return []*x509.Certificate{c}, nil
	}
	certs, err := chain.ParsePEM(f.Data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return certs, nil
}

// ReadCredentials reads client certificates with their keys. A path is a
// folder as 'postern join' writes it, with cert.pem and key.pem, or one file
// that holds both. One that cannot be read is an error; one whose key does not
// fit is a credential with a Problem, for the report to tell.
func ReadCredentials(paths ...string) ([]Credential, error) {
	var out []Credential
	for _, path := range paths {
		certPath, keyPath := path, path
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			certPath, keyPath = filepath.Join(path, "cert.pem"), filepath.Join(path, "key.pem")
		}
		cert, err1 := ReadFile(certPath)
		key, err2 := ReadFile(keyPath)
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		out = append(out, NewCredential(path, cert.Data, key.Data))
	}
	return out, nil
}

// NewCredential returns the credential of a certificate chain and its key,
// both PEM.
func NewCredential(name string, cert, key []byte) Credential {
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return Credential{Name: name, Problem: chain.Printable(err.Error())}
	}
	return Credential{Name: name, Certificate: pair}
}
