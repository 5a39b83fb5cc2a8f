package explain

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/postern-project/postern/internal/chain"
)

// A lock says how a PKCS#12 file (RFC 7292) is encrypted, as far as can be
// seen without its password.
type lock struct {
	certs      string // the encryption of the certificates; "" for none
	keys       string // that of the keys, where it can be seen
	mac        string
	iterations int
}

// The words for encryptions.
const (
	rc240  = "RC2-40"
	rc2128 = "RC2-128"
	tdes   = "3DES"
	aes    = "AES"
	pbmac1 = "PBMAC1"
)

var (
	oidData      = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	oidEncrypted = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 6}
	oidShrouded  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 2}
)

// algorithms names the object identifiers that occur in PKCS#12 files.
var algorithms = map[string]string{
	"1.2.840.113549.1.12.1.3": tdes,
	"1.2.840.113549.1.12.1.4": "2-key 3DES",
	"1.2.840.113549.1.12.1.5": rc2128,
	"1.2.840.113549.1.12.1.6": rc240,
	"1.2.840.113549.1.5.13":   aes,
	"1.2.840.113549.1.5.14":   pbmac1,
	"1.3.14.3.2.26":           "SHA-1",
	"2.16.840.1.101.3.4.2.1":  "SHA-256",
	"2.16.840.1.101.3.4.2.2":  "SHA-384",
	"2.16.840.1.101.3.4.2.3":  "SHA-512",
}

func algorithm(oid asn1.ObjectIdentifier) string {
	if name := algorithms[oid.String()]; name != "" {
		return name
	}
	return "algorithm " + oid.String()
}

// The parts of a PKCS#12 file, RFC 7292 section 4.
type (
	pfx struct {
		Version  int
		AuthSafe contentInfo
		Mac      macData `asn1:"optional"`
	}
	contentInfo struct {
		Type    asn1.ObjectIdentifier
		Content asn1.RawValue `asn1:"tag:0,explicit,optional"`
	}
	macData struct {
		Mac struct {
			Algorithm pkix.AlgorithmIdentifier
			Digest    []byte
		}
		Salt       []byte
		Iterations int `asn1:"optional,default:1"`
	}
	encryptedData struct {
		Version int
		Info    struct {
			Type      asn1.ObjectIdentifier
			Algorithm pkix.AlgorithmIdentifier
			Content   asn1.RawValue `asn1:"tag:0,optional"`
		}
	}
	safeBag struct {
		ID         asn1.ObjectIdentifier
		Value      asn1.RawValue `asn1:"tag:0,explicit"`
		Attributes asn1.RawValue `asn1:"set,optional"`
	}
	shroudedKey struct {
		Algorithm pkix.AlgorithmIdentifier
		Data      []byte
	}
)

// isP12 reports whether data is a PKCS#12 file, damaged or not: a sequence
// that begins with version 3 and PKCS#7 data.
func isP12(data []byte) bool {
	body := data
	if len(body) < 2 {
		return false
	}
	skip := 2
	if n := int(body[1] & 0x7f); body[1] > 0x80 && n <= 4 {
		skip += n
	}
	return len(body) > skip+4 && slices.Equal(body[skip:skip+3], []byte{2, 1, 3}) && body[skip+3] == 0x30
}

func readLock(data []byte) (lock, error) {
	var p pfx
	if err := whole(data, &p); err != nil {
		return lock{}, err
	}
	l := lock{mac: "none"}
	if len(p.Mac.Mac.Algorithm.Algorithm) > 0 {
		l.mac = algorithm(p.Mac.Mac.Algorithm.Algorithm)
		l.raise(p.Mac.Iterations)
		if l.mac == pbmac1 {
			l.raise(rounds(p.Mac.Mac.Algorithm))
		}
	}
	if !p.AuthSafe.Type.Equal(oidData) {
		return lock{}, fmt.Errorf("it is signed with a key instead of a password (%s)", p.AuthSafe.Type)
	}
	var safe []byte
	if err := whole(p.AuthSafe.Content.Bytes, &safe); err != nil {
		return lock{}, err
	}
	var parts []contentInfo
	if err := whole(safe, &parts); err != nil {
		return lock{}, err
	}
	for _, part := range parts {
		if err := l.part(part); err != nil {
			return lock{}, err
		}
	}
	return l, nil
}

// part looks at one content of the file: certificates are usually encrypted as
// a whole, keys one by one.
func (l *lock) part(c contentInfo) error {
	switch {
	case c.Type.Equal(oidEncrypted):
		var e encryptedData
		if err := whole(c.Content.Bytes, &e); err != nil {
			return err
		}
		l.certs = algorithm(e.Info.Algorithm.Algorithm)
		l.raise(rounds(e.Info.Algorithm))
	case c.Type.Equal(oidData):
		var inner []byte
		if err := whole(c.Content.Bytes, &inner); err != nil {
			return err
		}
		return l.bags(inner)
	}
	return nil
}

func (l *lock) bags(data []byte) error {
	var bags []safeBag
	if err := whole(data, &bags); err != nil {
		return err
	}
	for _, b := range bags {
		if !b.ID.Equal(oidShrouded) {
			continue
		}
		var k shroudedKey
		if err := whole(b.Value.Bytes, &k); err != nil {
			return err
		}
		l.keys = algorithm(k.Algorithm.Algorithm)
		l.raise(rounds(k.Algorithm))
	}
	return nil
}

func (l *lock) raise(n int) { l.iterations = max(l.iterations, n) }

// rounds finds the number of iterations among an algorithm's parameters,
// whichever they are: the largest integer at most two levels down.
func rounds(a pkix.AlgorithmIdentifier) int { return largest(a.Parameters.FullBytes, 4) }

func largest(der []byte, depth int) int {
	most := 0
	for len(der) > 0 && depth > 0 {
		var v asn1.RawValue
		rest, err := asn1.Unmarshal(der, &v)
		if err != nil {
			return most
		}
		switch {
		case v.Tag == asn1.TagInteger && v.Class == asn1.ClassUniversal:
			var n int
			if _, err := asn1.Unmarshal(v.FullBytes, &n); err != nil {
				return maxIterations + 1 // larger than an int
			}
			most = max(most, n)
		case v.IsCompound:
			most = max(most, largest(v.Bytes, depth-1))
		}
		der = rest
	}
	return most
}

var errTrailing = errors.New("there is something after its end")

// whole parses der, which holds v and nothing else.
func whole(der []byte, v any) error {
	rest, err := asn1.Unmarshal(der, v)
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return errTrailing
	}
	return nil
}

func (l lock) words() string {
	parts := []string{"certificates " + orNot(l.certs)}
	if l.keys != "" {
		parts = append(parts, "key "+orNot(l.keys))
	}
	parts = append(parts, "checked by "+l.mac, fmt.Sprintf("%d rounds", l.iterations))
	return strings.Join(parts, ", ")
}

func orNot(encryption string) string {
	if encryption == "" {
		return "not encrypted"
	}
	return "encrypted with " + encryption
}

// readers says which systems open the file.
func (l lock) readers() chain.Step {
	uses := func(names ...string) bool { return slices.Contains(names, l.certs) || slices.Contains(names, l.keys) }
	const title = "opened by"
	switch {
	case l.mac == pbmac1:
		return note(title, "OpenSSL 3.4 and newer, Java 26 and newer; not by Android, iOS, macOS, Windows and browsers, which call it a wrong password")
	case uses(aes):
		return note(title, "OpenSSL 1.1.1 and newer, Java 12 and newer, Firefox, Chromium on Linux, Windows 10 and newer, most of Android 14 and newer, iOS 18 and newer; not by Android 13 and older, iOS 17 and older, macOS 14 and older, Windows Server 2016, which call it a wrong password")
	case uses(rc240, rc2128):
		return note(title, "phones, macOS, Windows, Java, browsers; not by OpenSSL 3 without its -legacy option, so not by curl and Node either")
	case uses(tdes):
		return good(title, "every system that is known, old phones too; its encryption is only as good as the password")
	default:
		return note(title, "Java, as a store of trusted certificates; its contents are not locked")
	}
}
