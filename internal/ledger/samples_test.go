package ledger

import (
	"bytes"
	"crypto/ed25519"
	"net/netip"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/identity"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func name(s string) identity.Name   { return must(identity.ParseName(s)) }
func group(s string) identity.Group { return must(identity.ParseGroup(s)) }
func serial(s string) Serial        { return must(ParseSerial(s)) }

// filled returns a hash whose bytes count up from b.
func filled(b byte) (h Hash) {
	for i := range h {
		h[i] = b + byte(i)
	}
	return h
}

// samples returns one entry of each kind with every part filled, under the
// kind's name.
func samples() map[string]Entry {
	at := time.Date(2027, 1, 2, 3, 4, 5, 678_000_000, time.UTC)
	ref := Ref{Issuer: filled(0x10), Serial: serial("7f00000000000000000000000000000a"), TBS: filled(0x20)}
	older := Ref{Issuer: filled(0x10), Serial: serial("01"), TBS: filled(0x30)}
	bodies := []Body{
		Genesis{
			TrustDomain:   must(identity.ParseTrustDomain("example.com")),
			Root:          []byte("root certificate"),
			LedgerKey:     ed25519.PublicKey(bytes.Repeat([]byte{0xed}, ed25519.PublicKeySize)),
			RootSignature: []byte("signature"),
		},
		IssuerAdded{Name: "clients-1", Use: UseClients, Certificate: []byte("issuer certificate")},
		IssuerDistrusted{Issuer: filled(0x10), Reason: ReasonKeyCompromise},
		IdentityCreated{name("ben")},
		IdentitySuspended{name("ben/phone")},
		IdentityReinstated{name("ben/phone")},
		GroupJoined{Group: group("family"), Name: name("ben")},
		GroupLeft{Group: group("family"), Name: name("ben")},
		InviteCreated{Code: filled(0x40), Name: name("anna/phone"), Profile: "device", Group: group("family"), Expires: at.Add(15 * time.Minute)},
		InviteUsed{Code: filled(0x40), Key: filled(0x50), TBS: filled(0x20)},
		InviteCancelled{filled(0x40)},
		CertificateIssued{
			Ref: ref, Name: name("services/checkout"), Profile: "service", Key: filled(0x50),
			NotBefore: at.Add(-time.Minute), NotAfter: at.Add(24 * time.Hour), RenewedFrom: older,
			DNSNames: []string{"checkout.example.com", "*.example.com"},
			IPs:      []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")},
			Via:      "renew",
		},
		CertificatesRevoked{Name: name("ben"), Reason: ReasonPrivilegeWithdrawn, Certificates: []Ref{ref, older}},
		EpochOpened{Epoch: 1, From: at.Add(-time.Hour), LostSize: 77, LostRoot: filled(0x60)},
		ACMEKeyCreated{
			Key: "a1b2c3d4e5f60718", Name: name("services/web"), Profile: "server", Hosts: []string{"*.web.example.com", "192.0.2.0/24"}, Expires: at.Add(24 * time.Hour),
		},
		ACMEAccountBound{Key: "a1b2c3d4e5f60718", Thumbprint: filled(0x70)},
		ACMEAccountRekeyed{Key: "a1b2c3d4e5f60718", Thumbprint: filled(0x80)},
		ACMEKeyCancelled{Key: "a1b2c3d4e5f60718"},
		TokenIssued{Token: filled(0x60), Name: name("anna/music"), Site: "music.example.com", Expires: at.Add(90 * 24 * time.Hour)},
		TokenRevoked{filled(0x60)},
		ACMECertificateIssued{Order: "order-0123456789abcdef", Account: "a1b2c3d4e5f60718", TBS: filled(0x20)},
		IssuerActivated{filled(0x10)},
		IssuerRetired{filled(0x10)},
		RootListSigned{[]byte("revocation list")},
		RootAdded{Root: []byte("root certificate"), Under: []byte("under"), Over: []byte("over"), RootSignature: []byte("signature")},
		RootRetired{Root: filled(0x70), RootSignature: []byte("signature")},
		LedgerKeyChanged{
			Old: ed25519.PublicKey(bytes.Repeat([]byte{0xed}, ed25519.PublicKeySize)),
			New: ed25519.PublicKey(bytes.Repeat([]byte{0xee}, ed25519.PublicKeySize)), RootSignature: []byte("signature"),
		},
		CeremonyRecorded{Transcript: []byte("what was signed\n"), RootSignature: []byte("signature")},
	}
	entries := make(map[string]Entry, len(bodies))
	for _, b := range bodies {
		entries[b.Kind().String()] = Entry{At: at, Body: b}
	}
	return entries
}

// sparse returns entries whose optional parts are missing.
func sparse() map[string]Entry {
	at := time.UnixMilli(0).UTC()
	return map[string]Entry{
		"certificate that is the first of its line": {at, CertificateIssued{
			Ref: Ref{Serial: serial("1")}, Name: name("a"), Profile: "p", Via: "self", NotBefore: at, NotAfter: at}},
		"revocation of no name and nothing": {at, CertificatesRevoked{}},
		"invite into no group":              {at, InviteCreated{Name: name("a"), Profile: "p", Expires: at}},
		"entry at the zero time":            {time.Time{}, IdentityCreated{name("a")}},
		"ACME key for all that is allowed":  {at, ACMEKeyCreated{Key: "k", Name: name("a"), Profile: "p", Expires: at}},
	}
}

func TestSamplesHaveEveryKind(t *testing.T) {
	if got, want := len(samples()), len(layouts); got != want {
		t.Fatalf("%d samples for %d kinds", got, want)
	}
}
