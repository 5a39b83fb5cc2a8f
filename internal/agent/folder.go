package agent

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/postern-project/postern/internal/keys"
)

// keptFile holds the key and the certificate together, so that one rename
// replaces both.
const keptFile = "kept.pem"

// maxKept bounds what is read, in bytes.
const maxKept = 256 << 10

func makeFolder(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make folder of a kept certificate: %w", err)
	}
	return nil
}

// save replaces what is kept: key first, then the chain, mode 0600. After a
// crash either the old or the new one is there.
func save(dir string, c tls.Certificate) error {
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		return err
	}
	defer clear(der)
	var text bytes.Buffer
	if err := pem.Encode(&text, &pem.Block{Type: "PRIVATE KEY", Bytes: der}); err != nil {
		return err
	}
	for _, cert := range c.Certificate {
		if err := pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: cert}); err != nil {
			return err
		}
	}
	defer clear(text.Bytes())
	return replace(filepath.Join(dir, keptFile), text.Bytes())
}

// replace writes a file beside path and renames it over path. What a crash
// leaves beside it is overwritten by the next run.
func replace(path string, data []byte) error {
	beside := path + ".new"
	f, err := os.OpenFile(beside, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(beside))
	}
	if err := os.Rename(beside, path); err != nil {
		return err
	}
	return keys.SyncDir(filepath.Dir(path))
}

// load returns what is kept in dir, or nil if there is nothing.
func load(dir string) (*tls.Certificate, error) {
	path := filepath.Join(dir, keptFile)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 || info.Size() > maxKept {
		return nil, fmt.Errorf("%s can be reached by others or is too long", path)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	defer clear(data)
	return parse(data)
}

// parse reads what save wrote: one key, then the chain.
func parse(data []byte) (*tls.Certificate, error) {
	block, rest := pem.Decode(data)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, errors.New("it does not begin with a key")
	}
	defer clear(block.Bytes)
	k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("its key cannot be read")
	}
	key, ok := k.(crypto.Signer)
	if !ok {
		return nil, errors.New("its key cannot sign")
	}
	var chain [][]byte
	for block, rest = pem.Decode(rest); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			return nil, errors.New("something else than certificates follows the key")
		}
		chain = append(chain, block.Bytes)
	}
	return assemble(chain, key)
}
