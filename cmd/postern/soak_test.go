//go:build soak

package main

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

var soakFor = flag.Duration("soak", 10*time.Minute, "how long to soak")

// A soak is a door under everything at once.
type soak struct {
	*door
	ctx     context.Context
	wg      sync.WaitGroup
	done    atomic.Int64 // requests and messages that went well
	metrics string
	config  string
	app     string
}

// A reading is what the server uses at a moment.
type reading struct{ goroutines, memory, files float64 }

// Ten minutes at full load, with revocations and reloads all the time: nothing
// that should go well fails, and memory, goroutines and open files stay where
// they were after the first quarter. When the load has gone they go too.
// 'make soak' runs it.
func TestSoak(t *testing.T) {
	s := newSoak(t)
	ben := filepath.Join(s.home, "ben")
	s.run("issue", "ben/phone", "--out", ben)
	config := s.tls(ben, "app.postern.test")
	rest := s.read()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	time.AfterFunc(*soakFor, stop) // without a deadline, which would time out what is under way
	s.ctx = ctx
	for range 2 {
		s.often("a handshake", func() error { return s.once(config.Clone()) })
		resumed := config.Clone()
		resumed.ClientSessionCache = tls.NewLRUClientSessionCache(4)
		s.often("a resumed handshake", func() error { return s.once(resumed) })
		kept := config.Clone()
		kept.NextProtos = []string{"http/1.1"}
		c := s.client(kept)
		c.Transport.(*http.Transport).ForceAttemptHTTP2 = false
		s.often("a request on HTTP/1.1", func() error { return s.page(c, 200) })
		h2 := s.client(config.Clone())
		for range 4 {
			s.often("a stream on HTTP/2", func() error { return s.page(h2, 200) })
		}
	}
	h3 := s.http3(config)
	for range 4 {
		s.often("a stream on HTTP/3", func() error { return s.page(h3, 200) })
	}
	s.often("a QUIC handshake", func() error {
		c := s.http3(config)
		defer c.CloseIdleConnections()
		return s.page(c, 200)
	})
	stranger := s.client(s.tls("", "app.postern.test"))
	s.often("a stranger", func() error {
		time.Sleep(20 * time.Millisecond)
		if err := s.page(stranger, 403); err != nil && strings.HasPrefix(err.Error(), "200") {
			return err // a reload may well cut a stranger's connection
		}
		return nil
	})
	for range 20 {
		s.chat(config)
	}
	s.often("a revocation", s.comeAndGo())
	s.often("a reload", s.reload())
	var readings []reading
	for tick := time.NewTicker(max(*soakFor/60, time.Second)); ctx.Err() == nil; {
		select {
		case <-ctx.Done():
			tick.Stop()
		case <-tick.C:
			readings = append(readings, s.read())
		}
	}
	s.wg.Wait()
	s.steady(readings)
	t.Logf("%d exchanges; at the end %.0f goroutines, %.0f MiB, %.0f files", s.done.Load(), readings[len(readings)-1].goroutines, readings[len(readings)-1].memory/(1<<20), readings[len(readings)-1].files)
	s.quiet(rest)
}

func newSoak(t *testing.T) *soak {
	t.Helper()
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/chat" {
			io.WriteString(w, "hello")
			return
		}
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
		if err != nil {
			return
		}
		defer c.CloseNow()
		for {
			kind, b, err := c.Read(r.Context())
			if err != nil || c.Write(r.Context(), kind, b) != nil {
				return
			}
		}
	}))
	t.Cleanup(app.Close)
	s := &soak{door: newDoor(t), app: app.URL, metrics: freePair(t)}
	s.config = filepath.Join(s.home, "postern.yaml")
	s.write(0)
	s.args = append(s.args, "--config", s.config)
	s.open()
	return s
}

// write writes the n-th configuration: the sites beside the one under load
// come and go.
func (s *soak) write(n int) error {
	text := fmt.Sprintf("metrics: {listen: %q}\nlog: {level: warn}\nsites:\n  app.postern.test: {proxy: %q, allow: [ben, guests], http3: experimental}\n  localhost: {static: %q, allow: [ben]}\n  other-%d.postern.test: {static: %q, allow: [anna]}\n",
		s.metrics, s.app, s.home, n%3, s.home)
	if err := os.WriteFile(s.config+".new", []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(s.config+".new", s.config)
}

// often does one thing again and again until the soak is over.
func (s *soak) often(what string, do func() error) {
	s.wg.Go(func() {
		for s.ctx.Err() == nil {
			if err := do(); err != nil {
				if s.ctx.Err() == nil {
					s.t.Errorf("%s: %v", what, err)
				}
				return
			}
			s.done.Add(1)
		}
	})
}

func (s *soak) page(c *http.Client, status int) error {
	req, err := http.NewRequestWithContext(s.ctx, "GET", "https://app.postern.test:"+s.port()+"/", nil)
	if err != nil {
		return err
	}
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != status {
		return fmt.Errorf("%s: %v", resp.Status, err)
	}
	return nil
}

// http3 returns a client that speaks HTTP/3 only.
func (s *soak) http3(config *tls.Config) *http.Client {
	t := &http3.Transport{TLSClientConfig: config.Clone(), Dial: func(ctx context.Context, _ string, c *tls.Config, q *quic.Config) (*quic.Conn, error) {
		return quic.DialAddrEarly(ctx, s.addr, c, q)
	}}
	s.t.Cleanup(func() { t.Close() })
	return &http.Client{Transport: t, Timeout: 30 * time.Second}
}

// once makes one request on a connection of its own.
func (s *soak) once(config *tls.Config) error {
	conn, err := (&tls.Dialer{Config: config}).DialContext(s.ctx, "tcp", s.addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: app.postern.test\r\nConnection: close\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// chat keeps a WebSocket, on which a message goes there and back.
func (s *soak) chat(config *tls.Config) {
	plain := config.Clone()
	plain.NextProtos = []string{"http/1.1"}
	hc := s.client(plain)
	hc.Timeout = 0
	hc.Transport.(*http.Transport).ForceAttemptHTTP2 = false
	var c *websocket.Conn
	s.often("a WebSocket", func() (err error) {
		if c == nil {
			if c, _, err = websocket.Dial(s.ctx, "https://app.postern.test:"+s.port()+"/chat", &websocket.DialOptions{HTTPClient: hc}); err != nil {
				return err
			}
			context.AfterFunc(s.ctx, func() { c.CloseNow() })
		}
		if err := c.Write(s.ctx, websocket.MessageText, []byte("still here")); err != nil {
			return err
		}
		if _, _, err = c.Read(s.ctx); err != nil {
			return err
		}
		time.Sleep(50 * time.Millisecond)
		return nil
	})
}

// comeAndGo lets a guest in, and puts them out again while they are connected.
func (s *soak) comeAndGo() func() error {
	n := 0
	return func() error {
		n++
		guest := fmt.Sprintf("guests/n%d", n)
		dir := filepath.Join(s.home, "guests", fmt.Sprint(n))
		if out, code := s.try("issue", guest, "--out", dir); code != 0 {
			return fmt.Errorf("issue: %s", out)
		}
		c := s.client(s.tls(dir, "app.postern.test"))
		defer c.CloseIdleConnections()
		if err := s.page(c, 200); err != nil {
			return err
		}
		if out, code := s.try("revoke", guest); code != 0 {
			return fmt.Errorf("revoke: %s", out)
		}
		c.CloseIdleConnections() // whatever is left of the one that was cut
		return s.page(c, 403)
	}
}

func (s *soak) reload() func() error {
	n := 0
	return func() error {
		n++
		if err := s.write(n); err != nil {
			return err
		}
		time.Sleep(500 * time.Millisecond)
		return s.cmd.Process.Signal(syscall.SIGHUP)
	}
}

// read asks the server what it uses.
func (s *soak) read() (r reading) {
	s.t.Helper()
	resp, err := http.Get("http://" + s.metrics + "/metrics")
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if where := map[string]*float64{"go_goroutines": &r.goroutines, "process_resident_memory_bytes": &r.memory, "process_open_fds": &r.files}[name]; where != nil {
			fmt.Sscan(value, where)
		}
	}
	return r
}

// steady compares the last quarter with the second one.
func (s *soak) steady(all []reading) {
	s.t.Helper()
	if len(all) < 12 {
		s.t.Fatalf("%d readings are too few", len(all))
	}
	quarter := len(all) / 4
	middle := func(part []reading, of func(reading) float64) float64 { // one moment's crowd is no leak
		part = slices.SortedFunc(slices.Values(part), func(a, b reading) int { return cmp.Compare(of(a), of(b)) })
		return of(part[len(part)/2])
	}
	for what, c := range map[string]struct {
		of    func(reading) float64
		slack float64
	}{
		"goroutines":      {func(r reading) float64 { return r.goroutines }, 60},
		"bytes of memory": {func(r reading) float64 { return r.memory }, 32 << 20},
		"open files":      {func(r reading) float64 { return r.files }, 40},
	} {
		before, after := middle(all[quarter:2*quarter], c.of), middle(all[3*quarter:], c.of)
		if after > 1.2*before+c.slack {
			s.t.Errorf("%s: %.0f in the second quarter, %.0f in the last", what, before, after)
		}
	}
}

// quiet waits until the server uses no more than it did at rest.
func (s *soak) quiet(rest reading) {
	s.t.Helper()
	var now reading
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Second) {
		if now = s.read(); now.goroutines <= rest.goroutines+30 && now.files <= rest.files+20 {
			return
		}
	}
	s.t.Errorf("at rest it had %.0f goroutines and %.0f files, and a minute after the load %.0f and %.0f", rest.goroutines, rest.files, now.goroutines, now.files)
}
