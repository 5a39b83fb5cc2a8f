package authority

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/postern-project/postern/internal/jws"
	"github.com/postern-project/postern/internal/permit"
)

// MaxEvidenceAge is how long a validation is good for.
const MaxEvidenceAge = 7 * 24 * time.Hour

// minToken is how long a challenge's token is at least: 128 bits in base64url
// (RFC 8555 section 8.3).
const minToken = 22

// proven checks that the account's key has signed the request that was sent
// to the URL, and returns the message and the key.
func proven(p ACMEProof) (*jws.Message, jws.Key, error) {
	key, err := jws.ParseKey(p.Key)
	if err != nil {
		return nil, key, badRequest(err)
	}
	m, err := jws.Parse(p.Message)
	if err != nil {
		return nil, key, badRequest(err)
	}
	if p.URL == "" || m.URL != p.URL || m.Verify(key) != nil {
		return nil, key, refuse(CodeForbidden, "", "the request was not signed by this key for this place")
	}
	return m, key, nil
}

// checkEvidence returns an error unless each host has exactly one piece of
// evidence, of a kind that proves it, fresh, and seen as it had to be.
func (s *Service) checkEvidence(hosts []permit.Host, evidence []ACMEEvidence) error {
	if len(evidence) != len(hosts) {
		return refuse(CodeForbidden, "", "%d hosts and %d validations", len(hosts), len(evidence))
	}
	for _, h := range hosts {
		i := slices.IndexFunc(evidence, func(e ACMEEvidence) bool {
			of, err := permit.ParseHost(e.Host.Type, e.Host.Value)
			return err == nil && of == h
		})
		if i < 0 {
			return refuse(CodeForbidden, "", "nothing was validated for %s", h)
		}
		if err := s.judgeEvidence(h, evidence[i]); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) judgeEvidence(h permit.Host, e ACMEEvidence) error {
	if !slices.Contains(ACMEChallenges(h), e.Challenge) {
		return refuse(CodeForbidden, "", "%s proves nothing of %s", e.Challenge, h)
	}
	if age := s.now().Sub(e.At); age > MaxEvidenceAge || age < -time.Minute {
		return refuse(CodeForbidden, "validate it again", "the validation of %s is of %s", h, e.At.Format(time.RFC3339))
	}
	want, err := ExpectedAnswer(e.Challenge, e.Token, e.Key)
	if err != nil {
		return badRequest(err)
	}
	if subtle.ConstantTimeCompare([]byte(want), []byte(e.Seen)) != 1 {
		return refuse(CodeForbidden, "", "the validation of %s saw another answer than the one expected", h)
	}
	return nil
}

// ACMEChallenges returns the types of challenges that can prove a host: a
// wildcard takes control of the zone, an address has none (RFC 8555 section
// 7.1.3, RFC 8738 section 7).
func ACMEChallenges(h permit.Host) []string {
	switch {
	case h.Wildcard():
		return []string{"dns-01"}
	case h.IP.IsValid():
		return []string{"http-01", "tls-alpn-01"}
	}
	return []string{"http-01", "dns-01", "tls-alpn-01"}
}

// ExpectedAnswer returns what a validation has to see (RFC 8555 section 8.3
// and 8.4, RFC 8737 section 3). The digest of tls-alpn-01 is in base64url.
func ExpectedAnswer(challenge, token string, thumbprint [32]byte) (string, error) {
	if len(token) < minToken {
		return "", fmt.Errorf("a token of %d characters", len(token))
	}
	authorization := token + "." + base64.RawURLEncoding.EncodeToString(thumbprint[:])
	switch challenge {
	case "http-01":
		return authorization, nil
	case "dns-01", "tls-alpn-01":
		sum := sha256.Sum256([]byte(authorization))
		return base64.RawURLEncoding.EncodeToString(sum[:]), nil
	}
	return "", fmt.Errorf("%q is no challenge", challenge)
}

// finalizing is the payload of a finalize request (RFC 8555 section 7.4).
type finalizing struct {
	CSR string `json:"csr"`
}

// ParseACMECSR reads the certificate request in a finalize payload and
// compares its names with the order's: they have to be the same set, and a
// common name is one of them (RFC 8555 section 7.4). All that is taken from it
// is the public key.
func ParseACMECSR(payload []byte, hosts []permit.Host, account jws.Key) (*x509.CertificateRequest, error) {
	var f finalizing
	if err := json.Unmarshal(payload, &f); err != nil || f.CSR == "" {
		return nil, fmt.Errorf("the payload has no csr")
	}
	der, err := base64.RawURLEncoding.Strict().DecodeString(f.CSR)
	if err != nil {
		return nil, fmt.Errorf("the csr is no base64url")
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, fmt.Errorf("the certificate request cannot be read: %w", err)
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, fmt.Errorf("the certificate request is not signed by its own key")
	}
	if sameKey(csr.PublicKey, account.Public()) {
		return nil, fmt.Errorf("the certificate request holds the account's own key: make a key for the certificate alone")
	}
	return csr, sameHosts(csr, hosts)
}

func sameHosts(csr *x509.CertificateRequest, hosts []permit.Host) error {
	if len(csr.EmailAddresses)+len(csr.URIs) > 0 {
		return fmt.Errorf("the certificate request asks for mail addresses or URIs, and the order is of host names and addresses")
	}
	asked := map[permit.Host]bool{}
	for _, name := range csr.DNSNames {
		h, err := permit.ParseHost("dns", name)
		if err != nil {
			return fmt.Errorf("the certificate request: %w", err)
		}
		asked[h] = true
	}
	for _, ip := range addrs(csr.IPAddresses) {
		asked[permit.Host{IP: ip}] = true
	}
	if cn := csr.Subject.CommonName; cn != "" {
		h := permit.Host{DNS: strings.ToLower(cn)}
		if ip, err := netip.ParseAddr(cn); err == nil {
			h = permit.Host{IP: ip.Unmap()}
		}
		asked[h] = true
	}
	for _, h := range hosts {
		if !asked[h] {
			return fmt.Errorf("the order is for %s, and the certificate request does not ask for it", h)
		}
		delete(asked, h)
	}
	for h := range asked {
		return fmt.Errorf("the certificate request asks for %s, and the order is not for it", h)
	}
	return nil
}

func sameKey(a, b any) bool {
	first, err := x509.MarshalPKIXPublicKey(a)
	if err != nil {
		return false
	}
	second, err := x509.MarshalPKIXPublicKey(b)
	return err == nil && string(first) == string(second)
}
