package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// From exec to the first page that an enrolled device gets, with a data folder
// that is there already; and what the process then holds in memory.
func BenchmarkColdStart(b *testing.B) {
	d := benchDoor(b)
	d.open()
	device := d.enrol("ben/laptop")
	cfg := d.tls(device, "localhost")
	d.kill()
	var resident float64
	for b.Loop() {
		d.start()
		for !served(d, cfg) {
			time.Sleep(time.Millisecond)
		}
		b.StopTimer()
		resident = residentMiB(b, d.cmd.Process.Pid)
		d.kill()
		b.StartTimer()
	}
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/start")
	b.ReportMetric(resident, "MiB-resident")
	path, err := binary()
	if err != nil {
		b.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(info.Size())/(1<<20), "MiB-binary")
}

// From the moment a revocation is asked for on the command socket to the
// moment at which the device's open connection ends.
func BenchmarkRevokeToCut(b *testing.B) {
	d := benchDoor(b)
	d.open()
	socket := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(d.data, "postern.sock"))
	}}}
	secret, err := os.ReadFile(filepath.Join(d.data, "postern.secret"))
	if err != nil {
		b.Fatal(err)
	}
	var total, worst time.Duration
	n := 0
	for b.Loop() {
		b.StopTimer()
		n++
		name := fmt.Sprintf("bench/n%d", n)
		conn, err := tls.Dial("tcp", d.addr, d.tls(d.enrol(name), "localhost"))
		if err != nil {
			b.Fatal(err)
		}
		if !ask(conn) {
			b.Fatal("an enrolled device was not let in")
		}
		cut := make(chan time.Time, 1)
		go func() { io.Copy(io.Discard, conn); cut <- time.Now() }()
		body, err := json.Marshal(map[string]any{"name": name, "reason": 0})
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		begin := time.Now()
		req, err := http.NewRequest(http.MethodPost, "http://postern/v1/revoke", bytes.NewReader(body))
		if err != nil {
			b.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+string(secret))
		resp, err := socket.Do(req)
		if err != nil {
			b.Fatal(err)
		}
		if resp.StatusCode != http.StatusOK {
			b.Fatal(resp.Status)
		}
		resp.Body.Close()
		took := (<-cut).Sub(begin)
		total, worst = total+took, max(worst, took)
		conn.Close()
	}
	b.ReportMetric(float64(total.Microseconds())/1000/float64(n), "ms/cut")
	b.ReportMetric(float64(worst.Microseconds())/1000, "ms-worst")
}

func benchDoor(b *testing.B) *door {
	b.Helper()
	dir := b.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "index.html"), []byte("the page"), 0o644); err != nil {
		b.Fatal(err)
	}
	return newDoor(b, "localhost="+dir)
}

func served(d *door, cfg *tls.Config) bool {
	conn, err := tls.Dial("tcp", d.addr, cfg)
	if err != nil {
		return false
	}
	defer conn.Close()
	return ask(conn)
}

// ask sends one request and reports whether the page came.
func ask(conn *tls.Conn) bool {
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
	answer := make([]byte, 4096)
	n, err := conn.Read(answer)
	return err == nil && strings.HasPrefix(string(answer[:n]), "HTTP/1.1 200")
}

func residentMiB(b *testing.B, pid int) float64 {
	b.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			var kib float64
			fmt.Sscan(rest, &kib)
			return kib / 1024
		}
	}
	b.Fatal("no VmRSS in the status of the process")
	return 0
}
