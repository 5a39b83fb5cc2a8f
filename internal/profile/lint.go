package profile

import (
	"fmt"
	"strings"
	"sync"

	zx509 "github.com/zmap/zcrypto/x509"
	"github.com/zmap/zlint/v3/lint"
	_ "github.com/zmap/zlint/v3/lints/community" // registers its lints
	_ "github.com/zmap/zlint/v3/lints/rfc"       // registers its lints
)

// lintSources are the rule books that fit a private authority; those of the
// CA/Browser Forum do not.
var lintSources = [...]lint.LintSource{
	lint.RFC3279, lint.RFC5280, lint.RFC5480, lint.RFC5891, lint.RFC8813, lint.Community,
}

// notOurs are lints that contradict what this project decided; the reason
// stands beside each.
var notOurs = map[string]bool{
	// Asks, by eight P-384 signature checks that take 6 ms, whether a public CA
	// issued the certificate; ours did.
	"e_cert_issued_by_compromised_emudhra_ca": true,
}

// lints returns the lints that are run, once looked up.
var lints = sync.OnceValue(func() []*lint.CertificateLint {
	var all []*lint.CertificateLint
	registered := lint.GlobalRegistry().CertificateLints()
	for _, source := range lintSources {
		for _, l := range registered.BySource(source) {
			if !notOurs[l.Name] {
				all = append(all, l)
			}
		}
	}
	return all
})

// linted counts the certificates of this process.
var linted frequency

// noConfig returns what lints are configured by. They only read it.
var noConfig = sync.OnceValue(lint.NewEmptyConfig)

// keyOf returns the public key, which zcrypto hides in a type of its own.
func keyOf(c *zx509.Certificate) any {
	if k, ok := c.PublicKey.(*zx509.AugmentedECDSA); ok {
		return k.Pub
	}
	return c.PublicKey
}

// A LintError is a certificate in which lints find fault. Nothing of the kind
// is signed.
type LintError struct {
	// Lints are the names of the lints, zlint's or our own, which begin with
	// postern-.
	Lints  []string
	faults []string
}

// Error names every lint with what it says.
func (e *LintError) Error() string { return "lint: " + strings.Join(e.faults, "; ") }

// Lint runs the lints of zlint that fit a private authority over a certificate
// in DER. Warnings count as faults; the error is a *LintError unless the
// certificate cannot be read.
func Lint(der []byte) error {
	c, err := zx509.ParseCertificate(der)
	if err != nil {
		return fmt.Errorf("lint: %w", err)
	}
	var fault LintError
	large := linted.often() && surelyLarge(keyOf(c))
	for _, l := range lints() {
		if large && l.Name == smallKeyLint {
			continue
		}
		switch r := l.Execute(c, noConfig()); r.Status {
		case lint.Warn, lint.Error, lint.Fatal:
			fault.Lints = append(fault.Lints, l.Name)
			fault.faults = append(fault.faults, strings.TrimSpace(l.Name+" "+r.Details))
		}
	}
	if len(fault.Lints) > 0 {
		return &fault
	}
	return nil
}
