package authority

import (
	"crypto"
	"crypto/rand"
	"encoding/binary"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/profile"
	"github.com/postern-project/postern/internal/roster"
)

// BenchmarkRevocationList makes one shard's list anew when a million
// certificates are revoked: encode, sign, verify.
func BenchmarkRevocationList(b *testing.B) {
	const million = 1_000_000
	h := newPublisher(b)
	by := h.issuers[0]
	full := roster.New()
	entries := h.entries(0)
	if err := full.Apply(0, entries); err != nil {
		b.Fatal(err)
	}
	next, now := uint64(len(entries)), time.Now()
	apply := func(bodies ...ledger.Body) {
		batch := make([]ledger.Entry, len(bodies))
		for i, body := range bodies {
			batch[i] = ledger.Entry{At: now, Body: body}
		}
		if err := full.Apply(next, batch); err != nil {
			b.Fatal(err)
		}
		next += uint64(len(batch))
	}
	who := named(b, "services/checkout")
	apply(ledger.IdentityCreated{Name: who})
	for i := 0; i < million; i += 1000 {
		var issued []ledger.Body
		var refs []ledger.Ref
		for n := i; n < i+1000; n++ {
			ref := ledger.Ref{Issuer: by.KeyID, Serial: serialOf(b, uint32(n/perShard)), TBS: ledger.Hash{1}}
			refs = append(refs, ref)
			issued = append(issued, ledger.CertificateIssued{Ref: ref, Name: who, Profile: "service", NotBefore: now, NotAfter: now.Add(time.Hour), Via: viaIssue})
		}
		apply(issued...)
		apply(ledger.CertificatesRevoked{Reason: ledger.ReasonKeyCompromise, Certificates: refs})
	}
	h.Service.roster = full
	by.shards.begin(full.Issued(by.KeyID))
	shard := uint32(7)
	var size int
	before := cpu(b)
	for b.Loop() {
		h.Service.lists.byName = nil // as after a revocation
		l, err := h.RevocationList(b.Context(), ListRequest{Issuer: by.Name, Shard: shard})
		if err != nil || l.Revoked != perShard {
			b.Fatal(l.Revoked, err)
		}
		size = len(l.DER)
	}
	b.ReportMetric(float64(size), "bytes")
	b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N), "cpu-µs/op")
}

// serialOf draws a serial number of a shard.
func serialOf(b *testing.B, shard uint32) ledger.Serial {
	raw := binary.BigEndian.AppendUint32(nil, shard)
	raw = append(raw, make([]byte, 16)...)
	rand.Read(raw[4:])
	raw[4] = raw[4]&0x3f | 0x40
	s, err := ledger.SerialFromBytes(raw)
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// BenchmarkOCSP answers requests for many callers at once: with a nonce each
// answer is signed, without one it is remembered.
func BenchmarkOCSP(b *testing.B) {
	h := newPublisher(b)
	plain := askFor(b, h, h.issue("ben/phone"), crypto.SHA1)
	for name, request := range map[string][]byte{"remembered": plain, "signed": withNonce(b, plain)} {
		b.Run(name, func(b *testing.B) {
			before := cpu(b)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if a := h.AnswerOCSP(request); a.NextUpdate.IsZero() {
						b.Errorf("%x", a.DER)
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "answers/s")
			b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N), "cpu-µs/op")
		})
	}
}

// withNonce adds a nonce of 32 bytes to a request that has no extensions.
func withNonce(b *testing.B, der []byte) []byte {
	b.Helper()
	in := cryptobyte.String(der)
	var outer, tbs cryptobyte.String
	if !in.ReadASN1(&outer, asn1.SEQUENCE) || !outer.ReadASN1(&tbs, asn1.SEQUENCE) {
		b.Fatalf("%x", der)
	}
	var out cryptobyte.Builder
	out.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddBytes(tbs)
			b.AddASN1(asn1.Tag(2).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) {
				b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
					profile.AddExtension(b, []int{1, 3, 6, 1, 5, 5, 7, 48, 1, 2}, false, func(b *cryptobyte.Builder) { b.AddASN1OctetString(make([]byte, 32)) })
				})
			})
		})
	})
	return out.BytesOrPanic()
}
