package keys

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// maxFile bounds what is read as a key, in bytes; an RSA key of 8192 bits
// takes 6,400.
const maxFile = 64 << 10

// WritePrivate writes k to a new file at path, as PKCS#8 in PEM, mode 0600,
// and returns once the file and its folder are on the disk. It never writes
// over a file: an existing one is an error for which errors.Is(err,
// fs.ErrExist) holds.
func WritePrivate(path string, k crypto.Signer) error {
	text, err := PEM(k)
	if err != nil {
		return fmt.Errorf("write key %s: %w", path, err)
	}
	defer clear(text)
	if err := writeNew(path, text); err != nil {
		return fmt.Errorf("write key: %w", err)
	}
	return nil
}

// PEM returns k as the text of its file: PKCS#8, or as its TPM wrapped it. The
// caller clears it.
func PEM(k crypto.Signer) ([]byte, error) {
	if inTPM, ok := k.(*TPMFile); ok {
		return inTPM.PEM(), nil
	}
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}
	defer clear(der)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// ReadPrivate reads the key at path, which has to be one PKCS#8 PEM block in
// a regular file that nobody but its owner can read or write.
func ReadPrivate(path string) (crypto.Signer, error) {
	data, err := readPrivateFile(path)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	defer clear(data)
	k, err := parsePrivate(data)
	if err != nil {
		return nil, fmt.Errorf("read key %s: %w", path, err)
	}
	return k, nil
}

func parsePrivate(data []byte) (crypto.Signer, error) {
	block, rest := pem.Decode(data)
	switch {
	case block == nil:
		return nil, errors.New("it holds no PEM block: put back the file that postern wrote")
	case block.Type == tpmBlock:
		return nil, errors.New("it holds a key of a TPM, which cannot be used here")
	case block.Type != "PRIVATE KEY":
		return nil, fmt.Errorf("it holds a PEM block %q: a PKCS#8 key says PRIVATE KEY, 'openssl pkcs8 -topk8 -nocrypt' makes one", block.Type)
	case len(bytes.TrimSpace(rest)) != 0:
		return nil, errors.New("something follows the key: keep the one PEM block only")
	}
	defer clear(block.Bytes)
	return parsePKCS8(block.Bytes)
}

func parsePKCS8(der []byte) (crypto.Signer, error) {
	k, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		// The parser's own words can quote the key, so they are not passed on.
		return nil, errors.New("it is no PKCS#8 private key: put back the file that postern wrote")
	}
	signer, ok := k.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a key of type %T cannot sign", k)
	}
	return signer, nil
}

// readPrivateFile reads a small regular file that only its owner may read. The
// file is judged after it was opened, so it cannot be exchanged in between.
func readPrivateFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	switch mode := info.Mode(); {
	case !mode.IsRegular():
		return nil, fmt.Errorf("%s is not a regular file", path)
	case mode.Perm()&0o077 != 0:
		return nil, fmt.Errorf("%s can be reached by others (mode %#o): type 'chmod 600 %s', and make a new key if others had access", path, mode.Perm(), path)
	case info.Size() > maxFile:
		return nil, fmt.Errorf("%s has %d bytes, no key is that long", path, info.Size())
	}
	return io.ReadAll(io.LimitReader(f, maxFile))
}

// writeNew writes data to a new file of mode 0600 and flushes the file and its
// folder. A file that could not be written whole is removed again.
func writeNew(path string, data []byte) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w: it is never overwritten, move it away first", err)
	}
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(path)
		}
	}()
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// SyncDir flushes a folder, so that files made, renamed or removed in it are
// so after a crash as well.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
