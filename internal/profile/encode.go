package profile

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	encodingasn1 "encoding/asn1"
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// A Signature says how an issuer's key signs.
type Signature struct {
	Algorithm x509.SignatureAlgorithm
	oid       encodingasn1.ObjectIdentifier
	null      bool // RSA has NULL for parameters (RFC 4055 section 5)
}

// SignatureOf returns the one way in which the key of issuer signs.
func SignatureOf(issuer *x509.Certificate) (Signature, error) {
	switch pub := issuer.PublicKey.(type) {
	case *rsa.PublicKey:
		return Signature{x509.SHA256WithRSA, encodingasn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}, true}, nil
	case *ecdsa.PublicKey:
		switch pub.Curve {
		case elliptic.P256():
			return Signature{x509.ECDSAWithSHA256, encodingasn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}, false}, nil
		case elliptic.P384():
			return Signature{x509.ECDSAWithSHA384, encodingasn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 3}, false}, nil
		case elliptic.P521():
			return Signature{x509.ECDSAWithSHA512, encodingasn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 4}, false}, nil
		}
	}
	return Signature{}, fmt.Errorf("an issuer's key of type %T does not sign here: use ECDSA or RSA", issuer.PublicKey)
}

// Hash returns the hash function that the signature is made over.
func (s Signature) Hash() crypto.Hash {
	switch s.Algorithm {
	case x509.ECDSAWithSHA384:
		return crypto.SHA384
	case x509.ECDSAWithSHA512:
		return crypto.SHA512
	}
	return crypto.SHA256
}

// Add writes the AlgorithmIdentifier.
func (s Signature) Add(b *cryptobyte.Builder) {
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(s.oid)
		if s.null {
			b.AddASN1NULL()
		}
	})
}

// Assemble returns what was signed together with its signature: a certificate,
// a revocation list or an OCSP answer, which are built alike but for what stands
// behind the signature.
func (s Signature) Assemble(tbs, signature []byte, more ...func(*cryptobyte.Builder)) ([]byte, error) {
	b := cryptobyte.NewBuilder(make([]byte, 0, len(tbs)+len(signature)+64))
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(tbs)
		s.Add(b)
		b.AddASN1BitString(signature)
		for _, add := range more {
			add(b)
		}
	})
	return b.Bytes()
}

// Encode returns the to-be-signed part of a certificate that Template made, as
// issuer will sign it: the very bytes that x509.CreateCertificate would sign.
// That one signs and verifies to get at them, which takes longer than all else.
func Encode(c, issuer *x509.Certificate) ([]byte, error) {
	s, err := SignatureOf(issuer)
	if err != nil {
		return nil, err
	}
	spki, err := x509.MarshalPKIXPublicKey(c.PublicKey)
	if err != nil {
		return nil, err
	}
	subject, err := encodingasn1.Marshal(c.Subject.ToRDNSequence())
	if err != nil {
		return nil, err
	}
	b := cryptobyte.NewBuilder(make([]byte, 0, 1024))
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.Tag(0).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) { b.AddASN1Int64(2) })
		b.AddASN1BigInt(c.SerialNumber)
		s.Add(b)
		b.AddBytes(issuer.RawSubject)
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			AddTime(b, c.NotBefore)
			AddTime(b, c.NotAfter)
		})
		b.AddBytes(subject)
		b.AddBytes(spki)
		b.AddASN1(asn1.Tag(3).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) {
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { addExtensions(b, c) })
		})
	})
	return b.Bytes()
}

// AddTime writes a time as RFC 5280 section 4.1.2.5 has it: UTCTime until 2049.
func AddTime(b *cryptobyte.Builder, t time.Time) {
	if t = t.UTC(); t.Year() < 2050 {
		b.AddASN1UTCTime(t)
		return
	}
	b.AddASN1GeneralizedTime(t)
}

// AddExtension writes one extension, whose value add writes.
func AddExtension(b *cryptobyte.Builder, oid encodingasn1.ObjectIdentifier, critical bool, add func(*cryptobyte.Builder)) {
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oid)
		if critical {
			b.AddASN1Boolean(true)
		}
		b.AddASN1(asn1.OCTET_STRING, add)
	})
}

var (
	oidOCSP     = encodingasn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1}
	oidCAIssuer = encodingasn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 2}
)

func addExtensions(b *cryptobyte.Builder, c *x509.Certificate) {
	AddExtension(b, oidKeyUsage, true, func(b *cryptobyte.Builder) {
		bits := []byte{7, 0x80} // digitalSignature
		if c.KeyUsage&x509.KeyUsageKeyEncipherment != 0 {
			bits = []byte{5, 0xa0}
		}
		b.AddASN1(asn1.BIT_STRING, func(b *cryptobyte.Builder) { b.AddBytes(bits) })
	})
	AddExtension(b, oidExtKeyUsage, false, func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			for _, u := range c.ExtKeyUsage {
				addUsage(b, u)
			}
			for _, oid := range c.UnknownExtKeyUsage {
				b.AddASN1ObjectIdentifier(oid)
			}
		})
	})
	AddExtension(b, oidBasicConstraint, true, func(b *cryptobyte.Builder) { b.AddASN1(asn1.SEQUENCE, func(*cryptobyte.Builder) {}) })
	AddExtension(b, oidSubjectKeyID, false, func(b *cryptobyte.Builder) { b.AddASN1OctetString(c.SubjectKeyId) })
	AddExtension(b, oidAuthorityKeyID, false, func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { addTagged(b, 0, c.AuthorityKeyId) })
	})
	if len(c.OCSPServer)+len(c.IssuingCertificateURL) > 0 {
		AddExtension(b, oidAuthorityInfo, false, func(b *cryptobyte.Builder) {
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
				addAccess(b, oidOCSP, c.OCSPServer)
				addAccess(b, oidCAIssuer, c.IssuingCertificateURL)
			})
		})
	}
	AddExtension(b, oidSubjectAltName, false, func(b *cryptobyte.Builder) { addNames(b, c) })
	for _, url := range c.CRLDistributionPoints {
		AddExtension(b, oidCRLPoints, false, func(b *cryptobyte.Builder) {
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { AddDistributionPoint(b, url) })
			})
		})
	}
	for _, e := range c.ExtraExtensions {
		AddExtension(b, e.Id, e.Critical, func(b *cryptobyte.Builder) { b.AddBytes(e.Value) })
	}
}

func addUsage(b *cryptobyte.Builder, u x509.ExtKeyUsage) {
	last, ok := map[x509.ExtKeyUsage]int{x509.ExtKeyUsageServerAuth: 1, x509.ExtKeyUsageClientAuth: 2, x509.ExtKeyUsageOCSPSigning: 9}[u]
	if !ok {
		b.SetError(errors.New("an extended key usage that no certificate of ours has"))
		return
	}
	b.AddASN1ObjectIdentifier(encodingasn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, last})
}

func addTagged(b *cryptobyte.Builder, tag int, value []byte) {
	b.AddASN1(asn1.Tag(tag).ContextSpecific(), func(b *cryptobyte.Builder) { b.AddBytes(value) })
}

func addAccess(b *cryptobyte.Builder, method encodingasn1.ObjectIdentifier, urls []string) {
	for _, url := range urls {
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(method)
			addTagged(b, 6, []byte(url))
		})
	}
}

// AddDistributionPoint writes a DistributionPointName with one address, inside
// its tag 0 (RFC 5280 sections 4.2.1.13 and 5.2.5).
func AddDistributionPoint(b *cryptobyte.Builder, url string) {
	outer := asn1.Tag(0).ContextSpecific().Constructed()
	b.AddASN1(outer, func(b *cryptobyte.Builder) {
		b.AddASN1(outer, func(b *cryptobyte.Builder) { addTagged(b, 6, []byte(url)) })
	})
}

func addNames(b *cryptobyte.Builder, c *x509.Certificate) {
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, name := range c.DNSNames {
			addTagged(b, 2, []byte(name))
		}
		for _, ip := range c.IPAddresses {
			if four := ip.To4(); four != nil {
				ip = four
			}
			addTagged(b, 7, ip)
		}
		for _, uri := range c.URIs {
			addTagged(b, 6, []byte(uri.String()))
		}
	})
}
