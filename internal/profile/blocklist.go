package profile

import (
	"bufio"
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// MaxBlocked bounds a Blocklist, in keys: 200 MB of SHA-256 at the most.
const MaxBlocked = 6_000_000

// A Blocklist holds public keys whose private halves others have, by their
// hashes. The zero Blocklist is empty. It is a value: nothing changes one.
type Blocklist struct {
	moduli []modulusHash       // sorted
	keys   [][sha256.Size]byte // sorted
}

// A modulusHash is how Debian's lists of the weak keys of 2008 name an RSA key:
// the last 80 bits of the SHA-1 of what 'openssl rsa -noout -modulus' prints.
type modulusHash [10]byte

// ReadBlocklist reads hashes, one on a line: 20 hexadecimal digits as in
// Debian's openssl-blacklist, or 64 for the SHA-256 of a SubjectPublicKeyInfo.
// Empty lines and those that begin with # say nothing.
func ReadBlocklist(from io.Reader) (Blocklist, error) {
	var b Blocklist
	lines := bufio.NewScanner(from)
	for n := 1; lines.Scan(); n++ {
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		if !b.add(line) {
			return Blocklist{}, fmt.Errorf("line %d is neither 20 hexadecimal digits, as in openssl-blacklist, nor 64, the SHA-256 of a public key", n)
		}
		if b.Len() > MaxBlocked {
			return Blocklist{}, fmt.Errorf("it has more than %d keys", MaxBlocked)
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return Blocklist{}, errors.New("it has lines of 64 KiB, so it is no list of hashes")
	}
	b.sort()
	return b, lines.Err()
}

func (b *Blocklist) add(line []byte) bool {
	switch len(line) {
	case 2 * len(modulusHash{}):
		var h modulusHash
		_, err := hex.Decode(h[:], line)
		b.moduli = append(b.moduli, h)
		return err == nil
	case 2 * sha256.Size:
		var h [sha256.Size]byte
		_, err := hex.Decode(h[:], line)
		b.keys = append(b.keys, h)
		return err == nil
	}
	return false
}

func (b *Blocklist) sort() {
	slices.SortFunc(b.moduli, func(x, y modulusHash) int { return bytes.Compare(x[:], y[:]) })
	slices.SortFunc(b.keys, func(x, y [sha256.Size]byte) int { return bytes.Compare(x[:], y[:]) })
	b.moduli, b.keys = slices.Clip(slices.Compact(b.moduli)), slices.Clip(slices.Compact(b.keys))
}

// With returns a list of what either holds.
func (b Blocklist) With(other Blocklist) Blocklist {
	both := Blocklist{moduli: slices.Concat(b.moduli, other.moduli), keys: slices.Concat(b.keys, other.keys)}
	both.sort()
	return both
}

// Len returns how many keys are in the list.
func (b Blocklist) Len() int { return len(b.moduli) + len(b.keys) }

// Check refuses a key that is in the list, with ErrWeakKey.
func (b Blocklist) Check(pub crypto.PublicKey) error {
	if k, ok := pub.(*rsa.PublicKey); ok {
		h := hashModulus(k)
		if _, found := slices.BinarySearchFunc(b.moduli, h, func(x, y modulusHash) int { return bytes.Compare(x[:], y[:]) }); found {
			return weak("it is in the list of keys that the faulty OpenSSL of Debian 4.0 made (CVE-2008-0166), whose private halves everybody can work out: make a new key")
		}
	}
	if len(b.keys) == 0 {
		return nil
	}
	spki, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return weak("it cannot be encoded: %v", err)
	}
	h := sha256.Sum256(spki)
	if _, found := slices.BinarySearchFunc(b.keys, h, func(x, y [sha256.Size]byte) int { return bytes.Compare(x[:], y[:]) }); found {
		return weak("it is in the list of blocked keys of this house: make a new key")
	}
	return nil
}

// hashModulus hashes what 'openssl rsa -noout -modulus' prints.
func hashModulus(k *rsa.PublicKey) modulusHash {
	sum := sha1.Sum([]byte("Modulus=" + strings.ToUpper(k.N.Text(16)) + "\n"))
	return modulusHash(sum[len(sum)-len(modulusHash{}):])
}
