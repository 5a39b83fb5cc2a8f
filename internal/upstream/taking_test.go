package upstream

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// framer is an application that speaks HTTP/2 by hand: it reads all that comes,
// says that it lives when it is asked, and gives the window that serve opens.
func framer(t *testing.T, window uint32, serve func(*http2.Framer, uint32)) (address string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				io.ReadFull(conn, make([]byte, len(http2.ClientPreface)))
				f := http2.NewFramer(conn, conn)
				f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: window})
				for {
					frame, err := f.ReadFrame()
					if err != nil {
						return
					}
					switch frame := frame.(type) {
					case *http2.PingFrame:
						if !frame.IsAck() {
							f.WritePing(true, frame.Data)
						}
					case *http2.HeadersFrame:
						if frame.StreamEnded() {
							answers(f, frame.StreamID, true)
							continue
						}
						serve(f, frame.StreamID)
					}
				}
			}()
		}
	}()
	return ln.Addr().String()
}

// answers writes the header of a 200.
func answers(f *http2.Framer, stream uint32, end bool) {
	var b bytes.Buffer
	hpack.NewEncoder(&b).WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
	f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: b.Bytes(), EndHeaders: true, EndStream: end})
}

// An application that reads and makes no room, as HTTP/2 lets it, does not keep
// an upload for ever. One that makes room slowly does its work.
func TestAnApplicationThatMakesNoRoomIsATimeout(t *testing.T) {
	const limit = 300 * time.Millisecond
	for sentence, c := range map[string]struct {
		window uint32
		size   int64
		length bool
		serve  func(*http2.Framer, uint32)
		status int // 0 for an answer that breaks off
	}{
		"no room from the start":            {window: 0, size: 100, length: true, status: 504},
		"no room from the start, in chunks": {window: 0, size: 100, status: 504},
		"room for a part":                   {window: 40 << 10, size: 1 << 20, length: true, status: 504},
		"room for a part, in chunks":        {window: 40 << 10, size: 1 << 20, status: 504},
		"an answer, and no room":            {window: 1 << 10, size: 1 << 20, serve: func(f *http2.Framer, s uint32) { answers(f, s, false) }},
		"a whole answer, and no room":       {window: 1 << 10, size: 1 << 20, serve: func(f *http2.Framer, s uint32) { answers(f, s, true) }, status: 200},
		"room for a little again and again": {window: 0, size: 50 << 10, length: true, status: 200, serve: func(f *http2.Framer, s uint32) {
			go func() {
				for range 13 {
					time.Sleep(limit / 8)
					f.WriteWindowUpdate(s, 4<<10)
				}
				time.Sleep(limit / 8)
				answers(f, s, true)
			}()
		}},
		"all at once, and a long thought": {window: 1 << 20, size: 50 << 10, status: 200, serve: func(f *http2.Framer, s uint32) {
			go func() {
				time.Sleep(3 * limit)
				answers(f, s, true)
			}()
		}},
	} {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			if c.serve == nil {
				c.serve = func(*http2.Framer, uint32) {}
			}
			front, f := door(t, "h2c://"+framer(t, c.window, c.serve), Options{WriteTimeout: limit, ResponseHeaderTimeout: 20 * limit})
			req, err := http.NewRequest("POST", front.URL, &counted{n: c.size, sent: new(atomic.Int64)})
			if err != nil {
				t.Fatal(err)
			}
			if c.length {
				req.ContentLength = c.size
			}
			client := http.Client{Timeout: 15 * limit, Transport: new(http.Transport)}
			defer client.CloseIdleConnections()
			if status, _ := get(t, front.URL); status != 200 { // the window is known from now on
				t.Fatal(f.all())
			}
			began := time.Now()
			res, err := client.Do(req)
			if c.status == 0 {
				if err == nil {
					_, err = io.ReadAll(res.Body)
				}
				if err == nil || strings.Contains(err.Error(), "Timeout") {
					t.Fatalf("the answer came to %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err, f.all())
			}
			res.Body.Close()
			if res.StatusCode != c.status {
				t.Errorf("%s, want %d: %s", res.Status, c.status, f.all())
			}
			if c.status == 504 && (!strings.Contains(f.all(), "took nothing of the request's body for 300ms") || time.Since(began) < limit) {
				t.Errorf("after %v: %s", time.Since(began), f.all())
			}
		})
	}
}

// A client that leaves ends its upload, though the application has begun to
// answer and makes no room for the rest.
func TestAClientThatLeavesEndsAnUploadThatIsNotTaken(t *testing.T) {
	began, ended := make(chan struct{}), make(chan struct{})
	u, err := New("h2c://"+framer(t, 1<<10, func(f *http2.Framer, s uint32) { answers(f, s, false); close(began) }), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer u.CloseIdle()
	forward := u.Handler(new(refused).answer)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		forward.ServeHTTP(w, r)
	}))
	defer front.Close()
	c := dial(t, front)
	io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"+strings.Repeat("x", 100000))
	<-began
	c.Close()
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Fatal("the exchange goes on without its client")
	}
}

// An application that takes an upload slowly, but does take it, is not called
// stuck, however much longer than the write timeout one piece of it needs.
func TestAnApplicationThatTakesAnUploadSlowly(t *testing.T) {
	const limit, size = time.Second, 96 << 10
	slowly := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := 0
		for b := make([]byte, 4<<10); ; {
			m, err := io.ReadFull(r.Body, b)
			if n += m; err != nil {
				break
			}
			time.Sleep(limit / 10) // a record of TLS is four of these
		}
		if n != size {
			w.WriteHeader(500)
		}
	})
	for _, scheme := range []string{"http", "https"} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			app := httptest.NewUnstartedServer(slowly)
			app.Listener = narrow{app.Listener}
			o := Options{WriteTimeout: limit}
			if scheme == "https" {
				app.StartTLS()
				o.Roots = app.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
			} else {
				app.Start()
			}
			defer app.Close()
			u, err := New(app.URL, o)
			if err != nil {
				t.Fatal(err)
			}
			defer u.CloseIdle()
			u.dialer.net.Control = func(_, _ string, c syscall.RawConn) error {
				return c.Control(func(fd uintptr) { syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_SNDBUF, 4<<10) })
			}
			f := new(refused)
			front := httptest.NewServer(u.Handler(f.answer))
			defer front.Close()
			began := time.Now()
			res, err := http.Post(front.URL, "application/octet-stream", &counted{n: size, sent: new(atomic.Int64)})
			if err != nil {
				t.Fatal(err, f.all())
			}
			res.Body.Close()
			if res.StatusCode != 200 || f.all() != "" {
				t.Errorf("%s after %v: %s", res.Status, time.Since(began), f.all())
			}
			if time.Since(began) < 2*limit {
				t.Errorf("it took %v, which proves nothing", time.Since(began))
			}
		})
	}
}

// narrow accepts connections that have little room.
type narrow struct{ net.Listener }

func (n narrow) Accept() (net.Conn, error) {
	c, err := n.Listener.Accept()
	if t, ok := c.(*net.TCPConn); ok {
		t.SetReadBuffer(4 << 10)
	}
	return c, err
}

// An application behind TLS that takes nothing is let go as any other is, and
// ending its connection waits for nobody.
func TestAnApplicationBehindTLSThatTakesNothing(t *testing.T) {
	release := make(chan struct{})
	app := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer app.Close()
	defer close(release)
	front, f := door(t, app.URL, Options{WriteTimeout: 200 * time.Millisecond, ResponseHeaderTimeout: 30 * time.Second,
		Roots: app.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs})
	began := time.Now()
	res, err := http.Post(front.URL, "application/octet-stream", &counted{n: 64 << 20, sent: new(atomic.Int64)})
	if err == nil {
		res.Body.Close()
	}
	if took := time.Since(began); !strings.HasPrefix(f.all(), "upstream-timeout: ") || took > 3*time.Second {
		t.Fatal(took, f.all(), err)
	}
}

// freezer relays connections to address. Those that it froze are kept open, and
// nothing passes them any more.
type freezer struct {
	net.Listener
	mu     sync.Mutex // guards what follows
	frozen []*atomic.Bool
}

func freeze(t *testing.T, address string) *freezer {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	z := &freezer{Listener: ln}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			here, err := ln.Accept()
			if err != nil {
				return
			}
			there, err := net.Dial("tcp", address)
			if err != nil {
				here.Close()
				continue
			}
			t.Cleanup(func() { here.Close(); there.Close() })
			frozen := new(atomic.Bool)
			z.mu.Lock()
			z.frozen = append(z.frozen, frozen)
			z.mu.Unlock()
			relay := func(to, from net.Conn) {
				for b := make([]byte, 4096); ; {
					n, err := from.Read(b)
					if err != nil {
						to.Close()
						return
					}
					if !frozen.Load() {
						to.Write(b[:n])
					}
				}
			}
			go relay(here, there)
			go relay(there, here)
		}
	}()
	return z
}

// freeze freezes every connection that there is.
func (z *freezer) freeze() {
	z.mu.Lock()
	defer z.mu.Unlock()
	for _, f := range z.frozen {
		f.Store(true)
	}
}

// A connection that has died in silence, as behind a firewall that has forgotten
// it, is not given to everybody who comes: within the time of one answer there
// is another one. Over HTTP/2 requests share it.
func TestAConnectionThatDiesInSilenceIsLeft(t *testing.T) {
	const limit = 400 * time.Millisecond
	app := httptest.NewUnstartedServer(echo)
	app.Config.Protocols = new(http.Protocols)
	app.Config.Protocols.SetUnencryptedHTTP2(true)
	app.Config.Protocols.SetHTTP1(true)
	app.Start()
	defer app.Close()
	for _, scheme := range []string{"http", "h2c"} {
		t.Run(scheme, func(t *testing.T) {
			between := freeze(t, app.Listener.Addr().String())
			front, f := door(t, scheme+"://"+between.Addr().String(), Options{ResponseHeaderTimeout: limit})
			if status, _ := get(t, front.URL); status != 200 {
				t.Fatal(f.all())
			}
			between.freeze()
			frozen := time.Now()
			for { // somebody comes all the time
				asked := time.Now()
				status, _ := get(t, front.URL)
				if took := time.Since(asked); took > 3*limit {
					t.Errorf("an answer took %v", took)
				}
				if status == 200 {
					break
				}
				if status != 504 && status != 502 {
					t.Errorf("status %d", status)
				}
				if time.Since(frozen) > 6*limit {
					t.Fatalf("still given out after %v: %s", time.Since(frozen), f.all())
				}
			}
		})
	}
}

// An application that thinks for long over HTTP/2, and says that it lives, keeps
// its connection.
func TestALongThoughtIsNoDeadConnection(t *testing.T) {
	app := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte("a"))
		http.NewResponseController(w).Flush()
		time.Sleep(time.Second)
		w.Write([]byte("b"))
	}))
	app.Config.Protocols = new(http.Protocols)
	app.Config.Protocols.SetUnencryptedHTTP2(true)
	app.Start()
	defer app.Close()
	front, f := door(t, "h2c://"+app.Listener.Addr().String(), Options{ResponseHeaderTimeout: 200 * time.Millisecond})
	if status, got := get(t, front.URL); status != 200 || got != "ab" {
		t.Fatal(status, got, f.all())
	}
}
