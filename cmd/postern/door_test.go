package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// binary builds the program once for all tests and returns its path.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "postern-binary")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "postern")
	out, err := exec.Command("go", "build", "-ldflags", "-s -w", "-o", path, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

// A door is one data folder with, most of the time, a server running on it.
type door struct {
	t    testing.TB
	home string // everything of this door lies below it
	data string
	addr string // of the sites
	args []string
	env  []string // beside what every door has

	cmd    *exec.Cmd
	output *lockedBuffer
	exited chan struct{}
	code   int
}

// newDoor prepares a door for the sites given as HOST=DIR|URL; it is not open
// yet.
func newDoor(t testing.TB, sites ...string) *door {
	t.Helper()
	d := &door{t: t, home: t.TempDir(), addr: freePair(t)}
	d.data = filepath.Join(d.home, "data")
	d.args = []string{"up", "--data", d.data, "--listen", d.addr}
	if err := os.MkdirAll(filepath.Join(d.home, "state"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, s := range sites {
		d.args = append(d.args, "--site", s)
	}
	t.Cleanup(d.kill)
	return d
}

// freePair returns an address on loopback whose port and the next one are
// free. It stays below the ports that the system gives to outgoing connections.
func freePair(t testing.TB) string {
	t.Helper()
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", port)
}

func freePort() (int, error) {
	for range 100 {
		port := 10000 + rand.IntN(20000)
		if free(port) && free(port+1) {
			return port, nil
		}
	}
	return 0, errors.New("no two neighbouring ports are free")
}

func free(port int) bool {
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return false
	}
	l.Close()
	return true
}

func (d *door) port() string { _, p, _ := net.SplitHostPort(d.addr); return p }

// environ is the environment of every command: nothing outside d.home is
// touched.
func (d *door) environ() []string {
	return append(append(os.Environ(), "HOME="+d.home, "XDG_DATA_HOME="+d.home+"/share",
		"POSTERN_STATE_DIR="+d.home+"/state", "NO_COLOR=1"), d.env...)
}

// open starts the server and waits until it answers.
func (d *door) open() {
	d.t.Helper()
	d.start()
	began := time.Now() // once the program is built
	for {
		out, code := d.try("status", "--wait", "1s")
		if code == 0 {
			return
		}
		select {
		case <-d.exited:
			d.t.Fatalf("the server ended by itself; it said:\n%s", d.output)
		default:
		}
		if time.Since(began) > time.Minute {
			d.t.Fatalf("status exited with %d: %s\nserver said:\n%s", code, out, d.output)
		}
	}
}

// start starts the server without waiting.
func (d *door) start() {
	d.t.Helper()
	path, err := binary()
	if err != nil {
		d.t.Fatal(err)
	}
	d.cmd = exec.Command(path, d.args...)
	d.cmd.Env = d.environ()
	d.cmd.Dir = d.home
	d.output = &lockedBuffer{}
	d.cmd.Stdout, d.cmd.Stderr = d.output, d.output
	if err := d.cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	d.exited = make(chan struct{})
	go func(cmd *exec.Cmd, exited chan struct{}) {
		cmd.Wait()
		d.code = cmd.ProcessState.ExitCode()
		close(exited)
	}(d.cmd, d.exited)
}

// wait returns the exit code of a server that is to end by itself.
func (d *door) wait() int {
	d.t.Helper()
	select {
	case <-d.exited:
		return d.code
	case <-time.After(30 * time.Second):
		d.t.Fatalf("the server did not end by itself; it said:\n%s", d.output)
		return -1
	}
}

// kill ends the server as a power cut would.
func (d *door) kill() {
	if d.cmd == nil {
		return
	}
	d.cmd.Process.Signal(syscall.SIGKILL)
	<-d.exited
	d.cmd = nil
}

// try runs a command on the door's data folder and returns what it printed on
// standard output and error, and its exit code.
func (d *door) try(args ...string) (string, int) {
	d.t.Helper()
	out, errout, code := d.command(args...)
	return out + errout, code
}

func (d *door) command(args ...string) (stdout, stderr string, code int) {
	d.t.Helper()
	path, err := binary()
	if err != nil {
		d.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(d.t.Context(), 60*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, append(args, "--data", d.data)...)
	cmd.Env = d.environ()
	cmd.Dir = d.home
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	err = cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		d.t.Fatal(err)
	}
	return o.String(), e.String(), cmd.ProcessState.ExitCode()
}

// run is try for commands that have to work; it returns standard output.
func (d *door) run(args ...string) string {
	d.t.Helper()
	out, errout, code := d.command(args...)
	if code != 0 {
		d.t.Fatalf("postern %s exited with %d:\n%s%s", strings.Join(args, " "), code, out, errout)
	}
	return out
}

// witnessed waits until the state folder holds the ledger's newest checkpoint.
func (d *door) witnessed() {
	d.t.Helper()
	var head struct{ Root string }
	if err := json.Unmarshal([]byte(d.run("ledger", "head", "--json")), &head); err != nil || head.Root == "" {
		d.t.Fatalf("ledger head: %v", err)
	}
	raw, err := hex.DecodeString(head.Root)
	if err != nil {
		d.t.Fatal(err)
	}
	want := base64.StdEncoding.EncodeToString(raw)
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		files, err := filepath.Glob(filepath.Join(d.home, "state", "*.checkpoint"))
		if err != nil {
			d.t.Fatal(err)
		}
		for _, f := range files {
			if data, err := os.ReadFile(f); err == nil && (strings.Contains(string(data), want) || strings.Contains(string(data), head.Root)) {
				return
			}
		}
	}
	d.t.Fatal("the newest checkpoint never reached the state folder")
}

// enrol invites name and joins as it, and returns the folder with its files.
func (d *door) enrol(name string, join ...string) string {
	d.t.Helper()
	link := d.invitation(name)
	dir := filepath.Join(d.home, "devices", filepath.FromSlash(name))
	d.run(append([]string{"join", link, "--out", dir}, join...)...)
	return dir
}

// invitation returns the link of an invitation for name.
func (d *door) invitation(name string, flags ...string) string {
	d.t.Helper()
	var invitation struct{ Link string }
	if err := json.Unmarshal([]byte(d.run(append([]string{"invite", name, "--json"}, flags...)...)), &invitation); err != nil {
		d.t.Fatal(err)
	}
	return invitation.Link
}

// tls returns the client configuration of the device whose files lie in dir;
// without one, a stranger's.
func (d *door) tls(dir, host string) *tls.Config {
	d.t.Helper()
	root, err := os.ReadFile(filepath.Join(d.data, "root.pem"))
	if err != nil {
		d.t.Fatal(err)
	}
	cfg := &tls.Config{ServerName: host, RootCAs: x509.NewCertPool()}
	if !cfg.RootCAs.AppendCertsFromPEM(root) {
		d.t.Fatal("root.pem holds no certificate")
	}
	if dir != "" {
		pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
		if err != nil {
			d.t.Fatal(err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg
}

// client returns an HTTP client that reaches host at the door with cfg.
func (d *door) client(cfg *tls.Config) *http.Client {
	transport := &http.Transport{
		TLSClientConfig:   cfg,
		ForceAttemptHTTP2: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, d.addr)
		},
	}
	d.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 20 * time.Second}
}

// A problem is a refusal as programs see it (RFC 9457).
type problem struct {
	Status    int
	Title     string
	Detail    string
	Code      string
	Reference string
	Remedy    string
}

// get asks for the front page of host and returns the status, the body and, if
// it is a refusal, its problem.
func (d *door) get(c *http.Client, host string) (int, string, problem) {
	d.t.Helper()
	req, err := http.NewRequestWithContext(d.t.Context(), http.MethodGet, "https://"+host+":"+d.port()+"/", nil)
	if err != nil {
		d.t.Fatal(err)
	}
	req.Header.Set("Accept", "application/problem+json")
	resp, err := c.Do(req)
	if err != nil {
		d.t.Fatalf("GET %s: %v\nserver said:\n%s", req.URL, err, d.output)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	var p problem
	if resp.Header.Get("Content-Type") == "application/problem+json" {
		if err := json.Unmarshal(body, &p); err != nil {
			d.t.Fatalf("%v in %s", err, body)
		}
	}
	return resp.StatusCode, string(body), p
}

// lockedBuffer collects a running process's output.
type lockedBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
