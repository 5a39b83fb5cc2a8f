package attack

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// What a broken application, or one in strange hands, answers is an answer, or
// 502, or broken off; it is never the next visitor's answer, fills no memory,
// holds nobody up for longer than it may take, and no other site notices.
//
// Traefik CVE-2026-26998 (reads without a bound), Go CVE-2025-22871, response
// splitting, and answers that lie in wait for the next visitor.
func TestHostileApplications(t *testing.T) {
	t.Parallel()
	const ok = "HTTP/1.1 200 OK\r\n"
	says := func(text string, then ...func(net.Conn)) func(net.Conn) {
		return func(c net.Conn) {
			io.WriteString(c, text)
			for _, f := range then {
				f(c)
			}
		}
	}
	endless := func(text string) func(net.Conn) {
		chunk := []byte(strings.Repeat(text, 1+(64<<10)/len(text)))
		return func(c net.Conn) {
			for {
				if _, err := c.Write(chunk); err != nil {
					return
				}
			}
		}
	}
	waits := func(c net.Conn) { io.Copy(io.Discard, c) }
	answers := map[string]func(net.Conn){
		"nothing":                        says(""),
		"silence":                        waits,
		"garbage":                        says("\x16\x03\x01\x00\xff\x00garbage\r\n\r\n"),
		"endless garbage":                endless("\x00\xffgarbage"),
		"half a status":                  says("HTTP/1.1 2", waits),
		"a status line without end":      says("HTTP/1.1 200 ", endless("a")),
		"a name without end":             says(ok, endless("x")),
		"a field without end":            says(ok+"X: ", endless("a")),
		"fields without end":             says(ok, endless("X-Field: value\r\n")),
		"fields that stop coming":        says(ok+"X: a\r\n", waits),
		"interim answers without end":    endless("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
		"a switch that nobody asked for": says("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\npoison", waits),
		"two answers":                    says(ok + "Content-Length: 4\r\n\r\ngood" + ok + "Content-Length: 6\r\n\r\npoison"),
		"too short a body":               says(ok + "Content-Length: 100\r\n\r\nshort"),
		"a chunk size without end":       says(ok+"Transfer-Encoding: chunked\r\n\r\n1;", endless("a")),
		"trailers without end":           says(ok+"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n", endless("X: y\r\n")),
		"two lengths":                    says(ok + "Content-Length: 4\r\nContent-Length: 6\r\n\r\npoison"),
	}
	var sites strings.Builder
	hosts := map[string]string{}
	site := func(sentence, url string) {
		hosts[sentence] = fmt.Sprintf("hostile%d.attack.test", len(hosts))
		fmt.Fprintf(&sites, "  %s: {proxy: %q, allow: [ben], upstream: {timeouts: {answer: 1s}}}\n", hosts[sentence], url)
	}
	for sentence, say := range answers {
		site(sentence, "http://"+serve(t, func(c net.Conn) {
			for r := bufio.NewReader(c); ; {
				if _, err := http.ReadRequest(r); err != nil {
					return
				}
				if say(c); sentence != "two answers" {
					return
				}
			}
		}))
	}
	for sentence, write := range map[string]func(f *http2.Framer, stream uint32) error{
		"settings without end": func(f *http2.Framer, _ uint32) error {
			return f.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 16384})
		},
		"pings without end":               func(f *http2.Framer, _ uint32) error { return f.WritePing(false, [8]byte{}) },
		"an answer that nobody asked for": func(f *http2.Framer, s uint32) error { return f.WriteData(s+2, false, []byte("poison")) },
		"a body before its header":        func(f *http2.Framer, s uint32) error { return f.WriteData(s, false, []byte("poison")) },
		"empty frames without end":        func(f *http2.Framer, s uint32) error { return f.WriteData(s, false, nil) },
		"a window without end":            func(f *http2.Framer, s uint32) error { return f.WriteWindowUpdate(s, 1<<31-1) },
		"a push that was not allowed": func(f *http2.Framer, s uint32) error {
			return f.WriteRawFrame(http2.FramePushPromise, 4, s, []byte{0, 0, 0, 2, 0x88})
		},
		"resets without end": func(f *http2.Framer, s uint32) error { return f.WriteRSTStream(s, http2.ErrCodeRefusedStream) },
		"a header without end": func(f *http2.Framer, s uint32) error {
			if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: s, BlockFragment: []byte{0x88}}); err != nil {
				return err
			}
			for {
				if err := f.WriteContinuation(s, false, []byte("\x00\x01a\x01b")); err != nil {
					return err
				}
			}
		},
	} {
		site("over HTTP/2, "+sentence, "h2c://"+serve(t, func(c net.Conn) {
			f := http2.NewFramer(c, c)
			f.AllowIllegalWrites = true
			if _, err := io.ReadFull(c, make([]byte, len(http2.ClientPreface))); err != nil || f.WriteSettings() != nil {
				return
			}
			for {
				frame, err := f.ReadFrame()
				if err != nil {
					return
				}
				if frame.Header().Type == http2.FrameHeaders {
					go io.Copy(io.Discard, c)
					for err == nil {
						err = write(f, frame.Header().StreamID)
					}
					return
				}
			}
		}))
	}
	h := ownHouse(t, "")
	h.app = theHouse(t).app
	h.write(t, h.fill("%LISTEN%\nsites:\n  good.attack.test: {proxy: \"%APP%\", allow: [ben]}\n")+sites.String())
	h.mustOpen(t)
	ben := h.identity(t, "ben/laptop")
	var all sync.WaitGroup
	for sentence, host := range hosts {
		all.Go(func() {
			for range 2 {
				began := time.Now()
				got := h.get(t, ben, host, "/")
				if took := time.Since(began); took > 30*time.Second {
					t.Errorf("%s: answered after %v", sentence, took)
				}
				if strings.Contains(got.body, "poison") || got.err == nil && got.status < 500 && (sentence != "two answers" || got.body != "good") {
					t.Errorf("%s: %s %.100q", sentence, got, got.body)
				}
			}
		})
	}
	for range 20 {
		if got := h.get(t, ben, "good.attack.test", "/"); got.String() != "200" {
			t.Errorf("meanwhile, at another site: %s", got)
		}
	}
	all.Wait()
	if _, resident := h.usage(t); resident > 300<<20 {
		t.Errorf("the server holds %d MiB", resident>>20)
	}
}

// serve answers connections in its own way until the test ends.
func serve(t testing.TB, answer func(net.Conn)) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				c.SetDeadline(time.Now().Add(time.Minute))
				answer(c)
			}()
		}
	}()
	return l.Addr().String()
}
