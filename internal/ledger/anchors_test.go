package ledger

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postern-project/postern/internal/identity"
)

// newRoot returns a root under which another root and an issuer fit.
func newRoot(cn string) ca {
	template := rootTemplate()
	template.Subject, template.MaxPathLen = pkix.Name{CommonName: cn}, 2
	return sign(template, p256(), nil)
}

// bridgeOver certifies whom by the key of by.
func bridgeOver(whom, by ca) []byte {
	template := rootTemplate()
	template.Subject, template.MaxPathLen, template.SerialNumber = whom.Subject, 1, big.NewInt(7)
	return must(x509.CreateCertificate(rand.Reader, template, by.Certificate, whom.key.Public(), by.key))
}

func succession(before, next ca) RootAdded {
	return RootAdded{
		Root: next.Raw, Under: bridgeOver(next, before), Over: bridgeOver(before, next),
		RootSignature: must(SignMessage(before.key, AddedMessage(domain, before.Certificate, next.Certificate))),
	}
}

func retirement(old, by ca) RootRetired {
	id := KeyIDOf(old.Certificate)
	return RootRetired{Root: id, RootSignature: must(SignMessage(by.key, RetiredMessage(domain, id)))}
}

func rekeying(from, to byte, by ca) LedgerKeyChanged {
	old, next := public(key(from)), public(key(to))
	return LedgerKeyChanged{Old: old, New: next, RootSignature: must(SignMessage(by.key, LedgerKeyMessage(domain, old, next)))}
}

func listBy(root ca, number int64, at time.Time) RootListSigned {
	return RootListSigned{must(x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: big.NewInt(number), ThisUpdate: at, NextUpdate: at.AddDate(1, 0, 0),
	}, root.Certificate, root.key))}
}

func ceremony(text string, by ca) CeremonyRecorded {
	return CeremonyRecorded{[]byte(text), must(SignMessage(by.key, CeremonyMessage([]byte(text))))}
}

// follow returns the anchors after all bodies but the last, and what becomes
// of the last.
func follow(t *testing.T, bodies ...Body) (a Anchors, err error) {
	t.Helper()
	for i, b := range bodies {
		data := Entry{Body: b}.Marshal()
		next, err := a.AfterRecord(data)
		if err != nil && i < len(bodies)-1 {
			t.Fatalf("body %d: %v", i, err)
		}
		if err != nil {
			return a, err
		}
		a = next
	}
	return a, nil
}

func TestAnchorsFollowEverySuccession(t *testing.T) {
	first, second := newRoot("first"), newRoot("second")
	genesis := must(NewGenesis(domain, first.Raw, public(key(1)), first.key))
	now := time.Now().Truncate(time.Second)
	a, err := follow(t, genesis, IdentityCreated{name("ben")}, listBy(first, 1, now), succession(first, second), listBy(second, 1, now),
		ceremony("once\n", first), rekeying(1, 2, second), retirement(first, second), rekeying(2, 3, second), ceremony("twice\n", second))
	if err != nil {
		t.Fatal(err)
	}
	if !a.Newest().Equal(second.Certificate) || len(a.Trusted()) != 1 || len(a.Bridges()) != 2 {
		t.Errorf("newest %s, %d trusted, %d bridges", a.Newest().Subject, len(a.Trusted()), len(a.Bridges()))
	}
	var keys []string
	for _, k := range a.Keys() {
		keys = append(keys, string(k))
	}
	want := []string{string(public(key(3))), string(public(key(2))), string(public(key(1)))}
	if d := cmp.Diff(want, keys); d != "" {
		t.Errorf("keys: %s", d)
	}
	if a.Roots[0].List == nil || a.Roots[1].List == nil || !a.Roots[0].Retired {
		t.Errorf("roots %+v", a.Roots)
	}
}

// Only a root changes a root, a list, a transcript or the ledger's key, and only
// one that is trusted at that moment: the attacker has every other key.
func TestAnchorsRefuse(t *testing.T) {
	first, second, thief := newRoot("first"), newRoot("second"), newRoot("thief")
	genesis := must(NewGenesis(domain, first.Raw, public(key(1)), first.key))
	issuer := sign(issuerTemplate(), p256(), &first)
	now := time.Now().Truncate(time.Second)
	added := succession(first, second)
	elsewhere := must(identity.ParseTrustDomain("example.org"))
	change := func(f func(*RootAdded)) RootAdded { b := added; f(&b); return b }
	twin := newRoot("first")
	small := ca{Certificate: issuer.Certificate, key: issuer.key}
	for sentence, bodies := range map[string][]Body{
		"anything before entry 0":   {retirement(first, second)},
		"a root nobody vouches for": {genesis, change(func(b *RootAdded) { b.RootSignature = nil })},
		"a root that vouches for itself": {genesis, change(func(b *RootAdded) {
			b.RootSignature = must(SignMessage(second.key, AddedMessage(domain, first.Certificate, second.Certificate)))
		})},
		"a root vouched for in another domain": {genesis, change(func(b *RootAdded) {
			b.RootSignature = must(SignMessage(first.key, AddedMessage(elsewhere, first.Certificate, second.Certificate)))
		})},
		"a root vouched for after another": {genesis, change(func(b *RootAdded) {
			b.RootSignature = must(SignMessage(first.key, AddedMessage(domain, thief.Certificate, second.Certificate)))
		})},
		"a thief's root in the place of the new one": {genesis, change(func(b *RootAdded) { b.Root = thief.Raw })},
		"an issuer as a root":                        {genesis, succession(first, small)},
		"a root whose key the old one never saw":     {genesis, change(func(b *RootAdded) { b.Under = bridgeOver(thief, first) })},
		"a root that never signed the old one":       {genesis, change(func(b *RootAdded) { b.Over = bridgeOver(first, thief) })},
		"the same root twice":                        {genesis, added, added},
		"the first root again":                       {genesis, added, succession(second, first)},
		"a root of the same name":                    {genesis, succession(first, twin)},
		"a third root by the first one":              {genesis, added, succession(first, thief)},
		"retiring the only root":                     {genesis, retirement(first, first)},
		"retiring the newest root":                   {genesis, added, retirement(second, second)},
		"the old root ending itself":                 {genesis, added, retirement(first, first)},
		"retiring a stranger":                        {genesis, added, retirement(thief, second)},
		"retiring twice":                             {genesis, added, retirement(first, second), retirement(first, second)},
		"a list by a stranger":                       {genesis, listBy(thief, 1, now)},
		"a list by a stranger of the same name":      {genesis, listBy(twin, 1, now)},
		"a list by a retired root":                   {genesis, added, retirement(first, second), listBy(first, 1, now)},
		"a list by an issuer":                        {genesis, listBy(issuer, 1, now)},
		"the list before":                            {genesis, listBy(first, 2, now), listBy(first, 1, now)},
		"the same list":                              {genesis, listBy(first, 1, now), listBy(first, 1, now)},
		"a list that is no list":                     {genesis, RootListSigned{[]byte("list")}},
		"a ledger key by a stranger":                 {genesis, rekeying(1, 2, thief)},
		"a ledger key by the root before":            {genesis, added, rekeying(1, 2, first)},
		"a ledger key after another":                 {genesis, rekeying(3, 2, first)},
		"the ledger key that is there":               {genesis, rekeying(1, 1, first)},
		"a ledger key that was there, played back":   {genesis, rekeying(1, 2, first), rekeying(2, 3, first), rekeying(1, 2, first)},
		"the first ledger key again":                 {genesis, rekeying(1, 2, first), rekeying(2, 1, first)},
		"a transcript that a stranger signed":        {genesis, ceremony("text", thief)},
		"a transcript changed after it was signed":   {genesis, CeremonyRecorded{[]byte("other"), ceremony("text", first).RootSignature}},
		"a signature for another purpose":            {genesis, CeremonyRecorded{[]byte("text"), genesis.RootSignature}},
		"a transcript of a retired root":             {genesis, added, retirement(first, second), ceremony("text", first)},
	} {
		t.Run(sentence, func(t *testing.T) {
			if _, err := follow(t, bodies...); err == nil {
				t.Error("accepted")
			}
		})
	}
}

func TestIssuersAreThoseOfATrustedRoot(t *testing.T) {
	first, second := newRoot("first"), newRoot("second")
	of := func(root ca) IssuerAdded {
		return IssuerAdded{Name: "clients-2", Use: UseClients, Certificate: sign(issuerTemplate(), p256(), &root).Raw}
	}
	genesis := must(NewGenesis(domain, first.Raw, public(key(1)), first.key))
	for sentence, c := range map[string]struct {
		bodies []Body
		root   ca
		good   bool
	}{
		"of the first root":                    {[]Body{genesis}, first, true},
		"of a root before it is known":         {[]Body{genesis}, second, false},
		"of the second root":                   {[]Body{genesis, succession(first, second)}, second, true},
		"of the first root beside the second":  {[]Body{genesis, succession(first, second)}, first, true},
		"of the first root once it is retired": {[]Body{genesis, succession(first, second), retirement(first, second)}, first, false},
	} {
		t.Run(sentence, func(t *testing.T) {
			a, err := follow(t, c.bodies...)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := a.Issuer(of(c.root)); (err == nil) != c.good {
				t.Errorf("got %v", err)
			}
		})
	}
	// a root's own key signs no certificates for people
	template := issuerTemplate()
	own := sign(template, second.key, &first)
	a, err := follow(t, genesis, succession(first, second))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Issuer(IssuerAdded{Name: "clients-2", Use: UseClients, Certificate: own.Raw}); err == nil {
		t.Error("the second root's key became an issuer")
	}
}

func TestLineOf(t *testing.T) {
	for name, want := range map[string]string{
		"clients-1": "clients", "clients-12": "clients", "clients": "clients", "my-phones-3": "my-phones", "a-b": "a-b", "x-1-": "x-1-", "-1": "-1",
	} {
		if got := LineOf(name); got != want {
			t.Errorf("LineOf(%q) = %q, want %q", name, got, want)
		}
	}
}
