package profile

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	encodingasn1 "encoding/asn1"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postern-project/postern/internal/identity"
)

// maxCommonName is the upper bound of RFC 5280 appendix A in bytes.
const maxCommonName = 64

// A Request is a decision to certify: whose key for which name. Nothing in it
// comes from a certificate request but PublicKey.
type Request struct {
	ID        identity.ID
	DNSNames  []string // for servers only
	IPs       []netip.Addr
	PublicKey crypto.PublicKey
	Now       time.Time
	Lifetime  time.Duration // zero is the profile's; never longer than its longest
	Issuer    *x509.Certificate
	// Shard is the revocation list that will name the certificate if it is
	// revoked. It is a part of the serial number.
	Shard uint32
	// Pointers are printed into the certificate.
	Pointers Pointers
}

// Pointers are the addresses where others learn about a certificate's
// revocation and issuer. Empty ones are left out.
type Pointers struct{ CRL, OCSP, Issuer string }

// Template returns the certificate that r asks for, all but the signature: a
// fresh serial number of 127 random bits, valid from a minute before r.Now,
// never past its issuer.
func (p Profile) Template(r Request) (*x509.Certificate, error) {
	if err := CheckKey(r.PublicKey); err != nil {
		return nil, err
	}
	if err := p.allows(r.PublicKey); err != nil {
		return nil, err
	}
	hosts, err := p.hosts(r)
	if err != nil {
		return nil, err
	}
	notBefore, notAfter, err := p.validity(r)
	if err != nil {
		return nil, err
	}
	ski, err := SubjectKeyID(r.PublicKey)
	if err != nil {
		return nil, err
	}
	c := &x509.Certificate{
		SerialNumber:          newSerial(r.Shard),
		Subject:               pkix.Name{CommonName: subject(r.ID, hosts)},
		NotBefore:             notBefore,
		NotAfter:              notAfter,
		KeyUsage:              p.usage.keyUsage(),
		BasicConstraintsValid: true,
		SubjectKeyId:          ski,
		AuthorityKeyId:        r.Issuer.SubjectKeyId,
		URIs:                  []*url.URL{r.ID.URL()},
		DNSNames:              hosts.DNSNames,
		IPAddresses:           netIPs(hosts.IPs),
		CRLDistributionPoints: present(r.Pointers.CRL),
		OCSPServer:            present(r.Pointers.OCSP),
		IssuingCertificateURL: present(r.Pointers.Issuer),
		PublicKey:             r.PublicKey,
	}
	switch p.usage {
	case registration:
		c.UnknownExtKeyUsage = []encodingasn1.ObjectIdentifier{oidRegistration}
	case responder:
		c.ExtraExtensions = []pkix.Extension{noCheck}
		fallthrough
	default:
		c.ExtKeyUsage = []x509.ExtKeyUsage{p.usage.eku()}
	}
	return c, withinConstraints(c, r.Issuer)
}

// hosts checks what a request says beside dates, and returns its hosts.
func (p Profile) hosts(r Request) (Hosts, error) {
	switch {
	case p.usage == "":
		return Hosts{}, errors.New("the zero profile issues nothing: use one that was checked")
	case r.ID.IsZero():
		return Hosts{}, errors.New("a certificate needs a name to certify")
	case r.Issuer == nil || !r.Issuer.IsCA:
		return Hosts{}, errors.New("a certificate needs an issuer")
	}
	if err := p.admits(r.ID); err != nil {
		return Hosts{}, err
	}
	h, err := ParseHosts(r.DNSNames, r.IPs)
	if err != nil {
		return Hosts{}, err
	}
	switch some := len(h.DNSNames)+len(h.IPs) > 0; {
	case p.usage == Server && !some:
		return Hosts{}, fmt.Errorf("a certificate of profile %s needs the host names or addresses of its server: add --dns NAME or --ip ADDRESS", p.name)
	case p.usage != Server && some:
		return Hosts{}, fmt.Errorf("a certificate of profile %s is for a client and holds no host names or addresses: leave them out, or use profile server", p.name)
	}
	return h, p.covers(h)
}

// validity returns the dates that r gets, in whole seconds.
func (p Profile) validity(r Request) (from, to time.Time, err error) {
	life := p.lifetime
	switch {
	case r.Lifetime != 0 && r.Lifetime < MinLifetime:
		return from, to, fmt.Errorf("a lifetime of %s is shorter than %s", r.Lifetime, MinLifetime)
	case r.Lifetime > p.maxLifetime:
		return from, to, fmt.Errorf("a lifetime of %s is longer than the %s of profile %s", r.Lifetime, p.maxLifetime, p.name)
	case r.Lifetime != 0:
		life = r.Lifetime
	}
	now := r.Now.UTC().Truncate(time.Second)
	from, to = now.Add(-p.before), now.Add(life)
	if from.Before(r.Issuer.NotBefore) {
		from = r.Issuer.NotBefore
	}
	if to.After(r.Issuer.NotAfter) {
		to = r.Issuer.NotAfter
	}
	if now.Before(from) || !now.Before(to) {
		return from, to, fmt.Errorf("the issuer %q is valid from %s to %s only and the clock says %s: set the clock, or replace the issuer",
			r.Issuer.Subject.CommonName, r.Issuer.NotBefore.Format(time.DateOnly), r.Issuer.NotAfter.Format(time.DateOnly), now.Format(time.DateOnly))
	}
	return from, to, nil
}

func (u Usage) keyUsage() x509.KeyUsage {
	if u == registration {
		return x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment
	}
	return x509.KeyUsageDigitalSignature
}

func (u Usage) eku() x509.ExtKeyUsage {
	switch u {
	case Server:
		return x509.ExtKeyUsageServerAuth
	case responder:
		return x509.ExtKeyUsageOCSPSigning
	}
	return x509.ExtKeyUsageClientAuth
}

// CommonName returns what a certificate for n says to people: the name, or its
// end where the name is longer than a common name can be. It is never read as
// an identity. One that OpenSSL would take for a host, which an issuer for
// clients may not certify, says that it is a name.
func CommonName(n identity.Name) string {
	s := tail(n.String(), maxCommonName)
	if strings.Contains(s, ".") && !strings.Contains(s, "/") {
		const says = "name "
		return says + tail(s, maxCommonName-len(says))
	}
	return s
}

// subject returns the common name of a certificate. A server's is its first
// host, since certbot and others read it as one: a name such as services/web
// there makes them ask for a certificate for services/web when they renew.
func subject(id identity.ID, h Hosts) string {
	for _, name := range h.DNSNames {
		if len(name) <= maxCommonName {
			return name
		}
	}
	if len(h.IPs) > 0 {
		return h.IPs[0].String()
	}
	return CommonName(id.Name())
}

func tail(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[len(s)-n:]
}

// SubjectKeyID returns the key identifier of RFC 7093 section 2, method 1: the
// first twenty bytes of the SHA-256 of the key's BIT STRING.
func SubjectKeyID(pub crypto.PublicKey) ([]byte, error) {
	spki, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, err
	}
	return keyID(spki)
}

func keyID(spki []byte) ([]byte, error) {
	var info cryptobyte.String
	var key encodingasn1.BitString
	in := cryptobyte.String(spki)
	if !in.ReadASN1(&info, asn1.SEQUENCE) || !info.SkipASN1(asn1.SEQUENCE) || !info.ReadASN1BitString(&key) {
		return nil, errors.New("the public key is no SubjectPublicKeyInfo")
	}
	sum := sha256.Sum256(key.Bytes)
	return sum[:20], nil
}

// serialRandom is how many bytes of a serial number are random.
const serialRandom = 16

// newSerial draws a positive serial number of 127 random bits, after the
// number of the shard unless that is zero; RFC 5280 section 4.1.2.2 allows up to
// 159 bits.
func newSerial(shard uint32) *big.Int {
	b := make([]byte, 4+serialRandom)
	binary.BigEndian.PutUint32(b, shard&(1<<31-1))
	for {
		rand.Read(b[4:])
		b[4] &= 0x7f
		// Seven of eight bytes zero would be a broken generator, not chance.
		if n := new(big.Int).SetBytes(b); n.BitLen() > 64 {
			return n
		}
	}
}

// ShardOf returns the shard that a serial number names: what stands before its
// sixteen random bytes. The argument is its big-endian bytes without leading
// zeros.
func ShardOf(serial []byte) uint32 {
	var shard uint32
	for i := range max(0, len(serial)-serialRandom) {
		shard = shard<<8 | uint32(serial[i])
	}
	return shard
}

func present(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

func netIPs(addrs []netip.Addr) []net.IP {
	var ips []net.IP
	for _, a := range addrs {
		ips = append(ips, a.AsSlice())
	}
	return ips
}
