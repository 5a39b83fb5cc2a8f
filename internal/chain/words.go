package chain

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

const maxShown = 160 // characters of a foreign text

// Escape returns s with every character that could steer a terminal or turn
// the direction of a line written out. It changes nothing in what it has
// returned before.
func Escape(s string) string {
	if !strings.ContainsFunc(s, isHostile) && utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD"):
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case !isHostile(r):
			b.WriteRune(r)
		case r < 0x80:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// isHostile holds for control and format characters, odd spaces, and whatever
// Unicode does not call printable.
func isHostile(r rune) bool { return !unicode.IsPrint(r) }

// Printable returns Escape(s), cut after a readable length.
func Printable(s string) string {
	if utf8.RuneCountInString(s) > maxShown {
		s = firstRunes(s, maxShown) + "…"
	}
	return Escape(s)
}

// firstRunes returns the first n characters of s.
func firstRunes(s string, n int) string {
	for i := range s {
		if n--; n < 0 {
			return s[:i]
		}
	}
	return s
}

// Quote returns Printable(s) in quotation marks.
func Quote(s string) string { return "'" + Printable(s) + "'" }

// NameOf returns what people call the certificate: its common name, else its
// first alternative name, else its serial number. It is safe to print and
// never decides anything.
func NameOf(c *x509.Certificate) string {
	name := c.Subject.CommonName
	switch {
	case name != "":
	case len(c.DNSNames) > 0:
		name = c.DNSNames[0]
	case len(c.URIs) > 0:
		name = c.URIs[0].String()
	case len(c.IPAddresses) > 0:
		name = c.IPAddresses[0].String()
	case len(c.Subject.Names) > 0:
		name = c.Subject.String()
	default:
		name = "serial " + SerialOf(c)
	}
	return Printable(name)
}

// IssuerOf returns what people call the issuer that the certificate names.
func IssuerOf(c *x509.Certificate) string {
	return Printable(cmp.Or(c.Issuer.CommonName, c.Issuer.String(), "(no name)"))
}

// SerialOf returns the serial number in lower-case hex, in whole bytes as
// OpenSSL and the ledger print it.
func SerialOf(c *x509.Certificate) string {
	if c.SerialNumber == nil {
		return "none"
	}
	text := Printable(c.SerialNumber.Text(16))
	if len(text)%2 == 1 && c.SerialNumber.Sign() > 0 {
		text = "0" + text
	}
	return text
}

// KeyWords returns a key's kind, such as "ECDSA P-256".
func KeyWords(pub crypto.PublicKey) string {
	switch k := pub.(type) {
	case *ecdsa.PublicKey:
		return "ECDSA " + k.Curve.Params().Name
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d bits", k.N.BitLen())
	case ed25519.PublicKey:
		return "Ed25519"
	default:
		return "a kind of key that is not known here"
	}
}

// NamesOf returns the alternative names of a certificate, printable.
func NamesOf(c *x509.Certificate) []string {
	var names []string
	for _, n := range c.DNSNames {
		names = append(names, Printable(n))
	}
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	for _, u := range c.URIs {
		names = append(names, Printable(u.String()))
	}
	for _, e := range c.EmailAddresses {
		names = append(names, Printable(e))
	}
	return names
}

// list returns "a, b and c", or "a, b, c and 7 more".
func list(words []string) string {
	const most = 8
	if len(words) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(words[:most], ", "), len(words)-most)
	}
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}

// When returns a moment as reports write it.
func When(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// span returns a duration in the unit that a person would choose.
func span(d time.Duration) string {
	d = d.Abs()
	switch {
	case d >= 2*365*24*time.Hour:
		return fmt.Sprintf("%d years", int(d/(365*24*time.Hour)))
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", int(d/(24*time.Hour)))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d hours", int(d/time.Hour))
	case d >= 2*time.Minute:
		return fmt.Sprintf("%d minutes", int(d/time.Minute))
	default:
		return fmt.Sprintf("%d seconds", int(d/time.Second))
	}
}

// usageWords names the extended key usages that matter here.
func usageWords(c *x509.Certificate) string {
	if len(c.ExtKeyUsage)+len(c.UnknownExtKeyUsage) == 0 {
		return "no extended key usage"
	}
	names := map[x509.ExtKeyUsage]string{
		x509.ExtKeyUsageAny:             "anyExtendedKeyUsage",
		x509.ExtKeyUsageServerAuth:      "serverAuth",
		x509.ExtKeyUsageClientAuth:      "clientAuth",
		x509.ExtKeyUsageCodeSigning:     "codeSigning",
		x509.ExtKeyUsageEmailProtection: "emailProtection",
		x509.ExtKeyUsageTimeStamping:    "timeStamping",
		x509.ExtKeyUsageOCSPSigning:     "OCSPSigning",
	}
	var words []string
	for _, u := range c.ExtKeyUsage {
		words = append(words, cmp.Or(names[u], "another usage"))
	}
	for _, oid := range c.UnknownExtKeyUsage {
		words = append(words, oid.String())
	}
	return list(words)
}
