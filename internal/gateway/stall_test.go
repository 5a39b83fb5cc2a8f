package gateway

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// A client that takes nothing of its answer is let go, and so is whatever
// answers it: when it reads nothing at all, when it opens no window, and when
// it says all the time that it is still there. One that takes a little now and
// then is not.
//
// HTTP/2 data dribble CVE-2019-9511, internal data buffering CVE-2019-9517.
func TestNobodyStalls(t *testing.T) {
	const stall = 400 * time.Millisecond
	w := newWorld(t)
	ben := w.enrol("ben")
	for sentence, c := range map[string]struct {
		http1  bool
		path   string
		window uint32
		feed   func(*http2.Framer) error // again and again
		served bool
	}{
		"HTTP/1.1, nothing is read":                 {http1: true, path: "/large"},
		"HTTP/2, no window":                         {path: "/large"},
		"HTTP/2, no window for a letter":            {path: "/small"},
		"HTTP/2, no window for what is sent now":    {path: "/flushed"},
		"HTTP/2, a window that was used up":         {path: "/large", window: 1 << 20},
		"HTTP/2, settings and no window":            {path: "/large", feed: func(f *http2.Framer) error { return f.WriteSettings() }},
		"HTTP/2, a window that is not the answer's": {path: "/large", feed: func(f *http2.Framer) error { return f.WriteWindowUpdate(0, 1000) }},
		"HTTP/2, a little is taken all the time": {path: "/large", served: true, feed: func(f *http2.Framer) error {
			return errors.Join(f.WriteWindowUpdate(0, 16<<10), f.WriteWindowUpdate(1, 16<<10))
		}},
	} {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			patience := 8 * stall
			if c.served {
				patience = 3 * stall
			}
			ended := make(chan error, 1)
			h := w.open(Options{Limits: Limits{Stall: stall}}, Site{Host: "a.example.com", List: allow(t, "ben"), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				var err error
				switch r.URL.Path {
				case "/small":
					_, err = w.Write([]byte("a"))
				case "/flushed":
					w.Write([]byte("a"))
					err = http.NewResponseController(w).Flush()
				default:
					for b := make([]byte, 1<<20); err == nil; {
						_, err = w.Write(b)
					}
				}
				ended <- err
			})})
			config := w.clientTLS(ben, "a.example.com")
			if c.http1 {
				fmt.Fprintf(h.mustDial(config), "GET %s HTTP/1.1\r\nHost: a.example.com\r\n\r\n", c.path)
			} else {
				config.NextProtos = []string{"h2"}
				reset := stalling(t, h.mustDial(config), c.path, c.window, c.feed)
				select {
				case err := <-reset:
					if c.served || err != nil {
						t.Errorf("the stream was reset: %v", err)
					}
				case <-time.After(patience):
					if !c.served {
						t.Error("the stream still lives")
					}
				}
			}
			select {
			case err := <-ended:
				if c.served || err == nil && c.path == "/large" {
					t.Errorf("the handler came to %v", err)
				}
			case <-time.After(patience):
				if !c.served {
					t.Error("an answer that nobody takes holds its handler")
				}
			}
		})
	}
}

// stalling asks over HTTP/2 with a window, reads all that comes, and answers
// every question of whether it is still there. The channel tells when the
// request is reset; of a connection that ends otherwise, why.
func stalling(t *testing.T, conn net.Conn, path string, window uint32, feed func(*http2.Framer) error) <-chan error {
	t.Helper()
	conn.SetDeadline(time.Now().Add(time.Minute))
	fmt.Fprint(conn, http2.ClientPreface)
	f := http2.NewFramer(conn, conn)
	must(t, f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: window}))
	var block strings.Builder
	enc := hpack.NewEncoder(&block)
	for _, field := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "a.example.com"}, {":path", path}} {
		must(t, enc.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]}))
	}
	must(t, f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte(block.String()), EndStream: true, EndHeaders: true}))
	reset := make(chan error, 1)
	go func() {
		for {
			frame, err := f.ReadFrame()
			if err != nil {
				if !errors.Is(err, net.ErrClosed) && !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, io.EOF) {
					reset <- err
				}
				return
			}
			switch frame := frame.(type) {
			case *http2.PingFrame:
				if !frame.IsAck() {
					f.WritePing(true, frame.Data)
				}
			case *http2.RSTStreamFrame:
				reset <- nil
				return
			}
		}
	}()
	if feed != nil {
		go func() {
			for feed(f) == nil {
				time.Sleep(40 * time.Millisecond)
			}
		}()
	}
	return reset
}
