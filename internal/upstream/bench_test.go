package upstream

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain turns the test binary into the application behind the benchmark,
// so that its CPU time is not counted.
func TestMain(m *testing.M) {
	if os.Getenv("UPSTREAM_BENCH_APP") == "" {
		os.Exit(m.Run())
	}
	answer := strings.Repeat("x", 1024)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, answer) }))
	os.Stdout.WriteString(app.URL + "\n")
	io.Copy(io.Discard, os.Stdin) // until the benchmark ends
}

// A proxied GET over kept connections, client included: b.N requests cost
// what getrusage says of this process, which the application is no part of.
func BenchmarkProxiedGET(b *testing.B) {
	app := exec.Command(os.Args[0])
	app.Env = append(os.Environ(), "UPSTREAM_BENCH_APP=1")
	in, err := app.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := app.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := app.Start(); err != nil {
		b.Fatal(err)
	}
	defer app.Wait()
	defer in.Close()
	url, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	front, _ := door(b, strings.TrimSpace(url), Options{})
	measure(b, front)
}

// What the same costs when the answer comes from the front itself: the
// difference is the price of forwarding.
func BenchmarkAnsweredGET(b *testing.B) {
	answer := strings.Repeat("x", 1024)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, answer) }))
	defer front.Close()
	measure(b, front)
}

func measure(b *testing.B, front *httptest.Server) {
	c, err := net.Dial("tcp", front.Listener.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	request := "GET /a/b?c=d HTTP/1.1\r\nHost: pw.example.com\r\nUser-Agent: bench\r\nAccept: */*\r\nAccept-Encoding: gzip, deflate, br\r\nCookie: session=0123456789abcdef\r\n\r\n"
	r := bufio.NewReader(c)
	b.ReportAllocs()
	before := cpuTime(b)
	for b.Loop() {
		io.WriteString(c, request)
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			b.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, res.Body); n != 1024 || err != nil {
			b.Fatal(n, err)
		}
	}
	b.ReportMetric(float64((cpuTime(b)-before).Microseconds())/float64(b.N), "cpu-µs/op")
}

// cpuTime returns what this process has used of the processor.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
