//go:build unix

package split

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func clerk(t *testing.T, most int) (*Clerk, *Line) {
	t.Helper()
	a, b, err := New()
	if err != nil {
		t.Fatal(err)
	}
	k := a.Clerk(most)
	t.Cleanup(func() { k.Close(); b.Close() })
	return k, b
}

// pairUp asks for a connection and returns both ends.
func pairUp(t *testing.T, k *Clerk, l *Line) (given, got net.Conn) {
	t.Helper()
	asked := make(chan error, 1)
	go func() {
		var err error
		got, err = l.Ask(t.Context(), "", "")
		asked <- err
	}()
	given, err := k.Accept()
	if err := errors.Join(err, <-asked); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { given.Close(); got.Close() })
	return given, got
}

func TestAClerkHandsOutConnections(t *testing.T) {
	k, l := clerk(t, 2)
	given, got := pairUp(t, k, l)
	if _, err := io.WriteString(got, "hello"); err != nil {
		t.Fatal(err)
	}
	said := make([]byte, 5)
	if _, err := io.ReadFull(given, said); err != nil || string(said) != "hello" {
		t.Errorf("%q, %v", said, err)
	}
	l.Close()
	if _, err := k.Accept(); !errors.Is(err, io.EOF) {
		t.Errorf("its end: %v", err)
	}
}

// Whoever asks without end gets so many connections and no more, until one was
// closed.
func TestAClerkHandsOutSoManyAtATime(t *testing.T) {
	k, l := clerk(t, 3)
	var first net.Conn
	for range 3 {
		first, _ = pairUp(t, k, l)
	}
	if err := l.Send(); err != nil {
		t.Fatal(err)
	}
	more := make(chan net.Conn)
	go func() {
		c, _ := k.Accept()
		more <- c
	}()
	select {
	case <-more:
		t.Fatal("a fourth connection is there")
	case <-time.After(50 * time.Millisecond):
	}
	first.Close()
	first.Close() // and once only
	c := <-more
	if c == nil {
		t.Fatal("there is none though one was closed")
	}
	defer c.Close()
	go k.Accept()
	time.Sleep(20 * time.Millisecond)
	if len(k.free) != 3 {
		t.Errorf("%d places are taken of three", len(k.free))
	}
	k.Close()
	if _, err := k.Accept(); err == nil {
		t.Error("it hands out connections though it is closed")
	}
}

// Nothing that the other process sends along with its asking is taken, and
// what it does to its end of a connection does not touch ours.
func TestAClerkSharesNothing(t *testing.T) {
	k, l := clerk(t, 100)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for range 50 {
		if err := l.Send(w, w, w, w); err != nil {
			t.Fatal(err)
		}
	}
	for range 50 {
		c, err := k.Accept()
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		files, err := l.Receive()
		if err != nil || len(files) != 1 {
			t.Fatalf("%d files, %v", len(files), err)
		}
		files[0].Close()
	}
	w.Close()
	if _, err := r.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("somebody holds what was sent along: %v", err)
	}
	given, got := pairUp(t, k, l)
	raw, err := got.(*net.UnixConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) { err = unix.SetNonblock(int(fd), false) }); err != nil {
		t.Fatal(err)
	}
	given.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	read := make(chan error, 1)
	go func() {
		_, err := given.Read(make([]byte, 1))
		read <- err
	}()
	select {
	case err := <-read:
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Error("a deadline does not end a call")
	}
}

// Files that were promised and do not come are not waited for.
func TestFilesThatDoNotCome(t *testing.T) {
	a, b, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	defer b.Close()
	if _, err := a.ReceiveWithin(20 * time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
	if err := b.Send(); err != nil {
		t.Fatal(err)
	}
	if files, err := a.ReceiveWithin(time.Second); err != nil || len(files) != 0 {
		t.Errorf("%d files, %v", len(files), err)
	}
}
