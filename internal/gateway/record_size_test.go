package gateway

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/postern-project/postern/internal/upstream"
)

// A tap is a client's connection that notes the TLS records which come in.
type tap struct {
	net.Conn
	mu    sync.Mutex // guards what follows
	rest  []byte     // of a record that has begun
	sizes []int      // of the records of application data, with their headers
}

func (c *tap) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rest = append(c.rest, p[:n]...)
	for len(c.rest) >= recordHeader {
		size := recordHeader + int(c.rest[3])<<8 + int(c.rest[4])
		if len(c.rest) < size {
			break
		}
		const applicationData = 23 // RFC 8446 section 5.1
		if c.rest[0] == applicationData {
			c.sizes = append(c.sizes, size)
		}
		c.rest = c.rest[size:]
	}
	return n, err
}

const recordHeader = 5

// fresh returns the sizes of the records that came since the last call.
func (c *tap) fresh() []int {
	c.mu.Lock()
	defer c.mu.Unlock()
	sizes := c.sizes
	c.sizes = nil
	return sizes
}

// The beginning of an answer comes in records of a packet or a few, since none
// can be read before its last byte has come. A long one goes on in the largest
// there are, of 16 KiB (RFC 8446 section 5.1), which cost least, and without
// crumbs between them.
func TestRecordsAreSmallFirstAndLargeLater(t *testing.T) {
	t.Parallel()
	const (
		packet = 1460 // over IPv4 and Ethernet
		size   = 2 << 20
	)
	dir := t.TempDir()
	text := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	must(t, os.WriteFile(filepath.Join(dir, "long"), text, 0o600))
	static, err := NewStatic(dir)
	must(t, err)
	defer static.Close()
	backend := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer backend.Close()
	u, err := upstream.New(backend.URL, upstream.Options{})
	must(t, err)
	defer u.CloseIdle()
	w := newWorld(t)
	h := w.open(Options{},
		Site{Host: "static.example.com", Handler: static.Handler(Refuse), List: allow(t, "ben")},
		Site{Host: "proxy.example.com", Handler: u.Handler(Refuse), List: allow(t, "ben")})
	for _, host := range []string{"static.example.com", "proxy.example.com"} {
		for _, protocol := range []string{"http/1.1", "h2"} {
			t.Run(host+" over "+protocol, func(t *testing.T) {
				config := w.clientTLS(w.enrol("ben"), host)
				config.NextProtos = []string{protocol}
				var tapped *tap
				client := &http.Client{Transport: &http.Transport{
					ForceAttemptHTTP2: protocol == "h2",
					DialTLSContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
						raw, err := new(net.Dialer).DialContext(ctx, network, h.addr)
						if err != nil {
							return nil, err
						}
						tapped = &tap{Conn: raw}
						conn := tls.Client(tapped, config)
						err = conn.HandshakeContext(ctx)
						tapped.fresh()
						return conn, err
					},
				}}
				defer client.CloseIdleConnections()
				resp, err := client.Get("https://" + host + "/long")
				must(t, err)
				got, err := io.ReadAll(resp.Body)
				must(t, err)
				resp.Body.Close()
				if !bytes.Equal(got, text) {
					t.Fatalf("%d other bytes came", len(got))
				}
				sizes := tapped.fresh()
				for i, n := range sizes[:5] {
					if n > (i+1)*packet {
						t.Errorf("record %d has %d bytes", i+1, n)
					}
				}
				sent, later := 0, 0
				for _, n := range sizes {
					if sent += n; sent > size/2 {
						later++
					}
				}
				if most := size / 2 / (16 << 10) * 3 / 2; later > most {
					t.Errorf("the second half came in %d records, more than %d: %v", later, most, sizes)
				}
			})
		}
	}
}
