// Package staple keeps the OCSP answer about a server certificate that comes
// from elsewhere, so that a client learns in the handshake that it was not
// revoked (RFC 6066 section 8), without asking anybody and without telling
// anybody which site it visits.
package staple

import (
	"bytes"
	"crypto"
	_ "crypto/sha1" // what responders know certificates by
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"golang.org/x/crypto/ocsp"
)

// maxAnswer bounds an answer, in bytes; it goes into every handshake. skew is
// how far a responder's clock may be ahead of ours.
const (
	maxAnswer = 16 << 10
	skew      = 5 * time.Minute
)

// An answer is what a responder said of one certificate, verified.
type answer struct {
	der         []byte
	from, until time.Time
	revoked     bool
	reason      string // of RFC 5280 section 5.3.1, and since when
}

// holds reports whether the answer may be shown at the time now.
func (a *answer) holds(now time.Time) bool {
	return a != nil && now.Before(a.until) && !now.Before(a.from.Add(-skew))
}

// due returns when a newer answer is looked for: at half of this one's life.
func (a *answer) due() time.Time { return a.from.Add(a.until.Sub(a.from) / 2) }

// parse verifies what a responder said of leaf, as RFC 6960 section 3.2 has it:
// it is about this certificate of this issuer, signed by the issuer or by whom
// the issuer lets answer, and of this time.
func parse(der []byte, leaf, issuer *x509.Certificate, now time.Time) (*answer, error) {
	if len(der) > maxAnswer {
		return nil, fmt.Errorf("the answer is larger than %d bytes", maxAnswer)
	}
	r, err := ocsp.ParseResponseForCert(der, leaf, issuer)
	if err != nil {
		return nil, err
	}
	if err := isAbout(r.TBSResponseData, leaf.SerialNumber, issuer); err != nil {
		return nil, err
	}
	if err := mayAnswer(r, issuer, now); err != nil {
		return nil, err
	}
	switch {
	case r.ThisUpdate.After(now.Add(skew)):
		return nil, fmt.Errorf("the answer begins at %s: compare this machine's clock", r.ThisUpdate.UTC().Format(time.DateTime))
	case r.NextUpdate.IsZero():
		return nil, errors.New("the answer does not say until when it holds")
	case !now.Before(r.NextUpdate), !r.NextUpdate.After(r.ThisUpdate):
		return nil, fmt.Errorf("the answer has ended at %s", r.NextUpdate.UTC().Format(time.DateTime))
	case r.Status == ocsp.Unknown:
		return nil, errors.New("the responder does not know the certificate")
	}
	a := &answer{der: der, from: r.ThisUpdate, until: r.NextUpdate, revoked: r.Status == ocsp.Revoked}
	if a.revoked {
		a.reason = fmt.Sprintf("number %d, since %s", r.RevocationReason, r.RevokedAt.UTC().Format(time.DateTime))
	}
	if r.Certificate != nil && r.Certificate.NotAfter.Before(a.until) {
		a.until = r.Certificate.NotAfter // nobody believes it any longer
	}
	return a, nil
}

// mayAnswer reports by an error that whoever signed may not speak for issuer
// (RFC 6960 section 4.2.2.2). That the signatures are right was checked.
func mayAnswer(r *ocsp.Response, issuer *x509.Certificate, now time.Time) error {
	c := r.Certificate
	switch {
	case c == nil, bytes.Equal(c.RawSubjectPublicKeyInfo, issuer.RawSubjectPublicKeyInfo):
		return nil
	case !bytes.Equal(c.RawIssuer, issuer.RawSubject):
		return errors.New("the responder's certificate is another issuer's")
	case !slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning):
		return errors.New("whoever signed the answer has no certificate for answering")
	case now.Before(c.NotBefore), now.After(c.NotAfter):
		return errors.New("the responder's certificate is out of its time")
	}
	return nil
}

// The parts of an answer that name the certificate (RFC 6960 section 4.2.1).
// What follows in each sequence is left to the parser above.
type responseData struct {
	Raw        asn1.RawContent
	Version    int `asn1:"optional,default:0,explicit,tag:0"`
	Responder  asn1.RawValue
	ProducedAt time.Time `asn1:"generalized"`
	Responses  []singleResponse
}

type singleResponse struct{ CertID certID }

type certID struct {
	Hash              pkix.AlgorithmIdentifier
	NameHash, KeyHash []byte
	Serial            *big.Int
}

var hashes = map[string]crypto.Hash{
	"1.3.14.3.2.26":          crypto.SHA1,
	"2.16.840.1.101.3.4.2.1": crypto.SHA256,
	"2.16.840.1.101.3.4.2.2": crypto.SHA384,
	"2.16.840.1.101.3.4.2.3": crypto.SHA512,
}

// isAbout reports by an error that an answer's entry for a serial number is
// about another issuer's certificate: one responder may answer for several
// issuers with one key.
func isAbout(data []byte, serial *big.Int, issuer *x509.Certificate) error {
	var d responseData
	if _, err := asn1.Unmarshal(data, &d); err != nil {
		return err
	}
	var key struct {
		Algorithm pkix.AlgorithmIdentifier
		PublicKey asn1.BitString
	}
	if _, err := asn1.Unmarshal(issuer.RawSubjectPublicKeyInfo, &key); err != nil {
		return err
	}
	for _, r := range d.Responses {
		if r.CertID.Serial == nil || r.CertID.Serial.Cmp(serial) != 0 {
			continue
		}
		h, known := hashes[r.CertID.Hash.Algorithm.String()]
		if !known || !h.Available() {
			return fmt.Errorf("the answer names the issuer by the hash %s", r.CertID.Hash.Algorithm)
		}
		if !bytes.Equal(r.CertID.NameHash, sum(h, issuer.RawSubject)) || !bytes.Equal(r.CertID.KeyHash, sum(h, key.PublicKey.RightAlign())) {
			return errors.New("the answer is about a certificate of another issuer")
		}
	}
	return nil
}

func sum(h crypto.Hash, data []byte) []byte {
	w := h.New()
	w.Write(data)
	return w.Sum(nil)
}

var mustStapleOID = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24}

// demands reports whether a certificate asks clients to refuse it without an
// answer beside it (RFC 7633, status_request).
func demands(leaf *x509.Certificate) bool {
	for _, e := range leaf.Extensions {
		var features []int
		if e.Id.Equal(mustStapleOID) {
			_, err := asn1.Unmarshal(e.Value, &features)
			return err == nil && slices.Contains(features, 5)
		}
	}
	return false
}
