package invite

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// fixed is a code whose text the tests know by heart.
var fixed = Code{[16]byte{0: 0xde, 1: 0xad, 14: 0xbe, 15: 0xef}}

func TestEncodingIsFixed(t *testing.T) {
	cases := map[string]struct{ got, want string }{
		"the zero code":       {Code{}.String(), strings.Repeat("0", 28)},
		"a code":              {fixed.String(), "6ynm0000000000000000001fqfgw"},
		"the largest code":    {Code{[16]byte(bytes.Repeat([]byte{255}, 16))}.String(), "7zzzzzzzzzzzzzzzzzzzzzzzzzm5"},
		"the zero pin":        {Pin{}.String(), strings.Repeat("0", 34)},
		"a link with a port":  {Link{"https://a.example:8444", fixed, Pin{}}.String(), "https://a.example:8444/join#" + fixed.String() + "." + Pin{}.String()},
		"the hash in hex":     {fmt.Sprintf("%x", fixed.Hash()), fmt.Sprintf("%x", sha256.Sum256(fixed.b[:]))},
		"the code in Go form": {fmt.Sprintf("%#v", fixed), hidden},
		"the link in Go form": {fmt.Sprintf("%#v", Link{"https://a.example", fixed, Pin{}}), "https://a.example/join#" + hidden},
	}
	for name, c := range cases {
		if c.got != c.want {
			t.Errorf("%s: got %q, want %q", name, c.got, c.want)
		}
	}
}

func TestEveryCodeReadsBack(t *testing.T) {
	for range 1000 {
		c := New()
		if got, err := Parse(c.String()); err != nil || got != c {
			t.Fatalf("Parse(%s) = %v, %v", c, got, err)
		}
	}
}

func TestNewNeverRepeats(t *testing.T) {
	seen := map[Code]bool{}
	for range 1000 {
		c := New()
		if seen[c] || c.IsZero() {
			t.Fatal("a code came twice")
		}
		seen[c] = true
	}
}

func TestParseReadsWhatPeopleWrite(t *testing.T) {
	s := fixed.String()
	cases := map[string]string{
		"upper case":          strings.ToUpper(s),
		"groups":              s[:4] + "-" + s[4:8] + " " + s[8:],
		"letter o for a zero": strings.ReplaceAll(s, "0", "O"),
	}
	for name, text := range cases {
		if got, err := Parse(text); err != nil || got != fixed {
			t.Errorf("%s: Parse(%q) = %v, %v", name, text, got, err)
		}
	}
}

// typos yields every text that differs from s in one character, or by a swap
// of two unlike neighbours, or by a character that is missing or doubled.
func typos(s string) (wrong []string) {
	for i := range s {
		for _, r := range alphabet + "u!é" {
			if byte(r) != s[i] {
				wrong = append(wrong, s[:i]+string(r)+s[i+1:])
			}
		}
		if i+1 < len(s) && s[i] != s[i+1] {
			wrong = append(wrong, s[:i]+string(s[i+1])+string(s[i])+s[i+2:])
		}
		wrong = append(wrong, s[:i]+s[i+1:], s[:i+1]+s[i:])
	}
	return wrong
}

func TestEveryTypingErrorIsFound(t *testing.T) {
	texts := map[string]func(string) error{
		New().String():       func(s string) error { _, err := Parse(s); return err },
		(Code{}).String():    func(s string) error { _, err := Parse(s); return err },
		fixed.String():       func(s string) error { _, err := Parse(s); return err },
		randomPin().String(): func(s string) error { _, err := ParsePin(s); return err },
	}
	for s, parse := range texts {
		for _, wrong := range typos(s) {
			err := parse(wrong)
			if _, ok := errors.AsType[*TypoError](err); !ok {
				t.Errorf("%q for %q: got %v, want a typing error", wrong, s, err)
			} else if len(wrong) > 4 && strings.Contains(err.Error(), wrong) {
				t.Errorf("the error repeats the secret: %v", err)
			}
		}
	}
}

func TestEveryTypingErrorInALinkIsFound(t *testing.T) {
	l := Link{"https://join.example.com", New(), randomPin()}
	head, fragment, _ := strings.Cut(l.String(), "#")
	for _, wrong := range typos(fragment) {
		if got, err := ParseLink(head + "#" + wrong); err == nil {
			t.Errorf("%q for %q was read as %v", wrong, fragment, got)
		}
	}
}

func randomPin() Pin {
	sum := sha256.Sum256([]byte(New().String()))
	return Pin{[20]byte(sum[:20])}
}

func TestLogsHideTheCode(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&out, nil))
	log.Info("x", "code", fixed, "link", Link{"https://a.example", fixed, Pin{}})
	if strings.Contains(out.String(), fixed.String()) || !strings.Contains(out.String(), "a.example") {
		t.Errorf("log line %s", out.String())
	}
}

func FuzzParse(f *testing.F) {
	f.Add(fixed.String())
	f.Add("6YNM-0000")
	f.Fuzz(func(t *testing.T, s string) {
		c, err := Parse(s)
		if err != nil {
			return
		}
		if again, err := Parse(c.String()); err != nil || again != c {
			t.Errorf("%q prints as %q and reads back as %v, %v", s, c, again, err)
		}
	})
}
