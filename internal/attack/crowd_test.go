package attack

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// share is how much of its long form the suite takes: ATTACK_SHARE=0.1 is a
// tenth of the time of each flood and of the million connections.
var share = func() float64 {
	if s, err := strconv.ParseFloat(os.Getenv("ATTACK_SHARE"), 64); err == nil && s > 0 && s <= 1 {
		return s
	}
	return 1
}()

// lasting is how long a flood takes: in the long form, a minute.
func lasting(brisk time.Duration) time.Duration {
	return either(brisk, time.Duration(share*float64(time.Minute)))
}

// A witness is an application that says who it was told is asking. It keeps
// nothing, so that millions may ask.
type witness struct {
	*httptest.Server
	takes        time.Duration
	inHand, most atomic.Int64 // requests, now and at once
	served       atomic.Int64
}

func newWitness(t testing.TB, takes time.Duration) *witness {
	t.Helper()
	w := &witness{takes: takes}
	w.Server = httptest.NewServer(w)
	t.Cleanup(w.Close)
	return w
}

func (w *witness) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	now := w.inHand.Add(1)
	defer w.inHand.Add(-1)
	for most := w.most.Load(); now > most && !w.most.CompareAndSwap(most, now); most = w.most.Load() {
	}
	if w.takes > 0 {
		select {
		case <-r.Context().Done():
		case <-time.After(w.takes):
		}
	}
	w.served.Add(1)
	fmt.Fprintf(rw, "%q %q", r.Header["X-Postern-Identity"], r.URL.Path)
}

// saw is what a witness says of a request by somebody; nobody is "".
func saw(who, path string) string {
	if who == "" {
		return fmt.Sprintf("%q %q", []string(nil), path)
	}
	return fmt.Sprintf("%q %q", []string{who}, path)
}

// from makes a TCP connection to the sites from the n-th place of the loopback
// network, so that there are as many places and ports as an attack wants.
func (h *house) from(n int) (*net.TCPConn, error) {
	place := net.IPv4(127, byte(1+n>>14&0x7f), byte(n>>6), byte(1+n&0x3f))
	d := net.Dialer{Timeout: 20 * time.Second, LocalAddr: &net.TCPAddr{IP: place}}
	c, err := d.Dial("tcp", h.addr)
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}

// enter makes a TLS connection from the n-th place, with a deadline.
func (h *house) enter(n int, c *tls.Config, limit time.Duration) (*tls.Conn, error) {
	raw, err := h.from(n)
	if err != nil {
		return nil, err
	}
	raw.SetDeadline(time.Now().Add(limit))
	conn := tls.Client(raw, c)
	if err := conn.Handshake(); err != nil {
		raw.Close()
		return nil, err
	}
	return conn, nil
}

// A storm is a flood from many at once, and what there is to say of it.
type storm struct {
	h          *house
	ben        *tls.Certificate // who has to be let in meanwhile, at ben.attack.test
	before     state
	connected  atomic.Int64 // connections of the flood
	sent       atomic.Int64 // frames, or handshakes
	peak       int          // bytes of memory
	slowest    time.Duration
	asked      int
	afterwards state
}

// blow runs flood n times at once, again and again until limit is over, and
// meanwhile sees to it that Ben is let in. flood returns when over is closed.
func (s *storm) blow(t testing.TB, n int, limit time.Duration, flood func(i int, over <-chan struct{})) {
	t.Helper()
	s.before = s.h.state(t)
	over := make(chan struct{})
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { flood(i, over) })
	}
	for end := time.Now().Add(limit); ; {
		began := time.Now()
		if got := s.h.get(t, s.ben, "ben.attack.test", "/"); got.String() != "200" {
			t.Errorf("meanwhile Ben gets %s (%v)", got, got.err)
		}
		s.slowest, s.asked = max(s.slowest, time.Since(began)), s.asked+1
		s.peak = max(s.peak, s.h.state(t).resident)
		if !time.Now().Before(end) {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	close(over)
	all.Wait()
	s.afterwards = s.h.state(t)
	t.Logf("%d connections, %d sent: %v of CPU, at most %d MiB; Ben asked %d times and waited %v at most", s.connected.Load(), s.sent.Load(),
		s.cost(), s.peak>>20, s.asked, s.slowest.Round(time.Millisecond))
}

func (s *storm) cost() time.Duration { return s.afterwards.cpu - s.before.cpu }

// ended reports whether a channel is closed.
func ended(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
