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
}
