package ceremony

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/postern-project/postern/internal/ledger"
)

// A transcript is the account of one ceremony: lines of facts, with no empty
// line, so that a file can hold many with one between them. Each names the hash
// of the one before it.
type transcript struct {
	strings.Builder
	n int
}

const (
	firstLine  = "postern ceremony, hashes are SHA-256"
	beforeLine = "before: "
)

// begin starts the transcript of a ceremony under r. What is kept beside the
// root's key counts before what the ledger knows.
func (r *Root) begin(p Policy, known ledger.Hash) *transcript {
	t := &transcript{}
	before := p.Before
	if before == (ledger.Hash{}) {
		before = known
	}
	t.line("%s", firstLine)
	t.line("time: %s", p.Now.UTC().Format(time.RFC3339))
	t.line("trust domain: %s", r.domain)
	t.line("root: %s", r.cert.Subject.CommonName)
	t.line("root hash: %x", sha256.Sum256(r.cert.Raw))
	t.line("%s%s", beforeLine, before)
	return t
}

func (t *transcript) line(format string, args ...any) { fmt.Fprintf(t, format+"\n", args...) }

// did begins the account of one thing that was signed.
func (t *transcript) did(format string, args ...any) {
	t.n++
	t.line("signed %d: %s", t.n, fmt.Sprintf(format, args...))
}

func (t *transcript) certificate(c *x509.Certificate) {
	t.line("  subject: %s", c.Subject.CommonName)
	t.line("  serial: %x", c.SerialNumber.Bytes())
	t.line("  key hash: %x", sha256.Sum256(c.RawSubjectPublicKeyInfo))
	t.line("  cert hash: %x", sha256.Sum256(c.Raw))
}

// HashOf returns the hash by which the next transcript names this one.
func HashOf(transcript string) ledger.Hash { return sha256.Sum256([]byte(transcript)) }

// BeforeOf returns the hash that a transcript names as the one before it.
func BeforeOf(transcript string) (h ledger.Hash, ok bool) {
	for line := range strings.Lines(transcript) {
		text, found := strings.CutPrefix(strings.TrimSuffix(line, "\n"), beforeLine)
		if !found {
			continue
		}
		b, err := hex.DecodeString(text)
		if err != nil || len(b) != len(h) {
			return ledger.Hash{}, false
		}
		return ledger.Hash(b), true
	}
	return ledger.Hash{}, false
}

// Join returns the text of a file with one more transcript.
func Join(kept, transcript string) string {
	if kept == "" {
		return transcript
	}
	return kept + "\n" + transcript
}

// Split returns the transcripts in the text of a file that Join made.
func Split(kept string) []string {
	var all []string
	for _, t := range strings.Split(kept, "\n\n") {
		if t = strings.TrimSuffix(t, "\n"); t != "" {
			all = append(all, t+"\n")
		}
	}
	return all
}

// Gap returns the number of the first transcript in the text of a file that
// does not name the one before it, counted from 1, or 0.
func Gap(kept string) int {
	all := Split(kept)
	for i := 1; i < len(all); i++ {
		if before, ok := BeforeOf(all[i]); !ok || before != HashOf(all[i-1]) {
			return i + 1
		}
	}
	return 0
}
