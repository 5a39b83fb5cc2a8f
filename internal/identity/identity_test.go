package identity

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestParseTrustDomain(t *testing.T) {
	for sentence, c := range map[string]struct {
		in string
		ok bool
	}{
		"a domain":                    {"example.com", true},
		"a single label":              {"localhost", true},
		"digits, dash and underscore": {"a-1_b.internal", true},
		"253 bytes":                   {strings.Repeat("a", 253), true},
		"254 bytes":                   {strings.Repeat("a", 254), false},
		"nothing":                     {"", false},
		"capitals":                    {"Example.com", false},
		"a port":                      {"example.com:8443", false},
		"a path":                      {"example.com/ben", false},
		"a dot at the end":            {"example.com.", false},
		"a dot at the start":          {".example.com", false},
		"two dots":                    {"example..com", false},
		"a space":                     {"example com", false},
		"a user":                      {"ben@example.com", false},
		"a percent":                   {"ex%61mple.com", false},
		"an umlaut":                   {"exämple.com", false},
		"a newline":                   {"example.com\n", false},
	} {
		t.Run(sentence, func(t *testing.T) {
			d, err := ParseTrustDomain(c.in)
			if (err == nil) != c.ok || c.ok && d.String() != c.in || !c.ok && d != (TrustDomain{}) {
				t.Errorf("ParseTrustDomain(%q) = %q, %v", c.in, d, err)
			}
		})
	}
}

func TestParseName(t *testing.T) {
	for sentence, c := range map[string]struct {
		in string
		ok bool
	}{
		"one part":                           {"ben", true},
		"two parts":                          {"ben/phone", true},
		"capitals and all signs":             {"Services/check-out_2.0", true},
		"digits alone":                       {"42", true},
		"255 bytes":                          {strings.Repeat("a", 255), true},
		"256 bytes":                          {strings.Repeat("a", 256), false},
		"nothing":                            {"", false},
		"a slash":                            {"/", false},
		"a slash at the start":               {"/ben", false},
		"a slash at the end":                 {"ben/", false},
		"two slashes":                        {"ben//phone", false},
		"a dot":                              {"ben/./phone", false},
		"two dots":                           {"ben/../anna", false},
		"a dot alone":                        {".", false},
		"three dots":                         {"ben/.../phone", true},
		"a space":                            {"ben phone", false},
		"an encoded slash":                   {"ben%2fphone", false},
		"an umlaut":                          {"jörg", false},
		"a letter that looks like another":   {"bеn", false}, // Cyrillic е
		"bytes that are no text":             {"ben\xff", false},
		"NUL":                                {"ben\x00", false},
		"a star":                             {"ben/*", false},
		"the word enrolled":                  {"enrolled", false},
		"the word strangers":                 {"strangers", false},
		"the word group":                     {"group", false},
		"the word network":                   {"network", false},
		"a word in capitals":                 {"ENROLLED", false},
		"a word in front of a part":          {"Strangers/phone", false},
		"a prefix of the rule language":      {"group:ops", false},
		"the other prefix":                   {"network:lan", false},
		"a word with a letter more":          {"enrolled2", true},
		"a word with a letter less":          {"enrolle", true},
		"a word as a second part":            {"ben/enrolled", true},
		"a letter that folds to one of ours": {"networ\u212a", false}, // the Kelvin sign
	} {
		t.Run(sentence, func(t *testing.T) {
			n, err := ParseName(c.in)
			if (err == nil) != c.ok || c.ok && n.String() != c.in || !c.ok && !n.IsZero() {
				t.Errorf("ParseName(%q) = %q, %v", c.in, n, err)
			}
		})
	}
}

func TestANameCoversItselfAndAllBelowIt(t *testing.T) {
	for sentence, c := range map[string]struct {
		above, below string
		want         bool
	}{
		"itself":                   {"ben", "ben", true},
		"a device":                 {"ben", "ben/phone", true},
		"deep below":               {"ben", "ben/phone/app", true},
		"not what begins alike":    {"ben", "benno", false},
		"nor below that":           {"ben", "benno/phone", false},
		"nor the name above":       {"ben/phone", "ben", false},
		"nor one beside":           {"ben/phone", "ben/laptop", false},
		"nor a dot's continuation": {"ben", "ben.phone", false},
		"nor other capitals":       {"ben", "Ben/phone", false},
	} {
		t.Run(sentence, func(t *testing.T) {
			if got := must(ParseName(c.above)).Covers(must(ParseName(c.below))); got != c.want {
				t.Errorf("%s covers %s: %v", c.above, c.below, got)
			}
		})
	}
	ben := must(ParseName("ben"))
	if (Name{}).Covers(ben) || ben.Covers(Name{}) || (Name{}).Covers(Name{}) {
		t.Error("nobody covers or is covered")
	}
}

func TestLineageGoesUpward(t *testing.T) {
	var got []string
	for n := range must(ParseName("services/eu/checkout")).Lineage() {
		got = append(got, n.String())
	}
	if want := []string{"services/eu/checkout", "services/eu", "services"}; !slices.Equal(got, want) {
		t.Errorf("lineage %q, want %q", got, want)
	}
	for n := range (Name{}).Lineage() {
		t.Errorf("nobody has %q above", n)
	}
	for range must(ParseName("a/b")).Lineage() {
		break // stopping early is allowed
	}
}

func TestParseID(t *testing.T) {
	for sentence, c := range map[string]struct {
		in string
		ok bool
	}{
		"an ID":                    {"spiffe://example.com/ben/phone", true},
		"no name":                  {"spiffe://example.com", false},
		"an empty name":            {"spiffe://example.com/", false},
		"no trust domain":          {"spiffe:///ben", false},
		"another scheme":           {"https://example.com/ben", false},
		"the scheme in capitals":   {"SPIFFE://example.com/ben", false},
		"a port":                   {"spiffe://example.com:8443/ben", false},
		"a user":                   {"spiffe://root@example.com/ben", false},
		"a query":                  {"spiffe://example.com/ben?admin", false},
		"a fragment":               {"spiffe://example.com/ben#admin", false},
		"a word of the rules":      {"spiffe://example.com/enrolled", false},
		"dots":                     {"spiffe://example.com/ben/../anna", false},
		"more than 2048 bytes":     {"spiffe://example.com/" + strings.Repeat("a/", 1100) + "a", false},
		"nothing":                  {"", false},
		"a space around it":        {" spiffe://example.com/ben", false},
		"capitals in the domain":   {"spiffe://Example.com/ben", false},
		"an encoded letter inside": {"spiffe://example.com/b%65n", false},
	} {
		t.Run(sentence, func(t *testing.T) {
			id, err := ParseID(c.in)
			if (err == nil) != c.ok || c.ok && id.String() != c.in || !c.ok && !id.IsZero() {
				t.Errorf("ParseID(%q) = %q, %v", c.in, id, err)
			}
		})
	}
}

func TestAnIDIsADomainWithAName(t *testing.T) {
	d, n := must(ParseTrustDomain("example.com")), must(ParseName("ben/phone"))
	id := d.ID(n)
	if id != must(ParseID("spiffe://example.com/ben/phone")) || id.Domain() != d || id.Name() != n || id.URL().String() != id.String() {
		t.Errorf("%s in %s is %s", n, d, id)
	}
	for sentence, id := range map[string]ID{"no domain": TrustDomain{}.ID(n), "no name": d.ID(Name{})} {
		if !id.IsZero() || id.URL() != nil || id.String() != "" {
			t.Errorf("%s gives %q", sentence, id)
		}
	}
}

func TestACertificateHasExactlyOneID(t *testing.T) {
	uris := func(texts ...string) (all []*url.URL) {
		for _, s := range texts {
			all = append(all, must(url.Parse(s)))
		}
		return all
	}
	for sentence, c := range map[string]struct {
		uris []*url.URL
		want string
	}{
		"one":                   {uris("spiffe://example.com/ben"), "spiffe://example.com/ben"},
		"none":                  {nil, ""},
		"two":                   {uris("spiffe://example.com/ben", "spiffe://example.com/anna"), ""},
		"the same twice":        {uris("spiffe://example.com/ben", "spiffe://example.com/ben"), ""},
		"one and a web address": {uris("spiffe://example.com/ben", "https://example.com"), ""},
		"a web address":         {uris("https://example.com/ben"), ""},
		"an encoded slash":      {uris("spiffe://example.com/ben%2Fphone"), ""},
		"an encoded letter":     {uris("spiffe://example.com/b%65n"), ""},
		"a query":               {uris("spiffe://example.com/ben?x"), ""},
		"an empty query":        {uris("spiffe://example.com/ben?"), ""},
		"a user":                {uris("spiffe://ben@example.com/ben"), ""},
		"no slashes":            {uris("spiffe:example.com"), ""},
	} {
		t.Run(sentence, func(t *testing.T) {
			id, err := FromURIs(c.uris)
			if (err == nil) != (c.want != "") || id.String() != c.want {
				t.Errorf("FromURIs = %q, %v, want %q", id, err, c.want)
			}
		})
	}
}

func TestParseGroup(t *testing.T) {
	for in, ok := range map[string]bool{
		"family": true, "on-call_2": true, "": false, "a/b": false, "group": false, "enrolled": false, "group:ops": false, "a b": false, ".": false,
	} {
		if g, err := ParseGroup(in); (err == nil) != ok || ok && g.String() != in || g.IsZero() == ok {
			t.Errorf("ParseGroup(%q) = %q, %v", in, g, err)
		}
	}
}

func TestNamesAndGroupsSurviveJSON(t *testing.T) {
	type values struct {
		Name  Name
		Group Group
	}
	for sentence, want := range map[string]values{"full": {must(ParseName("ben/phone")), must(ParseGroup("ops"))}, "zero": {}} {
		b := must(json.Marshal(want))
		got := values{must(ParseName("old")), must(ParseGroup("old"))}
		if err := json.Unmarshal(b, &got); err != nil || got != want {
			t.Errorf("%s: %s is read as %+v, %v", sentence, b, got, err)
		}
	}
	for _, bad := range []string{`{"Name":"ben/"}`, `{"Group":"a/b"}`, `{"Name":"enrolled"}`} {
		var v values
		if json.Unmarshal([]byte(bad), &v) == nil {
			t.Errorf("%s is accepted", bad)
		}
	}
}

func TestErrorsShowTheCharacterThatIsNotAllowed(t *testing.T) {
	_, domain := ParseTrustDomain("exämple.com")
	_, name := ParseName("jörg")
	for err, want := range map[error]string{domain: "'ä'", name: "'ö'"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not show %s", err, want)
		}
	}
}

// What ParseTrustDomain accepts prints back as it was written.
func FuzzParseTrustDomain(f *testing.F) {
	f.Add("example.com")
	f.Add("a..b")
	f.Fuzz(func(t *testing.T, s string) {
		if d, err := ParseTrustDomain(s); err == nil && (d.String() != s || s == "" || strings.ContainsAny(s, "/:@?#% \n+")) {
			t.Errorf("%q is accepted as %q", s, d)
		}
	})
}

// What ParseName accepts prints back as it was written, can be no term of the
// rule language and no path that leaves a folder, and stands below exactly the
// names of its lineage.
func FuzzParseName(f *testing.F) {
	for _, s := range []string{"ben", "ben/phone", "a/../b", "enrolled", "group:x", "a//b"} {
		f.Add(s, "ben")
	}
	f.Fuzz(func(t *testing.T, s, o string) {
		n, err := ParseName(s)
		if err != nil {
			return
		}
		if n.String() != s || strings.Contains(s, ":") || s == "enrolled" || s == "strangers" || slices.Contains(strings.Split(s, "/"), "..") {
			t.Fatalf("%q is accepted as %q", s, n)
		}
		for above := range n.Lineage() {
			if again, err := ParseName(above.String()); err != nil || again != above || !above.Covers(n) {
				t.Errorf("%q above %q: %v", above, n, err)
			}
		}
		other, err := ParseName(o)
		if err != nil {
			return
		}
		if got, want := other.Covers(n), slices.Contains(slices.Collect(n.Lineage()), other); got != want {
			t.Errorf("%q covers %q: %v, its lineage says %v", other, n, got, want)
		}
	})
}

// What ParseID accepts prints back as it was written, and a URL of it is read
// as the same ID.
func FuzzParseID(f *testing.F) {
	for _, s := range []string{"spiffe://example.com/ben/phone", "spiffe://a/b?c", "spiffe:///x", "http://a/b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ParseID(s)
		if err != nil {
			return
		}
		if id.String() != s || id != id.Domain().ID(id.Name()) {
			t.Errorf("%q is accepted as %q", s, id)
		}
		if again, err := FromURIs([]*url.URL{must(url.Parse(id.URL().String()))}); err != nil || again != id {
			t.Errorf("the URL of %q is read as %q, %v", id, again, err)
		}
	})
}

// What ParseGroup accepts prints back as it was written and is one part.
func FuzzParseGroup(f *testing.F) {
	f.Add("family")
	f.Add("a/b")
	f.Fuzz(func(t *testing.T, s string) {
		if g, err := ParseGroup(s); err == nil && (g.String() != s || g.IsZero() || strings.ContainsAny(s, "/:")) {
			t.Errorf("%q is accepted as %q", s, g)
		}
	})
}
