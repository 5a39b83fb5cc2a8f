package apptoken

import (
	"strings"
	"testing"
)

func TestATokenIsReadAsItIsWritten(t *testing.T) {
	a, b := New(), New()
	got, err := Parse(a.String())
	if err != nil || got != a || got.Hash() != a.Hash() || len(a.String()) != Length {
		t.Errorf("%v, %v", got, err)
	}
	if a == b || a.Hash() == b.Hash() {
		t.Error("two tokens are one")
	}
}

func TestWhatIsNoToken(t *testing.T) {
	good := New().String()
	for _, s := range []string{"", Prefix, good[:Length-1], good + "a", strings.ToUpper(good), good[1:] + "a", Prefix + strings.Repeat("1", 26), Prefix + strings.Repeat("/", 26), " " + good[:Length-1]} {
		if got, err := Parse(s); err == nil || got != (Token{}) || len(s) > len(Prefix)+1 && strings.Contains(err.Error(), s) {
			t.Errorf("%q is taken for a token, or repeated: %v", s, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(New().String())
	f.Add("postern_")
	f.Fuzz(func(t *testing.T, s string) {
		if got, err := Parse(s); err == nil && got.String() != s {
			t.Errorf("%q is read as %q", s, got)
		}
	})
}

func TestVeil(t *testing.T) {
	token := New().String()
	for in, want := range map[string]string{
		"":                                "",
		"/a/b":                            "/a/b",
		token:                             "postern_…",
		"/x/" + token + "/y?" + token:     "/x/postern_…/y?postern_…",
		token + token:                     "postern_…postern_…",
		token[:len(Prefix)+20] + "/":      "postern_…/",
		"/postern_handbook":               "/postern_handbook",
		"postern_":                        "postern_",
		"/POSTERN_" + token[len(Prefix):]: "/POSTERN_" + token[len(Prefix):],
	} {
		if got := Veil(in); got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
}
