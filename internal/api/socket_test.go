package api

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestNoServer(t *testing.T) {
	dir := t.TempDir()
	if _, err := Dial(t.Context(), dir); !errors.Is(err, ErrNoServer) {
		t.Errorf("no socket: %v", err)
	}
	// what a killed server leaves behind
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, SocketName), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	ln.Close()
	if _, err := Dial(t.Context(), dir); !errors.Is(err, ErrNoServer) {
		t.Errorf("a stale socket: %v", err)
	}
	c := serve(t, dir, &fake{})
	if _, err := c.Status(t.Context()); err != nil {
		t.Errorf("the stale socket is in the way: %v", err)
	}
}

func TestTheSocketIsForItsOwner(t *testing.T) {
	dir := t.TempDir()
	serve(t, dir, &fake{})
	info, err := os.Stat(filepath.Join(dir, SocketName))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	for what, c := range map[string]struct {
		uid, owner uint32
		want       bool
	}{
		"the owner":    {1000, 1000, true},
		"root":         {0, 1000, true},
		"another user": {1001, 1000, false},
		"nobody":       {65534, 0, false},
	} {
		if mayEnter(c.uid, c.owner) != c.want {
			t.Errorf("%s: %v", what, !c.want)
		}
	}
}

// Somebody else's connection is answered with a reason and ends.
func TestOthersAreToldWhy(t *testing.T) {
	dir := t.TempDir()
	lock, err := TryHold(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	ln, err := Listen(lock, silent)
	if err != nil {
		t.Fatal(err)
	}
	ln.owner = uint32(os.Getuid()) + 1
	if os.Getuid() == 0 {
		// root may always enter, so the answer itself is looked at
		ln.Close()
		res, err := http.ReadResponse(bufio.NewReader(strings.NewReader(turnedAway)), nil)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(res.Body)
		if res.StatusCode != 403 || int64(len(b)) != res.ContentLength || !strings.Contains(string(b), "another user") {
			t.Errorf("%d %q, length %d", res.StatusCode, b, res.ContentLength)
		}
		return
	}
	go ln.Accept()
	defer ln.Close()
	if got := raw(t, dir, "GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 403") {
		t.Errorf("%q", got)
	}
}

func TestLongPathsUseTheRuntimeDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("long", 30))
	runtime := t.TempDir()
	if len(runtime) > 60 {
		runtime, _ = os.MkdirTemp("", "rt")
		defer os.RemoveAll(runtime)
	}
	t.Setenv("XDG_RUNTIME_DIR", runtime)
	t.Setenv("RUNTIME_DIRECTORY", "")
	c := serve(t, dir, &fake{})
	if _, err := c.Status(t.Context()); err != nil {
		t.Fatal(err)
	}
	target, err := os.Readlink(filepath.Join(dir, SocketName))
	if err != nil || !strings.HasPrefix(target, runtime) {
		t.Errorf("%q %v", target, err)
	}
	// somebody with other variables finds it all the same
	t.Setenv("XDG_RUNTIME_DIR", "")
	if _, err := Dial(t.Context(), dir); err != nil {
		t.Error(err)
	}
}

func TestOneHolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	first, err := TryHold(dir)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	_, err = Hold(t.Context(), dir, 60*time.Millisecond)
	held, ok := errors.AsType[*HeldError](err)
	if !ok || held.PID != os.Getpid() || !strings.Contains(err.Error(), strconv.Itoa(os.Getpid())) {
		t.Fatalf("%v", err)
	}
	if waited := time.Since(start); waited < 60*time.Millisecond || waited > 3*time.Second {
		t.Errorf("waited %s", waited)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		second, err := Hold(t.Context(), dir, 10*time.Second)
		if err != nil {
			t.Error(err)
			return
		}
		second.Close()
	})
	first.Close()
	wg.Wait()

	again, err := TryHold(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Hold(ctx, dir, time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestTheLockSaysWhoWithoutSecrets(t *testing.T) {
	old := os.Args
	defer func() { os.Args = old }()
	for want, args := range map[string][]string{
		"postern join": {"/usr/bin/postern", "--data", "secret", "join", "https://x/join#secret.pin"},
		"postern up":   {"postern", "up", "--site", "localhost=."},
		"postern list": {"postern", "--data=secret", "list"},
		"postern":      {"postern", "--json", "secret"},
	} {
		os.Args = args
		if got := command(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestAFolderThatCannotBeWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := TryHold(file); err == nil || !strings.Contains(err.Error(), "cannot be written") {
		t.Errorf("%v", err)
	}
}

// The server's end is told, and what a client asks then has a hint.
func TestALostServerIsTold(t *testing.T) {
	dir := t.TempDir()
	lock, err := TryHold(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	ln, err := Listen(lock, silent)
	if err != nil {
		t.Fatal(err)
	}
	go func() { // answers the probe of Dial, and then hangs up
		for range 2 {
			if c, err := ln.Accept(); err == nil {
				c.Close()
			}
		}
		ln.Close()
	}()
	c, err := Dial(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	err = c.Suspend(t.Context(), name("ben"))
	if err == nil || !strings.Contains(err.Error(), "went away") {
		t.Errorf("%v", err)
	}
}

// A request is either understood, and then its method is called, or refused,
// and then it is not.
func FuzzRequest(f *testing.F) {
	f.Add([]byte("{}"))
	f.Add([]byte(`{"name":"ben","reason":1}`))
	f.Add([]byte(`{"serial":"00"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		fk := &fake{}
		h := call(silent, fk.Revoke)
		w := httptest.NewRecorder()
		r, err := http.NewRequest("POST", "/v1/revoke", strings.NewReader(string(body)))
		if err != nil {
			t.Fatal(err)
		}
		h.ServeHTTP(w, r)
		if (w.Code == 200) != (fk.asked != nil) {
			t.Errorf("status %d, asked %v", w.Code, fk.asked)
		}
	})
}
