package store

import (
	"errors"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/postern-project/postern/internal/ledger"
)

// marshalled returns entries in a form that compares.
func marshalled(entries []ledger.Entry) []string {
	all := make([]string, len(entries))
	for i, e := range entries {
		all[i] = string(e.Marshal())
	}
	return all
}

func TestEveryKindOfEntrySurvivesReopeningAndVerifies(t *testing.T) {
	w, path := newWorld(t), filepath.Join(t.TempDir(), "postern.db")
	var j journal
	s := openAt(t, path, Options{Committed: j.committed})
	w.everything(t, s)
	must(t, s.KeepCertificate(t.Context(), tbsOf(t, w.issuer.Certificate), w.issuer.Certificate))
	must(t, s.Close())

	s = openAt(t, path, Options{})
	if !slices.Equal(marshalled(j.entries), marshalled(bodies(t, s))) || j.gap {
		t.Errorf("Committed was not told what is stored (gap %v)", j.gap)
	}
	head, err := s.Head(t.Context())
	must(t, err)
	if diff := cmp.Diff(j.head, head); diff != "" {
		t.Errorf("head:\n%s", diff)
	}
	if head.Epoch != 1 {
		t.Errorf("epoch %d after EpochOpened, want 1", head.Epoch)
	}
	sound(t, s)
	kept, err := s.KeptCertificate(t.Context(), tbsOf(t, w.issuer.Certificate))
	if err != nil || !slices.Equal(kept, w.issuer.Certificate) {
		t.Errorf("the kept certificate was lost by Close: %v", err)
	}
}

func TestReadsSayWhatTheEntriesAddUpTo(t *testing.T) {
	w := newWorld(t)
	s := openAt(t, filepath.Join(t.TempDir(), "postern.db"), Options{})
	w.everything(t, s)
	ctx := t.Context()

	phone, err := s.Identity(ctx, name("ben/phone"))
	must(t, err)
	if !phone.Suspended || phone.SuspendedAt.IsZero() {
		t.Errorf("ben/phone is not suspended: %+v", phone)
	}
	if by, ok, err := s.Suspended(ctx, name("ben/phone/app")); err != nil || !ok || by != name("ben/phone") {
		t.Errorf("below a suspended name: %v, %v, %v", by, ok, err)
	}
	if _, ok, err := s.Suspended(ctx, name("ben/phones")); err != nil || ok {
		t.Errorf("beside a suspended name: %v, %v", ok, err)
	}
	third := w.certificate("ben", 3)
	row, err := s.Certificate(ctx, third.Serial)
	must(t, err)
	if row.IssuerName != "clients-1" || len(row.DNSNames) != 2 || len(row.IPs) != 2 || row.IPs[1].String() != "2001:db8::1" || row.Revoked {
		t.Errorf("certificate 3: %+v", row)
	}
	second, err := s.CertificateByRef(ctx, w.certificate("ben/phone", 2).Ref)
	must(t, err)
	if second.RenewedFrom != w.certificate("ben/phone", 1).Ref || !second.Revoked || second.Reason != ledger.ReasonKeyCompromise {
		t.Errorf("certificate 2: %+v", second)
	}
	other := second.Ref
	other.TBS[0] ^= 1
	if _, err := s.CertificateByRef(ctx, other); !errors.Is(err, ErrNotFound) {
		t.Errorf("a ref with another hash: %v, want ErrNotFound", err)
	}
	var groups []GroupRow
	for g, err := range s.Groups(ctx) {
		must(t, err)
		groups = append(groups, g)
	}
	if len(groups) != 1 || groups[0].Group != group("family") || groups[0].Name != name("ben") {
		t.Errorf("groups: %+v", groups)
	}
	for g, want := range map[string]bool{"family": true, "ops": true, "nobody": false} {
		if got, err := s.GroupExists(ctx, group(g)); err != nil || got != want {
			t.Errorf("group %s exists: %v, %v", g, got, err)
		}
	}
	open, err := s.OpenInvites(ctx, name("ben"))
	if err != nil || len(open) != 1 || open[0].Code != w.invite("ben", 3).Code {
		t.Errorf("open invites: %+v, %v", open, err)
	}
	used, err := s.Invite(ctx, w.invite("ben/phone", 1).Code)
	if err != nil || used.Open() || used.Key != w.certificate("ben/phone", 1).Key || used.Group != group("family") {
		t.Errorf("used invite: %+v, %v", used, err)
	}
	issuers, err := s.Issuers(ctx)
	if err != nil || len(issuers) != 1 || !issuers[0].Distrusted || issuers[0].KeyID != w.key {
		t.Errorf("issuers: %+v, %v", issuers, err)
	}
}

func TestNamesCoverWhatStandsBelowThemAndNothingBeside(t *testing.T) {
	w, s := started(t)
	var number uint64
	for _, n := range []string{"ben-2", "ben.x", "benno", "Ben", "ben/phone/app", "ben0"} {
		update(t, s, ledger.IdentityCreated{Name: name(n)})
	}
	for _, n := range []string{"ben", "ben/phone", "ben-2", "ben.x", "benno", "Ben", "ben/phone/app", "ben0"} {
		number++
		update(t, s, w.certificate(n, number), w.invite(n, number))
	}
	refs, err := s.LiveRefs(t.Context(), name("ben"))
	must(t, err)
	want := []ledger.Ref{w.certificate("ben", 1).Ref, w.certificate("ben", 2).Ref, w.certificate("ben", 7).Ref}
	if !slices.Equal(refs, want) {
		t.Errorf("LiveRefs(ben) = %v, want certificates 1, 2 and 7", refs)
	}
	invites, err := s.OpenInvites(t.Context(), name("ben"))
	if err != nil || len(invites) != 3 {
		t.Errorf("OpenInvites(ben) = %d invites, %v, want 3", len(invites), err)
	}
	var found int
	for row, err := range s.Certificates(t.Context(), Filter{Name: name("ben")}) {
		must(t, err)
		if !name("ben").Covers(row.Name) {
			t.Errorf("Certificates of ben: %s", row.Name)
		}
		found++
	}
	if found != 3 {
		t.Errorf("Certificates of ben: %d, want 3", found)
	}
	for f, want := range map[Filter]int{
		{Serial: w.certificate("ben", 2).Serial}:                     1,
		{Serial: w.certificate("ben", 2).Serial, Name: name("ben")}:  1,
		{Serial: w.certificate("ben", 2).Serial, Name: name("ben0")}: 0,
		{Name: name("ben"), Limit: 2}:                                2,
		{}:                                                           8,
	} {
		found := 0
		for _, err := range s.Certificates(t.Context(), f) {
			must(t, err)
			found++
		}
		if found != want {
			t.Errorf("%+v: %d certificates, want %d", f, found, want)
		}
	}
}

func TestAFamilyIsEverythingRenewedFromIt(t *testing.T) {
	w, s := started(t)
	for i := range uint64(8) {
		c := w.certificate("ben", i+1)
		if i > 0 { // 1 <- 2 <- 4 <- 8, 1 <- 3 <- 6 and 7, 2 <- 5
			c.RenewedFrom = w.certificate("ben", (i+1)/2).Ref
		}
		update(t, s, c)
	}
	update(t, s, ledger.CertificatesRevoked{Certificates: []ledger.Ref{w.certificate("ben", 5).Ref}})
	family, err := s.Family(t.Context(), w.certificate("ben", 2).Ref)
	must(t, err)
	want := []ledger.Ref{w.certificate("ben", 2).Ref, w.certificate("ben", 4).Ref, w.certificate("ben", 8).Ref}
	if !slices.Equal(family, want) {
		t.Errorf("family of 2 = %v, want 2, 4 and 8", family)
	}
	if _, err := s.Family(t.Context(), w.certificate("ben", 99).Ref); !errors.Is(err, ErrNotFound) {
		t.Errorf("family of an unknown certificate: %v", err)
	}
}

func TestListsLongerThanAPageAreWhole(t *testing.T) {
	w, s := started(t)
	const n = 2*page + 10
	all := make([]ledger.Body, 0, n)
	for i := range uint64(n) {
		all = append(all, w.certificate("ben", i+1))
	}
	update(t, s, all...)
	var got []CertificateRow
	for row, err := range s.Certificates(t.Context(), Filter{Unrevoked: true}) {
		must(t, err)
		// a consumer may ask on while it reads
		if _, err := s.CertificateByRef(t.Context(), row.Ref); err != nil {
			t.Fatal(err)
		}
		got = append(got, row)
	}
	if len(got) != n || got[0].Serial != w.certificate("ben", n).Serial || got[n-1].Serial != w.certificate("ben", 1).Serial {
		t.Errorf("%d certificates, want %d, newest first", len(got), n)
	}
	var limited int
	for _, err := range s.Certificates(t.Context(), Filter{Name: name("ben"), Limit: page + 5}) {
		must(t, err)
		limited++
	}
	if limited != page+5 {
		t.Errorf("limit %d gave %d", page+5, limited)
	}
	if got := len(bodies(t, s)); got != n+4 {
		t.Errorf("%d entries, want %d", got, n+4)
	}
}
