package attack

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// usage is what a server has used so far: CPU time and resident memory.
func (h *house) usage(t testing.TB) (cpu time.Duration, resident int) {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", h.cmd.Process.Pid))
	must(t, err)
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+2:]))
	for _, f := range fields[11:13] { // utime and stime, in hundredths of a second
		n, err := strconv.Atoi(f)
		must(t, err)
		cpu += time.Duration(n) * 10 * time.Millisecond
	}
	pages, err := strconv.Atoi(fields[21])
	must(t, err)
	return cpu, pages * os.Getpagesize()
}

// Floods of frames cost the server little, fill no memory, and keep nobody
// else out.
//
// Rapid Reset CVE-2023-44487; CONTINUATION flood CVE-2023-45288; MadeYouReset
// CVE-2025-8671; HPACK bombs, Envoy CVE-2026-47774; settings and ping floods
// CVE-2019-9512, -9515; empty frames CVE-2019-9518; KeyUpdate, Go
// CVE-2026-32283, CVE-2026-56862.
func TestFloodsOfFrames(t *testing.T) {
	h := ownHouse(t, "")
	h.app = theHouse(t).app
	h.write(t, h.fill("%LISTEN%\nsites:\n  ben.attack.test: {proxy: \"%APP%\", allow: [ben]}\n"))
	h.mustOpen(t)
	ben := h.identity(t, "ben/laptop")
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	fields := func(more ...hpack.HeaderField) []byte {
		block.Reset()
		for _, f := range append([]hpack.HeaderField{{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "https"}, {Name: ":authority", Value: "ben.attack.test"}, {Name: ":path", Value: "/"}}, more...) {
			enc.WriteField(f)
		}
		return bytes.Clone(block.Bytes())
	}
	n := either(20_000, 1_000_000)
	headers := func(f *http2.Framer, stream uint32, end bool, frag []byte) error {
		return f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: frag, EndStream: true, EndHeaders: end})
	}
	for sentence, flood := range map[string]func(*framer) error{
		"rapid reset": func(f *framer) error {
			for i := range n {
				if err := headers(f.Framer, uint32(2*i+1), true, fields()); err != nil {
					return err
				}
				if err := f.WriteRSTStream(uint32(2*i+1), http2.ErrCodeCancel); err != nil {
					return err
				}
			}
			return nil
		},
		"the server is made to reset": func(f *framer) error {
			for i := range n {
				if err := headers(f.Framer, uint32(2*i+1), true, fields()); err != nil {
					return err
				}
				if err := f.WriteWindowUpdate(uint32(2*i+1), 0); err != nil {
					return err
				}
			}
			return nil
		},
		"continuation without end": func(f *framer) error {
			if err := headers(f.Framer, 1, false, fields()); err != nil {
				return err
			}
			for range n {
				if err := f.WriteContinuation(1, false, []byte{0x00, 0x01, 'a', 0x01, 'b'}); err != nil {
					return err
				}
			}
			return nil
		},
		"a table that is referred to again and again": func(f *framer) error {
			if err := headers(f.Framer, 1, true, fields(hpack.HeaderField{Name: "x", Value: strings.Repeat("a", 3900)})); err != nil {
				return err
			}
			bomb := append(fields(), bytes.Repeat([]byte{0x80 | 62}, 16_000)...)
			for i := range n / 100 {
				if err := headers(f.Framer, uint32(2*i+3), true, bomb); err != nil {
					return err
				}
			}
			return nil
		},
		"settings": func(f *framer) error {
			for range n {
				if err := f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 65535}); err != nil {
					return err
				}
			}
			return nil
		},
		"pings": func(f *framer) error {
			for range n {
				if err := f.WritePing(false, [8]byte{}); err != nil {
					return err
				}
			}
			return nil
		},
		"empty data": func(f *framer) error {
			if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: fields(), EndHeaders: true}); err != nil {
				return err
			}
			for range n {
				if err := f.WriteData(1, false, nil); err != nil {
					return err
				}
			}
			return nil
		},
		"priorities": func(f *framer) error {
			for i := range n {
				if err := f.WritePriority(uint32(2*i+1), http2.PriorityParam{StreamDep: uint32(2*i + 3)}); err != nil {
					return err
				}
			}
			return nil
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			cpu, _ := h.usage(t)
			f := h.framer(t, h.tls(ben, "ben.attack.test"))
			if sentence == "pings" || sentence == "settings" { // whose answers are not read
				f.SetDeadline(time.Now().Add(20 * time.Second))
			} else {
				go io.Copy(io.Discard, f.Conn)
			}
			flood(f)
			if got := h.get(t, ben, "ben.attack.test", "/"); got.String() != "200" {
				t.Errorf("meanwhile Ben gets %s", got)
			}
			f.Close()
			after, resident := h.usage(t)
			if took := after - cpu; took > time.Duration(n)*100*time.Microsecond+2*time.Second {
				t.Errorf("%d frames cost %v", n, took)
			}
			if resident > 400<<20 {
				t.Errorf("the server holds %d MiB", resident>>20)
			}
		})
	}
}

// A flood of handshakes by strangers leaves the door open to those who are
// known.
func TestAFloodOfHandshakes(t *testing.T) {
	h := ownHouse(t, "")
	h.app = theHouse(t).app
	h.write(t, h.fill("%LISTEN%\nsites:\n  ben.attack.test: {proxy: \"%APP%\", allow: [ben]}\n"))
	h.mustOpen(t)
	ben := h.identity(t, "ben/laptop")
	measure := func(n int) time.Duration {
		var took []time.Duration
		for range n {
			began := time.Now()
			if got := h.get(t, ben, "ben.attack.test", "/"); got.String() != "200" {
				t.Errorf("Ben gets %s", got)
			}
			took = append(took, time.Since(began))
		}
		slices.Sort(took)
		return took[len(took)*99/100]
	}
	n := either(60, 1000)
	calm := measure(n)
	stop := make(chan struct{})
	var flood sync.WaitGroup
	for i := range either(2, 64) {
		flood.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				raw, err := net.DialTimeout("tcp", h.addr, 5*time.Second)
				if err != nil {
					continue
				}
				raw.SetDeadline(time.Now().Add(5 * time.Second))
				if i%2 == 0 { // begins, and goes no further
					raw.Write([]byte{22, 3, 1, 2, 0, 1})
				} else {
					tls.Client(raw, &tls.Config{InsecureSkipVerify: true, ServerName: "ben.attack.test"}).Handshake()
				}
				raw.Close()
			}
		})
	}
	stormy := measure(n)
	close(stop)
	flood.Wait()
	t.Logf("p99 of a known device, full handshake and request: %v in calm, %v in the flood", calm, stormy)
	if limit := either(20*calm+5*time.Second, 20*calm+5*time.Second); stormy > limit {
		t.Errorf("p99 %v in the flood, %v without", stormy, calm)
	}
}

// Of many connections of all kinds at once, none ever speaks for somebody
// else's certificate.
//
// haproxy#248 (state of another connection in reused memory).
func TestNobodyInheritsAnIdentity(t *testing.T) {
	t.Parallel()
	h := theHouse(t)
	who := map[string]*tls.Certificate{"ben/laptop": h.identity(t, "ben/laptop"), "anna/phone": h.identity(t, "anna/phone"), "": nil}
	names := []string{"ben/laptop", "anna/phone", ""}
	caches := map[string]tls.ClientSessionCache{}
	for _, name := range names {
		caches[name] = tls.NewLRUClientSessionCache(8)
	}
	total, workers := either(600, 1_000_000), 8
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			for i := range total / workers {
				name := names[(i+w)%3]
				c := h.tls(who[name], "open.attack.test")
				if i%2 == 0 {
					c.ClientSessionCache = caches[name]
				}
				if i%7 == 0 { // one who leaves in the middle
					raw, err := net.Dial("tcp", h.addr)
					if err == nil {
						raw.Write([]byte{22, 3, 1, 0, 200, 1, 0, 0})
						raw.Close()
					}
				}
				raw, err := net.DialTimeout("tcp", h.addr, 20*time.Second)
				if err != nil {
					t.Error(err)
					return
				}
				raw.SetDeadline(time.Now().Add(60 * time.Second))
				conn := tls.Client(raw, c)
				fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: open.attack.test\r\nConnection: close\r\n\r\n")
				text, err := io.ReadAll(conn)
				conn.Close()
				said := ""
				if _, rest, ok := strings.Cut(string(text), "X-Postern-Identity: "); ok {
					said, _, _ = strings.Cut(rest, "\r\n")
				}
				if said != name || err == nil && !strings.Contains(string(text), "X-Forwarded-Proto") {
					t.Errorf("%q was taken for %q (%v)", name, said, err)
					return
				}
			}
		})
	}
	all.Wait()
}
