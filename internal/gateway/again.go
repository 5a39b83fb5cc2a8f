package gateway

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/postern-project/postern/internal/refusal"
)

// A browser remembers for a host and port that it has no certificate, or that
// the person chose none, until a handshake is refused for it or the browser is
// closed. So a visitor may ask for one refusal: for a moment the next
// handshake from their address that shows no certificate ends with the alert
// certificate_required.
const (
	againFor   = 3 * time.Second        // how long a refusal is owed
	againEvery = 2 * time.Second        // how often one address may ask, for one host
	againMost  = 1024                   // addresses at once
	againQuiet = 250 * time.Millisecond // after what a client sent last, before it is refused
	againDelay = 2 * time.Second        // how long a refusal waits at most
)

// again holds who is owed a refusal. Whoever shares an address shares its
// refusal, which costs a client without a certificate one handshake, and one
// with a certificate nothing.
type again struct {
	mu   sync.Mutex // guards owed
	owed map[visitor]debt
}

type visitor struct {
	addr netip.Addr
	host string
}

type debt struct {
	asked time.Time
	spent bool
}

func visitorOf(a net.Addr, host string) visitor {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return visitor{}
	}
	return visitor{ap.Addr().Unmap(), host}
}

// arm owes a refusal, unless the address asks too often or too many others do.
func (a *again) arm(from net.Addr, host string, now time.Time) bool {
	v := visitorOf(from, host)
	a.mu.Lock()
	defer a.mu.Unlock()
	for other, d := range a.owed {
		if now.Sub(d.asked) > againFor {
			delete(a.owed, other)
		}
	}
	if d, ok := a.owed[v]; ok && now.Sub(d.asked) < againEvery || len(a.owed) >= againMost || !v.addr.IsValid() {
		return false
	}
	if a.owed == nil {
		a.owed = map[visitor]debt{}
	}
	a.owed[v] = debt{asked: now}
	return true
}

// armed reports whether a refusal is owed.
func (a *again) armed(from net.Addr, host string, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.owed) == 0 {
		return false
	}
	d, ok := a.owed[visitorOf(from, host)]
	return ok && !d.spent && now.Sub(d.asked) <= againFor
}

// spend notes that the refusal was given.
func (a *again) spend(from net.Addr, host string) {
	v := visitorOf(from, host)
	a.mu.Lock()
	defer a.mu.Unlock()
	if d, ok := a.owed[v]; ok {
		d.spent = true
		a.owed[v] = d
	}
}

// onceMoreTLS is d's configuration for a client that is owed a refusal. A
// certificate that is shown all the same is judged at each request, as ever.
func (g *Gateway) onceMoreTLS(d *door, late *delay) *tls.Config {
	c := g.plainTLS()
	c.VerifyConnection = func(tls.ConnectionState) error { late.over = true; return nil } // it is called with a certificate only
	c.MinVersion, c.ClientAuth, c.ClientCAs = d.version(), tls.RequireAnyClientCert, d.trust.hints
	return c
}

// answerAgain owes the visitor a refusal. The connection ends with the answer,
// so that the next request has a handshake of its own.
func (g *Gateway) answerAgain(x *exchange, r *http.Request) {
	if r.Method != http.MethodPost {
		x.Header().Set("Allow", http.MethodPost)
		x.refuse(r, refusal.MethodNotServed, "being asked once more is a POST")
		return
	}
	if err := http.NewCrossOriginProtection().Check(r); err != nil {
		x.refuse(r, refusal.CrossSite, err.Error())
		return
	}
	status := http.StatusNoContent
	if len(x.conn.presented) > 0 || !g.again.arm(x.conn.RemoteAddr(), x.conn.host, x.start) {
		status = http.StatusTooManyRequests
	}
	x.Header().Set("Cache-Control", "no-store")
	x.Header().Set("Connection", "close")
	x.WriteHeader(status)
}

// A delay holds back the alert that refuses a handshake. In TLS 1.3 the client
// has finished the handshake when it is refused. Chromium forgets its choice
// only if a request has the connection by then: if the alert is there before,
// the connection is lost without a reason. So the alert waits for what the
// client sends after its handshake. Only the handshake uses it.
type delay struct {
	spoke bool // the server's part of the handshake was written
	heard bool // and read on after that
	over  bool
}

// delay is called before each write of a handshake that may be refused, and
// waits before the one that answers the client's part. The refusal is spent
// with that.
func (c *conn) delay() {
	d := c.again
	if !d.heard || d.over {
		d.spoke = true
		return
	}
	d.over = true
	c.g.again.spend(c.RemoteAddr(), c.host)
	end := time.Now().Add(min(againDelay, c.g.limits.Handshake/2))
	c.SetReadDeadline(end)
	for b := make([]byte, 1<<10); time.Now().Before(end); {
		n, err := c.Conn.Read(b)
		if c.early = append(c.early, b[:n]...); err != nil || len(c.early) > 1<<16 {
			break
		}
		if quiet := time.Now().Add(againQuiet); quiet.Before(end) {
			c.SetReadDeadline(quiet)
		}
	}
	c.SetReadDeadline(time.Now().Add(c.g.limits.Handshake))
}

// offersAgain reports whether a refused visitor may be asked once more.
func (x *exchange) offersAgain(code refusal.Code) bool {
	return code == refusal.NoCertificate && !x.conn.public && (x.door == nil || !x.door.site.NeverAsks) && !strings.HasPrefix(x.path, reservedPath)
}
