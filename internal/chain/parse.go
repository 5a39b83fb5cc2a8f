package chain

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
)

// ParsePEM returns the certificates of a PEM file in their order. Anything but
// certificates and empty lines is a *SyntaxError, as are the same certificate
// twice and a file without any.
func ParsePEM(data []byte) ([]*x509.Certificate, error) {
	blocks, err := Blocks(data)
	if err != nil {
		return nil, err
	}
	if len(blocks) == 0 {
		return nil, syntaxf(0, "no certificate in it: a certificate file begins with -----BEGIN CERTIFICATE-----")
	}
	var certs []*x509.Certificate
	lines := map[string]int{}
	for _, b := range blocks {
		if b.Type != "CERTIFICATE" || len(b.Headers) > 0 {
			return nil, syntaxf(b.Line, "a %s where only certificates may stand: %s", b.Type, keepApart(b.Type))
		}
		if first := lines[string(b.Bytes)]; first > 0 {
			return nil, syntaxf(b.Line, "the certificate of line %d again: delete one of them", first)
		}
		lines[string(b.Bytes)] = b.Line
		c, err := ParseDER(b.Bytes)
		if err != nil {
			return nil, syntaxf(b.Line, "%v", err)
		}
		certs = append(certs, c)
	}
	return certs, nil
}

func keepApart(kind string) string {
	switch kind {
	case "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY":
		return "keep the key in a file of its own"
	case "CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST":
		return "a request is not a certificate yet: have it signed with 'postern sign'"
	case "TRUSTED CERTIFICATE":
		return "convert it with 'openssl x509 -in FILE -out NEW'"
	default:
		return "delete the block"
	}
}

// ParseDER returns the certificate that der is, with nothing after it and
// within MaxDER. It never panics.
func ParseDER(der []byte) (c *x509.Certificate, err error) {
	if len(der) > MaxDER {
		return nil, fmt.Errorf("a certificate of %d bytes: at most %d are read", len(der), MaxDER)
	}
	defer catch(&err)
	c, err = x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("not a certificate: %s", Quote(err.Error()))
	}
	return c, nil
}

// ParseCSR returns the one certificate request that data is, PEM or DER, with
// a signature that fits its key. The names in it are for the caller to report
// and never to use.
func ParseCSR(data []byte) (*x509.CertificateRequest, error) {
	der, err := requestDER(data)
	if err != nil {
		return nil, err
	}
	r, err := ParseRequestDER(der)
	if err != nil {
		return nil, err
	}
	if err := checkRequest(r); err != nil {
		return nil, fmt.Errorf("the request's signature does not fit its key, so nobody proves to hold the key: make the request again (%s)", Quote(err.Error()))
	}
	return r, nil
}

// ParseRequestDER returns the request that der is, within MaxDER, without
// looking at its signature. It never panics.
func ParseRequestDER(der []byte) (r *x509.CertificateRequest, err error) {
	if len(der) > MaxDER {
		return nil, fmt.Errorf("a request of %d bytes: at most %d are read", len(der), MaxDER)
	}
	defer catch(&err)
	r, err = x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, fmt.Errorf("not a certificate request: %s", Quote(err.Error()))
	}
	return r, nil
}

func requestDER(data []byte) ([]byte, error) {
	if !bytes.Contains(data, []byte(pemBegin)) {
		if len(data) > 0 && data[0] == 0x30 { // a SEQUENCE
			return data, nil
		}
		return nil, syntaxf(0, "not a certificate request: one begins with -----BEGIN CERTIFICATE REQUEST-----")
	}
	if len(data) > 2*MaxDER {
		return nil, syntaxf(0, "a request file of %d bytes: at most %d are read", len(data), 2*MaxDER)
	}
	blocks, err := Blocks(data)
	if err != nil {
		return nil, err
	}
	if len(blocks) == 0 {
		return nil, syntaxf(0, "no certificate request in it")
	}
	if len(blocks) > 1 {
		return nil, syntaxf(blocks[1].Line, "a second block: a request file holds one request and nothing else")
	}
	b := blocks[0]
	if b.Type != "CERTIFICATE REQUEST" && b.Type != "NEW CERTIFICATE REQUEST" {
		return nil, syntaxf(b.Line, "a %s where a certificate request is wanted", b.Type)
	}
	return b.Bytes, nil
}

func checkRequest(r *x509.CertificateRequest) (err error) {
	defer catch(&err)
	if err := keyBounds(r.PublicKey); err != nil {
		return err
	}
	return r.CheckSignature()
}

var errPanic = errors.New("it makes the parser stumble, so it was made to do harm")

// catch turns a panic of the standard library into an error: it guards the
// edge where bytes from strangers are read.
func catch(err *error) {
	if recover() != nil {
		*err = errPanic
	}
}
