package ceremony

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/ledger"
)

var noon = time.Date(2027, 3, 4, 12, 0, 0, 0, time.UTC)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func domain(s string) identity.TrustDomain { return must(identity.ParseTrustDomain(s)) }

func newKey() crypto.Signer { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) }

func newRoot(d string) *Root { return must(Create(domain(d), newKey(), noon)) }

func ledgerKey() ed25519.PublicKey {
	return ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)).Public().(ed25519.PublicKey)
}

// asked returns a request of an authority that runs under root.
func asked(root *Root, change func(*Request)) []byte {
	q := Request{TrustDomain: "example.com", Root: root.cert.Raw, List: &List{Number: 2}}
	q.Issuers = []Issuer{must(Ask(domain("example.com"), "clients-2", ledger.UseClients, nil, newKey()))}
	if change != nil {
		change(&q)
	}
	return must(q.Marshal())
}

func TestTheRootSignsByItsPolicy(t *testing.T) {
	root := newRoot("example.com")
	file := asked(root, func(q *Request) {
		q.Issuers = append(q.Issuers, must(Ask(domain("example.com"), "servers-2", ledger.UseServers, []string{"example.net"}, newKey())))
		q.List.Revoked = []Revoked{{Serial: must(ledger.ParseSerial("0a01")), Name: "clients-1", Reason: ledger.ReasonKeyCompromise, At: noon}}
	})
	a, err := root.Answer(file, Policy{Now: noon, Zones: []string{"example.net"}})
	if err != nil {
		t.Fatal(err)
	}
	a = must(ParseAnswer(must(a.Marshal())))
	if err := a.Answers(file); err != nil {
		t.Error(err)
	}
	clients, servers := must(x509.ParseCertificate(a.Issuers[0])), must(x509.ParseCertificate(a.Issuers[1]))
	switch {
	case !clients.MaxPathLenZero || len(clients.PermittedURIDomains) != 1 || clients.PermittedURIDomains[0] != "example.com" || !clients.PermittedDNSDomainsCritical:
		t.Errorf("clients: path length %d, names in %v", clients.MaxPathLen, clients.PermittedURIDomains)
	case servers.PermittedDNSDomains[0] != "example.com" || servers.PermittedDNSDomains[1] != "example.net":
		t.Errorf("servers: names in %v", servers.PermittedDNSDomains)
	case clients.Subject.String() == servers.Subject.String() || bytes.Equal(clients.SubjectKeyId, servers.SubjectKeyId):
		t.Error("two issuers share a name or a key id")
	}
	list := must(x509.ParseRevocationList(a.List))
	if list.CheckSignatureFrom(root.cert) != nil || !list.NextUpdate.Equal(noon.AddDate(1, 0, 0)) || len(list.RevokedCertificateEntries) != 1 ||
		list.RevokedCertificateEntries[0].ReasonCode != 1 {
		t.Errorf("list until %s of %d", list.NextUpdate, len(list.RevokedCertificateEntries))
	}
	for _, want := range []string{"signed 1: issuer clients-2", "signed 3: revocation list 2", "revoked: clients-1, serial 0a01", "key-compromise"} {
		if !strings.Contains(a.Transcript, want) {
			t.Errorf("the transcript does not say %q:\n%s", want, a.Transcript)
		}
	}
	for line := range strings.Lines(a.Transcript) {
		if len(line) > 80 {
			t.Errorf("line of %d letters: %s", len(line), line)
		}
	}
}

// The one who asks may be a thief in the authority's place.
func TestTheRootRefuses(t *testing.T) {
	root := newRoot("example.com")
	stolen := must(Ask(domain("example.com"), "clients-2", ledger.UseClients, nil, newKey()))
	rsaWeak := stolen
	rsaWeak.Key = []byte("no key")
	for sentence, c := range map[string]struct {
		change func(*Request)
		says   string
	}{
		"another domain":                         {func(q *Request) { q.TrustDomain = "example.org" }, "does not hold the key"},
		"another domain without issuers":         {func(q *Request) { q.TrustDomain, q.Issuers = "example.org", nil }, "this is the root of example.com"},
		"another root":                           {func(q *Request) { q.Root = newRoot("example.com").cert.Raw }, "another root"},
		"no root":                                {func(q *Request) { q.Root = nil }, "names no root"},
		"nothing":                                {func(q *Request) { q.Issuers, q.List = nil, nil }, "asks for nothing"},
		"somebody else's key":                    {func(q *Request) { q.Issuers[0].Key = stolen.Key }, "does not hold the key"},
		"another name than the proof has":        {func(q *Request) { q.Issuers[0].Name = "clients-3" }, "does not hold the key"},
		"another use than the proof has":         {func(q *Request) { q.Issuers[0].Use = ledger.UseServers }, "does not hold the key"},
		"a name that is no name":                 {func(q *Request) { q.Issuers[0].Name = "Bank of Nowhere" }, "a name is a word"},
		"a name without a number":                {func(q *Request) { q.Issuers[0].Name = "clients" }, "a name is a word"},
		"a key that is none":                     {func(q *Request) { q.Issuers = []Issuer{rsaWeak} }, "clients-2"},
		"zones for clients":                      {func(q *Request) { q.Issuers[0].Zones = []string{"example.net"} }, "for servers"},
		"a zone that nobody permitted":           {zoned("example.net"), "not permitted"},
		"a zone that is none":                    {zoned("*.example.net"), "no DNS zones"},
		"seventeen issuers":                      {func(q *Request) { q.Issuers = slices.Repeat(q.Issuers, 17) }, "at most 16"},
		"a list without a number":                {func(q *Request) { q.List.Number = 0 }, "no number"},
		"a list of a thousand and one":           {func(q *Request) { q.List.Revoked = make([]Revoked, 1001) }, "too long"},
		"a list that names nothing":              {func(q *Request) { q.List.Revoked = make([]Revoked, 1) }, "no serial number"},
		"an address with TLS":                    {func(q *Request) { q.PublicURL = "https://pki.example.com" }, "no address where lists"},
		"an address with a query":                {func(q *Request) { q.PublicURL = "http://pki.example.com/?a" }, "no address where lists"},
		"an address with a user":                 {func(q *Request) { q.PublicURL = "http://a@pki.example.com" }, "no address where lists"},
		"an address that steers a terminal":      {func(q *Request) { q.PublicURL = "http://pki.example.com/\u202e" }, "no address where lists"},
		"an endless address":                     {func(q *Request) { q.PublicURL = "http://" + strings.Repeat("a", 200) }, "no address where lists"},
		"half a ledger key":                      {func(q *Request) { q.Rekey = &Rekey{Old: ledgerKey(), New: ledgerKey()[:8]} }, "no Ed25519"},
		"its own end":                            {func(q *Request) { q.Retire = ledger.KeyIDOf(root.cert) }, "retires the root that is asked"},
		"a beginning and a change at once":       {func(q *Request) { q.LedgerKey = ledgerKey() }, "at once"},
		"a beginning with a retirement attached": {func(q *Request) { q.Root, q.LedgerKey, q.Retire = nil, ledgerKey(), ledger.KeyID{1} }, "at once"},
	} {
		t.Run(sentence, func(t *testing.T) {
			a, err := root.Answer(asked(root, c.change), Policy{Now: noon})
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %q", err, c.says)
			}
			if a.Signature != nil || a.Issuers != nil {
				t.Error("something was signed")
			}
		})
	}
	if _, err := root.Answer(asked(root, nil), Policy{Now: noon.AddDate(21, 0, 0)}); err == nil {
		t.Error("signed after the root's end")
	}
	if _, err := Open(root.cert, newKey(), domain("example.com")); err == nil {
		t.Error("opened with another key")
	}
	if _, err := Open(root.cert, root.key, domain("example.org")); err == nil {
		t.Error("opened for another domain")
	}
	if r, err := Open(root.cert, root.key, identity.TrustDomain{}); err != nil || r.TrustDomain() != domain("example.com") {
		t.Errorf("opened by its name: %v", err)
	}
}

func zoned(zone string) func(*Request) {
	return func(q *Request) {
		q.Issuers = []Issuer{must(Ask(domain("example.com"), "servers-2", ledger.UseServers, []string{zone}, newKey()))}
	}
}

// Whatever the root signed is believed by the ledger, from the beginning to the
// second root.
func TestAnswersMakeALedger(t *testing.T) {
	first, second := newRoot("example.com"), newRoot("example.com")
	begin := must(Request{TrustDomain: "example.com", LedgerKey: ledgerKey(), List: &List{Number: 1},
		Issuers: []Issuer{must(Ask(domain("example.com"), "clients-1", ledger.UseClients, nil, newKey()))}}.Marshal())
	a, err := first.Answer(begin, Policy{Now: noon})
	if err != nil {
		t.Fatal(err)
	}
	next, err := first.Succeed(second, Policy{Now: noon, Before: HashOf(a.Transcript)})
	if err != nil {
		t.Fatal(err)
	}
	retire, err := second.Answer(asked(second, func(q *Request) {
		q.Issuers, q.List, q.Retire, q.Before = nil, nil, ledger.KeyIDOf(first.cert), HashOf(next.Transcript)
	}), Policy{Now: noon})
	if err != nil {
		t.Fatal(err)
	}
	var anchors ledger.Anchors
	for n, b := range []ledger.Body{
		ledger.Genesis{TrustDomain: domain("example.com"), Root: a.Root, LedgerKey: ledgerKey(), RootSignature: a.Genesis},
		ledger.RootListSigned{List: a.List}, a.Recorded(), *next.Successor, next.Recorded(),
		ledger.RootRetired{Root: ledger.KeyIDOf(first.cert), RootSignature: retire.Retire}, retire.Recorded(),
	} {
		if anchors, err = anchors.After(b); err != nil {
			t.Fatalf("entry %d: %v", n, err)
		}
	}
	if before, ok := BeforeOf(retire.Transcript); !ok || before != HashOf(next.Transcript) {
		t.Error("the transcripts are no chain")
	}
	if _, err := first.Succeed(first, Policy{Now: noon}); err == nil {
		t.Error("a root follows itself")
	}
	if _, err := first.Succeed(newRoot("example.org"), Policy{Now: noon}); err == nil {
		t.Error("the root of another domain follows")
	}
	kept := Join(Join(Join("", a.Transcript), next.Transcript), retire.Transcript)
	if got := Split(kept); len(got) != 3 || got[2] != retire.Transcript || Gap(kept) != 0 {
		t.Errorf("%d transcripts, gap at %d", len(got), Gap(kept))
	}
	if Gap(Join(a.Transcript, retire.Transcript)) != 2 {
		t.Error("a transcript taken out is not noticed")
	}
}

func FuzzParseRequest(f *testing.F) {
	root := newRoot("example.com")
	f.Add(asked(root, nil))
	f.Add(asked(root, func(q *Request) { q.Rekey = &Rekey{ledgerKey(), ledgerKey()} }))
	f.Fuzz(func(t *testing.T, file []byte) {
		q, err := ParseRequest(file)
		if err != nil {
			return
		}
		again, err := ParseRequest(must(q.Marshal()))
		if err != nil {
			t.Fatalf("what was accepted is not accepted again: %v", err)
		}
		if !bytes.Equal(must(again.Marshal()), must(q.Marshal())) {
			t.Error("it prints differently")
		}
	})
}

func FuzzParseAnswer(f *testing.F) {
	root := newRoot("example.com")
	f.Add(must(must(root.Answer(asked(root, nil), Policy{Now: noon})).Marshal()))
	f.Add(must(must(root.Succeed(newRoot("example.com"), Policy{Now: noon})).Marshal()))
	f.Fuzz(func(t *testing.T, file []byte) {
		a, err := ParseAnswer(file)
		if err != nil {
			return
		}
		if _, err := ParseAnswer(must(a.Marshal())); err != nil {
			t.Fatalf("what was accepted is not accepted again: %v", err)
		}
	})
}
