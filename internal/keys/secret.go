package keys

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
)

// secretSize is the length of a secret in bytes.
const secretSize = 32

// Secret returns the 32 random bytes that the file at path holds in hex, and
// makes the file, mode 0600, when it is not there.
func Secret(path string) ([]byte, error) {
	secret, err := readSecret(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return secret, err
	}
	secret = make([]byte, secretSize)
	rand.Read(secret)
	err = writeNew(path, append(hex.AppendEncode(nil, secret), '\n'))
	if errors.Is(err, fs.ErrExist) { // somebody else was first
		return readSecret(path)
	}
	if err != nil {
		return nil, fmt.Errorf("write secret: %w", err)
	}
	return secret, nil
}

func readSecret(path string) ([]byte, error) {
	text, err := readPrivateFile(path)
	if err != nil {
		return nil, fmt.Errorf("read secret: %w", err)
	}
	secret, err := hex.DecodeString(string(bytes.TrimSpace(text)))
	if err != nil || len(secret) != secretSize {
		return nil, fmt.Errorf("read secret %s: it does not hold %d bytes in hex: put back the file that postern wrote", path, secretSize)
	}
	return secret, nil
}
