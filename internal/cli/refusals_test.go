package cli

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/postern-project/postern/internal/api"
	"github.com/postern-project/postern/internal/gateway"
	"github.com/postern-project/postern/internal/refusal"
)

func TestAClaimIsNotShownAsAName(t *testing.T) {
	for want, shown := range map[string]gateway.Shown{
		"ben":                             {Name: "ben"},
		"":                                {},
		"claims spiffe://example.com/ben": {Name: "ben", Claims: "spiffe://example.com/ben"},
	} {
		if got := who(shown); got != want {
			t.Errorf("%+v is shown as %q, want %q", shown, got, want)
		}
	}
}

// No line of the list is wider than a terminal, whatever somebody calls
// themselves, and nothing of it is left out.
func TestTheListOfRefusalsFitsATerminal(t *testing.T) {
	long := strings.Repeat("somebody/", 25) + "phone"
	all := []api.Refused{
		{Reference: refusal.NewReference(), Time: time.Now(), Code: refusal.NotOnList, Site: "pw.example.com", Address: "192.0.2.7:51000", Client: gateway.Shown{Name: "ben/phone"}},
		{Reference: refusal.NewReference(), Time: time.Now(), Code: refusal.HandshakeAbandoned, Address: "[2001:db8:1234:5678:9abc:def0:1234:5678]:51000",
			Site: strings.Repeat("a.", 60) + "example.com", Client: gateway.Shown{Claims: "spiffe://example.com/" + long}},
		{Reference: refusal.NewReference(), Time: time.Now(), Code: refusal.OriginNotAllowed, Audit: true, Site: "pw.example.com", Address: "192.0.2.7:51000"},
	}
	var out strings.Builder
	tableOfRefusals(&out, all)
	for line := range strings.SplitSeq(out.String(), "\n") {
		if n := utf8.RuneCountInString(line); n > usualWidth {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	for _, r := range all {
		if !strings.Contains(out.String(), r.Reference.String()) {
			t.Errorf("%s is missing", r.Reference)
		}
	}
	if joined := strings.NewReplacer("\n", "", " ", "").Replace(out.String()); !strings.Contains(joined, long) {
		t.Error("a long name was shortened:\n" + out.String())
	}
}
