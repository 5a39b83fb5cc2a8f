package gateway

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/refusal"
	"github.com/postern-project/postern/internal/upstream"
)

// An upload is called stalled only when its client sent nothing while somebody
// waited for it. An application that takes its time, or that goes away in a
// pause of the client's, is no client's fault.
func TestWhoKeepsAnUploadWaiting(t *testing.T) {
	const stall = 300 * time.Millisecond
	const sent = 1 << 20 // more than fits on the way
	for _, proto := range []string{"http/1.1", "h2"} {
		for sentence, c := range map[string]struct {
			behind func(t *testing.T) http.Handler
			pause  time.Duration // of the client's, half way
			status int
			want   string // the body of 200, else a code
		}{
			"the application thinks before it reads": {behind: takes(3*stall, 0), status: 200, want: fmt.Sprint(sent)},
			"the application thinks half way":        {behind: takes(0, 3*stall), status: 200, want: fmt.Sprint(sent)},
			"the client pauses, but not for long":    {behind: takes(0, 0), pause: stall * 2 / 3, status: 200, want: fmt.Sprint(sent)},
			"the client pauses for too long":         {behind: takes(0, 0), pause: 10 * stall, status: 408, want: string(refusal.BodyStalled)},
			"the application goes in a pause":        {behind: leaves, pause: stall * 2 / 3, status: 502, want: string(refusal.UpstreamDown)},
		} {
			t.Run(sentence+", "+proto, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				h := w.open(Options{Limits: Limits{Stall: stall}}, Site{Host: "pw.example.com", List: allow(t, "ben"), Handler: c.behind(t)})
				config := w.clientTLS(w.enrol("ben"), "pw.example.com")
				config.NextProtos = []string{proto}
				body, say := io.Pipe()
				defer say.Close()
				go func() {
					say.Write(make([]byte, sent/2))
					time.Sleep(c.pause)
					say.Write(make([]byte, sent/2))
					say.Close()
				}()
				req, err := http.NewRequest("POST", "https://pw.example.com/", body)
				must(t, err)
				began := time.Now()
				resp, err := client(t, h.addr, config).Do(req)
				must(t, err)
				got := read(t, resp)
				if resp.StatusCode != c.status || got != c.want && string(codeOf(got)) != c.want {
					t.Errorf("%s %s, want %d %s", resp.Status, got, c.status, c.want)
				}
				if took := time.Since(began); c.status == 408 && (took < stall || took > 5*stall) {
					t.Errorf("called stalled after %v", took)
				}
			})
		}
	}
}

// takes returns a handler that reads all it is sent, and thinks before it does
// and when it has read a quarter.
func takes(first, then time.Duration) func(*testing.T) http.Handler {
	return func(*testing.T) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			time.Sleep(first)
			a, err := io.CopyN(io.Discard, r.Body, 256<<10)
			if err == nil {
				time.Sleep(then)
				var b int64
				b, err = io.Copy(io.Discard, r.Body)
				a += b
			}
			if err != nil {
				Refuse(rw, r, refusal.UpstreamDown, err.Error())
				return
			}
			fmt.Fprint(rw, a)
		})
	}
}

// leaves returns the way to an application that reads the beginning of a
// request and hangs up.
func leaves(t *testing.T) http.Handler {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				io.CopyN(io.Discard, bufio.NewReader(conn), 32<<10)
				time.Sleep(50 * time.Millisecond)
				conn.Close()
			}()
		}
	}()
	u, err := upstream.New("http://"+ln.Addr().String(), upstream.Options{})
	must(t, err)
	t.Cleanup(u.CloseIdle)
	return u.Handler(Refuse)
}
