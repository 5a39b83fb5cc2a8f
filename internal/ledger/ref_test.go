package ledger

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

func TestParseSerialReadsWhatToolsPrint(t *testing.T) {
	for sentence, c := range map[string]struct{ in, want string }{
		"lower case":             {"0a1b", "0a1b"},
		"upper case with colons": {"0A:1B:FF", "0a1bff"},
		"an odd digit":           {"abc", "0abc"},
		"leading zeros":          {"00:00:7f", "7f"},
		"twenty bytes":           {strings.Repeat("ff", 20), strings.Repeat("ff", 20)},
		"a zero inside":          {"100", "0100"},
		"nothing":                {"", ""},
		"zero":                   {"0000", ""},
		"only colons":            {"::", ""},
		"twenty-one bytes":       {strings.Repeat("ff", 21), ""},
		"a name":                 {"ben", ""},
		"a 0x before it":         {"0x12", ""},
	} {
		t.Run(sentence, func(t *testing.T) {
			s, err := ParseSerial(c.in)
			if (err == nil) != (c.want != "") || s.String() != c.want {
				t.Errorf("ParseSerial(%q) = %q, %v, want %q", c.in, s, err, c.want)
			}
		})
	}
}

func TestPaddedKeepsSerialsApart(t *testing.T) {
	a, b := serial("01"), serial("0100")
	if a.Padded() == b.Padded() {
		t.Error("01 and 0100 are padded alike")
	}
	p := serial("0102").Padded()
	if !bytes.Equal(p[18:], []byte{1, 2}) || !bytes.Equal(p[:18], make([]byte, 18)) {
		t.Errorf("0102 is padded to %x", p)
	}
}

func FuzzParseSerial(f *testing.F) {
	for _, s := range []string{"", "0", "1", "0A:1B", "zz", "7f00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		s, err := ParseSerial(in)
		if err != nil {
			return
		}
		if again, err := ParseSerial(s.String()); err != nil || again != s {
			t.Errorf("%q is printed %q and read as %q, %v", in, s, again, err)
		}
		if again, err := SerialFromBytes(s.Bytes()); err != nil || again != s || s.IsZero() {
			t.Errorf("the bytes of %q are read as %q, %v", s, again, err)
		}
	})
}

func TestValuesSurviveJSON(t *testing.T) {
	type values struct {
		Ref    Ref
		Hash   Hash
		Serial Serial
	}
	for sentence, want := range map[string]values{
		"full": {Ref{filled(1), serial("0a"), filled(2)}, filled(3), serial("ff")},
		"zero": {},
	} {
		b := must(json.Marshal(want))
		var got values
		if err := json.Unmarshal(b, &got); err != nil || got != want {
			t.Errorf("%s: %s is read as %+v, %v", sentence, b, got, err)
		}
	}
	var h Hash
	if h.UnmarshalText([]byte("abc")) == nil || h.UnmarshalText(bytes.Repeat([]byte("zz"), 32)) == nil {
		t.Error("a hash of three or of no digits is accepted")
	}
	var s Serial
	if s.UnmarshalText([]byte("x")) == nil {
		t.Error("x is accepted as a serial number")
	}
}

func TestReasonsReadBackByTheirNames(t *testing.T) {
	for r := range reasonNames {
		if got, err := ParseReason(r.String()); err != nil || got != r {
			t.Errorf("%s is read as %v, %v", r, got, err)
		}
	}
	if _, err := ParseReason("stolen"); err == nil || !strings.Contains(err.Error(), "key-compromise") {
		t.Errorf("an unknown reason: %v, want an error that lists the known ones", err)
	}
}
