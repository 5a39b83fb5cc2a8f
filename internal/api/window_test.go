package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/split"
)

// A sill is a window that gives whatever is asked for one method.
type sill struct {
	Window
	file  []byte
	calls chan struct{} // gets an element for each call
}

func (s sill) ReadFile(context.Context, string) ([]byte, error) { return s.file, nil }

func (s sill) Head(context.Context) (authority.Head, error) { return authority.Head{Size: 7}, nil }

func (s sill) LookInvite(context.Context, string) (authority.Invite, error) {
	s.calls <- struct{}{}
	return authority.Invite{}, nil
}

// openWindow returns the gateway's end of a line to w, until the test ends.
func openWindow(t testing.TB, w Window, limit time.Duration) *split.Line {
	t.Helper()
	mine, theirs, err := split.New()
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var served sync.WaitGroup
	served.Go(func() { serveWindow(ctx, mine, WindowHandler(w, silent), silent, limit) })
	t.Cleanup(func() { theirs.Close(); stop(); served.Wait() })
	return theirs
}

func askFor(t testing.TB, l *split.Line) net.Conn {
	t.Helper()
	c, err := l.Ask(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// A gateway that reads none of its answers holds nothing for longer than the
// bound, and whoever comes after it is answered.
func TestAGatewayThatReadsNothing(t *testing.T) {
	l := openWindow(t, sill{file: bytes.Repeat([]byte("x"), 4<<20)}, 300*time.Millisecond)
	for range maxCalls {
		if _, err := io.WriteString(askFor(t, l), "POST /w1/file HTTP/1.1\r\nHost: postern\r\nContent-Length: 3\r\n\r\n\"x\""); err != nil {
			t.Fatal(err)
		}
	}
	client := DialWindow(l)
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if got, err := client.Head(ctx); err != nil || got.Size != 7 {
		t.Fatalf("%+v, %v", got, err)
	}
}

// Ten thousand connections are asked for, and not picked up: so many are open
// as may be, and they end by themselves.
func TestAGatewayThatAsksWithoutEnd(t *testing.T) {
	l := openWindow(t, sill{}, time.Second)
	before := runtime.NumGoroutine()
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		for range 10_000 {
			if l.Send() != nil {
				return
			}
		}
	}()
	most := 0
	for end := time.Now().Add(time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		most = max(most, runtime.NumGoroutine()-before)
	}
	if most > 3*maxCalls {
		t.Errorf("%d goroutines more for a gateway that may make %d calls", most, maxCalls)
	}
	l.Close()
	<-asked
}

// What is sent is bounded before it is looked at.
func TestAGatewayThatSendsWithoutEnd(t *testing.T) {
	for sentence, c := range map[string]struct{ first, more, answer string }{
		"a header without end":             {"GET /w1/head HTTP/1.1\r\nHost: postern\r\nX: ", "a", "431"},
		"headers without end":              {"GET /w1/head HTTP/1.1\r\nHost: postern\r\n", "X: a\r\n", "431"},
		"a code without end":               {"POST /w1/invite HTTP/1.1\r\nHost: postern\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n\"a\r\n", "2\r\naa\r\n", "400"},
		"spaces behind a code":             {"POST /w1/invite HTTP/1.1\r\nHost: postern\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n\"a\"\r\n", "2\r\n  \r\n", "400"},
		"lists within lists without end":   {"POST /w1/acme/write HTTP/1.1\r\nHost: postern\r\nTransfer-Encoding: chunked\r\n\r\n", "2\r\n[[\r\n", "400"},
		"a body of as much as it says":     {"POST /w1/invite HTTP/1.1\r\nHost: postern\r\nContent-Length: 9000000000\r\n\r\n\"", "a", "400"},
		"trailers without end":             {"POST /w1/invite HTTP/1.1\r\nHost: postern\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n\"a\"\r\n0\r\n", "X: a\r\n", "400"},
		"a body where there is to be none": {"GET /w1/head HTTP/1.1\r\nHost: postern\r\nContent-Length: 9000000000\r\n\r\n", "a", "200"},
	} {
		t.Run(sentence, func(t *testing.T) {
			calls := make(chan struct{}, 1)
			conn := askFor(t, openWindow(t, sill{calls: calls}, 10*time.Second))
			conn.SetDeadline(time.Now().Add(20 * time.Second))
			sent := 0
			go func() {
				io.WriteString(conn, c.first)
				for chunk := strings.Repeat(c.more, 1000); ; sent += len(chunk) {
					if _, err := io.WriteString(conn, chunk); err != nil {
						return
					}
				}
			}()
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(res.Status, c.answer) {
				body, _ := io.ReadAll(res.Body)
				t.Errorf("%s, want %s: %s", res.Status, c.answer, body)
			}
			if len(calls) > 0 {
				t.Error("it was asked")
			}
		})
	}
}

// A turncoat is a gateway's process that answers the authority as it likes.
func turncoat(t *testing.T, h http.HandlerFunc) *PorterClient {
	t.Helper()
	mine, theirs, err := split.New()
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: h}
	go srv.Serve(theirs)
	c := DialPorter(mine)
	t.Cleanup(func() { srv.Close(); c.Close(); mine.Close() })
	return c
}

// Whatever a gateway answers, and if it never does, the authority's call ends
// with an error, and with what fits into memory.
func TestAGatewayThatLies(t *testing.T) {
	endless := func(begin, more string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, begin)
			for chunk := strings.Repeat(more, 10_000); ; {
				if _, err := io.WriteString(w, chunk); err != nil {
					return
				}
			}
		}
	}
	for sentence, h := range map[string]http.HandlerFunc{
		"a text without end":      endless(`"`, "a"),
		"a list without end":      endless(`[`, `{},`),
		"lists within lists":      endless(``, `[`),
		"spaces without end":      endless(``, ` `),
		"nothing":                 func(http.ResponseWriter, *http.Request) {},
		"no JSON":                 func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "yes") },
		"an error without a word": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) },
		"a redirect to the socket": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/v1/issue", http.StatusTemporaryRedirect)
		},
		"a redirect round and round": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path, http.StatusTemporaryRedirect)
		},
		"a header of a megabyte": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X", strings.Repeat("a", 1<<20))
			io.WriteString(w, "{}")
		},
		"hints without end": func(w http.ResponseWriter, r *http.Request) {
			c, _, _ := http.NewResponseController(w).Hijack()
			defer c.Close()
			for {
				if _, err := io.WriteString(c, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"); err != nil {
					return
				}
			}
		},
		"no more after the header": func(w http.ResponseWriter, r *http.Request) {
			http.NewResponseController(w).Flush()
			<-r.Context().Done()
		},
		"never": func(_ http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			c := turncoat(t, h)
			calls := map[string]func(context.Context) error{
				"standing": func(ctx context.Context) error { _, err := c.Standing(ctx); return err },
				"refusals": func(ctx context.Context) error { _, err := c.Refusals(ctx, 100); return err },
				"doors":    func(ctx context.Context) error { _, err := c.Doors(ctx); return err },
				"believes": func(ctx context.Context) error { _, err := c.Believes(ctx, ledger.KeyID{}); return err },
				"apply":    func(ctx context.Context) error { return c.Apply(ctx, Commit{}) },
				"reload":   func(ctx context.Context) error { return c.Reload(ctx, Text{}) },
			}
			for name, call := range calls {
				ctx, cancel := within(t.Context(), 300*time.Millisecond) // as each call has one of its own
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				err := call(ctx)
				runtime.ReadMemStats(&after)
				cancel()
				if err == nil {
					t.Errorf("%s: it is believed", name)
				}
				if grown := after.TotalAlloc - before.TotalAlloc; grown > 8*maxTold {
					t.Errorf("%s: %d MiB were taken", name, grown>>20)
				}
			}
		})
	}
}

// Each call of the gateway's process ends by itself.
func TestAGatewayThatNeverAnswers(t *testing.T) {
	c := turncoat(t, func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	})
	began := time.Now()
	_, err := askPorter[Standing](t.Context(), c, 50*time.Millisecond, maxTold, http.MethodGet, "/p1/standing", nil)
	if !errors.Is(err, ErrNoAnswer) || time.Since(began) > 5*time.Second {
		t.Errorf("%v, after %s", err, time.Since(began))
	}
	// and one that takes no connection
	mine, theirs, err := split.New()
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	deaf := DialPorter(mine)
	defer deaf.Close()
	defer mine.Close()
	var calls sync.WaitGroup
	for range 3 * maxCalls {
		calls.Go(func() {
			if _, err := askPorter[Standing](t.Context(), deaf, 100*time.Millisecond, maxTold, http.MethodGet, "/p1/standing", nil); !errors.Is(err, ErrNoAnswer) {
				t.Error(err)
			}
		})
	}
	calls.Wait()
	if n := openFiles(); n > 4*maxCalls {
		t.Errorf("%d files are open", n)
	}
}

func openFiles() int {
	all, _ := os.ReadDir("/proc/self/fd")
	return len(all)
}

// An answer that is too long for what it is an answer to is not read.
func TestAnswersHaveBounds(t *testing.T) {
	c := turncoat(t, func(w http.ResponseWriter, r *http.Request) {
		json.NewEncoder(w).Encode(map[string]string{"pad": strings.Repeat("a", maxWord)})
	})
	if err := c.Condemn(t.Context()); err == nil {
		t.Error("a yes of 64 KiB is read")
	}
	if _, err := c.Standing(t.Context()); err != nil {
		t.Error(fmt.Errorf("a status of 64 KiB is not: %w", err))
	}
}
