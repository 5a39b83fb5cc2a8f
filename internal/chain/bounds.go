package chain

import (
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"net/url"
	"slices"
)

// Bounds on parts of one certificate.
const (
	maxRSABits    = 8192 // as crypto/tls
	maxExtensions = 64
	maxPolicies   = 32
	maxUsages     = 32
	maxNameBytes  = 2048 // SPIFFE-ID section 2.3
)

// Bounds returns an error when the presented certificates are more, larger or
// richer than any that Postern or a sane authority issues, or hold names with
// control characters in them. It is cheap and goes before everything else.
func Bounds(presented []*x509.Certificate) error {
	if len(presented) > MaxPresented {
		return fmt.Errorf("%d certificates presented: at most %d are read", len(presented), MaxPresented)
	}
	for i, c := range presented {
		if err := boundsOf(c); err != nil {
			return fmt.Errorf("certificate %d: %w", i+1, err)
		}
	}
	return nil
}

func boundsOf(c *x509.Certificate) error {
	if c == nil || len(c.Raw) == 0 {
		return fmt.Errorf("empty")
	}
	names := len(c.DNSNames) + len(c.IPAddresses) + len(c.EmailAddresses) + len(c.URIs)
	constraints := len(c.PermittedDNSDomains) + len(c.ExcludedDNSDomains) +
		len(c.PermittedIPRanges) + len(c.ExcludedIPRanges) +
		len(c.PermittedEmailAddresses) + len(c.ExcludedEmailAddresses) +
		len(c.PermittedURIDomains) + len(c.ExcludedURIDomains)
	for _, b := range []struct {
		what      string
		have, max int
	}{
		{"bytes", len(c.Raw), MaxDER},
		{"names", names, MaxNames},
		{"name constraints", constraints, MaxNames},
		{"extensions", len(c.Extensions), maxExtensions},
		{"policies", len(c.Policies) + len(c.PolicyMappings), maxPolicies},
		{"extended key usages", len(c.ExtKeyUsage) + len(c.UnknownExtKeyUsage), maxUsages},
	} {
		if b.have > b.max {
			return fmt.Errorf("%d %s: at most %d are read", b.have, b.what, b.max)
		}
	}
	if err := keyBounds(c.PublicKey); err != nil {
		return err
	}
	return nameBounds(c)
}

func keyBounds(pub crypto.PublicKey) error {
	if k, ok := pub.(*rsa.PublicKey); ok && k.N.BitLen() > maxRSABits {
		return fmt.Errorf("an RSA key of %d bits: at most %d are used", k.N.BitLen(), maxRSABits)
	}
	return nil
}

// nameBounds refuses names that another program may cut short or break in two,
// as happened with an embedded NUL (CVE-2025-66220).
func nameBounds(c *x509.Certificate) error {
	for _, names := range [][]string{c.DNSNames, c.EmailAddresses} {
		if i := slices.IndexFunc(names, badName); i >= 0 {
			return fmt.Errorf("the name %s holds a control character or is too long", Quote(names[i]))
		}
	}
	if i := slices.IndexFunc(c.URIs, func(u *url.URL) bool { return badName(u.String()) }); i >= 0 {
		return fmt.Errorf("the name %s holds a control character or is too long", Quote(c.URIs[i].String()))
	}
	return nil
}

func badName(s string) bool {
	if len(s) > maxNameBytes {
		return true
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] == 0x7f {
			return true
		}
	}
	return false
}
