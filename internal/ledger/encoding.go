package ledger

import (
	"crypto/ed25519"
	"fmt"
	"net/netip"

	"golang.org/x/crypto/cryptobyte"
)

// MaxEntry is the longest entry in bytes. It holds the revocation of 150,000
// certificates at once.
const MaxEntry = 16 << 20

// A layout says how the body of one kind is written today and read. A version
// that was ever released stays readable; its number is never reused.
type layout struct {
	name    string
	version uint16
	decode  func(*decoder) Body
}

var layouts = map[Kind]layout{
	KindGenesis:             {"genesis", 1, decodeGenesis},
	KindIssuerAdded:         {"issuer-added", 1, decodeIssuerAdded},
	KindIssuerDistrusted:    {"issuer-distrusted", 1, decodeIssuerDistrusted},
	KindIdentityCreated:     {"identity-created", 1, decodeIdentityCreated},
	KindIdentitySuspended:   {"identity-suspended", 1, decodeIdentitySuspended},
	KindIdentityReinstated:  {"identity-reinstated", 1, decodeIdentityReinstated},
	KindGroupJoined:         {"group-joined", 1, decodeGroupJoined},
	KindGroupLeft:           {"group-left", 1, decodeGroupLeft},
	KindInviteCreated:       {"invite-created", 1, decodeInviteCreated},
	KindInviteUsed:          {"invite-used", 1, decodeInviteUsed},
	KindInviteCancelled:     {"invite-cancelled", 1, decodeInviteCancelled},
	KindCertificateIssued:   {"certificate-issued", 1, decodeCertificateIssued},
	KindCertificatesRevoked: {"certificates-revoked", 1, decodeCertificatesRevoked},
	KindEpochOpened:         {"epoch-opened", 1, decodeEpochOpened},

	KindACMEKeyCreated:        {"acme-key-created", 1, decodeACMEKeyCreated},
	KindACMEAccountBound:      {"acme-account-bound", 1, decodeACMEAccountBound},
	KindACMEAccountRekeyed:    {"acme-account-rekeyed", 1, decodeACMEAccountRekeyed},
	KindACMEKeyCancelled:      {"acme-key-cancelled", 1, decodeACMEKeyCancelled},
	KindACMECertificateIssued: {"acme-certificate-issued", 1, decodeACMECertificateIssued},
	KindTokenIssued:           {"token-issued", 1, decodeTokenIssued},
	KindTokenRevoked:          {"token-revoked", 1, decodeTokenRevoked},
	KindIssuerActivated:       {"issuer-activated", 1, decodeIssuerActivated},
	KindIssuerRetired:         {"issuer-retired", 1, decodeIssuerRetired},
	KindRootListSigned:        {"root-list-signed", 1, decodeRootListSigned},
	KindRootAdded:             {"root-added", 1, decodeRootAdded},
	KindRootRetired:           {"root-retired", 1, decodeRootRetired},
	KindLedgerKeyChanged:      {"ledger-key-changed", 1, decodeLedgerKeyChanged},
	KindCeremonyRecorded:      {"ceremony-recorded", 1, decodeCeremonyRecorded},
}

// String returns the kind in lower-case words, such as certificate-issued.
func (k Kind) String() string {
	if l, ok := layouts[k]; ok {
		return l.name
	}
	return fmt.Sprintf("kind %d", uint16(k))
}

// An UnknownEntryError is an entry that a newer postern wrote. A reader stops
// at it, because it cannot tell what it would miss.
type UnknownEntryError struct {
	Kind    Kind
	Version uint16
}

// Error says that this postern is too old.
func (e *UnknownEntryError) Error() string {
	return fmt.Sprintf("ledger entry of %s, version %d, is not known to this postern: update it", e.Kind, e.Version)
}

// Marshal returns the entry's only encoding: kind and version, two bytes
// each, the time in milliseconds since 1970 in eight, then the body's parts,
// each of a fixed length or with its length before it, all big-endian. It
// panics on an entry without a body or with a part longer than 16 MiB; Check
// finds those and whatever else Unmarshal would not accept.
func (e Entry) Marshal() []byte {
	b, err := e.marshal()
	if err != nil {
		panic(err)
	}
	return b
}

func (e Entry) marshal() ([]byte, error) {
	if e.Body == nil {
		return nil, fmt.Errorf("ledger entry without a body")
	}
	enc := &encoder{cryptobyte.NewBuilder(make([]byte, 0, 256))}
	kind := e.Body.Kind()
	enc.AddUint16(uint16(kind))
	enc.AddUint16(layouts[kind].version)
	enc.time(e.At)
	e.Body.encode(enc)
	b, err := enc.Bytes()
	if err != nil {
		return nil, fmt.Errorf("ledger entry %s: %w", kind, err)
	}
	return b, nil
}

// Check reports what would keep Unmarshal from reading the entry again, such
// as a missing name. A store calls it before it appends.
func (e Entry) Check() error {
	b, err := e.marshal()
	if err != nil {
		return err
	}
	_, err = Unmarshal(b)
	return err
}

// Encode is Check and Marshal together: the entry's encoding, and the entry as
// a reader of it sees it.
func (e Entry) Encode() ([]byte, Entry, error) {
	b, err := e.marshal()
	if err != nil {
		return nil, Entry{}, err
	}
	e, err = Unmarshal(b)
	return b, e, err
}

// Unmarshal reads an entry. What it accepts Marshal turns into the same bytes
// again; the entry shares no memory with b. The error of an unknown kind or
// version is an *UnknownEntryError.
func Unmarshal(b []byte) (Entry, error) {
	if len(b) > MaxEntry {
		return Entry{}, fmt.Errorf("ledger entry of %d bytes: at most %d are allowed", len(b), MaxEntry)
	}
	d := &decoder{rest: b}
	kind, version := Kind(d.u16()), d.u16()
	l, ok := layouts[kind]
	if d.err == nil && (!ok || version != l.version) {
		return Entry{}, &UnknownEntryError{Kind: kind, Version: version}
	}
	if d.err != nil {
		return Entry{}, fmt.Errorf("ledger entry of %d bytes: %w", len(b), d.err)
	}
	e := Entry{At: d.time(), Body: l.decode(d)}
	if d.err == nil && !d.rest.Empty() {
		d.fail(fmt.Errorf("%d bytes too many", len(d.rest)))
	}
	if d.err != nil {
		return Entry{}, fmt.Errorf("ledger entry %s: %w", kind, d.err)
	}
	return e, nil
}

// Kind returns KindGenesis.
func (Genesis) Kind() Kind { return KindGenesis }

func (g Genesis) encode(e *encoder) {
	e.text(g.TrustDomain.String())
	e.bytes(g.Root)
	e.bytes(g.LedgerKey)
	e.bytes(g.RootSignature)
}

func decodeGenesis(d *decoder) Body {
	g := Genesis{TrustDomain: d.domain(), Root: d.copied(), LedgerKey: d.copied(), RootSignature: d.copied()}
	if d.err == nil && len(g.LedgerKey) != ed25519.PublicKeySize {
		d.fail(fmt.Errorf("a ledger key of %d bytes, want %d", len(g.LedgerKey), ed25519.PublicKeySize))
	}
	return g
}

// Kind returns KindIssuerAdded.
func (IssuerAdded) Kind() Kind { return KindIssuerAdded }

func (i IssuerAdded) encode(e *encoder) {
	e.text(i.Name)
	e.AddUint8(uint8(i.Use))
	e.bytes(i.Certificate)
}

func decodeIssuerAdded(d *decoder) Body {
	return IssuerAdded{Name: d.word(), Use: d.use(), Certificate: d.copied()}
}

// Kind returns KindIssuerDistrusted.
func (IssuerDistrusted) Kind() Kind { return KindIssuerDistrusted }

func (i IssuerDistrusted) encode(e *encoder) {
	e.hash(i.Issuer)
	e.AddUint8(uint8(i.Reason))
}

func decodeIssuerDistrusted(d *decoder) Body {
	return IssuerDistrusted{Issuer: d.hash(), Reason: d.reason()}
}

// Kind returns KindEpochOpened.
func (EpochOpened) Kind() Kind { return KindEpochOpened }

func (o EpochOpened) encode(e *encoder) {
	e.AddUint64(o.Epoch)
	e.time(o.From)
	e.AddUint64(o.LostSize)
	e.hash(o.LostRoot)
}

func decodeEpochOpened(d *decoder) Body {
	return EpochOpened{Epoch: d.u64(), From: d.time(), LostSize: d.u64(), LostRoot: d.hash()}
}

// Kind returns KindCertificateIssued.
func (CertificateIssued) Kind() Kind { return KindCertificateIssued }

func (c CertificateIssued) encode(e *encoder) {
	e.ref(c.Ref)
	e.name(c.Name)
	e.text(c.Profile)
	e.hash(c.Key)
	e.time(c.NotBefore)
	e.time(c.NotAfter)
	e.optionalRef(c.RenewedFrom)
	writeList(e, c.DNSNames, e.text)
	writeList(e, c.IPs, func(a netip.Addr) { e.bytes(a.AsSlice()) })
	e.text(c.Via)
}

func decodeCertificateIssued(d *decoder) Body {
	return CertificateIssued{
		Ref:         d.ref(),
		Name:        d.name(),
		Profile:     d.word(),
		Key:         d.hash(),
		NotBefore:   d.time(),
		NotAfter:    d.time(),
		RenewedFrom: d.optionalRef(),
		DNSNames:    list(d, maxItems, d.host),
		IPs:         list(d, maxItems, d.address),
		Via:         d.word(),
	}
}

// Kind returns KindCertificatesRevoked.
func (CertificatesRevoked) Kind() Kind { return KindCertificatesRevoked }

func (c CertificatesRevoked) encode(e *encoder) {
	e.name(c.Name)
	e.AddUint8(uint8(c.Reason))
	writeList(e, c.Certificates, e.ref)
}

func decodeCertificatesRevoked(d *decoder) Body {
	return CertificatesRevoked{Name: d.optionalName(), Reason: d.reason(), Certificates: list(d, MaxEntry, d.ref)}
}
