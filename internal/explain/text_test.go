package explain

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/postern-project/postern/internal/chain"
)

// checkText checks what holds of every report without colours: 80 columns and
// no character that steers a terminal.
func checkText(t *testing.T, text string) {
	t.Helper()
	for line := range strings.SplitSeq(text, "\n") {
		if n := utf8.RuneCountInString(line); n > columns {
			t.Errorf("%d columns: %s", n, line)
		}
		if i := strings.IndexFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
			t.Errorf("%q is in %q", line[i:], line)
		}
		if strings.HasSuffix(line, " ") {
			t.Errorf("white space at the end of %q", line)
		}
	}
}

func sample() Report {
	return report("a.pem", []chain.Step{
		group("chain", "", good("signature", "by 'root'"),
			group("inner", "with details", good("deep", strings.Repeat("word ", 30)),
				bad("validity", "it ended", "Renew it, and then look again whether everything is in order, which it should be by then.")),
			note("last", strings.Repeat("x", 200))),
		good("after", "fine"),
	})
}

func TestReportAsTree(t *testing.T) { golden(t, "tree", sample()) }

func TestColoursOnlyWhenAsked(t *testing.T) {
	var plain, colored strings.Builder
	r := sample()
	r.WriteText(&plain, false)
	r.WriteText(&colored, true)
	if strings.Contains(plain.String(), "\x1b") {
		t.Error("colours in a pipe")
	}
	if !strings.Contains(colored.String(), "\x1b[31m✗\x1b[0m") {
		t.Error("no red mark")
	}
	if got := strings.NewReplacer("\x1b[31m", "", "\x1b[32m", "", "\x1b[33m", "", "\x1b[0m", "").Replace(colored.String()); got != plain.String() {
		t.Error("colours change the layout")
	}
}

func TestReportAsJSON(t *testing.T) {
	data, err := json.Marshal(sample())
	if err != nil {
		t.Fatal(err)
	}
	var back struct {
		Subject string
		OK      bool
		Advice  string
		Steps   []struct {
			Title string
			OK    bool
			Steps []struct{ Title string }
		}
	}
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	if back.Subject != "a.pem" || back.OK || !strings.HasPrefix(back.Advice, "Renew it") || back.Steps[0].OK || back.Steps[0].Steps[1].Title != "inner" {
		t.Errorf("got %s", data)
	}
}

// Whatever a certificate, a peer or a file's name holds, a report fits into 80
// columns and steers no terminal.
func FuzzWriteText(f *testing.F) {
	f.Add("\x1b]0;owned\x07", "\x1b[2J\u202e", "\r\nline")
	f.Add("plain", strings.Repeat("long", 50), "\xff\x9b31m")
	f.Fuzz(func(t *testing.T, subject, title, detail string) {
		r := report(subject, []chain.Step{group(title, detail, bad(detail, title, subject), good(title, detail))})
		var b strings.Builder
		if err := r.WriteText(&b, false); err != nil {
			t.Fatal(err)
		}
		checkText(t, b.String())
		data, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		var back Report
		if err := json.Unmarshal(data, &back); err != nil || chain.Escape(back.Steps[0].Detail) != back.Steps[0].Detail {
			t.Fatalf("JSON holds %q, %v", back.Steps[0].Detail, err)
		}
	})
}
