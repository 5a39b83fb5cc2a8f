package cli

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/config"
	"github.com/postern-project/postern/internal/gateway"
	"github.com/postern-project/postern/internal/refusal"
)

// A theft alarm is in the status, with the way to its story; other refusals
// are not.
func TestStatusTellsOfATheft(t *testing.T) {
	for name, c := range map[string]struct {
		code refusal.Code
		told bool
	}{
		"forged": {refusal.NotInLedger, true}, "distrusted": {refusal.IssuerDistrusted, true}, "revoked": {refusal.Revoked, false},
	} {
		t.Run(name, func(t *testing.T) {
			j, err := gateway.OpenJournal(filepath.Join(t.TempDir(), refusalsName), gateway.JournalOptions{})
			if err != nil {
				t.Fatal(err)
			}
			defer j.Close()
			ref := refusal.NewReference()
			j.Record(gateway.Refused{Reference: ref, Time: time.Now(), Code: c.code})
			j.Record(gateway.Refused{Reference: refusal.NewReference(), Time: time.Now(), Code: refusal.Revoked})
			got, err := (&server{journal: j}).alarm()
			if err != nil || (len(got) == 1) != c.told {
				t.Fatalf("%q, %v", got, err)
			}
			if c.told && (!strings.Contains(got[0], "a forged certificate was refused at ") || !strings.Contains(got[0], "'postern explain "+ref.String()+"'")) {
				t.Errorf("%q", got)
			}
		})
	}
}

// What only a restart can change is named, and nothing else is.
func TestOnlyARestartChanges(t *testing.T) {
	parsed := func(text string) config.Config {
		c, _, err := config.Parse("postern.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	before := parsed("listen: \":9000\"\n")
	for text, want := range map[string]string{
		"listen: \":9002\"\nlog: {level: debug}\nmetrics: {listen: \"[::1]:9\"}\n": "",
		"log: {format: json}\n": "the log's format changed: restart postern to use it",
	} {
		s := &server{}
		s.inUse.Store(&before)
		switch err := s.mendable(parsed(text)); {
		case want == "" && err != nil, want != "" && (err == nil || err.Error() != want):
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
