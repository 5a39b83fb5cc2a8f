package gateway

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/gob"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/upstream"
)

// The load is made by a process of its own, so that what the benchmarks
// report as server-µs is the gateway's CPU time (user and system) alone.

// batch is how many operations one iteration makes.
const batch = 50

// A loadPlan tells the load process what to do.
type loadPlan struct {
	Addr, Host, Path string
	Key              []byte
	Chain            [][]byte
	Root             []byte
	Connect          bool // a connection for each request
	Resume           bool
	Classic          bool // X25519 alone, without the post-quantum exchange
	H2               bool
}

const loadVariable = "POSTERN_TEST_LOAD"

func TestMain(m *testing.M) {
	if plan := os.Getenv(loadVariable); plan != "" {
		if err := makeLoad(plan); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if os.Getenv(guestsVariable) != "" {
		if err := beGuests(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// makeLoad makes a batch of requests for every line on its standard input.
func makeLoad(encoded string) error {
	var p loadPlan
	raw, err := hex.DecodeString(encoded)
	if err != nil {
		return err
	}
	if err := gob.NewDecoder(bytes.NewReader(raw)).Decode(&p); err != nil {
		return err
	}
	c, err := p.tls()
	if err != nil {
		return err
	}
	one := p.keep(c)
	if p.Connect {
		one = func() error { return p.once(c) }
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		for range batch {
			if err := one(); err != nil {
				return err
			}
		}
		fmt.Println("done")
	}
	return nil
}

func (p *loadPlan) tls() (*tls.Config, error) {
	key, err := x509.ParsePKCS8PrivateKey(p.Key)
	if err != nil {
		return nil, err
	}
	root, err := x509.ParseCertificate(p.Root)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AddCert(root)
	c := &tls.Config{RootCAs: pool, ServerName: p.Host, NextProtos: []string{"http/1.1"},
		Certificates: []tls.Certificate{{Certificate: p.Chain, PrivateKey: key}}}
	if p.Resume {
		c.ClientSessionCache = tls.NewLRUClientSessionCache(8)
	}
	if p.Classic {
		c.CurvePreferences = []tls.CurveID{tls.X25519}
	}
	if p.H2 {
		c.NextProtos = []string{"h2"}
	}
	return c, nil
}

// once connects, asks and closes.
func (p *loadPlan) once(c *tls.Config) error {
	conn, err := tls.Dial("tcp", p.Addr, c)
	if err != nil {
		return err
	}
	defer conn.Close()
	return p.ask(conn, bufio.NewReader(conn))
}

func (p *loadPlan) ask(w io.Writer, r *bufio.Reader) error {
	if _, err := fmt.Fprintf(w, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: load\r\nAccept: */*\r\n\r\n", p.Path, p.Host); err != nil {
		return err
	}
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return err
	}
	return finish(resp)
}

func finish(resp *http.Response) error {
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("got %s", resp.Status)
	}
	_, err := io.Copy(io.Discard, resp.Body)
	return err
}

// keep asks on one connection, again and again.
func (p *loadPlan) keep(c *tls.Config) func() error {
	if p.H2 {
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: c, ForceAttemptHTTP2: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, "tcp", p.Addr)
			}}}
		return func() error {
			resp, err := client.Get("https://" + p.Host + p.Path)
			if err != nil {
				return err
			}
			return finish(resp)
		}
	}
	var conn *tls.Conn
	var r *bufio.Reader
	return func() (err error) {
		if conn == nil {
			if conn, err = tls.Dial("tcp", p.Addr, c); err != nil {
				return err
			}
			r = bufio.NewReader(conn)
		}
		return p.ask(conn, r)
	}
}

// measure runs the load described by p against h.
func measure(b *testing.B, h *house, d *device, p loadPlan) {
	p.Addr, p.Host, p.Chain, p.Root = h.addr, "pw.example.com", d.Certificate.Certificate, h.w.root.cert.Raw
	var err error
	p.Key, err = x509.MarshalPKCS8PrivateKey(d.PrivateKey)
	must(b, err)
	var plan bytes.Buffer
	must(b, gob.NewEncoder(&plan).Encode(p))
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), loadVariable+"="+hex.EncodeToString(plan.Bytes()))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	must(b, err)
	out, err := cmd.StdoutPipe()
	must(b, err)
	must(b, cmd.Start())
	defer cmd.Wait()
	defer in.Close()
	answers := bufio.NewReader(out)
	round := func() {
		io.WriteString(in, "go\n")
		if line, err := answers.ReadString('\n'); err != nil || line != "done\n" {
			b.Fatalf("the load ended: %q %v", line, err)
		}
	}
	round() // warm
	before := cpuTime()
	for b.Loop() {
		round()
	}
	b.ReportMetric(float64((cpuTime()-before).Microseconds())/float64(b.N*batch), "server-µs/req")
}

// cpuTime is what this process has used so far.
func cpuTime() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func benchHouse(b *testing.B, handler http.Handler) (*house, *device) {
	w := newWorld(b)
	ben := w.enrol("ben/phone")
	log, err := os.OpenFile(filepath.Join(b.TempDir(), "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	must(b, err)
	b.Cleanup(func() { log.Close() })
	return w.open(Options{Log: logTo(log)}, Site{Host: "pw.example.com", Handler: handler, List: allow(b, "ben", "anna")}), ben
}

// staticSite is a folder with one small page.
func staticSite(b *testing.B) http.Handler {
	dir := b.TempDir()
	must(b, os.WriteFile(filepath.Join(dir, "index.html"), []byte(strings.Repeat("<p>a small page</p>\n", 50)), 0o600))
	time.Sleep(trustedAfter) // what was just written is not kept in memory
	s, err := NewStatic(dir)
	must(b, err)
	b.Cleanup(func() { s.Close() })
	return s.Handler(Refuse)
}

func BenchmarkFullHandshake(b *testing.B) {
	h, d := benchHouse(b, whoami)
	for name, classic := range map[string]bool{"X25519MLKEM768": false, "X25519": true} {
		b.Run(name, func(b *testing.B) { measure(b, h, d, loadPlan{Path: "/", Connect: true, Classic: classic}) })
	}
}

func BenchmarkResumedHandshake(b *testing.B) {
	h, d := benchHouse(b, whoami)
	for name, classic := range map[string]bool{"X25519MLKEM768": false, "X25519": true} {
		b.Run(name, func(b *testing.B) {
			measure(b, h, d, loadPlan{Path: "/", Connect: true, Resume: true, Classic: classic})
		})
	}
}

func BenchmarkStatic(b *testing.B) {
	h, d := benchHouse(b, staticSite(b))
	b.Run("HTTP/1.1", func(b *testing.B) { measure(b, h, d, loadPlan{Path: "/"}) })
	b.Run("HTTP/2", func(b *testing.B) { measure(b, h, d, loadPlan{Path: "/", H2: true}) })
}

// BenchmarkProxied includes the backend, which is a Go server in this process.
func BenchmarkProxied(b *testing.B) {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }))
	b.Cleanup(backend.Close)
	u, err := upstream.New(backend.URL, upstream.Options{})
	must(b, err)
	h, d := benchHouse(b, u.Handler(Refuse))
	b.Run("HTTP/1.1", func(b *testing.B) { measure(b, h, d, loadPlan{Path: "/"}) })
	b.Run("HTTP/2", func(b *testing.B) { measure(b, h, d, loadPlan{Path: "/", H2: true}) })
	b.Run("the backend alone", func(b *testing.B) {
		for b.Loop() {
			for range batch {
				resp, err := http.Get(backend.URL)
				must(b, err)
				must(b, finish(resp))
			}
		}
	})
}

// BenchmarkJudge is the decision alone: it allocates nothing.
func BenchmarkJudge(b *testing.B) {
	w := newWorld(b)
	ben := w.enrol("ben/phone")
	h := w.open(Options{}, Site{Host: "pw.example.com", Handler: whoami, List: allow(b, "anna", "group:family", "ben")})
	c := &conn{g: h.Gateway, presented: []*x509.Certificate{ben.Leaf}}
	rest, now := h.table.Load().doors["pw.example.com"].rest, time.Now()
	b.ReportAllocs()
	for b.Loop() {
		if v := h.judge(c, rest, &errand{method: "GET", path: "/"}, now); v.code != "" {
			b.Fatal(v)
		}
	}
}
