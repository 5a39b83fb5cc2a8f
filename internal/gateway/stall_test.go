package gateway

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// A client that takes nothing of its answer is let go, and so is whatever
// answers it: when it reads nothing at all, when it opens no window, and when
// it says all the time that it is still there. One that takes a little now and
// then is not, nor one whose answer has nothing to say for a while.
//
// HTTP/2 data dribble CVE-2019-9511, internal data buffering CVE-2019-9517.
func TestNobodyStalls(t *testing.T) {
	const stall = 400 * time.Millisecond
	w := newWorld(t)
	ben, clock := w.enrol("ben"), &shiftedClock{}
	for sentence, c := range map[string]struct {
		http1  bool
		path   string
		window uint32
		feed   func(*http2.Framer) error // again and again
		want   string
	}{
		"HTTP/1.1, nothing is read":                 {http1: true, path: "/large"},
		"HTTP/2, no window":                         {path: "/large", want: "reset"},
		"HTTP/2, no window for a letter":            {path: "/small", want: "closed"},
		"HTTP/2, no window for what is sent now":    {path: "/flushed", want: "reset"},
		"HTTP/2, an answer that waits":              {path: "/later", window: 1 << 20, want: "answered"},
		"HTTP/2, a window that was used up":         {path: "/large", window: 1 << 20, want: "reset"},
		"HTTP/2, settings and no window":            {path: "/large", want: "reset", feed: func(f *http2.Framer) error { return f.WriteSettings() }},
		"HTTP/2, a window that is not the answer's": {path: "/large", want: "reset", feed: func(f *http2.Framer) error { return f.WriteWindowUpdate(0, 1000) }},
		"HTTP/2, a little is taken all the time": {path: "/large", want: "nothing", feed: func(f *http2.Framer) error {
			return errors.Join(f.WriteWindowUpdate(0, 16<<10), f.WriteWindowUpdate(1, 16<<10))
		}},
	} {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			ended := make(chan error, 1)
			h := w.open(Options{Now: clock.now, Limits: Limits{Stall: stall, Idle: stall}}, Site{Host: "a.example.com", List: allow(t, "ben"), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				var err error
				switch r.URL.Path {
				case "/small":
					_, err = w.Write([]byte("a"))
				case "/flushed":
					w.Write([]byte("a"))
					err = http.NewResponseController(w).Flush()
				case "/later":
					w.Write([]byte("a"))
					http.NewResponseController(w).Flush()
					time.Sleep(4 * stall)
					_, err = w.Write([]byte("b"))
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
				came := stalling(t, h.mustDial(config), c.path, c.window, c.feed)
				time.AfterFunc(3*stall, func() { clock.advance(time.Minute) }) // or the next one may be long in coming
				got := "nothing"
				select {
				case got = <-came:
				case <-time.After(8 * stall):
				}
				if got != c.want {
					t.Errorf("it came to %s, want %s", got, c.want)
				}
			}
			if c.want == "nothing" {
				return
			}
			select {
			case err := <-ended:
				if stuck := c.path == "/large" || c.path == "/flushed"; stuck != (err != nil) {
					t.Errorf("the handler came to %v", err)
				}
			case <-time.After(8 * stall):
				t.Error("an answer that nobody takes holds its handler")
			}
		})
	}
}

// stalling asks over HTTP/2 with a window, reads all that comes, and answers
// every question of whether it is still there. The channel tells what the
// request comes to: "reset", "answered", or "closed" with its connection.
func stalling(t *testing.T, conn net.Conn, path string, window uint32, feed func(*http2.Framer) error) <-chan string {
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
	came := make(chan string, 1)
	go func() {
		for {
			frame, err := f.ReadFrame()
			if err != nil {
				came <- "closed"
				return
			}
			switch frame := frame.(type) {
			case *http2.PingFrame:
				if !frame.IsAck() {
					f.WritePing(true, frame.Data)
				}
			case *http2.RSTStreamFrame:
				came <- "reset"
				return
			case *http2.DataFrame:
				if frame.StreamEnded() {
					came <- "answered"
					return
				}
			}
		}
	}()
	if feed != nil {
		go func() {
			for feed(f) == nil {
				time.Sleep(stallFed)
			}
		}()
	}
	return came
}

const stallFed = 40 * time.Millisecond
