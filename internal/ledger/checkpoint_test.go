package ledger

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"math"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/postern-project/postern/internal/identity"
)

// key returns an Ed25519 key that is always the same for b.
func key(b byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{b}, ed25519.SeedSize))
}

func public(k ed25519.PrivateKey) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }

var origin0 = Origin(must(identity.ParseTrustDomain("example.com")), 0)

func signedNote(t *testing.T, c Checkpoint) []byte {
	t.Helper()
	s, err := NewSigner(c.Origin, key(1))
	if err != nil {
		t.Fatal(err)
	}
	n, err := s.Sign(c)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestCheckpointIsASignedNote(t *testing.T) {
	n := signedNote(t, Checkpoint{origin0, 3, filled(1)})
	want := "example.com/ledger/0\n3\nAQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=\n\n— example.com/ledger/0 "
	if !strings.HasPrefix(string(n), want) {
		t.Errorf("note:\n%s\nwant it to begin:\n%s", n, want)
	}
	v := must(note.NewVerifier(must(note.NewEd25519VerifierKey(origin0, public(key(1))))))
	if _, err := note.Open(n, note.VerifierList(v)); err != nil {
		t.Errorf("another implementation does not open it: %v", err)
	}
}

func TestOpenCheckpointReturnsWhatWasSigned(t *testing.T) {
	for _, size := range []uint64{0, 1, 1_000_000, math.MaxUint64} {
		want := Checkpoint{origin0, size, filled(byte(size))}
		got, err := OpenCheckpoint(signedNote(t, want), origin0, public(key(1)))
		if err != nil || got != want {
			t.Errorf("size %d: %+v, %v", size, got, err)
		}
	}
}

func TestAFlippedBitInANoteIsNoticed(t *testing.T) {
	n := signedNote(t, Checkpoint{origin0, 77, filled(9)})
	for i := range 8 * len(n) {
		bad := bytes.Clone(n)
		bad[i/8] ^= 1 << (i % 8)
		if c, err := OpenCheckpoint(bad, origin0, public(key(1))); err == nil {
			t.Errorf("bit %d of byte %d (%q to %q): opened as %+v", i%8, i/8, n[i/8], bad[i/8], c)
		}
	}
}

func TestOpenCheckpointRefuses(t *testing.T) {
	good := Checkpoint{origin0, 77, filled(9)}
	sign := func(text string) []byte {
		s := must(NewSigner(origin0, key(1)))
		return must(note.Sign(&note.Note{Text: text}, noteSigner{s}))
	}
	n := signedNote(t, good)
	stranger := must(note.NewSigner(must(strangersKey())))
	for sentence, c := range map[string]struct {
		note   []byte
		origin string
		key    ed25519.PublicKey
	}{
		"nothing":                       {nil, origin0, public(key(1))},
		"another key":                   {n, origin0, public(key(2))},
		"another epoch":                 {n, strings.Replace(origin0, "/0", "/1", 1), public(key(1))},
		"no key":                        {n, origin0, nil},
		"an origin with a plus":         {n, "a+b", public(key(1))},
		"a prefix":                      {n[:len(n)-1], origin0, public(key(1))},
		"a line too many":               {append(bytes.Clone(n), '\n'), origin0, public(key(1))},
		"its signature twice":           {append(bytes.Clone(n), n[bytes.LastIndex(n, []byte("—")):]...), origin0, public(key(1))},
		"a stranger's signature beside": {must(note.Sign(must(note.Open(n, note.VerifierList(must(verifier(origin0, public(key(1))))))), stranger)), origin0, public(key(1))},
		"signed but of another origin":  {sign("example.org/ledger/0\n1\nAQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=\n"), origin0, public(key(1))},
		"signed but with an extension":  {sign(good.text() + "more\n"), origin0, public(key(1))},
		"signed but of size 077":        {sign(strings.Replace(good.text(), "77", "077", 1)), origin0, public(key(1))},
		"signed but of size -1":         {sign(strings.Replace(good.text(), "77", "-1", 1)), origin0, public(key(1))},
		"signed but without a root":     {sign(origin0 + "\n77\n\n"), origin0, public(key(1))},
		"signed but with a short root":  {sign(origin0 + "\n77\nAQI=\n"), origin0, public(key(1))},
	} {
		t.Run(sentence, func(t *testing.T) {
			if got, err := OpenCheckpoint(c.note, c.origin, c.key); err == nil {
				t.Errorf("opened as %+v", got)
			}
		})
	}
}

func strangersKey() (string, error) {
	private, _, err := note.GenerateKey(nil, "example.net/witness")
	return private, err
}

func TestNewSignerRefusesBadKeysAndOrigins(t *testing.T) {
	if _, err := NewSigner(origin0, key(1)[:63]); err == nil {
		t.Error("a key of 63 bytes is accepted")
	}
	if _, err := NewSigner("two words", key(1)); err == nil {
		t.Error("an origin with a space is accepted")
	}
}

func TestSignerSignsForItsOwnOriginOnly(t *testing.T) {
	s := must(NewSigner(origin0, key(1)))
	n := must(s.Sign(Checkpoint{Origin: "example.org/ledger/0", Size: 1}))
	if c, err := OpenCheckpoint(n, origin0, s.Public()); err != nil || c.Origin != origin0 {
		t.Errorf("%+v, %v", c, err)
	}
}

// What OpenCheckpoint accepts is exactly what Sign writes.
func FuzzOpenCheckpoint(f *testing.F) {
	s := must(NewSigner(origin0, key(1)))
	for size := range uint64(3) {
		f.Add(must(s.Sign(Checkpoint{Size: size, Root: filled(byte(size))})))
	}
	f.Add(fmt.Append(nil, origin0, "\n1\n\n— ", origin0, " AAAA\n"))
	f.Fuzz(func(t *testing.T, n []byte) {
		c, err := OpenCheckpoint(n, origin0, s.Public())
		if err != nil {
			return
		}
		if got := must(s.Sign(c)); !bytes.Equal(got, n) {
			t.Errorf("opened\n%s\nwhich is signed as\n%s", n, got)
		}
	})
}

// The text of a checkpoint reads back as it was written.
func FuzzParseCheckpoint(f *testing.F) {
	f.Add(Checkpoint{origin0, 1, filled(1)}.text())
	f.Add("a\n01\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		if c, err := parseCheckpoint(text); err == nil && c.text() != text {
			t.Errorf("%q is read as %+v, which is written %q", text, c, c.text())
		}
	})
}
