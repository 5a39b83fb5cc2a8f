package gateway

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/gob"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/refusal"
)

// A guest is a client with a live connection, and when that ended.
type guest struct {
	*device
	ended chan time.Time
}

// A hall is a gateway with many guests: half of them at rest on HTTP/1.1, the
// others by quarters on WebSockets and with an open HTTP/2 stream. They are in
// a process of their own, which has its own limit of open files.
type hall struct {
	*house
	guests []*guest
}

// A guestList tells the guests' process whom to be.
type guestList struct {
	Addr   string
	Root   []byte
	Keys   [][]byte
	Chains [][][]byte
}

const guestsVariable = "POSTERN_TEST_GUESTS"

func newHall(tb testing.TB, n int) *hall {
	tb.Helper()
	w, s := newWorld(tb), newStage()
	s.held, s.ended = make(chan struct{}, n), make(chan error, n)
	o := Options{Limits: Limits{Connections: 2 * n, Handshakes: n, Idle: time.Hour}}
	h := &hall{house: w.open(o, Site{Host: "pw.example.com", Handler: s, List: allow(tb, "guests")}), guests: make([]*guest, n)}
	list := guestList{Addr: h.addr, Root: w.root.cert.Raw}
	for i := range h.guests {
		d := w.enrol(fmt.Sprintf("guests/of-%d/phone-%d", i%10, i))
		h.guests[i] = &guest{device: d, ended: make(chan time.Time, 1)}
		key, err := x509.MarshalPKCS8PrivateKey(d.PrivateKey)
		must(tb, err)
		list.Keys, list.Chains = append(list.Keys, key), append(list.Chains, d.Certificate.Certificate)
	}
	h.invite(list)
	return h
}

// invite starts the guests' process, waits until all have come in, and then
// hears from it who has ended.
func (h *hall) invite(list guestList) {
	tb := h.w.tb
	cmd := exec.Command(os.Args[0])
	cmd.Env, cmd.Stderr = append(os.Environ(), guestsVariable+"=1"), os.Stderr
	in, err := cmd.StdinPipe()
	must(tb, err)
	out, err := cmd.StdoutPipe()
	must(tb, err)
	must(tb, cmd.Start())
	lines := bufio.NewScanner(out)
	must(tb, gob.NewEncoder(in).Encode(list))
	if !lines.Scan() || lines.Text() != "seated" {
		tb.Fatalf("the guests did not come in: %q", lines.Text())
	}
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		for lines.Scan() {
			var i int
			var at int64
			if _, err := fmt.Sscan(lines.Text(), &i, &at); err == nil {
				h.guests[i].ended <- time.Unix(0, at)
			}
		}
	}()
	tb.Cleanup(func() {
		in.Close() // the guests leave
		<-heard
		cmd.Wait()
	})
}

// beGuests is the guests' process.
func beGuests(in io.Reader, out io.Writer) error {
	var list guestList
	if err := gob.NewDecoder(in).Decode(&list); err != nil {
		return err
	}
	const doors = 8 // who come in at a time
	errs := make(chan error, doors)
	ends := make(chan string, len(list.Keys))
	for door := range doors {
		go func() {
			for i := door; i < len(list.Keys); i += doors {
				if err := list.seat(i, ends); err != nil {
					errs <- fmt.Errorf("guest %d: %w", i, err)
					return
				}
			}
			errs <- nil
		}()
	}
	for range doors {
		if err := <-errs; err != nil {
			return err
		}
	}
	fmt.Fprintln(out, "seated")
	go func() {
		for line := range ends {
			fmt.Fprintln(out, line)
		}
	}()
	_, err := io.Copy(io.Discard, in)
	return err
}

// seat connects guest i, makes a first exchange, and then waits for the end.
func (l *guestList) seat(i int, ends chan<- string) error {
	p := loadPlan{Host: "pw.example.com", Key: l.Keys[i], Chain: l.Chains[i], Root: l.Root, H2: i%4 == 3}
	config, err := p.tls()
	if err != nil {
		return err
	}
	conn, err := tls.Dial("tcp", l.Addr, config)
	if err != nil {
		return err
	}
	conn.SetDeadline(time.Now().Add(time.Minute))
	switch i % 4 {
	case 2:
		fmt.Fprint(conn, "GET /echo HTTP/1.1\r\nHost: pw.example.com\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		_, err = http.ReadResponse(bufio.NewReader(conn), nil)
	case 3:
		err = openStream(conn)
	default:
		p.Path = "/"
		err = p.ask(conn, bufio.NewReader(conn))
	}
	if err != nil {
		return err
	}
	conn.SetDeadline(time.Time{})
	go func() {
		io.Copy(io.Discard, conn)
		ends <- fmt.Sprint(i, " ", time.Now().UnixNano())
	}()
	return nil
}

// openStream begins an HTTP/2 stream and waits until its answer has begun.
func openStream(conn *tls.Conn) error {
	io.WriteString(conn, http2.ClientPreface)
	framer := http2.NewFramer(conn, conn)
	framer.WriteSettings()
	var block writerBytes
	enc := hpack.NewEncoder(&block)
	for _, f := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":path", "/hold"}, {":authority", "pw.example.com"}} {
		enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	if err := framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block, EndStream: true, EndHeaders: true}); err != nil {
		return err
	}
	for {
		f, err := framer.ReadFrame()
		if err != nil || f.Header().Type == http2.FrameHeaders {
			return err
		}
	}
}

type writerBytes []byte

func (w *writerBytes) Write(b []byte) (int, error) {
	*w = append(*w, b...)
	return len(b), nil
}

// await returns how long after start the guests saw their ends, sorted.
func await(tb testing.TB, guests []*guest, start time.Time) []time.Duration {
	tb.Helper()
	took := make([]time.Duration, len(guests))
	for i, g := range guests {
		select {
		case at := <-g.ended:
			took[i] = at.Sub(start)
		case <-time.After(30 * time.Second):
			tb.Fatalf("%s was not cut", g.name)
		}
	}
	slices.Sort(took)
	return took
}

func quantile(sorted []time.Duration, q float64) time.Duration {
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

// Each of many is cut alone, at once and without harm to the rest; then all of
// a name, and at last everybody.
func TestCuttingInACrowd(t *testing.T) {
	h := newHall(t, 200)
	cut := func(gone []*guest, change func()) {
		t.Helper()
		start := time.Now()
		change()
		if took := await(t, gone, start); quantile(took, 0.99) > 5*time.Second {
			t.Errorf("%d connections: 99 in 100 were cut within %v", len(gone), quantile(took, 0.99))
		}
	}
	for _, g := range h.guests[:8] {
		cut([]*guest{g}, func() { h.w.revoke(g.device) })
	}
	var family, rest []*guest
	for i, g := range h.guests[8:] {
		if (i+8)%10 == 9 {
			family = append(family, g)
		} else {
			rest = append(rest, g)
		}
	}
	cut(family, func() { h.w.append(ledger.IdentitySuspended{Name: name(t, "guests/of-9")}) })
	for _, g := range rest {
		select {
		case <-g.ended:
			t.Fatalf("%s was cut as well", g.name)
		default:
		}
	}
	cut(rest, func() { must(t, h.Configure(Config{Sites: []Site{{Host: "pw.example.com", Handler: whoami}}})) })
	eventually(t, "nobody left", func() bool { return h.index.size() == 0 })
}

// BenchmarkCutAmong10000 reports how long after the commit of a change the last
// byte of a connection came, with ten thousand of them live: of one device's
// after another, and of all that remain at once.
func BenchmarkCutAmong10000(b *testing.B) {
	const guests, singles = 10_000, 1000
	for range b.N {
		h := newHall(b, guests)
		var one []time.Duration
		for _, g := range h.guests[:singles] {
			start := time.Now()
			h.w.revoke(g.device)
			one = append(one, await(b, []*guest{g}, start)...)
		}
		slices.Sort(one)
		start := time.Now()
		h.w.append(ledger.IdentitySuspended{Name: name(b, "guests")})
		var told, plain []*guest // those of HTTP/2 hear of it first
		for i, g := range h.guests[singles:] {
			if (singles+i)%4 == 3 {
				told = append(told, g)
			} else {
				plain = append(plain, g)
			}
		}
		ends := await(b, plain, start)
		report(b, ends, "all-but-h2")
		all := append(ends, await(b, told, start)...)
		slices.Sort(all)
		report(b, one, "one")
		report(b, all, "all")
		h.stop()
	}
	b.ReportMetric(0, "ns/op")
}

func report(b *testing.B, took []time.Duration, what string) {
	for unit, q := range map[string]float64{"p50": 0.5, "p99": 0.99, "max": 1} {
		b.ReportMetric(float64(quantile(took, q).Microseconds())/1000, what+"-"+unit+"-ms")
	}
}

// Strangers who are let in have only so many requests in hand, of all sites and
// connections; whoever is known, or a partner's, is not counted among them.
func TestStrangersInHandAreBounded(t *testing.T) {
	w, s := newWorld(t), newStage()
	h := w.open(Options{Limits: Limits{Strangers: 3}}, Site{Host: "a.example.com", Handler: s, List: allow(t, "strangers", "ben")}, Site{Host: "b.example.com", Handler: s, List: allow(t, "strangers")},
		Site{Host: "audit.example.com", Handler: s, List: allow(t, "ben"), Policy: Policy{Audit: true}})
	var held []net.Conn
	hold := func(d *device, host string) net.Conn {
		t.Helper()
		conn := h.mustDial(w.clientTLS(d, host))
		fmt.Fprintf(conn, "GET /hold HTTP/1.1\r\nHost: %s\r\n\r\n", host)
		readPast(t, conn, "\r\n\r\n")
		<-s.held
		return conn
	}
	for _, host := range []string{"a.example.com", "b.example.com", "a.example.com"} {
		held = append(held, hold(nil, host))
	}
	for _, h2 := range []bool{false, true} {
		c := w.clientTLS(nil, "b.example.com")
		if h2 {
			c.NextProtos = []string{"h2"}
		}
		resp, body := fetch(t, client(t, h.addr, c), "https://b.example.com/")
		if resp.StatusCode != http.StatusTooManyRequests || codeOf(body) != refusal.RateLimited || resp.Header.Get("Retry-After") != "1" {
			t.Errorf("one too many, h2 %v: %s %s", h2, resp.Status, body)
		}
	}
	if resp, body := h.get(nil, "audit.example.com", "/"); resp.StatusCode != http.StatusOK {
		t.Errorf("audit mode: %s %s", resp.Status, body)
	}
	ben := w.enrol("ben")
	for range 5 {
		hold(ben, "a.example.com")
	}
	held[1].Close()
	<-s.ended
	eventually(t, "there is room again", func() bool {
		resp, _ := h.get(nil, "b.example.com", "/")
		return resp.StatusCode == http.StatusOK
	})
	for range 10 { // what is over is not counted
		if resp, body := h.get(nil, "a.example.com", "/"); resp.StatusCode != http.StatusOK {
			t.Errorf("%s %s", resp.Status, body)
		}
	}
}
