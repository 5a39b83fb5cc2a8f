package gateway

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/ledger"
)

// A certificate whose end is all that is wrong with it may be renewed for a
// while, where the operator allows it, and is good for nothing else.
func TestWhoMayRenewAfterTheEnd(t *testing.T) {
	w := newWorld(t)
	old := newIssuer(t, "clients-0", w.root, w.clients.cert.ExtKeyUsage...)
	w.append(ledger.IssuerAdded{Name: "clients-0", Use: ledger.UseClients, Certificate: old.cert.Raw})
	ended := func(by *issuer, who string, ago time.Duration) *device {
		template := clientTemplate(who)
		template.NotBefore, template.NotAfter = time.Now().Add(-ago-time.Minute), time.Now().Add(-ago)
		return w.mint(by, template)
	}
	honest := w.record(ended(w.clients, "ben", 5*time.Minute), "ben")
	revoked := w.record(ended(w.clients, "ben/lost", 5*time.Minute), "ben/lost")
	suspended := w.record(ended(w.clients, "steve", 5*time.Minute), "steve")
	distrusted := w.record(ended(old, "anna", 5*time.Minute), "anna")
	w.revoke(revoked)
	w.append(ledger.IdentityCreated{Name: suspended.name}, ledger.IdentitySuspended{Name: suspended.name},
		ledger.IssuerDistrusted{Issuer: old.id(), Reason: ledger.ReasonKeyCompromise})
	handed := false
	renew := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		c, ok := ClientOf(r)
		handed = ok && c.Ref == honest.ref && c.Certificate != nil
		whoami(rw, r)
	})
	site := Site{Host: "s.example.com", List: allow(t, "ben", "anna", "steve"), Handler: whoami}
	allowed := w.openConfig(Options{Renew: renew}, Config{Sites: []Site{site}, RenewExpired: 10 * time.Minute})
	never := w.openConfig(Options{Renew: renew}, Config{Sites: []Site{site}})
	cases := map[string]struct {
		house  *house
		shows  *device
		status int
		code   string
	}{
		"one that was honest":             {allowed, honest, 200, ""},
		"where it is not allowed":         {never, honest, 403, "expired"},
		"one that ended too long ago":     {allowed, w.record(ended(w.clients, "ben", 20*time.Minute), "ben"), 403, "expired"},
		"one that was revoked":            {allowed, revoked, 403, "revoked"},
		"one of a suspended name":         {allowed, suspended, 403, "suspended"},
		"one of a distrusted issuer":      {allowed, distrusted, 403, "issuer-distrusted"},
		"one that the ledger never heard": {allowed, ended(w.clients, "ben", 5*time.Minute), 403, "not-in-ledger"},
		"none":                            {allowed, nil, 403, "no-certificate"},
	}
	for name, c := range cases {
		response, text := c.house.get(c.shows, "s.example.com", "/.postern/renew")
		if response.StatusCode != c.status || !strings.Contains(text, c.code) {
			t.Errorf("%s: status %d, %s", name, response.StatusCode, text)
		}
	}
	if !handed {
		t.Error("the handler was not told whose certificate it is")
	}
	response, text := allowed.get(honest, "s.example.com", "/")
	if response.StatusCode != 403 || !strings.Contains(text, `"code":"expired"`) || !strings.Contains(text, `"renew":"/.postern/renew"`) {
		t.Errorf("the site itself: status %d, %s", response.StatusCode, text)
	}
	if _, text := allowed.get(revoked, "s.example.com", "/"); strings.Contains(text, `"renew"`) {
		t.Errorf("a revoked certificate is offered renewal: %s", text)
	}
	if _, text := never.get(honest, "s.example.com", "/"); strings.Contains(text, `"renew"`) {
		t.Errorf("renewal is offered where it is not allowed: %s", text)
	}
}

// To ask for access is offered by sites that say so, and to nobody whose access
// was ended.
func TestWhoIsOfferedToAsk(t *testing.T) {
	w := newWorld(t)
	c := Config{AskURL: "https://join.example.com/join/ask", Sites: []Site{
		{Host: "open.example.com", AccessRequests: true, List: allow(t, "ben"), Handler: whoami},
		{Host: "shut.example.com", List: allow(t, "ben"), Handler: whoami},
		{Host: "mute.example.com", AccessRequests: true, Frankness: TellNothing, List: allow(t, "ben"), Handler: whoami},
	}}
	h := w.openConfig(Options{}, c)
	revoked := w.enrol("eve")
	w.revoke(revoked)
	for name, q := range map[string]struct {
		host  string
		shows *device
		want  bool
	}{
		"a stranger":                       {"open.example.com", nil, true},
		"a stranger where it is not said":  {"shut.example.com", nil, false},
		"a stranger where nothing is told": {"mute.example.com", nil, false},
		"somebody whose access was ended":  {"open.example.com", revoked, false},
		"somebody who is not on the list":  {"open.example.com", w.enrol("steve"), false},
	} {
		_, text := h.get(q.shows, q.host, "/")
		if got := strings.Contains(text, `"ask":"https://join.example.com/join/ask?site=`+q.host+`"`); got != q.want {
			t.Errorf("%s: %s", name, text)
		}
	}
}

// The page says which certificate was shown and what is wrong with it, as far
// as the site tells.
func TestThePageTellsWhichCertificateWasShown(t *testing.T) {
	w := newWorld(t)
	ended := clientTemplate("ben/phone")
	ended.NotBefore, ended.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	foreign := newIssuer(t, "elsewhere", nil)
	frankly := map[string]Frankness{"none.example.com": TellNothing, "reason.example.com": TellReason, "full.example.com": TellAll}
	var sites []Site
	for host, f := range frankly {
		sites = append(sites, Site{Host: host, Frankness: f, List: allow(t, "nobody"), Handler: whoami})
	}
	h := w.open(Options{}, sites...)
	for name, c := range map[string]struct {
		shows *device
		full  string
		words []string
	}{
		"ended":           {w.record(w.mint(w.clients, ended), "ben/phone"), "", []string{"ben/phone", "clients-1", "Ended", ended.NotAfter.UTC().Format(time.RFC1123)}},
		"of another root": {w.mint(foreign, clientTemplate("mallory")), "", []string{"mallory", "elsewhere"}},
		"not on the list": {w.enrol("steve"), "steve", []string{"steve", "clients-1"}},
	} {
		for host, f := range frankly {
			r, err := http.NewRequest("GET", "https://"+host+"/", nil)
			must(t, err)
			r.Header.Set("Accept", "text/html")
			response, err := client(t, h.addr, w.clientTLS(c.shows, host)).Do(r)
			must(t, err)
			text := read(t, response)
			for _, word := range c.words {
				if strings.Contains(text, word) != (f != TellNothing) {
					t.Errorf("%s at %s: %q is told or not: %s", name, host, word, text)
				}
			}
			if strings.Contains(text, "Exactly") != (f == TellAll) && name != "ended" {
				t.Errorf("%s at %s: what exactly was wrong is told or not", name, host)
			}
		}
	}
}
