package chain

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"strings"
	"testing"
)

func pemOf(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func TestParsePEM(t *testing.T) {
	h := newHouse(t)
	root, sub := pemOf("CERTIFICATE", h.root.Raw), pemOf("CERTIFICATE", h.clients.Raw)
	lines := strings.Count(root, "\n")
	key, err := x509.MarshalPKCS8PrivateKey(h.root.key)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		data string
		n    int
		line int    // of the error
		want string // in the error
	}{
		"one certificate":                {root, 1, 0, ""},
		"two in order":                   {sub + root, 2, 0, ""},
		"empty lines between":            {"\n\n" + sub + "\n  \n" + root + "\n", 2, 0, ""},
		"lines of Windows":               {strings.ReplaceAll(root, "\n", "\r\n"), 1, 0, ""},
		"no newline at the end":          {strings.TrimSpace(root), 1, 0, ""},
		"nothing":                        {"", 0, 0, "no certificate"},
		"junk before":                    {"hello\n" + root, 0, 1, "'hello'"},
		"junk between":                   {root + "subject=CN\n" + sub, 0, lines + 1, "outside of a PEM block"},
		"junk after":                     {root + "bye", 0, lines + 1, "'bye'"},
		"an escape sequence as junk":     {"\x1b]0;x\x07\n" + root, 0, 1, `\x1b`},
		"a comment":                      {"# our root\n" + root, 0, 1, "outside of a PEM block"},
		"a key among them":               {root + pemOf("PRIVATE KEY", key), 0, lines + 1, "file of its own"},
		"a request":                      {pemOf("CERTIFICATE REQUEST", []byte{1}), 0, 1, "postern sign"},
		"the same twice":                 {root + root, 0, lines + 1, "line 1 again"},
		"cut off":                        {root[:len(root)-30], 0, 1, "cut off"},
		"END of another kind":            {strings.Replace(root, "END CERTIFICATE", "END PRIVATE KEY", 1), 0, lines, "does not fit"},
		"BEGIN in the middle":            {strings.Replace(root, "-----END", "-----BEGIN", 1), 0, lines, "no END line"},
		"END alone":                      {"-----END CERTIFICATE-----\n", 0, 1, "without a BEGIN"},
		"a letter that is not base64":    {strings.Replace(root, "MII", "M*I", 1), 0, 2, "'*'"},
		"a letter missing":               {strings.Replace(root, "MII", "MI", 1), 0, 1, "damaged"},
		"an empty block":                 {"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n", 0, 1, "empty"},
		"DER of something else":          {pemOf("CERTIFICATE", []byte{0x30, 0}), 0, 1, "not a certificate"},
		"bytes after the certificate":    {pemOf("CERTIFICATE", append(bytes.Clone(h.root.Raw), 0)), 0, 1, "trailing data"},
		"a certificate of 17 KiB":        {pemOf("CERTIFICATE", make([]byte, 17<<10)), 0, 1, "17408 bytes"},
		"headers in a certificate":       {strings.Replace(root, "-----\n", "-----\nProc-Type: 4,ENCRYPTED\n\n", 1), 0, 1, "only certificates"},
		"UTF-16":                         {"\xff\xfe-\x00", 0, 1, "UTF-16"},
		"a byte order mark":              {"\xef\xbb\xbf" + root, 0, 1, "byte order mark"},
		"more than a megabyte":           {strings.Repeat("\n", MaxPEM+1), 0, 0, "split the file"},
		"a certificate of OpenSSL's own": {pemOf("TRUSTED CERTIFICATE", h.root.Raw), 0, 1, "openssl x509"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParsePEM([]byte(c.data))
			if c.want == "" {
				if err != nil || len(got) != c.n {
					t.Fatalf("got %d certificates, %v", len(got), err)
				}
				return
			}
			syntax, ok := errors.AsType[*SyntaxError](err)
			if !ok || syntax.Line != c.line || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want line %d and %q", err, c.line, c.want)
			}
		})
	}
}

func request(t testing.TB, cn string, hosts ...string) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader,
		&x509.CertificateRequest{Subject: pkix.Name{CommonName: cn}, DNSNames: hosts}, newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestParseCSR(t *testing.T) {
	der := request(t, "ben", "ben.example")
	broken := bytes.Clone(der)
	broken[len(broken)-1] ^= 1
	text := pemOf("CERTIFICATE REQUEST", der)
	for name, c := range map[string]struct {
		data string
		want string // in the error; "" is accepted
	}{
		"PEM":                          {text, ""},
		"PEM of old tools":             {pemOf("NEW CERTIFICATE REQUEST", der), ""},
		"DER":                          {string(der), ""},
		"a signature that is broken":   {string(broken), "signature does not fit"},
		"two requests":                 {text + text, "second block"},
		"a certificate":                {pemOf("CERTIFICATE", der), "where a certificate request is wanted"},
		"junk after":                   {text + "x", "outside of a PEM block"},
		"bytes after":                  {string(der) + "\x00", "not a certificate request"},
		"nothing":                      {"", "not a certificate request"},
		"a text":                       {"hello", "not a certificate request"},
		"more than 16 KiB, DER":        {"\x30" + strings.Repeat("x", MaxDER), "at most"},
		"more than 32 KiB, PEM":        {text + strings.Repeat("\n", 2*MaxDER), "at most"},
		"an empty line and no block":   {"\n", "not a certificate request"},
		"a label of a request in text": {"see -----BEGIN CERTIFICATE REQUEST-----", "outside"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := ParseCSR([]byte(c.data))
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			if err == nil && r.Subject.CommonName != "ben" {
				t.Errorf("the name is %q", r.Subject.CommonName)
			}
		})
	}
}

// What ParsePEM accepts is, written again, read as the same certificates; and
// the standard decoder finds in it neither more nor less.
func FuzzParsePEM(f *testing.F) {
	h := newHouse(f)
	f.Add([]byte(pemOf("CERTIFICATE", h.root.Raw)))
	f.Add([]byte(pemOf("CERTIFICATE", h.root.Raw) + "junk\n" + pemOf("CERTIFICATE", h.clients.Raw)))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nA: b\n\nMII=\n-----END CERTIFICATE-----"))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := ParsePEM(data)
		if err != nil {
			return
		}
		var again strings.Builder
		for _, c := range got {
			again.WriteString(pemOf("CERTIFICATE", c.Raw))
		}
		second, err := ParsePEM([]byte(again.String()))
		if err != nil || len(second) != len(got) {
			t.Fatalf("written again: %d certificates, %v", len(second), err)
		}
		for i, rest := 0, data; ; i++ {
			b, after := pem.Decode(rest)
			if b == nil {
				if i != len(got) {
					t.Fatalf("the standard decoder finds %d, we %d", i, len(got))
				}
				return
			}
			if i >= len(got) || !bytes.Equal(b.Bytes, got[i].Raw) {
				t.Fatalf("the standard decoder reads certificate %d differently", i)
			}
			rest = after
		}
	})
}

// Whatever is parsed can be judged and explained: nothing panics, and nothing
// but a chain to the anchor is good.
func FuzzVerify(f *testing.F) {
	h := newHouse(f)
	f.Add(h.clients.Raw, leaf(f, "x", h.clients).Raw)
	f.Add(h.root.Raw, leaf(f, "x", nil).Raw)
	f.Add([]byte{0x30}, request(f, "x"))
	a := h.anchors()
	v := NewVerifier(a, Client)
	f.Fuzz(func(t *testing.T, first, second []byte) {
		var presented []*x509.Certificate
		for _, der := range [][]byte{first, second} {
			if c, err := ParseDER(der); err == nil {
				presented = append(presented, c)
			}
		}
		r := v.Verify(presented, now)
		if r.Code == "" && (len(r.Chain) < 2 || !r.Chain[len(r.Chain)-1].Equal(h.root.Certificate)) {
			t.Fatalf("let in without our root: %v", r)
		}
		for _, s := range Explain(presented, a, Client, "example.com", now) {
			if Escape(s.Title+s.Detail+s.Remedy) != s.Title+s.Detail+s.Remedy {
				t.Fatalf("a control character in %+v", s)
			}
		}
	})
}

func FuzzParseCSR(f *testing.F) {
	f.Add(request(f, "ben", "ben.example"))
	f.Add([]byte(pemOf("CERTIFICATE REQUEST", request(f, "ben"))))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ParseCSR(data)
		if err == nil && r.CheckSignature() != nil {
			t.Fatal("accepted with a signature that does not fit")
		}
	})
}

// What Escape returns holds nothing that steers a terminal, and stays as it is
// when escaped again.
func FuzzEscape(f *testing.F) {
	f.Add("\x1b[2J\u202eevil\x9b31m\xff\x00\u2028")
	f.Add("plain ✓ ünïcode")
	f.Fuzz(func(t *testing.T, s string) {
		out := Escape(s)
		if i := strings.IndexFunc(out, isHostile); i >= 0 {
			t.Fatalf("%q is left in %q", out[i:], out)
		}
		if Escape(out) != out {
			t.Fatalf("escaping %q again gives %q", out, Escape(out))
		}
		if p := Printable(s); Printable(p) != p && len([]rune(p)) <= maxShown {
			t.Fatalf("Printable(%q) is not stable", p)
		}
	})
}
