package ledger

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postern-project/postern/internal/identity"
)

var plain = cmp.Options{
	cmp.Comparer(func(a, b identity.Name) bool { return a == b }),
	cmp.Comparer(func(a, b identity.Group) bool { return a == b }),
	cmp.Comparer(func(a, b identity.TrustDomain) bool { return a == b }),
	cmp.Comparer(func(a, b Serial) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
}

// Ledgers exist that were written this way, and their hashes are signed: a
// golden file never changes, a new layout gets a new version and a new file.
func TestEncodingIsThatOfTheGoldenFiles(t *testing.T) {
	for kind, want := range samples() {
		t.Run(kind, func(t *testing.T) {
			golden := readGolden(t, filepath.Join("testdata", kind+".hex"))
			if got := want.Marshal(); !bytes.Equal(got, golden) {
				t.Errorf("Marshal:\n%x\nwant:\n%x", got, golden)
			}
			got, err := Unmarshal(golden)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, got, plain); d != "" {
				t.Errorf("Unmarshal (-want +got):\n%s", d)
			}
		})
	}
}

func readGolden(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return b
}

// The layout that the comment of Marshal describes, byte by byte.
func TestEncodingReadsAsDescribed(t *testing.T) {
	e := Entry{At: time.UnixMilli(0x0102030405), Body: GroupJoined{Group: group("ops"), Name: name("ben")}}
	want := "0007" + "0001" + "0000000102030405" + "000003" + hex.EncodeToString([]byte("ops")) + "000003" + hex.EncodeToString([]byte("ben"))
	if got := hex.EncodeToString(e.Marshal()); got != want {
		t.Errorf("Marshal = %s, want %s", got, want)
	}
}

func TestMissingPartsComeBackMissing(t *testing.T) {
	for sentence, want := range sparse() {
		t.Run(sentence, func(t *testing.T) {
			got, err := Unmarshal(want.Marshal())
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, got, plain); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}

func TestTimesAreKeptInMilliseconds(t *testing.T) {
	at := time.Date(2027, 1, 1, 1, 0, 0, 1_999_999, time.FixedZone("", 3600))
	got := must(Unmarshal(Entry{At: at, Body: IdentityCreated{name("a")}}.Marshal()))
	if want := time.Date(2027, 1, 1, 0, 0, 0, 1_000_000, time.UTC); got.At != want {
		t.Errorf("At = %v, want %v", got.At, want)
	}
}

func TestUnmarshalStopsAtWhatItDoesNotKnow(t *testing.T) {
	good := samples()["identity-created"].Marshal()
	for sentence, at := range map[string]int{"a newer kind": 0, "a newer version": 2} {
		t.Run(sentence, func(t *testing.T) {
			b := bytes.Clone(good)
			binary.BigEndian.PutUint16(b[at:], 999)
			_, err := Unmarshal(b)
			unknown, ok := errors.AsType[*UnknownEntryError](err)
			if !ok || !strings.Contains(err.Error(), "update it") {
				t.Fatalf("error %v, want an UnknownEntryError that says what to do", err)
			}
			if uint16(unknown.Kind) != 999 && unknown.Version != 999 {
				t.Errorf("%+v does not name what was unknown", unknown)
			}
		})
	}
}

func TestUnmarshalRefusesEveryPrefixAndEverySurplus(t *testing.T) {
	for kind, e := range samples() {
		b := e.Marshal()
		for n := range b {
			if _, err := Unmarshal(b[:n]); err == nil {
				t.Errorf("%s: the first %d of %d bytes are accepted", kind, n, len(b))
			}
		}
		if _, err := Unmarshal(append(b, 0)); err == nil || !strings.Contains(err.Error(), "too many") {
			t.Errorf("%s: one byte too many: %v", kind, err)
		}
	}
}

// What a careless caller could build is found by Check before it is appended.
func TestCheckFindsWhatCouldNotBeReadAgain(t *testing.T) {
	issued := samples()["certificate-issued"].Body.(CertificateIssued)
	change := func(f func(*CertificateIssued)) Body { c := issued; f(&c); return c }
	for sentence, body := range map[string]Body{
		"no body":                     nil,
		"no name":                     IdentityCreated{},
		"no group":                    GroupJoined{Name: name("a")},
		"no trust domain":             Genesis{Root: []byte{1}, LedgerKey: make([]byte, 32), RootSignature: []byte{1}},
		"a ledger key too short":      Genesis{TrustDomain: must(identity.ParseTrustDomain("a")), Root: []byte{1}, LedgerKey: make([]byte, 31), RootSignature: []byte{1}},
		"no signature":                Genesis{TrustDomain: must(identity.ParseTrustDomain("a")), Root: []byte{1}, LedgerKey: make([]byte, 32)},
		"an issuer named like a path": IssuerAdded{Name: "../clients", Use: UseClients, Certificate: []byte{1}},
		"an issuer with an option":    IssuerAdded{Name: "-clients", Use: UseClients, Certificate: []byte{1}},
		"an issuer without a use":     IssuerAdded{Name: "clients-1", Certificate: []byte{1}},
		"an issuer for a third use":   IssuerAdded{Name: "clients-1", Use: 3, Certificate: []byte{1}},
		"an issuer's empty file":      IssuerAdded{Name: "clients-1", Use: UseClients},
		"a reason of no RFC":          IssuerDistrusted{Reason: 7},
		"no serial number":            change(func(c *CertificateIssued) { c.Serial = Serial{} }),
		"half a predecessor":          change(func(c *CertificateIssued) { c.RenewedFrom = Ref{TBS: filled(1)} }),
		"a profile in capitals":       change(func(c *CertificateIssued) { c.Profile = "Device" }),
		"a profile of 64 bytes":       change(func(c *CertificateIssued) { c.Profile = strings.Repeat("a", 64) }),
		"no door":                     change(func(c *CertificateIssued) { c.Via = "" }),
		"an empty host name":          change(func(c *CertificateIssued) { c.DNSNames = []string{""} }),
		"a host name with a newline":  change(func(c *CertificateIssued) { c.DNSNames = []string{"a\nb"} }),
		"a host name of 254 bytes":    change(func(c *CertificateIssued) { c.DNSNames = []string{strings.Repeat("a", 254)} }),
		"an address that is none":     change(func(c *CertificateIssued) { c.IPs = []netip.Addr{{}} }),
		"101 host names":              change(func(c *CertificateIssued) { c.DNSNames = slices.Repeat([]string{"a"}, 101) }),
		"a certificate of 16 MiB":     IssuerAdded{Name: "clients-1", Use: UseClients, Certificate: make([]byte, 1<<24)},
		"the year 10000":              InviteCreated{Name: name("a"), Profile: "p", Expires: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)},
	} {
		t.Run(sentence, func(t *testing.T) {
			if err := (Entry{Body: body}).Check(); err == nil {
				t.Error("Check finds nothing wrong")
			}
		})
	}
	for _, entries := range []map[string]Entry{samples(), sparse()} {
		for sentence, e := range entries {
			if err := e.Check(); err != nil {
				t.Errorf("%s: %v", sentence, err)
			}
		}
	}
}

func TestMarshalPanicsRatherThanWriteNonsense(t *testing.T) {
	for sentence, e := range map[string]Entry{
		"no body":             {},
		"a part of 16 MiB":    {Body: IssuerAdded{Certificate: make([]byte, 1<<24)}},
		"a pointer to nobody": {Body: (*Genesis)(nil)},
	} {
		t.Run(sentence, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			e.Marshal()
		})
	}
}

func TestUnmarshalRefusesAnEntryOfMoreThan16MiB(t *testing.T) {
	ref := Ref{Serial: serial(strings.Repeat("7f", MaxSerial))}
	revoked := func(n int) Entry {
		return Entry{Body: CertificatesRevoked{Certificates: slices.Repeat([]Ref{ref}, n)}}
	}
	if err := revoked(150_000).Check(); err != nil {
		t.Errorf("150,000 certificates at once: %v", err)
	}
	if err := revoked(MaxEntry / 80).Check(); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("an entry past MaxEntry: %v", err)
	}
}

// Some bytes decode to a good entry but are not how Marshal writes it.
func TestUnmarshalRefusesOtherSpellings(t *testing.T) {
	revoked := Entry{Body: CertificatesRevoked{Certificates: []Ref{{Serial: serial("01")}}}}.Marshal()
	one := bytes.Index(revoked, []byte{0, 0, 1, 1})
	first := sparse()["certificate that is the first of its line"].Marshal()
	absent := len(first) - (1 + 4 + 4 + 3 + len("self"))
	for sentence, b := range map[string][]byte{
		"a serial number with a leading zero": bytes.Replace(revoked, revoked[one:one+4], []byte{0, 0, 2, 0, 1}, 1),
		"a presence byte other than 0 and 1":  append(append(bytes.Clone(first[:absent]), 2), first[absent+1:]...),
		"a list longer than the entry":        append(bytes.Clone(revoked[:one-32-4]), 0xff, 0xff, 0xff, 0xff),
	} {
		t.Run(sentence, func(t *testing.T) {
			if e, err := Unmarshal(b); err == nil {
				t.Errorf("accepted as %+v", e)
			}
		})
	}
}

// A flipped bit never gives the same entry: it is refused, or it is another
// entry with another hash.
func TestAFlippedBitInAnEntryIsNoticed(t *testing.T) {
	for kind, e := range samples() {
		b := e.Marshal()
		want := LeafHash(b)
		for i := range 8 * len(b) {
			flipped := bytes.Clone(b)
			flipped[i/8] ^= 1 << (i % 8)
			if LeafHash(flipped) == want {
				t.Errorf("%s, bit %d: same leaf", kind, i)
			}
			if got, err := Unmarshal(flipped); err == nil && !bytes.Equal(got.Marshal(), flipped) {
				t.Errorf("%s, bit %d: read as something else than was written", kind, i)
			}
		}
	}
}

func TestAnEntrySharesNoMemoryWithItsBytes(t *testing.T) {
	for kind, e := range samples() {
		b := e.Marshal()
		got := must(Unmarshal(b))
		clear(b)
		if d := cmp.Diff(e, got, plain); d != "" {
			t.Errorf("%s changed with the bytes it was read from:\n%s", kind, d)
		}
	}
}

func TestKindsHaveNames(t *testing.T) {
	seen := map[string]Kind{}
	for k := range maps.Keys(layouts) {
		if other, twice := seen[k.String()]; twice || !IsWord(k.String()) {
			t.Errorf("kind %d is called %q, like kind %d", k, k, other)
		}
		seen[k.String()] = k
	}
	if got := Kind(999).String(); got != "kind 999" {
		t.Errorf("unknown kind is called %q", got)
	}
}

// Unmarshal never panics, and what it accepts is written back as it was.
func FuzzUnmarshal(f *testing.F) {
	for _, entries := range []map[string]Entry{samples(), sparse()} {
		for _, e := range entries {
			f.Add(e.Marshal())
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := Unmarshal(b)
		if err != nil {
			return
		}
		if got := e.Marshal(); !bytes.Equal(got, b) {
			t.Errorf("read %x, wrote %x", b, got)
		}
		if err := e.Check(); err != nil {
			t.Errorf("Check refuses what Unmarshal accepted: %v", err)
		}
	})
}
