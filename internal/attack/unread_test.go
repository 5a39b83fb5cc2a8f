package attack

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Strangers who ask for a lot where they are let in, and take nothing of it or a
// byte at a time, fill no memory and keep nobody out who is known.
//
// HTTP/2 data dribble CVE-2019-9511, internal data buffering CVE-2019-9517,
// headers of no size CVE-2019-9516.
func TestAnswersThatNobodyTakes(t *testing.T) {
	t.Parallel()
	h := ownHouse(t, "")
	h.app = theHouse(t).app
	large := filepath.Join(h.home, "files")
	must(t, os.Mkdir(large, 0o755))
	must(t, os.WriteFile(filepath.Join(large, "large"), make([]byte, 32<<20), 0o644))
	endless := serve(t, func(c net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
			return
		}
		io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
		for chunk := make([]byte, 64<<10); ; {
			if _, err := c.Write(chunk); err != nil {
				return
			}
		}
	})
	h.write(t, h.fill(fmt.Sprintf(`%%LISTEN%%
sites:
  ben.attack.test: {proxy: "%%APP%%", allow: [ben]}
  endless.attack.test: {proxy: "http://%s", allow: [strangers]}
  files.attack.test: {static: %q, allow: [strangers]}
`, endless, large)))
	h.mustOpen(t)
	ben := h.identity(t, "ben/laptop")
	n := either(15, 150)
	for range n {
		for _, host := range []string{"endless.attack.test", "files.attack.test"} {
			conn, err := h.dial(t, h.tls(nil, host))
			must(t, err)
			fmt.Fprintf(conn, "GET /large HTTP/1.1\r\nHost: %s\r\n\r\n", host)
			for _, window := range []uint32{0, 1, 1<<31 - 1} {
				f := h.framer(t, h.tls(nil, host))
				must(t, f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: window}))
				if window > 1 { // all that HTTP/2 lets it have, and nothing read from the socket
					must(t, f.WriteWindowUpdate(0, 1<<31-1-65535))
				}
				var block bytes.Buffer
				enc := hpack.NewEncoder(&block)
				for i := range 20 {
					block.Reset()
					for _, field := range []hpack.HeaderField{{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "https"}, {Name: ":authority", Value: host}, {Name: ":path", Value: "/large"}} {
						enc.WriteField(field)
					}
					if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: uint32(2*i + 1), BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true}); err != nil {
						break
					}
				}
				if window == 1 { // and now and then another byte
					go func() {
						for i := range 100 {
							if f.WriteWindowUpdate(uint32(2*(i%20)+1), 1) != nil {
								return
							}
							time.Sleep(10 * time.Millisecond)
						}
					}()
				}
			}
		}
	}
	// fields without a name and a value cost something too
	f := h.framer(t, h.tls(ben, "ben.attack.test"))
	var nothing bytes.Buffer
	for range 16_000 {
		nothing.Write([]byte{0, 0, 0})
	}
	must(t, f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: nothing.Bytes()[:16_000], EndStream: true}))
	for range n {
		if err := f.WriteContinuation(1, false, nothing.Bytes()[:16_000]); err != nil {
			break
		}
	}
	for range 10 {
		if got := h.get(t, ben, "ben.attack.test", "/"); got.String() != "200" {
			t.Errorf("meanwhile Ben gets %s", got)
		}
	}
	_, resident := h.usage(t)
	t.Logf("%d connections: %d MiB", n*8, resident>>20)
	if resident > 400<<20 {
		t.Errorf("the server holds %d MiB", resident>>20)
	}
}
