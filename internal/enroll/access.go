package enroll

import (
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/invite"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/page"
)

// Bounds on requests for access.
const (
	// AccessFor is how long a request for access is kept, and how long the
	// invitation of one that was approved is good.
	AccessFor = 24 * time.Hour

	maxAsking    = 128     // requests at once
	maxAskingOne = 3       // of one network
	maxForm      = 4 << 10 // bytes
)

// askLimits bound how often one network may ask for access.
var askLimits = Limits{Burst: 5, Every: time.Minute}

// An Access holds the requests for access that wait for an operator, and what
// the operator said. Nothing of it is kept on disk, so strangers fill nothing
// but it; after a restart they ask again. The zero Access is ready; it is safe
// for concurrent use.
type Access struct {
	mu     sync.Mutex // guards asking, in the order of their coming
	asking []*asking
}

// An asking is one request, known by the hash of the secret that its page
// holds.
type asking struct {
	invite.AccessRequest
	hash    ledger.Hash
	network netip.Prefix
	state   accessState
	link    string // where an approved one goes on
}

type accessState int

const (
	accessWaits   accessState = iota
	accessDecided             // an answer is being made
	accessGranted
	accessDenied
)

var (
	errAskingFull = errors.New("too many requests wait")
	errUndecided  = &authority.Error{Code: authority.CodeExists, Msg: "this request is being answered already", Hint: "'postern list requests' shows what is left"}
)

// ask takes in a request, or says that there are too many.
func (a *Access) ask(r invite.AccessRequest, secret invite.Code, network netip.Prefix) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.expire(r.Since)
	same := 0
	for _, other := range a.asking {
		if other.network == network && other.state != accessGranted {
			same++
		}
	}
	if len(a.asking) >= maxAsking || same >= maxAskingOne {
		return errAskingFull
	}
	hash := ledger.Hash(secret.AccessHash())
	r.Words, r.Until = invite.Words(hash, nil), r.Since.Add(AccessFor)
	a.asking = append(a.asking, &asking{AccessRequest: r, hash: hash, network: network})
	return nil
}

// expire forgets what has ended. a.mu is held.
func (a *Access) expire(now time.Time) {
	a.asking = slices.DeleteFunc(a.asking, func(r *asking) bool { return !now.Before(r.Until) })
}

// find returns a copy of the request whose page holds the secret.
func (a *Access) find(secret invite.Code, now time.Time) (asking, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.expire(now)
	hash := ledger.Hash(secret.AccessHash())
	for _, r := range a.asking {
		if r.hash == hash {
			return *r, true
		}
	}
	return asking{}, false
}

// Waiting returns the requests that nobody has answered yet, oldest first.
func (a *Access) Waiting(now time.Time) []invite.AccessRequest {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.expire(now)
	all := []invite.AccessRequest{}
	for _, r := range a.asking {
		if r.state == accessWaits {
			all = append(all, r.AccessRequest)
		}
	}
	return all
}

// Grant answers the request with these words by what invitation makes: the
// part of a link after '#'. Of two who answer at once one is refused; when no
// invitation can be made the request waits on.
func (a *Access) Grant(words string, now time.Time, invitation func(invite.AccessRequest) (fragment string, err error)) error {
	r, err := a.decide(words, now, accessDecided)
	if err != nil {
		return err
	}
	fragment, err := invitation(r.AccessRequest)
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		r.state = accessWaits
		return err
	}
	r.state, r.link = accessGranted, invite.Path+"#"+fragment
	// The answer keeps as long as the invitation does.
	r.Until = now.Add(AccessFor)
	return nil
}

// Deny says no to the request with these words.
func (a *Access) Deny(words string, now time.Time) error {
	_, err := a.decide(words, now, accessDenied)
	return err
}

func (a *Access) decide(words string, now time.Time, to accessState) (*asking, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.expire(now)
	for _, r := range a.asking {
		switch {
		case r.Words != words:
		case r.state != accessWaits:
			return nil, errUndecided
		default:
			r.state = to
			return r, nil
		}
	}
	return nil, &authority.Error{Code: authority.CodeNotFound, Msg: "nobody asks with these words", Hint: "'postern list requests' shows who does"}
}

// accessCookie holds the secret of a request for access, in the browser that
// asked and nowhere else.
const accessCookie = "__Secure-postern-ask"

// accessPage shows the form, or how the request of this browser stands.
func (d *desk) accessPage(w http.ResponseWriter, r *http.Request) error {
	sites := d.accessSites()
	if len(sites) == 0 {
		page.NotFound(d.site()).Write(w, http.StatusNotFound)
		return nil
	}
	site := r.URL.Query().Get("site")
	if !slices.Contains(sites, site) {
		site = ""
	}
	secret, held := secretOf(r)
	if !held {
		d.form(page.AskView{For: site}).Write(w, http.StatusOK)
		return nil
	}
	asked, ok := d.options.Access.find(secret, d.options.Now())
	switch {
	case !ok:
		dropSecret(w)
		d.form(page.AskView{For: site, Gone: true}).Write(w, http.StatusOK)
	case asked.state == accessGranted:
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Location", asked.link)
		w.WriteHeader(http.StatusSeeOther)
	case asked.state == accessDenied:
		dropSecret(w)
		page.AskDenied(d.site()).Write(w, http.StatusForbidden)
	default:
		page.Asked(page.AskedView{Site: d.site(), Path: invite.AskPath, Words: asked.Words, Who: asked.Who}).Write(w, http.StatusAccepted)
	}
	return nil
}

// askAccess takes in a form. Whoever can be read and is not one too many gets
// the same answer, whatever they ask for.
func (d *desk) askAccess(w http.ResponseWriter, r *http.Request) error {
	sites := d.accessSites()
	if len(sites) == 0 {
		page.NotFound(d.site()).Write(w, http.StatusNotFound)
		return nil
	}
	now, network := d.options.Now(), prefixOf(r.RemoteAddr)
	if secret, held := secretOf(r); held {
		if _, ok := d.options.Access.find(secret, now); ok { // tapped twice
			http.Redirect(w, r, invite.AskPath, http.StatusSeeOther)
			return nil
		}
	}
	if wait, ok := d.asks.take(network); !ok {
		w.Header().Set("Retry-After", strconv.Itoa(seconds(wait)))
		page.AskLater(d.site()).Write(w, http.StatusTooManyRequests)
		return nil
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		w.Header().Set("Connection", "close")
		d.form(page.AskView{Wrong: true}).Write(w, http.StatusBadRequest)
		return nil
	}
	site := r.PostForm.Get("site")
	if !slices.Contains(sites, site) {
		site = ""
	}
	who, note := written(r.PostForm.Get("who"), invite.MaxWho), written(r.PostForm.Get("note"), invite.MaxNote)
	if who == "" {
		d.form(page.AskView{For: site, Note: note, Wrong: true}).Write(w, http.StatusUnprocessableEntity)
		return nil
	}
	secret := invite.New()
	err := d.options.Access.ask(invite.AccessRequest{
		Who: who, Note: note, Site: site, Device: plain(r.UserAgent()), Address: hostOf(r.RemoteAddr), Since: now,
	}, secret, network)
	if err != nil {
		page.AskLater(d.site()).Write(w, http.StatusTooManyRequests)
		return nil
	}
	d.options.Log.Info("access asked for", "site", site, "address", network.String())
	http.SetCookie(w, &http.Cookie{
		Name: accessCookie, Value: secret.String(), Path: invite.AskPath, MaxAge: int(2 * AccessFor / time.Second),
		Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, invite.AskPath, http.StatusSeeOther)
	return nil
}

func (d *desk) form(v page.AskView) page.Page {
	v.Site, v.Path, v.MaxWho, v.MaxNote = d.site(), invite.AskPath, invite.MaxWho, invite.MaxNote
	return page.Ask(v)
}

func (d *desk) site() string { return d.options.TrustDomain.String() }

// accessSites returns the hosts at whose doors access can be asked for.
func (d *desk) accessSites() []string {
	if d.options.AccessSites == nil {
		return nil
	}
	return d.options.AccessSites()
}

func secretOf(r *http.Request) (invite.Code, bool) {
	c, err := r.Cookie(accessCookie)
	if err != nil {
		return invite.Code{}, false
	}
	secret, err := invite.Parse(c.Value)
	return secret, err == nil
}

func dropSecret(w http.ResponseWriter) {
	http.SetCookie(w, &http.Cookie{Name: accessCookie, Path: invite.AskPath, MaxAge: -1, Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode})
}

// hostOf returns the address of a remote address without its port.
func hostOf(remote string) string {
	if ap, err := netip.ParseAddrPort(remote); err == nil {
		return ap.Addr().Unmap().String()
	}
	return "unknown"
}

// written makes what somebody typed fit to be shown in one line: letters of
// any script that can be printed, with single spaces, and at most most of them.
func written(s string, most int) string {
	var out strings.Builder
	n, gap := 0, false
	for _, r := range s {
		switch {
		case unicode.IsSpace(r):
			gap = n > 0
			continue
		case r == unicode.ReplacementChar || !unicode.IsPrint(r):
			continue
		}
		if gap {
			if n+2 > most {
				break
			}
			out.WriteByte(' ')
			n, gap = n+1, false
		}
		if n++; n > most {
			break
		}
		out.WriteRune(r)
	}
	return out.String()
}
