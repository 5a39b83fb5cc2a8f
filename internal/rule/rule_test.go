package rule

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/postern-project/postern/internal/identity"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// who returns the subject of that name in those groups.
func who(name string, groups ...string) Subject {
	var s Subject
	if name != "" {
		s.Name = must(identity.ParseName(name))
	}
	for _, g := range groups {
		s.Groups = append(s.Groups, must(identity.ParseGroup(g)))
	}
	return s
}

func TestDecide(t *testing.T) {
	for sentence, c := range map[string]struct {
		allow, deny []string
		who         Subject
		want        string
	}{
		"an empty list means nobody":            {nil, nil, who("ben"), "not on the list"},
		"nor a stranger":                        {nil, nil, who(""), "not on the list"},
		"a name":                                {[]string{"ben"}, nil, who("ben"), "allowed by ben"},
		"a name below it":                       {[]string{"ben"}, nil, who("ben/phone"), "allowed by ben"},
		"not the name above it":                 {[]string{"ben/phone"}, nil, who("ben"), "not on the list"},
		"not a name that begins alike":          {[]string{"ben"}, nil, who("benno"), "not on the list"},
		"a stranger is not a name":              {[]string{"ben"}, nil, who(""), "not on the list"},
		"the first that matches decides":        {[]string{"anna", "ben", "enrolled"}, nil, who("ben"), "allowed by ben"},
		"a group":                               {[]string{"group:ops"}, nil, who("ben", "family", "ops"), "allowed by group:ops"},
		"another group":                         {[]string{"group:ops"}, nil, who("ben", "family"), "not on the list"},
		"a name like a group is none":           {[]string{"group:ops"}, nil, who("ops"), "not on the list"},
		"a group like a name is none":           {[]string{"ops"}, nil, who("ben", "ops"), "not on the list"},
		"a stranger is in no group":             {[]string{"group:ops"}, nil, who("", "ops"), "not on the list"},
		"everybody enrolled":                    {[]string{"enrolled"}, nil, who("ben"), "allowed by enrolled"},
		"a stranger is not enrolled":            {[]string{"enrolled"}, nil, who("", "ops"), "not on the list"},
		"strangers":                             {[]string{"strangers"}, nil, who(""), "allowed by strangers"},
		"where strangers may, everybody may":    {[]string{"strangers"}, nil, who("ben"), "allowed by strangers"},
		"deny comes before allow":               {[]string{"ben"}, []string{"ben"}, who("ben"), "denied by ben"},
		"denied below what is allowed":          {[]string{"ben"}, []string{"ben/phone"}, who("ben/phone"), "denied by ben/phone"},
		"allowed above what is denied":          {[]string{"ben"}, []string{"ben/phone"}, who("ben/laptop"), "allowed by ben"},
		"allowed below what is denied":          {[]string{"ben/phone"}, []string{"ben"}, who("ben/phone"), "denied by ben"},
		"a group denied":                        {[]string{"enrolled"}, []string{"group:guests"}, who("ben", "guests"), "denied by group:guests"},
		"enrolled denied, strangers allowed":    {[]string{"strangers"}, []string{"enrolled"}, who("ben"), "denied by enrolled"},
		"and a stranger then passes":            {[]string{"strangers"}, []string{"enrolled"}, who(""), "allowed by strangers"},
		"strangers denied means everybody":      {[]string{"ben"}, []string{"strangers"}, who("ben"), "denied by strangers"},
		"a denial alone lets nobody in":         {nil, []string{"anna"}, who("ben"), "not on the list"},
		"a denied name is no prefix either":     {[]string{"enrolled"}, []string{"ben"}, who("benno"), "allowed by enrolled"},
		"a group of nobody's matches no member": {[]string{"group:ops"}, nil, Subject{Name: who("ben").Name, Groups: []identity.Group{{}}}, "not on the list"},
	} {
		t.Run(sentence, func(t *testing.T) {
			l, err := Parse(c.allow, c.deny)
			if err != nil {
				t.Fatal(err)
			}
			d := l.Decide(c.who)
			if d.String() != c.want || d.Allow != strings.HasPrefix(c.want, "allowed") {
				t.Errorf("%+v: %q, want %q", d, d, c.want)
			}
		})
	}
}

func TestParseTerm(t *testing.T) {
	for sentence, c := range map[string]struct {
		in string
		ok bool
	}{
		"a name":                    {"ben", true},
		"a name with parts":         {"services/checkout", true},
		"a group":                   {"group:ops", true},
		"enrolled":                  {"enrolled", true},
		"strangers":                 {"strangers", true},
		"nothing":                   {"", false},
		"enrolled in capitals":      {"Enrolled", false},
		"strangers in capitals":     {"STRANGERS", false},
		"a word with a part behind": {"strangers/ben", false},
		"a space behind a word":     {"enrolled ", false},
		"a group of no name":        {"group:", false},
		"a group of two parts":      {"group:a/b", false},
		"a group that is a word":    {"group:enrolled", false},
		"a group of a group":        {"group:group:ops", false},
		"Group in capitals":         {"Group:ops", false},
		"the word group":            {"group", false},
		"a prefix that is none":     {"user:ben", false},
		"a star":                    {"*", false},
		"a name with a star":        {"ben/*", false},
		"a SPIFFE ID":               {"spiffe://example.com/ben", false},
		"the word for the zero one": {"nobody", true}, // an ordinary name
	} {
		t.Run(sentence, func(t *testing.T) {
			term, err := ParseTerm(c.in)
			if (err == nil) != c.ok || c.ok && term.String() != c.in || !c.ok && term != (Term{}) {
				t.Errorf("ParseTerm(%q) = %q, %v", c.in, term, err)
			}
		})
	}
}

func TestParseNamesTheEntryThatIsWrong(t *testing.T) {
	for sentence, c := range map[string]struct {
		allow, deny []string
		want        string
	}{
		"in allow": {[]string{"ben", "ben//phone"}, nil, "allow, entry 2: "},
		"in deny":  {[]string{"ben"}, []string{""}, "deny, entry 1: "},
	} {
		t.Run(sentence, func(t *testing.T) {
			l, err := Parse(c.allow, c.deny)
			if err == nil || !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("error %v, want one that begins %q", err, c.want)
			}
			if l.Allow != nil || l.Deny != nil {
				t.Errorf("a list that was refused lets in %+v", l)
			}
		})
	}
}

func TestZeroValuesLetNobodyIn(t *testing.T) {
	for _, s := range []Subject{{}, who("ben", "ops"), who("", "ops"), {Name: who("ben").Name, Groups: []identity.Group{{}}}} {
		if (Term{}).Matches(s) {
			t.Errorf("the zero term matches %+v", s)
		}
		for sentence, l := range map[string]List{
			"the zero list":                      {},
			"a list of the zero term":            {Allow: []Term{{}}},
			"a list of a name that is none":      {Allow: []Term{{kind: name}}},
			"a list of a group that is none":     {Allow: []Term{{kind: group}}},
			"a list of a kind that is not there": {Allow: []Term{{kind: strangers + 1}}},
		} {
			if l.Decide(s).Allow {
				t.Errorf("%s lets in %+v", sentence, s)
			}
		}
	}
	if (Decision{}).Allow || (Decision{}).String() != "not on the list" {
		t.Error("the zero decision is not no")
	}
}

func TestGroupTellsWhichGroupATermAsksFor(t *testing.T) {
	for in, want := range map[string]bool{"group:ops": true, "ops": false, "enrolled": false, "strangers": false} {
		g, ok := must(ParseTerm(in)).Group()
		if ok != want || ok && g.String() != "ops" || !ok && !g.IsZero() {
			t.Errorf("%s: group %q, %v", in, g, ok)
		}
	}
}

func TestAdmitsStrangers(t *testing.T) {
	for sentence, c := range map[string]struct {
		allow, deny []string
		want        bool
	}{
		"nobody":                 {nil, nil, false},
		"enrolled":               {[]string{"enrolled", "ben", "group:ops"}, nil, false},
		"strangers":              {[]string{"ben", "strangers"}, nil, true},
		"strangers denied again": {[]string{"strangers"}, []string{"strangers"}, false},
		"somebody denied":        {[]string{"strangers"}, []string{"ben", "enrolled", "group:ops"}, true},
	} {
		if got := must(Parse(c.allow, c.deny)).AdmitsStrangers(); got != c.want {
			t.Errorf("%s: %v", sentence, got)
		}
	}
}

// The laws of lists, on random ones.
func TestLawsOfLists(t *testing.T) {
	words := []string{"ben", "ben/phone", "benno", "anna", "services/a", "group:ops", "group:family", "enrolled", "strangers"}
	subjects := []Subject{{}, who("", "ops"), who("ben"), who("ben/phone/app", "ops"), who("benno"), who("anna/x", "family", "ops"), who("services")}
	random := rand.New(rand.NewPCG(7, 7))
	draw := func() (terms []Term) {
		for range random.IntN(4) {
			terms = append(terms, must(ParseTerm(words[random.IntN(len(words))])))
		}
		return terms
	}
	matches := func(s Subject) func(Term) bool { return func(t Term) bool { return t.Matches(s) } }
	stranger := must(ParseTerm("strangers"))
	for range 5000 {
		l := List{draw(), draw()}
		more := draw()
		for _, s := range subjects {
			d := l.Decide(s)
			if want := slices.ContainsFunc(l.Allow, matches(s)) && !slices.ContainsFunc(l.Deny, matches(s)); d.Allow != want {
				t.Fatalf("%+v on %+v: %s", l, s, d)
			}
			if d.Allow && (!slices.Contains(l.Allow, d.Term) || !d.Term.Matches(s)) {
				t.Fatalf("%+v on %+v: %s gave no such verdict", l, s, d)
			}
			if s.Name.IsZero() && d.Allow && d.Term != stranger {
				t.Fatalf("%+v lets in a stranger: %s", l, d)
			}
			if !d.Allow && (List{l.Allow, append(slices.Clone(l.Deny), more...)}).Decide(s).Allow {
				t.Fatalf("%+v: denying %v lets in %+v", l, more, s)
			}
			if d.Allow && !(List{append(slices.Clone(more), l.Allow...), l.Deny}).Decide(s).Allow {
				t.Fatalf("%+v: allowing %v keeps out %+v", l, more, s)
			}
		}
	}
}

// What ParseTerm accepts prints back as it was written, and speaks of a
// stranger only when it is the word for them.
func FuzzParseTerm(f *testing.F) {
	for _, s := range []string{"ben/phone", "group:ops", "enrolled", "strangers", "network:lan", ""} {
		f.Add(s, "ben")
	}
	f.Fuzz(func(t *testing.T, s, name string) {
		term, err := ParseTerm(s)
		if err != nil {
			return
		}
		if term.String() != s {
			t.Errorf("%q prints %q", s, term)
		}
		group, _ := term.Group()
		if term.Matches(Subject{Groups: []identity.Group{group}}) != (s == "strangers") {
			t.Errorf("%q speaks of a stranger", s)
		}
		n, err := identity.ParseName(name)
		if err != nil {
			return
		}
		below := s == name || strings.HasPrefix(name, s+"/")
		if got, want := term.Matches(Subject{Name: n}), below || s == "enrolled" || s == "strangers"; got != want {
			t.Errorf("%q speaks of %q: %v", s, n, got)
		}
	})
}

func BenchmarkDecide(b *testing.B) {
	l := must(Parse([]string{"anna", "group:ops", "services", "ben"}, []string{"ben/old"}))
	s := who("ben/phone", "family")
	b.ReportAllocs()
	for b.Loop() {
		if !l.Decide(s).Allow {
			b.Fatal("not allowed")
		}
	}
}
