package store

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/ledger"
)

func found(t testing.TB, s *Store, f Filter) (names []string) {
	t.Helper()
	for row, err := range s.Certificates(context.Background(), f) {
		must(t, err)
		names = append(names, fmt.Sprintf("%s %s", row.Name, row.Serial))
	}
	return names
}

func TestSearch(t *testing.T) {
	w := newWorld(t)
	s := openAt(t, filepath.Join(t.TempDir(), "postern.db"), Options{})
	now := time.Now().UTC().Truncate(time.Second)
	cert := func(who string, n uint64, change func(*ledger.CertificateIssued)) ledger.CertificateIssued {
		c := w.certificate(who, n)
		if change != nil {
			change(&c)
		}
		return c
	}
	update(t, s, w.genesis, w.issuer, ledger.IdentityCreated{Name: name("ben")}, ledger.IdentityCreated{Name: name("ben/phone")}, ledger.IdentityCreated{Name: name("web")})
	update(t, s,
		cert("ben", 1, func(c *ledger.CertificateIssued) { c.NotAfter = now.Add(time.Hour) }),
		cert("ben/phone", 2, func(c *ledger.CertificateIssued) { c.Key = ledger.Hash{9}; c.NotAfter = now.Add(3 * time.Hour) }),
		cert("web", 3, func(c *ledger.CertificateIssued) {
			c.DNSNames, c.Via, c.NotAfter = []string{"a.example", "b.example"}, "self", now.Add(2*time.Hour)
		}),
		cert("web", 4, func(c *ledger.CertificateIssued) { c.NotAfter = now.Add(-time.Hour) }),
	)
	update(t, s, ledger.CertificatesRevoked{Certificates: []ledger.Ref{w.certificate("ben", 1).Ref}})
	sound(t, s)
	last := func(f Filter) Place {
		var p Place
		for row, err := range s.Certificates(t.Context(), f) {
			must(t, err)
			p = row.Place()
		}
		return p
	}
	for sentence, c := range map[string]struct {
		f    Filter
		want []string
	}{
		"everything, newest first":         {Filter{}, []string{"web 4", "web 3", "ben/phone 2", "ben 1"}},
		"a name and all below it":          {Filter{Name: name("ben")}, []string{"ben/phone 2", "ben 1"}},
		"a host":                           {Filter{Host: "b.example"}, []string{"web 3"}},
		"a part of a host is none":         {Filter{Host: "example"}, nil},
		"a host of SQL":                    {Filter{Host: "x' OR '1'='1"}, nil},
		"a host of LIKE":                   {Filter{Host: "%"}, nil},
		"a host with a wildcard":           {Filter{Host: "_.example"}, nil},
		"a host of GLOB":                   {Filter{Host: "*"}, nil},
		"an issuer of SQL":                 {Filter{Issuer: "x' OR name LIKE '%"}, nil},
		"an issuer with a comment":         {Filter{Issuer: "clients-1'--"}, nil},
		"a door of SQL":                    {Filter{Via: "self' OR 'a'='a"}, nil},
		"a key":                            {Filter{Key: ledger.Hash{9}}, []string{"ben/phone 2"}},
		"an issuer":                        {Filter{Issuer: "clients-1", Limit: 1}, []string{"web 4"}},
		"another issuer":                   {Filter{Issuer: "clients-2"}, nil},
		"a door":                           {Filter{Via: "self"}, []string{"web 3"}},
		"revoked":                          {Filter{Revoked: true}, []string{"ben 1"}},
		"not revoked, of a name":           {Filter{Name: name("ben"), Unrevoked: true}, []string{"ben/phone 2"}},
		"alive":                            {Filter{EndsAfter: now}, []string{"web 3", "ben/phone 2", "ben 1"}},
		"ending soon, the first one first": {Filter{EndsAfter: now, EndsBefore: now.Add(3 * time.Hour)}, []string{"ben 1", "web 3", "ben/phone 2"}},
		"ended":                            {Filter{EndsBefore: now}, []string{"web 4"}},
		"the second page":                  {Filter{After: last(Filter{Limit: 2})}, []string{"ben/phone 2", "ben 1"}},
		"the second page by the end": {Filter{EndsAfter: now, EndsBefore: now.Add(3 * time.Hour), After: last(Filter{EndsAfter: now, EndsBefore: now.Add(3 * time.Hour), Limit: 1})},
			[]string{"web 3", "ben/phone 2"}},
	} {
		got := found(t, s, c.f)
		for i := range got {
			var n string
			var serial ledger.Serial
			fmt.Sscan(got[i], &n)
			must(t, serial.UnmarshalText([]byte(got[i][len(n)+1:])))
			for k := uint64(1); k < 5; k++ {
				if w.certificate("ben", k).Serial == serial {
					got[i] = fmt.Sprintf("%s %d", n, k)
				}
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", sentence, got, c.want)
		}
	}
}

// Who should have renewed by now, and who is suspended, is asked of the store;
// counting finds as many as listing.
func TestSearchByStanding(t *testing.T) {
	const day = 24 * time.Hour
	w := newWorld(t)
	s := openAt(t, filepath.Join(t.TempDir(), "postern.db"), Options{})
	now := time.Now().UTC().Truncate(time.Second)
	lives := func(who string, n uint64, since, left time.Duration) ledger.CertificateIssued {
		c := w.certificate(who, n)
		c.NotBefore, c.NotAfter = now.Add(-since), now.Add(left)
		return c
	}
	update(t, s, w.genesis, w.issuer)
	for _, n := range []string{"ben", "ben/phone", "ben-x", "bent", "web"} {
		update(t, s, ledger.IdentityCreated{Name: name(n)})
	}
	renewed, successor := lives("web", 2, 80*day, 21*day), lives("web", 3, day, 90*day)
	successor.RenewedFrom = renewed.Ref
	inVain, revoked := lives("web", 4, 80*day, 22*day), lives("web", 5, day, 90*day)
	revoked.RenewedFrom = inVain.Ref
	own := lives("web", 6, 80*day, 23*day)
	own.Via = "self"
	update(t, s, lives("web", 1, 80*day, 20*day), renewed, successor, inVain, revoked, own,
		lives("web", 7, 80*day, 41*day), lives("web", 8, 2*day, 4*day), lives("web", 9, 80*day, -day),
		lives("ben", 10, 80*day, 19*day), lives("ben/phone", 11, day, 90*day), lives("ben-x", 12, day, 90*day), lives("bent", 13, day, 90*day),
		ledger.CertificatesRevoked{Certificates: []ledger.Ref{revoked.Ref}})
	due := Filter{Due: now, NotVia: "self", Standing: true, Unrevoked: true, EndsAfter: now, EndsBefore: now.Add(40 * day)}
	check := func(sentence string, f Filter, want ...uint64) {
		t.Helper()
		var got []uint64
		for row, err := range s.Certificates(t.Context(), f) {
			must(t, err)
			for n := range uint64(14) {
				if w.certificate("ben", n).Serial == row.Serial {
					got = append(got, n)
				}
			}
		}
		n, err := s.Count(t.Context(), f)
		must(t, err)
		if !slices.Equal(got, want) || n != len(want) {
			t.Errorf("%s: %v and a count of %d, want %v", sentence, got, n, want)
		}
	}
	check("due", due, 10, 1, 4)
	check("nobody is suspended", Filter{Suspended: true})
	update(t, s, ledger.IdentitySuspended{Name: name("ben")})
	sound(t, s)
	check("due, without the suspended", due, 1, 4)
	check("suspended, and below", Filter{Suspended: true}, 11, 10)
	for row, err := range s.Certificates(t.Context(), Filter{Suspended: true, Limit: 1}) {
		must(t, err)
		if rest := found(t, s, Filter{Suspended: true, After: row.Place()}); len(rest) != 1 {
			t.Errorf("the second page of the suspended: %v", rest)
		}
	}
	newest, err := s.NewestByName(t.Context(), now, "invite", w.certificate("ben", 1).Via)
	must(t, err)
	if len(newest) != 5 || newest[name("bent")] != 19 {
		t.Errorf("the newest by name: %v", newest)
	}
	must(t, func() error {
		for row, err := range s.Identities(t.Context(), IdentityFilter{Name: name("ben")}, now) {
			if err != nil || row.Valid != 1 || row.Suspended != (row.Name == name("ben")) || row.Name == name("bent") || row.Name == name("ben-x") {
				return fmt.Errorf("%+v, %w", row, err)
			}
		}
		return nil
	}())
	whole := w.certificate("ben", 7).Serial.String()
	for digits, want := range map[string]int{"": 13, whole: 1, whole[:len(whole)-1]: 13, whole[:len(whole)-2]: 13, "1": 0} {
		if n, err := s.Count(t.Context(), Filter{Beginning: digits}); err != nil || n != want {
			t.Errorf("serial numbers that begin with %q: %d, %v, want %d", digits, n, err, want)
		}
	}
}

// BenchmarkSearchMillion reads a page of a hundred out of a million
// certificates, by each of the things that they are looked for by.
func BenchmarkSearchMillion(b *testing.B) {
	const million = 1_000_000
	w := newWorld(b)
	r, err := NewRestorer(b.Context(), filepath.Join(b.TempDir(), "postern.db"))
	must(b, err)
	now := time.Now().UTC().Truncate(time.Second)
	add := func(body ledger.Body) { must(b, r.Entry(b.Context(), ledger.Entry{At: now, Body: body}.Marshal())) }
	add(w.genesis)
	add(w.issuer)
	var names []identity.Name
	for i := range 1000 {
		names = append(names, name(fmt.Sprintf("team-%d/host-%d", i%10, i)))
		add(ledger.IdentityCreated{Name: names[i]})
	}
	for i := range million {
		c := w.certificate("ben", uint64(i+1))
		c.Name, c.NotAfter = names[i%1000], now.Add(time.Duration(i-million/2)*time.Minute)
		c.Key = ledger.Hash{byte(i), byte(i >> 8), byte(i >> 16), 1}
		if i%100 == 0 {
			c.DNSNames = []string{fmt.Sprintf("h%d.example", i)}
		}
		if i == 17 {
			c.Via = "self"
		}
		add(c)
	}
	add(ledger.CertificatesRevoked{Certificates: []ledger.Ref{w.certificate("ben", 5).Ref, w.certificate("ben", 500_000).Ref}})
	add(ledger.IdentitySuspended{Name: names[17]})
	_, err = r.session.exec(b.Context(), "COMMIT")
	must(b, err)
	path := r.path
	must(b, r.close())
	s := openAt(b, path, Options{})
	for what, c := range map[string]struct {
		f    Filter
		rows int
	}{
		"newest":        {Filter{}, 100},
		"name":          {Filter{Name: names[7]}, 100},
		"team":          {Filter{Name: name("team-3")}, 100},
		"serial":        {Filter{Serial: w.certificate("ben", 77).Serial}, 1},
		"host":          {Filter{Host: "h500000.example"}, 1},
		"key":           {Filter{Key: ledger.Hash{1, 2, 3, 1}}, 1},
		"issuer":        {Filter{Issuer: "clients-1"}, 100},
		"door":          {Filter{Via: "self"}, 1},
		"revoked":       {Filter{Revoked: true}, 2},
		"alive":         {Filter{EndsAfter: now, Unrevoked: true}, 100},
		"ending":        {Filter{EndsAfter: now, EndsBefore: now.Add(14 * 24 * time.Hour), Unrevoked: true}, 100},
		"ended":         {Filter{EndsBefore: now, Unrevoked: true}, 100},
		"in-the-middle": {Filter{After: Place{Seq: million / 2}}, 100},
		"beginning":     {Filter{Beginning: w.certificate("ben", 77).Serial.String()[:16]}, 100},
		"suspended":     {Filter{Suspended: true, Unrevoked: true, EndsAfter: now}, 100},
		"due":           {Filter{Due: now, NotVia: "self", Standing: true, Unrevoked: true, EndsAfter: now, EndsBefore: now.Add(30 * 24 * time.Hour)}, 100},
	} {
		c.f.Limit = 100
		b.Run(what, func(b *testing.B) {
			for b.Loop() {
				if n := len(found(b, s, c.f)); n != c.rows {
					b.Fatalf("%d rows, want %d", n, c.rows)
				}
			}
		})
	}
	b.Run("names", func(b *testing.B) {
		for b.Loop() {
			n := 0
			for _, err := range s.Identities(b.Context(), IdentityFilter{}, now) {
				must(b, err)
				n++
			}
			if n != len(names) {
				b.Fatalf("%d names", n)
			}
		}
	})
	b.Run("by-issuer", func(b *testing.B) {
		for b.Loop() {
			counts, err := s.GoodByIssuer(b.Context(), now)
			must(b, err)
			if len(counts) != 1 {
				b.Fatal(counts)
			}
		}
	})
	b.Run("how-many-due", func(b *testing.B) {
		for b.Loop() {
			n, err := s.Count(b.Context(), Filter{Due: now, NotVia: "self", Standing: true, Unrevoked: true, EndsAfter: now, EndsBefore: now.Add(30 * 24 * time.Hour)})
			must(b, err)
			if n == 0 {
				b.Fatal("nothing")
			}
		}
	})
	b.Run("newest-by-name", func(b *testing.B) {
		for b.Loop() {
			_, err := s.NewestByName(b.Context(), now, "invite", "renew")
			must(b, err)
		}
	})
}
