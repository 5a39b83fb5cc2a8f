package upstream

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// chat echoes WebSocket messages until the client leaves.
func chat(t *testing.T, ended chan<- struct{}) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Errorf("accept: %v", err)
			return
		}
		defer close(ended)
		defer c.CloseNow()
		for {
			kind, data, err := c.Read(context.Background())
			if err != nil {
				return
			}
			if err := c.Write(context.Background(), kind, append([]byte(r.Header.Get("X-Postern-Identity")+" "), data...)); err != nil {
				return
			}
		}
	}
}

func TestAWebSocketOutlivesEveryTimeout(t *testing.T) {
	ended := make(chan struct{})
	app := httptest.NewServer(chat(t, ended))
	defer app.Close()
	short := 500 * time.Millisecond
	front, f := door(t, app.URL, Options{DialTimeout: short, ResponseHeaderTimeout: short, WriteTimeout: short, IdleTimeout: short})
	c, _, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(front.URL, "http"), nil)
	if err != nil {
		t.Fatal(err, f.all())
	}
	defer c.CloseNow()
	for range 3 {
		if err := c.Write(t.Context(), websocket.MessageText, []byte("hello")); err != nil {
			t.Fatal(err)
		}
		if _, data, err := c.Read(t.Context()); err != nil || string(data) != "ben/phone hello" {
			t.Fatalf("%q %v", data, err)
		}
		time.Sleep(short)
	}
	c.Close(websocket.StatusNormalClosure, "")
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Fatal("the application was not told that the client left")
	}
}

func TestAClientCutOffCutsTheApplication(t *testing.T) {
	ended := make(chan struct{})
	app := httptest.NewServer(chat(t, ended))
	defer app.Close()
	front, _ := door(t, app.URL, Options{})
	c, _, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(front.URL, "http"), nil)
	if err != nil {
		t.Fatal(err)
	}
	c.CloseNow() // as when a certificate is revoked
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Fatal("the application still holds the connection")
	}
}

const upgradeRequest = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"

// What a client sends before the switch is accepted must not stay behind in a
// pooled connection when the switch is declined.
func TestEarlyBytesAfterADeclinedUpgradePoisonNothing(t *testing.T) {
	var bad atomic.Int64
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Postern-Identity") != "ben/phone" {
			bad.Add(1) // came past the front
		}
		time.Sleep(20 * time.Millisecond) // time for the early bytes to arrive
		io.WriteString(w, r.URL.Path)
	}))
	defer app.Close()
	front, f := door(t, app.URL, Options{})
	for i := range 5 {
		c := dial(t, front)
		io.WriteString(c, upgradeRequest+"GET /smuggled HTTP/1.1\r\nHost: a\r\nX-Postern-Identity: eve\r\n\r\n")
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, _ := io.ReadAll(res.Body); string(body) != "/ws" {
			t.Fatalf("%q", body)
		}
		c.Close()
		path := fmt.Sprintf("/next/%d", i)
		if _, body := get(t, front.URL+path); body != path {
			t.Fatalf("asked %s, got the answer to %s", path, body)
		}
	}
	if bad.Load() != 0 || f.all() != "" {
		t.Fatalf("%d requests came past the front; %s", bad.Load(), f.all())
	}
}

func TestEarlyBytesReachAnAcceptedTunnelOnce(t *testing.T) {
	got := make(chan string, 1)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(50 * time.Millisecond)
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Errorf("hijack: %v", err)
			return
		}
		defer c.Close()
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		early := make([]byte, len("earlylate"))
		c.SetDeadline(time.Now().Add(5 * time.Second))
		io.ReadFull(rw, early)
		got <- string(early)
	}))
	defer app.Close()
	front, f := door(t, app.URL, Options{})
	c := dial(t, front)
	io.WriteString(c, upgradeRequest+"early")
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || res.StatusCode != 101 {
		t.Fatal(res, err, f.all())
	}
	io.WriteString(c, "late")
	if s := <-got; s != "earlylate" {
		t.Fatalf("the tunnel carried %q", s)
	}
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Fatalf("the tunnel did not end: %v", err)
	}
}

func TestASwitchToAnotherProtocolClosesTheUpstream(t *testing.T) {
	closed := make(chan struct{})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer close(closed)
		defer c.Close()
		c.Read(make([]byte, 4096))
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
		io.Copy(io.Discard, c)
	}()
	front, f := door(t, "http://"+ln.Addr().String(), Options{})
	c := dial(t, front)
	io.WriteString(c, upgradeRequest)
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || res.StatusCode != 502 || !strings.Contains(f.all(), "h2c") {
		t.Fatal(res, err, f.all())
	}
	select {
	case <-closed:
	case <-time.After(5 * time.Second):
		t.Fatal("the connection to the application leaks")
	}
}
