// Package chain reads certificates strictly and judges chains of them: whether
// a leaf leads to an anchor, for what purpose and when. The judgement is the
// standard library's; what this package adds is bounds before any expensive
// work, one code for each cause, and an explanation that goes step by step,
// also for chains that Postern did not make.
package chain

import (
	"crypto/x509"

	"github.com/postern-project/postern/internal/refusal"
)

// Bounds on what is read and judged. They keep the work that a stranger can
// cause below a few milliseconds.
const (
	MaxDER       = 16 << 10 // bytes of one certificate or request
	MaxPresented = 6        // certificates in a chain that a peer presents
	MaxNames     = 100      // subject alternative names in a certificate
	MaxPEM       = 1 << 20  // bytes of a PEM file
)

// WrongHost is the code of the one cause that no visitor of a gateway can
// have: a server's certificate is for other names than the one dialled.
const WrongHost refusal.Code = "wrong-host"

// A Purpose is what a certificate is shown for. The zero Purpose is no
// purpose: nothing is good for it.
type Purpose uint8

// The purposes.
const (
	Client Purpose = iota + 1 // to open a door: clientAuth
	Server                    // to be a site: serverAuth
	Issuer                    // to issue others: an authority's own certificate
)

// String returns the purpose as a word of a sentence.
func (p Purpose) String() string {
	switch p {
	case Client:
		return "client"
	case Server:
		return "server"
	case Issuer:
		return "issuer"
	default:
		return "nothing"
	}
}

// usage is the extended key usage that stands for p.
func (p Purpose) usage() x509.ExtKeyUsage {
	switch p {
	case Client:
		return x509.ExtKeyUsageClientAuth
	case Issuer:
		return x509.ExtKeyUsageAny
	default:
		return x509.ExtKeyUsageServerAuth
	}
}

// Anchors are the certificates that chains may lead to and over. An anchor is
// the certificate itself, byte for byte, never a name.
type Anchors struct {
	// Roots end a chain. No root at all means that no chain is good.
	Roots []*x509.Certificate
	// Intermediates are known issuers: a peer need not present them. Hold
	// those of every purpose here, so that a server's certificate shown as a
	// client's is told its purpose and not that its issuer is unknown.
	Intermediates []*x509.Certificate
	// System holds further roots that cannot be listed, such as those of
	// x509.SystemCertPool. Explain alone uses it.
	System *x509.CertPool
}

// A Result is the verdict on a presented chain. The zero Code is a good chain.
type Result struct {
	Code refusal.Code
	// Detail says what was seen, safe to print. It is empty for a good chain.
	Detail string
	// Chain runs from the leaf to the root. It is nil unless the chain is good.
	Chain []*x509.Certificate
}

// OK reports whether the chain is good.
func (r Result) OK() bool { return r.Code == "" && len(r.Chain) > 0 }

// A Step is one thing that was looked at, and what came of it.
type Step struct {
	Title  string `json:"title"`
	Detail string `json:"detail,omitempty"`
	OK     bool   `json:"ok"`
	// Warning marks what is in order and still worth knowing.
	Warning bool `json:"warning,omitempty"`
	// Code is the cause when the step failed.
	Code refusal.Code `json:"code,omitempty"`
	// Remedy says how to mend it.
	Remedy   string `json:"remedy,omitempty"`
	Children []Step `json:"steps,omitempty"`
}
