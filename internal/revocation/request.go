package revocation

import (
	"crypto"
	encodingasn1 "encoding/asn1"
	"errors"
	"fmt"
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postern-project/postern/internal/ledger"
)

// Bounds on a request, which comes from anybody.
const (
	MaxRequest = 8 << 10 // bytes
	MaxAsked   = 16      // certificates
	maxNonce   = 128     // bytes, RFC 9654 section 2.1
)

// A CertID is a certificate that a request asks about (RFC 6960 section 4.1.1).
type CertID struct {
	Hash       crypto.Hash
	NameHash   string // of the issuer's subject, as encoded
	KeyHash    string // of the issuer's key, without tag and length
	Serial     ledger.Serial
	raw        string // the CertID as it was encoded
	impossible bool   // no certificate of ours has the number
}

// A Request is an OCSP request.
type Request struct {
	Asked []CertID // at least one
	// Nonce is the value of the nonce extension, to be given back (RFC 9654);
	// empty for none.
	Nonce []byte
}

var hashes = map[string]crypto.Hash{
	"1.3.14.3.2.26":          crypto.SHA1,
	"2.16.840.1.101.3.4.2.1": crypto.SHA256,
	"2.16.840.1.101.3.4.2.2": crypto.SHA384,
	"2.16.840.1.101.3.4.2.3": crypto.SHA512,
}

// Hashes returns the hash functions in which a request may name an issuer.
func Hashes() []crypto.Hash {
	return []crypto.Hash{crypto.SHA1, crypto.SHA256, crypto.SHA384, crypto.SHA512}
}

// ParseRequest reads an OCSP request in DER. A signature on it is not asked for
// and not looked at, and neither are extensions but the nonce, unless one is
// critical: then the request cannot be answered as it wants.
func ParseRequest(der []byte) (Request, error) {
	if len(der) > MaxRequest {
		return Request{}, fmt.Errorf("an OCSP request of %d bytes: at most %d are read", len(der), MaxRequest)
	}
	malformed := errors.New("this is no OCSP request")
	in := cryptobyte.String(der)
	var outer, tbs, list cryptobyte.String
	if !in.ReadASN1(&outer, asn1.SEQUENCE) || !in.Empty() || !outer.ReadASN1(&tbs, asn1.SEQUENCE) {
		return Request{}, malformed
	}
	var version, extensions cryptobyte.String
	var hasVersion, hasExtensions bool
	if !outer.SkipOptionalASN1(asn1.Tag(0).ContextSpecific().Constructed()) || !outer.Empty() ||
		!tbs.ReadOptionalASN1(&version, &hasVersion, asn1.Tag(0).ContextSpecific().Constructed()) ||
		!tbs.SkipOptionalASN1(asn1.Tag(1).ContextSpecific().Constructed()) || // who asks
		!tbs.ReadASN1(&list, asn1.SEQUENCE) ||
		!tbs.ReadOptionalASN1(&extensions, &hasExtensions, asn1.Tag(2).ContextSpecific().Constructed()) || !tbs.Empty() {
		return Request{}, malformed
	}
	var number int
	if hasVersion && (!version.ReadASN1Integer(&number) || number != 0 || !version.Empty()) {
		return Request{}, errors.New("an OCSP request of a version that is not known here")
	}
	var r Request
	for !list.Empty() {
		id, ok := readAsked(&list)
		if !ok {
			return Request{}, malformed
		}
		if r.Asked = append(r.Asked, id); len(r.Asked) > MaxAsked {
			return Request{}, fmt.Errorf("an OCSP request about more than %d certificates", MaxAsked)
		}
	}
	if len(r.Asked) == 0 {
		return Request{}, malformed
	}
	if hasExtensions {
		var err error
		if r.Nonce, err = readNonce(extensions); err != nil {
			return Request{}, err
		}
	}
	return r, nil
}

// readAsked reads one Request.
func readAsked(list *cryptobyte.String) (id CertID, ok bool) {
	var one, raw, element, algorithm, name, key cryptobyte.String
	var oid encodingasn1.ObjectIdentifier
	if !list.ReadASN1(&one, asn1.SEQUENCE) || !one.ReadASN1Element(&raw, asn1.SEQUENCE) ||
		!one.SkipOptionalASN1(asn1.Tag(0).ContextSpecific().Constructed()) || !one.Empty() {
		return id, false
	}
	id.raw = string(raw)
	serial := new(big.Int)
	if !raw.ReadASN1(&element, asn1.SEQUENCE) || !element.ReadASN1(&algorithm, asn1.SEQUENCE) ||
		!algorithm.ReadASN1ObjectIdentifier(&oid) || !element.ReadASN1(&name, asn1.OCTET_STRING) ||
		!element.ReadASN1(&key, asn1.OCTET_STRING) || !element.ReadASN1Integer(serial) || !element.Empty() {
		return id, false
	}
	id.Hash, id.NameHash, id.KeyHash = hashes[oid.String()], string(name), string(key)
	s, err := ledger.SerialFromBytes(serial.Bytes())
	id.Serial, id.impossible = s, err != nil || serial.Sign() < 0
	return id, true
}

// Possible reports whether a certificate can have the number that was asked
// for.
func (id CertID) Possible() bool { return !id.impossible }

func readNonce(in cryptobyte.String) (nonce []byte, err error) {
	malformed := errors.New("the extensions of the OCSP request cannot be read")
	var list cryptobyte.String
	if !in.ReadASN1(&list, asn1.SEQUENCE) || !in.Empty() {
		return nil, malformed
	}
	for !list.Empty() {
		var one, value, inner cryptobyte.String
		var oid encodingasn1.ObjectIdentifier
		var critical bool
		if !list.ReadASN1(&one, asn1.SEQUENCE) || !one.ReadASN1ObjectIdentifier(&oid) ||
			one.PeekASN1Tag(asn1.BOOLEAN) && !one.ReadASN1Boolean(&critical) || !one.ReadASN1(&value, asn1.OCTET_STRING) || !one.Empty() {
			return nil, malformed
		}
		switch {
		case oid.Equal(oidNonce):
			if nonce != nil || !value.ReadASN1(&inner, asn1.OCTET_STRING) || !value.Empty() || len(inner) == 0 || len(inner) > maxNonce {
				return nil, fmt.Errorf("the nonce of the OCSP request has not 1 to %d bytes", maxNonce)
			}
			nonce = []byte(inner)
		case critical:
			return nil, fmt.Errorf("the OCSP request has a critical extension %s, which is not known here", oid)
		}
	}
	return nonce, nil
}
