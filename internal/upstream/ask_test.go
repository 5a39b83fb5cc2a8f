//go:build unix

package upstream

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// rested returns a link as the pool has them, and the application's end of it.
func rested(t *testing.T) (*link, *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	here, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	there, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { here.Close(); there.Close() })
	l := newLink(here, time.Minute, time.Now())
	if err := l.awaitUntil(time.Now().Add(time.Minute), 0); err != nil {
		t.Fatal(err)
	}
	return l, there.(*net.TCPConn)
}

func TestAskReadsTheFirstOfTheAnswer(t *testing.T) {
	l, app := rested(t)
	go func() {
		io.ReadFull(app, make([]byte, len("ask")))
		io.WriteString(app, "answer")
	}()
	sent, err := l.ask([]byte("ask"))
	if got := string(l.buffered(100)); sent != 3 || err != nil || got != "answer" || !l.answered {
		t.Errorf("sent %d, read %q, %v", sent, got, err)
	}
}

// More than the socket takes is left to be written, and nothing is lost.
func TestAskLeavesWhatTheApplicationDoesNotTake(t *testing.T) {
	l, app := rested(t)
	head := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	sent, err := l.ask(head)
	if err != nil || sent == 0 || sent == len(head) {
		t.Fatalf("sent %d of %d, %v", sent, len(head), err)
	}
	go l.Write(head[sent:])
	got := make([]byte, len(head))
	if _, err := io.ReadFull(app, got); err != nil || !bytes.Equal(got, head) {
		t.Errorf("the application got something else: %v", err)
	}
}

func TestAskTellsHowALinkEnds(t *testing.T) {
	for name, c := range map[string]struct {
		app   func(*net.TCPConn)
		want  error
		heard string // by the application
	}{
		"something had come":     {func(app *net.TCPConn) { io.WriteString(app, "HTTP/1.1 200 OK\r\n") }, errStale, ""},
		"it had been closed":     {func(app *net.TCPConn) { app.CloseWrite() }, errStale, ""},
		"it closes when asked":   {func(app *net.TCPConn) { go func() { io.ReadFull(app, make([]byte, 3)); app.CloseWrite() }() }, io.EOF, "ask"},
		"it says nothing at all": {func(*net.TCPConn) {}, os.ErrDeadlineExceeded, "ask"},
	} {
		t.Run(name, func(t *testing.T) {
			l, app := rested(t)
			c.app(app)
			if c.want == errStale {
				for deadline := time.Now().Add(time.Minute); l.quiet() && time.Now().Before(deadline); {
					time.Sleep(time.Millisecond)
				}
			}
			if c.want == os.ErrDeadlineExceeded {
				l.awaitUntil(time.Now().Add(20*time.Millisecond), 0)
			}
			sent, err := l.ask([]byte("ask"))
			if !errors.Is(err, c.want) || sent != len(c.heard) {
				t.Errorf("sent %d, %v, want %v", sent, err, c.want)
			}
		})
	}
}
