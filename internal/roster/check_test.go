package roster

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/refusal"
)

func TestARosterThatWasNeverLoadedLetsNobodyIn(t *testing.T) {
	d := newDomain()
	for sentence, r := range map[string]*Roster{"new": New(), "given no entries": func() *Roster {
		r := New()
		apply(t, r, nil)
		return r
	}()} {
		t.Run(sentence, func(t *testing.T) {
			for _, ref := range []ledger.Ref{{}, d.ref(1)} {
				if v := r.Check(ref, noon); v.Code != refusal.StaleRoster || v.Alarm || !v.Name.IsZero() {
					t.Errorf("Check = %+v, want stale-roster", v)
				}
			}
			if r.Groups(name("ben")) != nil || r.HasGroup(group("family")) || r.Root() != nil || len(r.Issuers()) != 0 || r.TrustDomain().String() != "" || r.Generation() != 0 {
				t.Error("an empty roster knows something")
			}
		})
	}
}

// Each verdict, and where two causes meet, the one that comes first.
func TestVerdicts(t *testing.T) {
	d := newDomain()
	suspend := func(n string) ledger.Body { return ledger.IdentitySuspended{Name: name(n)} }
	nameRevoked := func(n string) ledger.Body {
		return ledger.CertificatesRevoked{Name: name(n), Reason: ledger.ReasonCessation}
	}
	reinstate := func(n string) ledger.Body { return ledger.IdentityReinstated{Name: name(n)} }
	distrust := ledger.IssuerDistrusted{Issuer: d.clients.id(), Reason: ledger.ReasonKeyCompromise}
	lost := ledger.EpochOpened{Epoch: 1, From: noon.Add(-time.Hour)}
	issued := d.issued(1, "ben/phone")
	twin := d.ref(1)
	twin.TBS[31] ^= 1
	byServers := d.ref(1)
	byServers.Issuer = d.servers.id()
	byStranger := d.ref(1)
	byStranger.Issuer[0] ^= 1
	const alarm = true
	for sentence, c := range map[string]struct {
		ledger []ledger.Body
		ref    ledger.Ref
		begins time.Time
		code   refusal.Code
		alarm  bool
		detail string
	}{
		"issued":                                      {[]ledger.Body{issued}, d.ref(1), noon, "", false, ""},
		"never issued":                                {[]ledger.Body{issued}, d.ref(2), noon, refusal.NotInLedger, alarm, "no certificate with serial number"},
		"a twin with the number of another":           {[]ledger.Body{issued}, twin, noon, refusal.NotInLedger, alarm, "another certificate"},
		"the number of another issuer's":              {[]ledger.Body{issued}, byServers, noon, refusal.NotInLedger, alarm, "by issuer servers-1"},
		"by an issuer that was never added":           {[]ledger.Body{issued}, byStranger, noon, refusal.NotInLedger, alarm, "never added"},
		"the zero ref":                                {[]ledger.Body{issued}, ledger.Ref{}, noon, refusal.NotInLedger, alarm, "never added"},
		"issued before the issuer was distrusted":     {[]ledger.Body{issued, distrust}, d.ref(1), noon, "", false, ""},
		"never issued by a distrusted issuer":         {[]ledger.Body{distrust}, d.ref(1), noon, refusal.IssuerDistrusted, alarm, "before that issuer was distrusted"},
		"a twin by a distrusted issuer":               {[]ledger.Body{issued, distrust}, twin, noon, refusal.IssuerDistrusted, alarm, "another certificate"},
		"recorded after its issuer was distrusted":    {[]ledger.Body{distrust, issued}, d.ref(1), noon, refusal.IssuerDistrusted, alarm, "after its issuer clients-1"},
		"so recorded and revoked":                     {[]ledger.Body{distrust, issued, d.revoked(1)}, d.ref(1), noon, refusal.IssuerDistrusted, alarm, ""},
		"revoked":                                     {[]ledger.Body{issued, d.revoked(1)}, d.ref(1), noon, refusal.Revoked, false, "revoked on 2027-03-04: key-compromise"},
		"revoked beside another":                      {[]ledger.Body{issued, d.issued(2, "ben/laptop"), d.revoked(2)}, d.ref(1), noon, "", false, ""},
		"a twin of a revoked one":                     {[]ledger.Body{issued, d.revoked(1)}, twin, noon, refusal.NotInLedger, alarm, ""},
		"revoked, then its issuer distrusted":         {[]ledger.Body{issued, d.revoked(1), distrust}, d.ref(1), noon, refusal.Revoked, false, ""},
		"revoked twice, for the first reason":         {[]ledger.Body{issued, d.revoked(1), ledger.CertificatesRevoked{Reason: ledger.ReasonSuperseded, Certificates: []ledger.Ref{d.ref(1)}}}, d.ref(1), noon, refusal.Revoked, false, "key-compromise"},
		"its name revoked, and not listed":            {[]ledger.Body{issued, nameRevoked("ben/phone")}, d.ref(1), noon, refusal.Revoked, false, "cessation"},
		"a name above it revoked, and not listed":     {[]ledger.Body{issued, nameRevoked("ben")}, d.ref(1), noon, refusal.Revoked, false, "cessation"},
		"issued after its name was revoked":           {[]ledger.Body{nameRevoked("ben"), issued}, d.ref(1), noon, "", false, ""},
		"issued between two revocations of its name":  {[]ledger.Body{nameRevoked("ben"), issued, nameRevoked("ben/phone")}, d.ref(1), noon, refusal.Revoked, false, ""},
		"a name below it revoked":                     {[]ledger.Body{issued, nameRevoked("ben/phone/old")}, d.ref(1), noon, "", false, ""},
		"a name beside it revoked":                    {[]ledger.Body{issued, nameRevoked("benno")}, d.ref(1), noon, "", false, ""},
		"its name revoked, then suspended":            {[]ledger.Body{issued, nameRevoked("ben"), suspend("ben")}, d.ref(1), noon, refusal.Revoked, false, ""},
		"revoked and suspended":                       {[]ledger.Body{issued, suspend("ben"), d.revoked(1)}, d.ref(1), noon, refusal.Revoked, false, ""},
		"revoked and suspended, then reinstated":      {[]ledger.Body{issued, suspend("ben"), d.revoked(1), reinstate("ben")}, d.ref(1), noon, refusal.Revoked, false, ""},
		"suspended":                                   {[]ledger.Body{issued, suspend("ben/phone")}, d.ref(1), noon, refusal.Suspended, false, "ben/phone is suspended"},
		"suspended before it was issued":              {[]ledger.Body{suspend("ben/phone"), issued}, d.ref(1), noon, refusal.Suspended, false, ""},
		"a name above it suspended":                   {[]ledger.Body{issued, suspend("ben")}, d.ref(1), noon, refusal.Suspended, false, "ben is suspended"},
		"a name below it suspended":                   {[]ledger.Body{issued, suspend("ben/phone/old")}, d.ref(1), noon, "", false, ""},
		"a name beside it suspended":                  {[]ledger.Body{issued, suspend("benno"), suspend("ben/phones")}, d.ref(1), noon, "", false, ""},
		"suspended and reinstated":                    {[]ledger.Body{issued, suspend("ben"), reinstate("ben")}, d.ref(1), noon, "", false, ""},
		"reinstated while a name above is suspended":  {[]ledger.Body{issued, suspend("ben"), suspend("ben/phone"), reinstate("ben/phone")}, d.ref(1), noon, refusal.Suspended, false, "ben is"},
		"suspended with a distrusted issuer":          {[]ledger.Body{issued, suspend("ben"), distrust}, d.ref(1), noon, refusal.Suspended, false, ""},
		"from the lost tail":                          {[]ledger.Body{lost}, d.ref(1), noon, refusal.StaleRoster, false, "was lost"},
		"from the lost tail by a lost issuer":         {[]ledger.Body{lost}, byStranger, noon, refusal.StaleRoster, false, ""},
		"from the first minute of the lost tail":      {[]ledger.Body{lost}, d.ref(1), noon.Add(-time.Hour - backdating), refusal.StaleRoster, false, ""},
		"from before the lost tail":                   {[]ledger.Body{lost}, d.ref(1), noon.Add(-time.Hour - backdating - 1), refusal.NotInLedger, alarm, ""},
		"from after the lost tail":                    {[]ledger.Body{lost}, d.ref(1), noon.Add(1), refusal.NotInLedger, alarm, ""},
		"from the lost tail, number given out again":  {[]ledger.Body{lost, issued}, twin, noon, refusal.NotInLedger, alarm, "another certificate"},
		"from the lost tail by a distrusted issuer":   {[]ledger.Body{lost, distrust}, d.ref(1), noon, refusal.IssuerDistrusted, alarm, ""},
		"issued, its date in the lost tail":           {[]ledger.Body{lost, issued}, d.ref(1), noon, "", false, ""},
		"from the first of two lost tails":            {[]ledger.Body{lost, ledger.EpochOpened{Epoch: 2, From: noon}}, d.ref(1), noon.Add(-time.Hour), refusal.StaleRoster, false, ""},
		"issued and revoked in the batch of distrust": {[]ledger.Body{issued, d.revoked(1), distrust}, d.ref(1), noon, refusal.Revoked, false, ""},
	} {
		t.Run(sentence, func(t *testing.T) {
			batches := map[string]*Roster{"in one batch": d.begun(t, c.ledger...), "one by one": d.begun(t)}
			for _, b := range c.ledger {
				apply(t, batches["one by one"], at(b))
			}
			for how, r := range batches {
				v := r.Check(c.ref, c.begins)
				if v.Code != c.code || v.Alarm != c.alarm || !strings.Contains(v.Detail, c.detail) {
					t.Errorf("%s: %+v, want %q, alarm %v, detail %q", how, v, c.code, c.alarm, c.detail)
				}
				if info := refusal.Lookup(v.Code); v.Code != "" && info.Alarm != v.Alarm {
					t.Errorf("%s: alarm %v, the catalogue says %v", how, v.Alarm, info.Alarm)
				}
				inLedger := v.Code == "" || v.Code == refusal.Revoked || v.Code == refusal.Suspended
				if inLedger && (v.Name != name("ben/phone") || v.Profile != "device") {
					t.Errorf("%s: %+v does not say whose it is", how, v)
				}
			}
		})
	}
}

// Serial numbers are unique by issuer only.
func TestTwoIssuersMayGiveOutTheSameNumbers(t *testing.T) {
	d := newDomain()
	r := d.begun(t)
	byServers := func(n uint64) ledger.CertificateIssued {
		c := d.issued(n, "servers")
		c.Issuer = d.servers.id()
		return c
	}
	const numbers = 500
	for n := range uint64(numbers) {
		apply(t, r, at(d.issued(n, "clients"), byServers(n)))
	}
	for n := range uint64(numbers) {
		if v := r.Check(d.ref(n), noon); v.Code != "" || v.Name != name("clients") {
			t.Fatalf("number %d of clients-1: %+v", n, v)
		}
		if v := r.Check(byServers(n).Ref, noon); v.Code != "" || v.Name != name("servers") {
			t.Fatalf("number %d of servers-1: %+v", n, v)
		}
	}
}

func TestRefOfNamesTheToBeSignedPart(t *testing.T) {
	d := newDomain()
	sign := func(serial *big.Int) *x509.Certificate {
		template := &x509.Certificate{SerialNumber: serial, NotBefore: noon, NotAfter: noon}
		return must(x509.ParseCertificate(must(x509.CreateCertificate(rand.Reader, template, d.clients.Certificate, d.clients.key.Public(), d.clients.key))))
	}
	leaf := sign(big.NewInt(0x0a0b))
	got, err := RefOf(leaf, d.clients.Certificate)
	want := ledger.Ref{Issuer: sha256.Sum256(d.clients.RawSubjectPublicKeyInfo), Serial: must(ledger.ParseSerial("0a0b")), TBS: sha256.Sum256(leaf.RawTBSCertificate)}
	if err != nil || got != want {
		t.Errorf("RefOf = %+v, %v, want %+v", got, err, want)
	}
	for sentence, serial := range map[string]*big.Int{
		"zero": big.NewInt(0), "below zero": big.NewInt(-5), "of 21 bytes": new(big.Int).Lsh(big.NewInt(1), 160),
	} {
		if _, err := RefOf(&x509.Certificate{SerialNumber: serial}, d.clients.Certificate); err == nil {
			t.Errorf("a serial number %s is accepted", sentence)
		}
	}
}

func TestAMarkKeepsReasonAndDay(t *testing.T) {
	for _, why := range []ledger.Reason{ledger.ReasonUnspecified, ledger.ReasonPrivilegeWithdrawn} {
		for _, when := range []time.Time{time.Unix(0, 0), noon, time.Date(2149, 6, 6, 23, 59, 59, 0, time.UTC)} {
			m := newMark(why, when)
			if !m.revoked() || m.void() || m.reason() != why || m.day().Format(time.DateOnly) != when.UTC().Format(time.DateOnly) {
				t.Errorf("%s on %s is kept as %s on %s", why, when, m.reason(), m.day())
			}
		}
	}
	if mark(0).revoked() || mark(0).void() || void.revoked() {
		t.Error("a mark says more than was put into it")
	}
}
