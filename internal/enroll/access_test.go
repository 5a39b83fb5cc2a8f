package enroll

import (
	"errors"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/invite"
)

// ask sends the form as a browser does, and shows the cookies given.
func (w *world) ask(t *testing.T, form url.Values, cookies []*http.Cookie, header http.Header) (*http.Response, string) {
	t.Helper()
	return w.browse(t, "POST", invite.AskPath, form.Encode(), cookies, header)
}

// browse follows no redirect.
func (w *world) browse(t *testing.T, method, path, body string, cookies []*http.Cookie, header http.Header) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, w.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if header != nil {
		r.Header = header.Clone()
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for _, c := range cookies {
		r.AddCookie(c)
	}
	client := *w.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(text)
}

func TestWhoAsksAndIsGrantedGetsAnInvitationInTheirBrowserOnly(t *testing.T) {
	w := newWorld(t)
	if _, text := w.browse(t, "GET", invite.AskPath+"?site=pw.example.com", "", nil, nil); !strings.Contains(text, "pw.example.com") {
		t.Errorf("the form does not say for which site: %s", text)
	}
	asked, _ := w.ask(t, url.Values{"who": {" Anna\n M\u00fcller "}, "note": {"my new phone"}, "site": {"pw.example.com"}}, nil, http.Header{"User-Agent": {"Firefox"}})
	if asked.StatusCode != http.StatusSeeOther || asked.Header.Get("Location") != invite.AskPath {
		t.Fatalf("status %d to %q", asked.StatusCode, asked.Header.Get("Location"))
	}
	cookies := asked.Cookies()
	if len(cookies) != 1 || !cookies[0].Secure || !cookies[0].HttpOnly || cookies[0].Path != invite.AskPath || cookies[0].SameSite != http.SameSiteLaxMode {
		t.Fatalf("cookies %v", cookies)
	}
	waiting := w.access.Waiting(w.clock)
	if len(waiting) != 1 || waiting[0].Who != "Anna M\u00fcller" || waiting[0].Note != "my new phone" || waiting[0].Site != "pw.example.com" || waiting[0].Address != "127.0.0.1" || waiting[0].Device != "Firefox" {
		t.Fatalf("the operator sees %+v", waiting)
	}
	response, text := w.browse(t, "GET", invite.AskPath, "", cookies, nil)
	if response.StatusCode != http.StatusAccepted || !strings.Contains(text, waiting[0].Words) {
		t.Errorf("status %d, and no %s in %s", response.StatusCode, waiting[0].Words, text)
	}
	if err := w.access.Grant(waiting[0].Words, w.clock, func(r invite.AccessRequest) (string, error) { return "the-code.the-pin", nil }); err != nil {
		t.Fatal(err)
	}
	if response, _ := w.browse(t, "GET", invite.AskPath, "", cookies, nil); response.StatusCode != http.StatusSeeOther || response.Header.Get("Location") != "/join#the-code.the-pin" || response.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("status %d to %q", response.StatusCode, response.Header.Get("Location"))
	}
	for name, cookies := range map[string][]*http.Cookie{
		"without the secret":    nil,
		"with another's secret": {{Name: accessCookie, Value: invite.New().String()}},
		"with the words":        {{Name: accessCookie, Value: waiting[0].Words}},
	} {
		response, text := w.browse(t, "GET", invite.AskPath, "", cookies, nil)
		if response.StatusCode != http.StatusOK || strings.Contains(text, "the-code") || strings.Contains(text, waiting[0].Words) {
			t.Errorf("%s: status %d: %s", name, response.StatusCode, text)
		}
	}
	for _, secret := range []string{"the-code", cookies[0].Value} {
		if strings.Contains(w.log.String(), secret) {
			t.Errorf("a secret is in the log: %s", w.log)
		}
	}
}

func TestAnAnswerOfNo(t *testing.T) {
	w := newWorld(t)
	asked, _ := w.ask(t, url.Values{"who": {"Eve"}}, nil, nil)
	words := w.access.Waiting(w.clock)[0].Words
	if err := w.access.Deny(words, w.clock); err != nil {
		t.Fatal(err)
	}
	if response, text := w.browse(t, "GET", invite.AskPath, "", asked.Cookies(), nil); response.StatusCode != http.StatusForbidden || !strings.Contains(text, "answer is no") {
		t.Errorf("status %d: %s", response.StatusCode, text)
	}
	if err := w.access.Grant(words, w.clock, nil); authority.CodeOf(err) != authority.CodeExists {
		t.Errorf("granted after all: %v", err)
	}
}

// Whatever somebody asks for, the answer is the same.
func TestAskingTellsNothing(t *testing.T) {
	answers := map[string]bool{}
	for _, form := range []url.Values{
		{"who": {"anna"}, "site": {"pw.example.com"}},
		{"who": {"anna"}, "site": {"there-is-none.example.com"}},
		{"who": {"root"}, "note": {"x"}},
	} {
		w := newWorld(t)
		response, text := w.ask(t, form, nil, nil)
		answers[response.Status+response.Header.Get("Location")+text] = true
		if got := w.access.Waiting(w.clock)[0].Site; got == "there-is-none.example.com" {
			t.Errorf("a stranger's word names the site %s", got)
		}
	}
	if len(answers) != 1 {
		t.Errorf("answers differ: %v", answers)
	}
}

func TestHostileRequestsForAccess(t *testing.T) {
	cases := map[string]struct {
		form   url.Values
		header http.Header
		status int
		kept   int
	}{
		"no name":                       {form: url.Values{"note": {"x"}}, status: 422},
		"a name of nothing to print":    {form: url.Values{"who": {"\u202e\x00\x1b\u200b \t"}}, status: 422},
		"a name that moves the cursor":  {form: url.Values{"who": {"\x1b[2J\u202eevil\r\nroot"}}, status: 303, kept: 1},
		"a name that is too long":       {form: url.Values{"who": {strings.Repeat("\u00fc", 500)}, "note": {strings.Repeat("x ", 500)}}, status: 303, kept: 1},
		"a form that is too large":      {form: url.Values{"who": {"x"}, "note": {strings.Repeat("x", maxForm)}}, status: 400},
		"a page of another origin":      {form: url.Values{"who": {"x"}}, header: http.Header{"Sec-Fetch-Site": {"cross-site"}}, status: 403},
		"an old browser's other origin": {form: url.Values{"who": {"x"}}, header: http.Header{"Origin": {"https://evil.example"}}, status: 403},
		"a hostile browser":             {form: url.Values{"who": {"x"}}, header: http.Header{"User-Agent": {"\u202e<script>" + strings.Repeat("y", 900)}}, status: 303, kept: 1},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			response, _ := w.ask(t, c.form, nil, c.header)
			kept := w.access.Waiting(w.clock)
			if response.StatusCode != c.status || len(kept) != c.kept {
				t.Fatalf("status %d and %d kept, want %d and %d", response.StatusCode, len(kept), c.status, c.kept)
			}
			for _, r := range kept {
				for text, most := range map[string]int{r.Who: invite.MaxWho, r.Note: invite.MaxNote, r.Device: maxDevice} {
					if len([]rune(text)) > most || strings.ContainsAny(text, "\x1b\r\n\x00\u202e") {
						t.Errorf("the operator is shown %q", text)
					}
				}
			}
		})
	}
}

func TestRequestsForAccessAreBounded(t *testing.T) {
	var a Access
	now := time.Now()
	network := func(i int) netip.Prefix { return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i), 0}), 24) }
	for range maxAskingOne {
		if err := a.ask(invite.AccessRequest{Who: "x", Since: now}, invite.New(), network(0)); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.ask(invite.AccessRequest{Who: "x", Since: now}, invite.New(), network(0)); !errors.Is(err, errAskingFull) {
		t.Errorf("one network fills the list: %v", err)
	}
	full := 0
	for i := range 250 {
		if errors.Is(a.ask(invite.AccessRequest{Who: "x", Since: now}, invite.New(), network(i+1)), errAskingFull) {
			full++
		}
	}
	if got := len(a.Waiting(now)); got != maxAsking || full != 250-(maxAsking-maxAskingOne) {
		t.Errorf("%d wait, %d were turned away", got, full)
	}
	if got := len(a.Waiting(now.Add(AccessFor))); got != 0 {
		t.Errorf("%d wait after their end", got)
	}
	if err := a.ask(invite.AccessRequest{Who: "x", Since: now.Add(AccessFor)}, invite.New(), network(0)); err != nil {
		t.Errorf("nobody can ask after others' end: %v", err)
	}
}

// The same form twice, and one network too often, make no more requests.
func TestAskingTwice(t *testing.T) {
	w := newWorld(t)
	form := url.Values{"who": {"Anna"}}
	asked, _ := w.ask(t, form, nil, nil)
	for range 20 {
		if response, _ := w.ask(t, form, asked.Cookies(), nil); response.StatusCode != http.StatusSeeOther {
			t.Fatalf("status %d", response.StatusCode)
		}
	}
	if got := len(w.access.Waiting(w.clock)); got != 1 {
		t.Errorf("%d requests of one browser", got)
	}
	statuses := map[int]int{}
	for range 10 {
		response, _ := w.ask(t, form, nil, nil)
		statuses[response.StatusCode]++
	}
	if got := len(w.access.Waiting(w.clock)); got != maxAskingOne || statuses[http.StatusTooManyRequests] != 8 {
		t.Errorf("%d requests of one network, statuses %v", got, statuses)
	}
}

// Of those who say yes at the same moment one makes an invitation.
func TestApprovalsRace(t *testing.T) {
	var a Access
	now := time.Now()
	if err := a.ask(invite.AccessRequest{Who: "x", Since: now}, invite.New(), netip.Prefix{}); err != nil {
		t.Fatal(err)
	}
	words := a.Waiting(now)[0].Words
	var made, refused atomic.Int32
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			var err error
			if i%4 == 0 {
				err = a.Deny(words, now)
				if err == nil {
					made.Add(1)
				}
			} else {
				err = a.Grant(words, now, func(invite.AccessRequest) (string, error) { made.Add(1); return "x", nil })
			}
			if authority.CodeOf(err) == authority.CodeExists {
				refused.Add(1)
			}
		})
	}
	all.Wait()
	if made.Load() != 1 || refused.Load() != 15 {
		t.Errorf("%d answers, %d refused", made.Load(), refused.Load())
	}
}

// An authority that cannot make an invitation spends no request.
func TestAFailedGrantLeavesTheRequest(t *testing.T) {
	var a Access
	now := time.Now()
	if err := a.ask(invite.AccessRequest{Who: "x", Since: now}, invite.New(), netip.Prefix{}); err != nil {
		t.Fatal(err)
	}
	words, full := a.Waiting(now)[0].Words, errors.New("disk full")
	if err := a.Grant(words, now, func(invite.AccessRequest) (string, error) { return "", full }); !errors.Is(err, full) {
		t.Errorf("%v", err)
	}
	if len(a.Waiting(now)) != 1 {
		t.Error("the request is lost")
	}
}

func TestWhereNoSiteAllowsItNothingIsThere(t *testing.T) {
	w := newWorld(t)
	w.asking = nil
	for _, method := range []string{"GET", "POST"} {
		if response, _ := w.browse(t, method, invite.AskPath, "who=x", nil, nil); response.StatusCode != http.StatusNotFound {
			t.Errorf("%s: status %d", method, response.StatusCode)
		}
	}
}

func TestWritten(t *testing.T) {
	for in, want := range map[string]string{"  a \n\t b ": "a b", "abcdef": "abcde", "abcd ef": "abcd", "\x1b\u202e": "", "": ""} {
		if got := written(in, 5); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}
