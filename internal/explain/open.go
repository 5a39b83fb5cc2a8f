package explain

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/postern-project/postern/internal/chain"
	"github.com/postern-project/postern/internal/profile"
	"github.com/postern-project/postern/internal/refusal"
)

// maxKeyDER bounds a private key: RSA with 8192 bits takes less than 5 KiB.
const maxKeyDER = 8 << 10

// open finds out what a file is and reads it.
func open(f File, o Options) opened {
	out := opened{name: f.Name}
	switch {
	case len(bytes.TrimSpace(f.Data)) == 0:
		out.fail("contents", "the file is empty", "Get the file again from where it was made.")
	case bytes.HasPrefix(f.Data, []byte("age-encryption.org/")), bytes.Contains(f.Data, []byte("BEGIN AGE ENCRYPTED FILE")):
		out.say(note("contents", "a file sealed with age, such as the root's key: it opens with its passphrase only"))
	case f.Data[0] == 0x30 && isP12(f.Data):
		openP12(f, o, &out)
	case f.Data[0] == 0x30:
		openDER(f, &out)
	case bytes.Contains(f.Data, []byte("-----BEGIN ")) || looksUTF16(f.Data):
		openPEM(f, &out)
	default:
		out.fail("contents", "neither PEM nor DER nor PKCS#12: "+firstLine(f.Data),
			"Name a certificate, a key, a request or a .p12 file.")
	}
	return out
}

func (f *opened) say(s chain.Step) { f.steps = append(f.steps, s) }

func (f *opened) fail(title, detail, remedy string) { f.say(bad(title, detail, remedy)) }

func looksUTF16(data []byte) bool {
	return bytes.HasPrefix(data, []byte{0xff, 0xfe}) || bytes.HasPrefix(data, []byte{0xfe, 0xff})
}

func firstLine(data []byte) string {
	line, _, _ := bytes.Cut(data[:min(len(data), 200)], []byte("\n"))
	return "it begins with " + chain.Quote(strings.TrimSpace(string(line[:min(len(line), 40)])))
}

// openPEM reads the blocks of a PEM file. A file that breaks the rules is said
// to, and then read as far as it can be.
func openPEM(f File, out *opened) {
	blocks, err := chain.Blocks(f.Data)
	if err != nil {
		remedy := "Mend or delete that line: other programs may read the file differently or not at all."
		if e, ok := errors.AsType[*chain.SyntaxError](err); ok && e.CutOff {
			remedy = "Take it from where it was made: a file that was cut off cannot be mended."
		}
		out.say(chain.Step{Title: "syntax", Code: refusal.BadCertificate, Detail: err.Error(), Remedy: remedy})
		blocks = lenient(f.Data)
	}
	seen := map[string]int{}
	for _, b := range blocks {
		if first := seen[b.Type+string(b.Bytes)]; first > 0 {
			out.fail("duplicate", fmt.Sprintf("the %s of line %d stands in the file again on line %d", lower(b.Type), first, b.Line),
				"Delete one of them.")
			continue
		}
		seen[b.Type+string(b.Bytes)] = max(1, b.Line)
		openBlock(b, out)
	}
}

func lower(kind string) string { return strings.ToLower(kind) }

// lenient reads blocks as most programs do: whatever stands between them is
// passed over.
func lenient(data []byte) []chain.Block {
	var blocks []chain.Block
	for rest := data[:min(len(data), chain.MaxPEM)]; ; {
		before := len(data) - len(rest)
		b, after := pem.Decode(rest)
		if b == nil {
			return blocks
		}
		line := 1 + bytes.Count(data[:before+max(0, bytes.Index(rest, []byte("-----BEGIN ")))], []byte("\n"))
		blocks = append(blocks, chain.Block{Type: b.Type, Line: line, Headers: b.Headers, Bytes: b.Bytes})
		rest = after
	}
}

func openBlock(b chain.Block, out *opened) {
	where := fmt.Sprintf("line %d", b.Line)
	switch {
	case b.Type == "CERTIFICATE" || b.Type == "X509 CERTIFICATE":
		out.certificate(where, b.Bytes)
	case b.Type == "CERTIFICATE REQUEST" || b.Type == "NEW CERTIFICATE REQUEST":
		out.request(where, b.Bytes)
	case b.Type == "ENCRYPTED PRIVATE KEY" || b.Headers["Proc-Type"] != "":
		out.say(note(where, "a private key locked with a passphrase: open it with 'openssl pkey -in FILE' to have it compared"))
	case strings.HasSuffix(b.Type, "PRIVATE KEY") && b.Type != "OPENSSH PRIVATE KEY":
		out.key(where, b.Bytes)
	case b.Type == "EC PARAMETERS" || b.Type == "DH PARAMETERS":
	default:
		out.fail(where, "a block "+chain.Quote(b.Type)+", which is not used for TLS here", otherKinds(b.Type))
	}
}

func otherKinds(kind string) string {
	switch kind {
	case "PKCS7", "CMS":
		return "Take the certificates out: 'openssl pkcs7 -print_certs -in FILE'."
	case "TRUSTED CERTIFICATE":
		return "Convert it: 'openssl x509 -in FILE -out NEW'."
	case "OPENSSH PRIVATE KEY":
		return "A key of SSH has no certificate for TLS: use the key that was made for it."
	case "PUBLIC KEY", "RSA PUBLIC KEY":
		return "A public key alone is no certificate: name the certificate."
	default:
		return "Delete the block."
	}
}

func openDER(f File, out *opened) {
	if c, err := chain.ParseDER(f.Data); err == nil {
		out.certs = append(out.certs, c)
		return
	}
	if _, err := chain.ParseRequestDER(f.Data); err == nil {
		out.request("request", f.Data)
		return
	}
	if pub, err := publicOf(f.Data); err == nil {
		out.keys = append(out.keys, foundKey{f.Name, pub})
		return
	}
	out.fail("contents", "DER that is neither a certificate nor a request nor a key, or is damaged",
		"Get the file again from where it was made; a PKCS#7 file is taken apart by 'openssl pkcs7 -inform DER -print_certs -in FILE'.")
}

func (f *opened) certificate(where string, der []byte) {
	c, err := chain.ParseDER(der)
	if err != nil {
		f.say(chain.Step{Title: where, Code: refusal.BadCertificate, Detail: err.Error(),
			Remedy: "Get the certificate again from where it was issued."})
		return
	}
	f.certs = append(f.certs, c)
}

func (f *opened) key(where string, der []byte) {
	pub, err := publicOf(der)
	if err != nil {
		f.fail(where, "a private key that cannot be read: "+chain.Printable(err.Error()), "Use the key as it was made: PKCS#8, PKCS#1 or SEC 1.")
		return
	}
	f.keys = append(f.keys, foundKey{f.name, pub})
}

// publicOf returns the public part of a private key in any of its encodings.
func publicOf(der []byte) (crypto.PublicKey, error) {
	if len(der) > maxKeyDER {
		return nil, fmt.Errorf("a key of %d bytes: at most %d are read", len(der), maxKeyDER)
	}
	if k, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		return publicPart(k)
	}
	if k, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return k.Public(), nil
	}
	k, err := x509.ParseECPrivateKey(der)
	if err != nil {
		return nil, errors.New("not a private key in an encoding that is known here")
	}
	return k.Public(), nil
}

func publicPart(k any) (crypto.PublicKey, error) {
	if s, ok := k.(crypto.Signer); ok {
		return s.Public(), nil
	}
	return nil, errors.New("a key that cannot sign")
}

// request explains a certificate request.
func (f *opened) request(where string, der []byte) {
	r, err := chain.ParseRequestDER(der)
	if err != nil {
		f.fail(where, err.Error(), "Make the request again.")
		return
	}
	children := []chain.Step{requestKey(r)}
	if _, err := chain.ParseCSR(der); err != nil {
		children = append(children, bad("signature", err.Error(), "Make the request again with the key that it is for."))
	} else {
		children = append(children, good("signature", "made with its own key, "+r.SignatureAlgorithm.String()))
	}
	if names := requestNames(r); len(names) > 0 {
		children = append(children, note("names", "the names in it are ignored, they come from 'postern sign NAME': "+strings.Join(names, ", ")))
	}
	f.say(group("certificate request", where, children...))
}

// requestKey says whether the authority would take the request's key.
func requestKey(r *x509.CertificateRequest) chain.Step {
	if err := profile.CheckKey(r.PublicKey); err != nil {
		return bad("key", chain.KeyWords(r.PublicKey)+": "+chain.Printable(err.Error()),
			"Make a new key and a new request, best with ECDSA P-256.")
	}
	return good("key", chain.KeyWords(r.PublicKey))
}

func requestNames(r *x509.CertificateRequest) []string {
	names := chain.NamesOf(&x509.Certificate{
		DNSNames: r.DNSNames, IPAddresses: r.IPAddresses, URIs: r.URIs, EmailAddresses: r.EmailAddresses,
	})
	if subject := r.Subject.String(); subject != "" {
		names = slices.Insert(names, 0, chain.Printable(subject))
	}
	return names[:min(len(names), 10)]
}
