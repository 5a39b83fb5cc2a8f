package scep

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	encodingasn1 "encoding/asn1"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/smallstep/pkcs7"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postern-project/postern/internal/authority"
)

// A letter is a message to be made, right in all but what a test changes.
type letter struct {
	key         *rsa.PrivateKey
	kind        string
	transaction string
	nonce       []byte
	content     []byte
	digest      encodingasn1.ObjectIdentifier
	signers     int
}

func (w *world) letter(content []byte) letter {
	return letter{deviceKey(), "19", "transaction-1", []byte("0123456789abcdef"), content, pkcs7.OIDDigestAlgorithmSHA256, 1}
}

func (w *world) sealed(content []byte) []byte {
	return must(seal(content, w.registration.Leaf))(w.t)
}

func (l letter) write(t testing.TB) []byte {
	t.Helper()
	sd := must(pkcs7.NewSignedData(l.content))(t)
	sd.SetDigestAlgorithm(l.digest)
	var attributes []pkcs7.Attribute
	for _, a := range []pkcs7.Attribute{
		{Type: oidMessageType, Value: printable(l.kind)}, {Type: oidTransaction, Value: printable(l.transaction)}, {Type: oidSenderNonce, Value: l.nonce},
	} {
		if v, ok := a.Value.(encodingasn1.RawValue); ok && len(v.Bytes) == 0 || a.Value == nil {
			continue
		}
		attributes = append(attributes, a)
	}
	for range l.signers {
		must(0, sd.AddSigner(selfSigned(t, l.key), l.key, pkcs7.SignerInfoConfig{ExtraSignedAttributes: attributes}))(t)
	}
	return must(sd.Finish())(t)
}

// A reply is a CertRep as a client reads it.
type reply struct {
	status, failInfo, transaction string
	certificates                  []*x509.Certificate
}

// read checks the signature of an answer and opens it with the client's key.
func (w *world) read(body []byte, key *rsa.PrivateKey) reply {
	w.t.Helper()
	p7 := must(pkcs7.Parse(body))(w.t)
	if signer := p7.GetOnlySigner(); signer == nil || !signer.Equal(w.registration.Leaf) || p7.Verify() != nil {
		w.t.Fatal("the answer is not signed by the registration authority")
	}
	var r reply
	for oid, s := range map[*encodingasn1.ObjectIdentifier]*string{&oidStatus: &r.status, &oidFailInfo: &r.failInfo, &oidTransaction: &r.transaction} {
		_ = p7.UnmarshalSignedAttribute(*oid, s) // failInfo may be missing
	}
	if r.status == success {
		e := must(parseEnvelope(p7.Content, selfSigned(w.t, key)))(w.t)
		r.certificates = must(pkcs7.Parse(must(e.open(key))(w.t)))(w.t).Certificates
	}
	return r
}

// send posts a message that has to be answered in SCEP.
func (w *world) send(message []byte) reply {
	w.t.Helper()
	status, body := w.post(message)
	if status != http.StatusOK {
		w.t.Fatalf("status %d: %s", status, body)
	}
	return w.read(body, deviceKey())
}

func TestEveryTypeOfMessage(t *testing.T) {
	w := newWorld(t)
	code := w.invite("anna/phone")
	l := w.letter(w.sealed(newCSR(t, deviceKey(), code)))
	for n := range 256 {
		l.kind, l.transaction = strconv.Itoa(n), fmt.Sprintf("of-type-%d", n)
		want := badRequest
		switch kind(n) {
		case pkcsReq:
			continue
		case certPoll, getCert, getCRL:
			want = badCertID
		}
		if n > 40 && n%50 != 0 { // the rest is alike
			continue
		}
		if got := w.send(l.write(t)); got.status != failure || got.failInfo != strconv.Itoa(int(want)) || got.transaction != l.transaction {
			t.Errorf("type %d was answered with %+v", n, got)
		}
	}
	for _, no := range []string{"", "19x", "-19", "256", "+19", "0x13", "１９"} {
		l.kind = no
		if status, body := w.post(l.write(t)); status != http.StatusBadRequest {
			t.Errorf("type %q: %d %s", no, status, body)
		}
	}
	l.kind = "19"
	if got := w.send(l.write(t)); got.status != success || len(got.certificates) < 2 {
		t.Fatalf("the invitation is not good any more: %+v", got)
	} else {
		w.examine(got.certificates[0], "anna/phone", deviceKey())
	}
	if strings.Contains(w.log.String(), code) {
		t.Error("the log holds the code")
	}
}

func TestBadMessagesAreRefused(t *testing.T) {
	w := newWorld(t)
	code := w.invite("anna/phone")
	good := w.letter(w.sealed(newCSR(t, deviceKey(), code)))
	change := func(f func(*letter)) []byte {
		l := good
		f(&l)
		return l.write(t)
	}
	deep := bytes.Repeat([]byte{0x30, 0x80}, 16_000)
	for name, message := range map[string][]byte{
		"nothing":                         nil,
		"text":                            []byte("GET / HTTP/1.1"),
		"an envelope without a signature": good.content,
		"something behind the message":    append(good.write(t), 0),
		"too long a message":              append(good.write(t), make([]byte, maxMessage)...),
		"elements without end":            deep,
		"very many elements":              append([]byte{0x30, 0x82, 0x70, 0x00}, make([]byte, 0x7000)...),
		"two signers":                     change(func(l *letter) { l.signers = 2 }),
		"no signer":                       change(func(l *letter) { l.signers = 0 }),
		"a signature over SHA-1":          change(func(l *letter) { l.digest = pkcs7.OIDDigestAlgorithmSHA1 }),
		"no transaction":                  change(func(l *letter) { l.transaction = "" }),
		"a transaction without end":       change(func(l *letter) { l.transaction = strings.Repeat("x", maxTransaction+1) }),
		"an empty nonce":                  change(func(l *letter) { l.nonce = []byte{} }),
		"a nonce without end":             change(func(l *letter) { l.nonce = make([]byte, maxNonce+1) }),
		"a signature that does not fit": func() []byte {
			m := good.write(t)
			m[len(m)-1] ^= 1
			return m
		}(),
	} {
		if status, body := w.post(message); status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	message := good.write(t)
	for n := 1; n < len(message); n += 1 + n/40 {
		if status, body := w.post(message[:n]); status != http.StatusBadRequest {
			t.Errorf("the first %d of %d bytes: %d %s", n, len(message), status, body)
		}
	}
	if got := w.send(message); got.status != success {
		t.Errorf("the invitation is not good any more: %+v %v", got, w.refusals())
	}
}

// What is wrong inside the envelope, or with the encryption, cannot be told
// from the answer: not the key, not the padding, not what the content is.
func TestEveryErrorOfDecryptionIsAnsweredAlike(t *testing.T) {
	w := newWorld(t)
	csr := newCSR(t, deviceKey(), w.invite("anna/phone"))
	parsed := func(envelope []byte) (int, int) { // where the encrypted key and the content begin
		key := bytes.Index(envelope, []byte{0x04, 0x82, 0x01, 0x00}) + 4
		return key, len(envelope) - len(csr)/16*16 - 16
	}
	change := func(f func(envelope []byte, key, content int) []byte) []byte {
		e := w.sealed(csr)
		key, content := parsed(e)
		return f(e, key, content)
	}
	curve := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	self := selfSigned(t, registrationKey()) // the right key under another name
	for name, content := range map[string][]byte{
		"an encrypted key with a bit turned": change(func(e []byte, key, _ int) []byte { e[key+200] ^= 1; return e }),
		"an encrypted key of zeros":          change(func(e []byte, key, _ int) []byte { clear(e[key : key+256]); return e }),
		"an encrypted key above the modulus": change(func(e []byte, key, _ int) []byte {
			for i := range 256 {
				e[key+i] = 0xff
			}
			return e
		}),
		"a content key that is too short":        w.wrapped(csr, make([]byte, 8)),
		"a content key that is too long":         w.wrapped(csr, make([]byte, 32)),
		"another content key":                    w.wrapped(csr, []byte("another content.")),
		"a first block with a bit turned":        change(func(e []byte, _, content int) []byte { e[content] ^= 1; return e }),
		"a last block with a bit turned":         change(func(e []byte, _, _ int) []byte { e[len(e)-1] ^= 1; return e }),
		"padding that is not there":              change(func(e []byte, _, _ int) []byte { e[len(e)-17] ^= 0xff; return e }),
		"an empty content":                       w.sealed(nil),
		"a content that is no request":           w.sealed([]byte("challenge")),
		"a request with a byte behind it":        w.sealed(append(bytes.Clone(csr), 0)),
		"a request signed by nobody":             w.sealed(append(bytes.Clone(csr[:len(csr)-1]), csr[len(csr)-1]^1)),
		"a request for a key of another kind":    w.sealed(newCSR(t, curve, "x")),
		"a request for somebody else's key":      w.sealed(newCSR(t, otherKey(), "x")),
		"an envelope for somebody else":          must(seal(csr, self))(t),
		"no envelope":                            csr,
		"nothing":                                nil,
		"half an envelope":                       w.sealed(csr)[:300],
		"an envelope with something behind it":   append(w.sealed(csr), 0),
		"a content that is no whole blocks long": w.ragged(csr),
	} {
		got := w.send(w.letter(content).write(t))
		if want := (reply{failure, strconv.Itoa(int(badMessageCheck)), "transaction-1", nil}); got.status != want.status || got.failInfo != want.failInfo {
			t.Errorf("%s: %+v", name, got)
		}
		if seen := w.refusals(); len(seen) != 1 || seen[0].Detail != errEnvelope.Error() {
			t.Errorf("%s: noted %+v", name, seen)
		}
	}
	des := w.sealed(csr) // triple DES takes the place of AES-128 in name
	i := bytes.Index(des, []byte{0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x02})
	des[i+10] = 0x63
	if got := w.send(w.letter(des).write(t)); got.failInfo != strconv.Itoa(int(badAlg)) {
		t.Errorf("another cipher: %+v", got)
	}
}

// wrapped seals the content with a content key of the test's choosing.
func (w *world) wrapped(content, key []byte) []byte {
	w.t.Helper()
	e := w.sealed(content)
	i := bytes.Index(e, []byte{0x04, 0x82, 0x01, 0x00}) + 4
	//lint:ignore SA1019 as clients do
	copy(e[i:], must(rsa.EncryptPKCS1v15(rand.Reader, &registrationKey().PublicKey, key))(w.t))
	return e
}

// ragged is an envelope whose content ends inside a block.
func (w *world) ragged(content []byte) []byte {
	w.t.Helper()
	key, iv := make([]byte, 16), make([]byte, 16)
	//lint:ignore SA1019 as clients do
	encryptedKey := must(rsa.EncryptPKCS1v15(rand.Reader, &registrationKey().PublicKey, key))(w.t)
	block := must(aes.NewCipher(key))(w.t)
	sealed := make([]byte, len(content)/16*16)
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(sealed, content[:len(sealed)])
	b := cryptobyte.NewBuilder(nil)
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oidEnveloped)
		b.AddASN1(tag0.Constructed(), func(b *cryptobyte.Builder) {
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1Int64(0)
				b.AddASN1(asn1.SET, func(b *cryptobyte.Builder) { addRecipient(b, w.registration.Leaf, encryptedKey) })
				b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
					b.AddASN1ObjectIdentifier(oidData)
					b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
						b.AddASN1ObjectIdentifier(oidAES128)
						b.AddASN1OctetString(iv)
					})
					b.AddASN1(tag0, func(b *cryptobyte.Builder) { b.AddBytes(sealed[:len(sealed)-3]) })
				})
			})
		})
	})
	return b.BytesOrPanic()
}

// Apple's systems send messages in BER: lengths that are not said in front, and
// strings of bytes in pieces.
func TestMessagesInBER(t *testing.T) {
	w := newWorld(t)
	l := w.letter(inPieces(t, w.sealed(newCSR(t, deviceKey(), w.invite("anna/phone")))))
	message := inPieces(t, l.write(t))
	if !bytes.Contains(message, []byte{0x24, 0x80, 0x04}) {
		t.Fatal("the message is not in pieces")
	}
	if got := w.send(message); got.status != success {
		t.Fatalf("%+v %v", got, w.refusals())
	}
}

// inPieces writes DER as the BER that differs the most from it.
func inPieces(t testing.TB, der []byte) []byte {
	t.Helper()
	var out []byte
	in := cryptobyte.String(der)
	for !in.Empty() {
		var content cryptobyte.String
		var tag asn1.Tag
		if !in.ReadAnyASN1(&content, &tag) {
			t.Fatalf("no DER: %x", in)
		}
		long := tag == asn1.OCTET_STRING || tag == tag0
		switch {
		case tag&constructed != 0:
			out = append(out, byte(tag), 0x80)
			out = append(append(out, inPieces(t, content)...), 0, 0)
		case long && len(content) > 40:
			out = append(out, byte(tag|constructed), 0x80)
			for len(content) > 0 {
				n := min(len(content), 40)
				out = append(append(out, 0x04, byte(n)), content[:n]...)
				content = content[n:]
			}
			out = append(out, 0, 0)
		default:
			b := cryptobyte.NewBuilder(nil)
			b.AddASN1(tag, func(b *cryptobyte.Builder) { b.AddBytes(content) })
			out = append(out, b.BytesOrPanic()...)
		}
	}
	return out
}

func TestTheSameMessageAgainAndAnotherKey(t *testing.T) {
	w := newWorld(t)
	code := w.invite("anna/phone")
	message := w.letter(w.sealed(newCSR(t, deviceKey(), code))).write(t)
	other := w.letter(w.sealed(newCSR(t, otherKey(), code)))
	other.key = otherKey()
	theirs := other.write(t)
	var all sync.WaitGroup
	serials, denied := make(chan string, 8), make(chan reply, 8)
	for i := range 8 {
		all.Go(func() {
			sent, key := message, deviceKey()
			if i%2 == 1 {
				sent, key = theirs, otherKey()
			}
			_, body := w.post(sent)
			if got := w.read(body, key); got.status == success {
				serials <- got.certificates[0].SerialNumber.String()
			} else {
				denied <- got
			}
		})
	}
	all.Wait()
	close(serials)
	close(denied)
	one := <-serials
	n := 1
	for s := range serials {
		n++
		if s != one {
			t.Error("one invitation gave two certificates")
		}
	}
	if n != 4 || len(denied) != 4 {
		t.Errorf("%d had the certificate and %d had not, of four each", n, len(denied))
	}
	for _, r := range w.refusals() {
		if r.Code != authority.CodeSpent {
			t.Errorf("refused as %+v", r)
		}
	}
	// Whoever recorded the request learns nothing from it under a key of their own.
	stolen := w.letter(w.sealed(newCSR(t, deviceKey(), code)))
	stolen.key = otherKey()
	_, body := w.post(stolen.write(t))
	if got := w.read(body, otherKey()); got.status != failure {
		t.Errorf("a request signed by another key: %+v", got)
	}
}

func TestTenThousandWrongChallenges(t *testing.T) {
	w := newWorld(t)
	w.mu.Lock()
	w.from = "203.0.113.7:1234"
	w.mu.Unlock()
	message := w.letter(w.sealed(newCSR(t, deviceKey(), "0000000000000000000000000000"))).write(t)
	answers := map[int]int{}
	for range 10_000 {
		r := httptest.NewRequest(http.MethodPost, Path+"?operation=PKIOperation", bytes.NewReader(message))
		answer := httptest.NewRecorder()
		w.Config.Handler.ServeHTTP(answer, r)
		answers[answer.Code]++
		if answer.Code == http.StatusTooManyRequests && answer.Header().Get("Retry-After") == "" {
			t.Fatal("no word of when to come back")
		}
	}
	if answers[http.StatusOK] < 20 || answers[http.StatusOK] > 60 || answers[http.StatusOK]+answers[http.StatusTooManyRequests] != 10_000 {
		t.Errorf("answers %v: want 20 and what a slow machine adds", answers)
	}
}

func TestOperations(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct {
		method, query string
		status        int
	}{
		"no operation":              {"GET", "", http.StatusBadRequest},
		"an unknown operation":      {"GET", "?operation=GetNextCACert", http.StatusBadRequest},
		"another method":            {"PUT", "?operation=PKIOperation", http.StatusMethodNotAllowed},
		"a POST of what is for GET": {"POST", "?operation=GetCACert", http.StatusMethodNotAllowed},
		"a message that is empty":   {"GET", "?operation=PKIOperation", http.StatusBadRequest},
		"a message not in base64":   {"GET", "?operation=PKIOperation&message=%25", http.StatusBadRequest},
		"the capabilities":          {"GET", "?operation=GetCACaps", http.StatusOK},
	} {
		r := must(http.NewRequest(c.method, w.URL+Path+c.query, nil))(t)
		resp := must(w.Client().Do(r))(t)
		resp.Body.Close()
		if resp.StatusCode != c.status {
			t.Errorf("%s: %s", name, resp.Status)
		}
	}
	w.registration = nil
	resp := must(w.Client().Get(w.URL + Path + "?operation=GetCACaps"))(t)
	resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("without a registration authority: %s", resp.Status)
	}
	if _, err := Handler(Options{Registration: func() *tls.Certificate { return nil }}); err == nil {
		t.Error("a server without an authority was made")
	}
}

func FuzzMessage(f *testing.F) {
	// No authority: it would take longer to make than all the rest.
	w := &world{t: f, registration: &tls.Certificate{Leaf: selfSigned(f, registrationKey()), PrivateKey: registrationKey()}}
	good := w.letter(w.sealed(newCSR(f, deviceKey(), "0000000000000000000000000000")))
	f.Add(good.write(f))
	f.Add(inPieces(f, good.write(f)))
	f.Add(good.content)
	f.Add(inPieces(f, good.content))
	f.Fuzz(func(t *testing.T, data []byte) {
		if der, err := normalize(data); err == nil {
			if again, err := normalize(der); err != nil || !bytes.Equal(again, der) {
				t.Errorf("%x is not normal: %x, %v", der, again, err)
			}
		}
		if m, err := parse(data); err == nil {
			if m.signer == nil || m.transaction == "" || len(m.nonce) == 0 {
				t.Errorf("%x was read as %+v", data, m)
			}
			_, _ = unseal(m, w.registration)
		}
		if e, err := parseEnvelope(data, w.registration.Leaf); err == nil {
			if _, err := e.open(registrationKey()); err != nil && err != errEnvelope {
				t.Errorf("an error of its own: %v", err)
			}
		}
	})
}

// What it costs to open a good envelope, and one whose key is none: the times
// have to be comparable.
func BenchmarkOpen(b *testing.B) {
	w := newWorld(b)
	good := w.sealed(newCSR(b, deviceKey(), "0000000000000000000000000000"))
	bad := bytes.Clone(good)
	bad[bytes.Index(bad, []byte{0x04, 0x82, 0x01, 0x00})+100] ^= 1
	for name, content := range map[string][]byte{"good": good, "no key": bad} {
		e := must(parseEnvelope(content, w.registration.Leaf))(b)
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				_, _ = e.open(registrationKey())
			}
		})
	}
}

// Well-formed BER that no message is like is refused before anything is made of
// it.
func TestNormalizeHasBounds(t *testing.T) {
	nested := func(n int) []byte {
		return append(bytes.Repeat([]byte{0x30, 0x80}, n), make([]byte, 2*n)...)
	}
	many := func(n int) []byte {
		return append(append([]byte{0x30, 0x80}, bytes.Repeat([]byte{0x05, 0x00}, n)...), 0, 0)
	}
	for name, c := range map[string]struct {
		data []byte
		good bool
	}{
		"as deep as may be":       {nested(maxDepth + 1), true},
		"one deeper":              {nested(maxDepth + 2), false},
		"very deep":               {nested(8000), false},
		"as many as may be":       {many(maxElements - 1), true},
		"one more":                {many(maxElements), false},
		"a length past the end":   {[]byte{0x04, 0x05, 1}, false},
		"a length of five bytes":  {[]byte{0x04, 0x85, 0, 0, 0, 0, 0}, false},
		"no end":                  {[]byte{0x30, 0x80, 0x05, 0x00}, false},
		"a primitive without end": {[]byte{0x04, 0x80, 0, 0}, false},
		"a string of no strings":  {[]byte{0x24, 0x02, 0x05, 0x00}, false},
		"a tag of two bytes":      {[]byte{0x1f, 0x81, 0x00}, false},
	} {
		if _, err := normalize(c.data); (err == nil) != c.good {
			t.Errorf("%s: %v", name, err)
		}
	}
}
