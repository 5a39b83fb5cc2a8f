package api

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/invite"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/refusal"
)

// fake answers a few methods and remembers what it was asked; the others
// panic, which the server must survive.
type fake struct {
	Authority
	asked any
	err   error
}

func (f *fake) Issue(_ context.Context, q authority.IssueRequest) (authority.Issued, error) {
	f.asked = q
	return authority.Issued{Serial: serial("01ff"), Name: q.Name, Chain: [][]byte{{1, 2}, {3}}, Root: []byte{4}, NotAfter: noon}, f.err
}

func (f *fake) Revoke(_ context.Context, q authority.RevokeRequest) (authority.Revocation, error) {
	f.asked = q
	return authority.Revocation{Certificates: []authority.Certificate{{Serial: serial("02"), Name: q.Name, NotAfter: noon}}, Invites: 3}, f.err
}

func (f *fake) Suspend(_ context.Context, n identity.Name) error { f.asked = n; return f.err }

func (f *fake) ChangeGroup(_ context.Context, q authority.GroupChange) error {
	f.asked = q
	return f.err
}

func (f *fake) Identities(_ context.Context, q authority.IdentityFilter) ([]authority.Identity, error) {
	f.asked = q
	return []authority.Identity{{Name: name("ben"), Groups: []identity.Group{group("family")}, Created: noon}}, f.err
}

func (f *fake) Verify(context.Context) (authority.Verification, error) {
	return authority.Verification{Size: 7, Fault: "table certificate, row seq=3"}, f.err
}

func (f *fake) Status(context.Context) (Status, error) {
	return Status{PID: 42, Ready: true, Sites: []SiteStatus{{Host: "::1", URL: "https://[::1]:8443/"}}, Started: noon}, f.err
}

func (f *fake) Refusals(_ context.Context, n int) ([]Refused, error) {
	f.asked = n
	return []Refused{{Reference: reference("K7QM-2XPA"), Code: refusal.NotOnList, Time: noon}}, f.err
}

func (f *fake) Refusal(_ context.Context, ref refusal.Reference) (Refused, error) {
	f.asked = ref
	return Refused{Reference: ref, Code: refusal.Expired, Time: noon}, f.err
}

func (f *fake) Steps(_ context.Context, code ledger.Hash) ([]invite.Step, error) {
	f.asked = code
	return []invite.Step{{At: noon, Step: invite.StepOpened, Device: "Android 15 Chrome"}}, f.err
}

func (f *fake) Requests(context.Context) ([]invite.Waiting, error) {
	return []invite.Waiting{{Invite: "00", PublicKey: []byte{1}, Since: noon}}, f.err
}

func (f *fake) AccessRequests(context.Context) ([]invite.AccessRequest, error) {
	return []invite.AccessRequest{{Words: "a-b-c-d", Who: "Anna", Since: noon}}, f.err
}

func (f *fake) GrantAccess(_ context.Context, g AccessGrant) (AccessGranted, error) {
	f.asked = g
	return AccessGranted{Name: g.Name, Profile: "device", Expires: noon}, f.err
}

func (f *fake) DenyAccess(_ context.Context, words string) error {
	f.asked = words
	return f.err
}

var noon = time.Date(2030, 1, 2, 12, 0, 0, 0, time.UTC)

func serial(s string) ledger.Serial        { v, _ := ledger.ParseSerial(s); return v }
func name(s string) identity.Name          { v, _ := identity.ParseName(s); return v }
func group(s string) identity.Group        { v, _ := identity.ParseGroup(s); return v }
func reference(s string) refusal.Reference { v, _ := refusal.ParseReference(s); return v }

var silent = slog.New(slog.DiscardHandler)

// serve runs a server on a data folder until the test ends.
func serve(t *testing.T, dir string, f *fake) *Client {
	t.Helper()
	lock, err := TryHold(dir)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := Listen(lock, silent)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := Serve(ctx, ln, ln.Guard(Handler(f, f, silent)), silent); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait(); lock.Close() })
	c, err := Dial(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestValuesSurviveTheWay(t *testing.T) {
	f := &fake{}
	c := serve(t, t.TempDir(), f)
	ctx := t.Context()

	q := authority.IssueRequest{Name: name("ben/phone"), Profile: "server", IPs: []netip.Addr{netip.MustParseAddr("2001:db8::1")}, DNSNames: []string{"a.example"}, PublicKey: []byte{9}, Lifetime: time.Hour, Via: "issue"}
	issued, err := c.Issue(ctx, q)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(q, f.asked, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.AllowUnexported(identity.Name{})); diff != "" {
		t.Error(diff)
	}
	if issued.Serial.String() != "01ff" || issued.Name != q.Name || len(issued.Chain) != 2 || !issued.NotAfter.Equal(noon) {
		t.Errorf("%+v", issued)
	}

	r, err := c.Revoke(ctx, authority.RevokeRequest{Serial: serial("02"), Reason: ledger.ReasonKeyCompromise})
	if err != nil || r.Invites != 3 || r.Certificates[0].Serial.String() != "02" || f.asked != (authority.RevokeRequest{Serial: serial("02"), Reason: ledger.ReasonKeyCompromise}) {
		t.Errorf("%+v, asked %+v, %v", r, f.asked, err)
	}
	if err := c.Suspend(ctx, name("ben")); err != nil || f.asked != name("ben") {
		t.Errorf("asked %v, %v", f.asked, err)
	}
	if err := c.ChangeGroup(ctx, authority.GroupChange{Group: group("family"), Add: []identity.Name{name("ben")}}); err != nil {
		t.Error(err)
	}
	grant := AccessGrant{Words: "a-b-c-d", Name: name("anna/phone"), Group: group("family")}
	if made, err := c.GrantAccess(ctx, grant); err != nil || f.asked != grant || made.Name != grant.Name || !made.Expires.Equal(noon) {
		t.Errorf("%+v, asked %+v, %v", made, f.asked, err)
	}
	if all, err := c.AccessRequests(ctx); err != nil || len(all) != 1 || all[0].Who != "Anna" {
		t.Errorf("%+v %v", all, err)
	}
	if err := c.DenyAccess(ctx, "a-b-c-d"); err != nil || f.asked != "a-b-c-d" {
		t.Errorf("asked %v, %v", f.asked, err)
	}
	some := authority.IdentityFilter{Name: name("ben"), Limit: 3}
	ids, err := c.Identities(ctx, some)
	if err != nil || f.asked != some || len(ids) != 1 || ids[0].Name != name("ben") || ids[0].Groups[0] != group("family") {
		t.Errorf("%+v %v", ids, err)
	}
	if v, err := c.Verify(ctx); err != nil || v.OK || v.Size != 7 || !strings.Contains(v.Fault, "seq=3") {
		t.Errorf("%+v %v", v, err)
	}
	if s, err := c.Status(ctx); err != nil || !s.Ready || s.PID != 42 || s.Sites[0].Host != "::1" {
		t.Errorf("%+v %v", s, err)
	}
	if all, err := c.Refusals(ctx, 5); err != nil || f.asked != 5 || all[0].Reference.String() != "K7QM-2XPA" {
		t.Errorf("%+v %v", all, err)
	}
	if one, err := c.Refusal(ctx, reference("K7QM-2XPA")); err != nil || one.Code != refusal.Expired {
		t.Errorf("%+v %v", one, err)
	}
}

func TestErrorsSurviveTheWay(t *testing.T) {
	f := &fake{}
	c := serve(t, t.TempDir(), f)
	for _, code := range []string{
		authority.CodeBadRequest, authority.CodeNotFound, authority.CodeExists, authority.CodeSpent, authority.CodeExpired,
		authority.CodeCancelled, authority.CodeMistyped, authority.CodeUnknownProfile, authority.CodeWeakKey,
		authority.CodeSuspended, authority.CodeRevoked, authority.CodeReadOnly,
	} {
		f.err = &authority.Error{Code: code, Msg: "no", Hint: "do that"}
		got, ok := errors.AsType[*authority.Error](c.Suspend(t.Context(), name("ben")))
		if !ok || *got != *f.err.(*authority.Error) {
			t.Errorf("%s became %+v", code, got)
		}
	}
	f.err = errors.New("no space left on device")
	err := c.Suspend(t.Context(), name("ben"))
	if _, refused := errors.AsType[*authority.Error](err); refused || err == nil || err.Error() != "no space left on device" {
		t.Errorf("a fault became %v", err)
	}
}

// raw sends a request that no client of ours would send.
func raw(t *testing.T, dir, text string) string {
	t.Helper()
	secret, err := readSecret(dir)
	if err != nil {
		t.Fatal(err)
	}
	text = strings.Replace(text, "\r\n", "\r\nAuthorization: "+bearer(secret)+"\r\n", 1)
	c, err := dialSocket(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	io.WriteString(c, text)
	b, _ := io.ReadAll(c)
	return string(b)
}

func TestBadRequestsAreRefused(t *testing.T) {
	dir := t.TempDir()
	serve(t, dir, &fake{})
	post := func(path, body string) string {
		return "POST " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body
	}
	for what, c := range map[string]struct{ request, want string }{
		"no JSON":              {post("/v1/suspend", "ben"), "400 Bad Request"},
		"an unknown field":     {post("/v1/revoke", `{"nmae":"ben"}`), "400 Bad Request"},
		"a bad name":           {post("/v1/suspend", `"ben phone"`), "400 Bad Request"},
		"something after it":   {post("/v1/suspend", `"ben" "anna"`), "400 Bad Request"},
		"a body without end":   {post("/v1/suspend", `"`+strings.Repeat("a", maxBody+10)+`"`), "400 Bad Request"},
		"an unknown route":     {post("/v1/give", `{}`), "404 Not Found"},
		"the wrong method":     {"GET /v1/suspend HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "405 Method Not Allowed"},
		"a bad reference":      {"GET /v1/refusals/xyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "400 Bad Request"},
		"a header without end": {"GET /v1/head HTTP/1.1\r\nX: " + strings.Repeat("a", 64<<10) + "\r\n\r\n", "431 "},
	} {
		if got, _, _ := strings.Cut(raw(t, dir, c.request), "\r\n"); !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", what, got, c.want)
		}
	}
}

func TestAFaultInOneCallEndsNoOther(t *testing.T) {
	dir := t.TempDir()
	c := serve(t, dir, &fake{})
	if _, err := c.Groups(t.Context()); err == nil { // the fake panics
		t.Error("a method that is not there answers")
	}
	if _, err := c.Status(t.Context()); err != nil {
		t.Errorf("after it: %v", err)
	}
}
