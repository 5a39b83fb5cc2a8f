package cli

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/postern-project/postern/internal/api"
	"github.com/postern-project/postern/internal/authority"
)

// fits complains about every line of text past 80 columns but those that
// somebody copies whole.
func fits(t *testing.T, what, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > 80 && !strings.Contains(line, "postern join '") {
			t.Errorf("%s: %d columns: %s", what, n, line)
		}
	}
}

func TestWhatPeopleReadFits80Columns(t *testing.T) {
	inFolder(t, true)
	w := world{terminal: true}
	for _, args := range [][]string{
		{"issue", "services/checkout/a", "--out", "x"}, {"invite", "owner/living-room-tv"}, {"list"}, {"list", "certificates"},
		{"list", "invites"}, {"list", "issuers"}, {"show", "services"}, {"revoke", "services"},
	} {
		text := w.do(t, args...)
		if args[0] == "issue" {
			continue // it prints the whole serial number for copying
		}
		fits(t, strings.Join(args, " "), text+w.err.String())
	}
	var out bytes.Buffer
	a := app{Env: Env{Now: time.Now, StdoutTerminal: true}}
	a.sayStatus(&out, api.Status{Advice: []string{strings.Repeat("somebody should do this ", 8)}, ConfigError: strings.Repeat("a word is wrong ", 8)})
	fits(t, "status", out.String())
	if strings.Count(out.String(), "\n! ") != 2 || !strings.Contains(out.String(), "! the newest configuration is not in force: a word") {
		t.Errorf("%s", out.String())
	}
}

// On a terminal errors and hints are lines that fit, in a column of their own;
// in a pipe each is one line.
func TestComplaintsFitTheTerminal(t *testing.T) {
	long := strings.TrimSpace(strings.Repeat("grüße ", 40))
	for name, c := range map[string]struct {
		env   Env
		width int
	}{
		"a wide terminal": {Env{StderrTerminal: true, StderrWidth: 120}, 120},
		"a narrow one":    {Env{StderrTerminal: true, StderrWidth: 40}, 40},
		"an unknown one":  {Env{StderrTerminal: true}, 80},
		"a pipe":          {Env{StderrWidth: 40}, 10_000},
		"one of no use":   {Env{StderrTerminal: true, StderrWidth: 1}, 18},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			a := app{Env: c.env}
			a.Stderr = &out
			a.complain(nil, withHint(fmt.Errorf("%s", long), long))
			lines := strings.Split(strings.TrimSpace(out.String()), "\n")
			for _, line := range lines {
				if utf8.RuneCountInString(line) > c.width {
					t.Errorf("%q", line)
				}
			}
			hint := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "hint: ") })
			if !c.env.StderrTerminal {
				if len(lines) != 2 {
					t.Errorf("%d lines in a pipe", len(lines))
				}
				return
			}
			if hint < 2 || !strings.HasPrefix(lines[1], "         gr") || !strings.HasPrefix(lines[hint+1], "      gr") {
				t.Errorf("no hanging indent:\n%s", out.String())
			}
		})
	}
}

func TestTimesCarryAZone(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local)
	if got, want := moment(at), "2026-01-02 03:04 "+at.Format("MST"); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// Long hosts and names go below their rows on a terminal, and stay in the row
// for programs.
func TestACMEListsFitATerminal(t *testing.T) {
	inFolder(t, true)
	h, err := openHouse(t, defaultData)
	if err != nil {
		t.Fatal(err)
	}
	hosts := []authority.ACMEIdentifier{{Type: "dns", Value: strings.Repeat("long-label.", 9) + "home.internal"}}
	for i, o := range []authority.ACMEOrder{
		{Status: "invalid", Identifiers: hosts, Authorizations: []string{"authz"}, Error: &authority.ACMEProblem{Detail: strings.Repeat("what went wrong ", 12)}},
		{Status: "valid", Identifiers: []authority.ACMEIdentifier{{Type: "dns", Value: "db.home.internal"}, {Type: "dns", Value: "b"}}},
	} {
		o.ID, o.Account, o.Profile, o.Created = fmt.Sprintf("order-%020x", i+1), "open-0123456789abcdef01234567", "server", time.Now()
		record(t, h, authority.ACMEKindOrder, o.ID, o)
	}
	record(t, h, authority.ACMEKindAccount, "open-0123456789abcdef01234567", authority.ACMEAccount{
		ID: "open-0123456789abcdef01234567", Profile: "server", Status: "valid", Name: "acme-accounts/server/0123456789abcdef01234567",
	})
	record(t, h, authority.ACMEKindAuthorization, "authz", authority.ACMEAuthorization{
		ID: "authz", Account: "open-0123456789abcdef01234567", Order: fmt.Sprintf("order-%020x", 1), Identifier: hosts[0], Status: "invalid",
		Challenges: []authority.ACMEChallenge{{Type: "http-01", Status: "invalid", Error: &authority.ACMEProblem{Detail: strings.Repeat("it answered otherwise ", 9)},
			Attempts: []authority.ACMEAttempt{{At: time.Now(), Steps: []string{"looked up " + hosts[0].Value + ": 192.168.1.5", "GET http://" + hosts[0].Value + "/.well-known/acme-challenge/0123456789abcdef0123456789abcdef"}, Expected: strings.Repeat("e", 90), Seen: strings.Repeat("s", 300)}}}},
	})
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	w := world{terminal: true}
	for _, args := range [][]string{{"acme", "accounts"}, {"acme", "orders"}, {"explain", fmt.Sprintf("order-%020x", 1)}} {
		w.run(t, args...)
		text := regexp.MustCompile("\x1b\\[[0-9;]*m").ReplaceAllString(w.out.String(), "")
		for line := range strings.Lines(text) {
			if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > 80 && strings.Contains(strings.TrimSpace(line), " ") {
				t.Errorf("%q: %d columns: %s", args, n, line)
			}
		}
	}
	pipe := world{}
	if out := pipe.do(t, "acme", "orders"); strings.Count(out, "\n") != 3 {
		t.Errorf("a row is not a line:\n%s", out)
	}
}
