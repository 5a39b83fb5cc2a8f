package roster

import (
	"slices"
	"testing"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/ledger"
)

func TestGroupsHoldANameAndAllBelowIt(t *testing.T) {
	d := newDomain()
	join := func(g, n string) ledger.Body { return ledger.GroupJoined{Group: group(g), Name: name(n)} }
	leave := func(g, n string) ledger.Body { return ledger.GroupLeft{Group: group(g), Name: name(n)} }
	for sentence, c := range map[string]struct {
		ledger []ledger.Body
		who    string
		groups []string
	}{
		"nobody joined":                       {nil, "ben", nil},
		"its own, sorted":                     {[]ledger.Body{join("ops", "ben"), join("family", "ben")}, "ben", []string{"family", "ops"}},
		"from the name above":                 {[]ledger.Body{join("family", "ben")}, "ben/phone", []string{"family"}},
		"from two names above":                {[]ledger.Body{join("a", "ben"), d.issued(1, "ben/phone/x"), join("b", "ben/phone")}, "ben/phone/x", []string{"a", "b"}},
		"not from a name below":               {[]ledger.Body{join("family", "ben/phone")}, "ben", nil},
		"not from a name beside":              {[]ledger.Body{join("family", "benno")}, "ben", nil},
		"joined before the name was known":    {[]ledger.Body{join("family", "ben"), d.issued(1, "ben/phone")}, "ben/phone", []string{"family"}},
		"joined after the name was known":     {[]ledger.Body{d.issued(1, "ben/phone"), join("family", "ben")}, "ben/phone", []string{"family"}},
		"the same from above, told once":      {[]ledger.Body{join("family", "ben/phone"), join("family", "ben")}, "ben/phone", []string{"family"}},
		"left":                                {[]ledger.Body{join("family", "ben"), leave("family", "ben")}, "ben", nil},
		"left above, kept below":              {[]ledger.Body{join("family", "ben"), join("family", "ben/phone"), leave("family", "ben")}, "ben/phone", []string{"family"}},
		"left below, kept above":              {[]ledger.Body{join("family", "ben"), join("family", "ben/phone"), leave("family", "ben/phone")}, "ben/phone", []string{"family"}},
		"left what was never joined":          {[]ledger.Body{join("family", "ben"), leave("ops", "ben")}, "ben", []string{"family"}},
		"one of two left":                     {[]ledger.Body{join("family", "ben"), join("ops", "ben"), leave("ops", "ben")}, "ben/phone", []string{"family"}},
		"joined twice and left once":          {[]ledger.Body{join("family", "ben"), join("family", "ben"), leave("family", "ben")}, "ben", nil},
		"a name that nothing else speaks of":  {[]ledger.Body{join("family", "ben")}, "ben/a/b/c/d", []string{"family"}},
		"an invite alone puts nobody into it": {[]ledger.Body{ledger.InviteCreated{Name: name("ben"), Group: group("family")}}, "ben", nil},
	} {
		t.Run(sentence, func(t *testing.T) {
			r := d.begun(t, c.ledger...)
			var got []string
			for _, g := range r.Groups(name(c.who)) {
				got = append(got, g.String())
			}
			if !slices.Equal(got, c.groups) {
				t.Errorf("Groups(%s) = %q, want %q", c.who, got, c.groups)
			}
		})
	}
}

func TestNobodyHasNoGroups(t *testing.T) {
	d := newDomain()
	r := d.begun(t, ledger.GroupJoined{Group: group("family"), Name: name("ben")})
	if g := r.Groups(identity.Name{}); g != nil {
		t.Errorf("Groups of nobody = %v", g)
	}
}

func TestHasGroupKnowsWhatTheLedgerHasNamed(t *testing.T) {
	d := newDomain()
	r := d.begun(t,
		ledger.GroupJoined{Group: group("family"), Name: name("ben")},
		ledger.GroupLeft{Group: group("family"), Name: name("ben")},
		ledger.InviteCreated{Name: name("anna"), Group: group("friends")},
		ledger.InviteCreated{Name: name("anna")},
		ledger.GroupLeft{Group: group("strays"), Name: name("ben")},
	)
	for g, want := range map[string]bool{"family": true, "friends": true, "strays": false, "ops": false} {
		if r.HasGroup(group(g)) != want {
			t.Errorf("HasGroup(%s) = %v", g, !want)
		}
	}
	if r.HasGroup(identity.Group{}) {
		t.Error("the group without a name is known")
	}
}
