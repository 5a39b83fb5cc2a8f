package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"
	"unicode"
)

func TestClean(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"letters stay":         {"Bücher, 東京 ✓", "Bücher, 東京 ✓"},
		"an escape sequence":   {"\x1b[2J", `\x1b[2J`},
		"a line of its own":    {"a\npostern: all is well", `a\npostern: all is well`},
		"a C1 control":         {"a\u009bm", `a\u009bm`},
		"text turned around":   {"a\u202eb", `a\u202eb`},
		"what is no UTF-8":     {"a\xffb", `a\xffb`},
		"a replacement letter": {"a\uFFFDb", "a\uFFFDb"},
	} {
		if got := clean(c.in); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// Nothing that clean returns can move a cursor.
func FuzzClean(f *testing.F) {
	f.Add("a\x1b[31mb\u009b\xff\u2028\U000e0001")
	f.Fuzz(func(t *testing.T, s string) {
		for _, r := range clean(s) {
			if !unicode.IsPrint(r) {
				t.Errorf("%q leaves %U", s, r)
			}
		}
	})
}

// JSON says the same after its way through the escaper, in letters that no
// terminal obeys.
func FuzzEscaper(f *testing.F) {
	f.Add("a\x1b[31mb\u009b\u2028\U000e0001\"\\")
	f.Fuzz(func(t *testing.T, s string) {
		var b bytes.Buffer
		a := app{Env: Env{Stdout: &b}, json: true}
		if err := a.show([]string{s}, nil); err != nil {
			t.Fatal(err)
		}
		for _, r := range b.String() {
			if r != '\n' && !unicode.IsPrint(r) {
				t.Errorf("%q leaves %U", s, r)
			}
		}
		var got []string
		if err := json.Unmarshal(b.Bytes(), &got); err != nil || got[0] != strings.ToValidUTF8(s, "\uFFFD") && len(got[0]) == 0 {
			t.Errorf("%q became %q, %v", s, got, err)
		}
	})
}

// A file from elsewhere cannot write on the operator's terminal.
func TestErrorsDoNotObeyTheirInput(t *testing.T) {
	inFolder(t, false)
	text := "\"a\\e[2Jb\": 1\nsites:\n  \"x\\e]0;title\\a\": {}\n"
	if err := os.WriteFile("evil.yaml", []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	w := world{terminal: true}
	if code := w.run(t, "check", "evil.yaml"); code != exitFailed {
		t.Errorf("exit code %d", code)
	}
	w.run(t, "explain", "\x1b[2J.pem")
	w.run(t, "\x1b[2J")
	if strings.ContainsAny(w.out.String()+w.err.String(), "\x1b\a") {
		t.Errorf("%q", w.err.String())
	}
}

func TestLifetime(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"15m": 15 * time.Minute, "24h": 24 * time.Hour, "90d": 90 * 24 * time.Hour, "2w": 14 * 24 * time.Hour,
		"1.5d": 36 * time.Hour, "soon": 0, "": 0, "-1h": 0, "0s": 0, "0d": 0, "d": 0, "99999999d": 0, "1e9w": 0,
	} {
		var l lifetime
		err := l.Set(text)
		if (err == nil) != (want != 0) || l.d != want {
			t.Errorf("%q: %s, %v, want %s", text, l.d, err, want)
		}
	}
}

// A lifetime that is accepted is longer than nothing and no overflow.
func FuzzLifetime(f *testing.F) {
	f.Add("15m")
	f.Add("292y9d")
	f.Add("4000w")
	f.Fuzz(func(t *testing.T, s string) {
		var l lifetime
		if err := l.Set(s); err == nil && l.d <= 0 {
			t.Errorf("%q is %s", s, l.d)
		}
	})
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 seconds", time.Second: "1 second", 90 * time.Second: "90 seconds", 15 * time.Minute: "15 minutes",
		5 * time.Hour: "5 hours", 364*24*time.Hour + time.Minute: "364 days",
	} {
		if got := span(d); got != want {
			t.Errorf("%d: %s, want %s", d, got, want)
		}
	}
	if got := count(2, "entry"); got != "2 entries" {
		t.Error(got)
	}
}
