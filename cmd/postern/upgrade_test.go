package main

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// A replaceable is a door whose program lies in its home, so that another can
// take its place, and which tells a service manager how it is.
type replaceable struct {
	*door
	program string
	log     string // a file: whoever follows writes to it as well
	told    *net.UnixConn
}

func newReplaceable(t *testing.T) *replaceable {
	t.Helper()
	site := t.TempDir()
	if err := os.WriteFile(filepath.Join(site, "index.html"), []byte("hello"), 0o644); err != nil {
		t.Fatal(err)
	}
	d := &replaceable{door: newDoor(t, "localhost="+site)}
	d.program, d.log = filepath.Join(d.home, "postern"), filepath.Join(d.home, "log")
	d.install()
	var err error
	if d.told, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(d.home, "notify"), Net: "unixgram"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.told.Close() })
	return d
}

// install puts the real program in place, as a package manager does: by a new
// file under the old name.
func (d *replaceable) install() {
	d.t.Helper()
	path, err := binary()
	if err != nil {
		d.t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		d.t.Fatal(err)
	}
	d.replace(string(data))
}

func (d *replaceable) replace(program string) {
	d.t.Helper()
	if err := os.WriteFile(d.program+".new", []byte(program), 0o755); err != nil {
		d.t.Fatal(err)
	}
	if err := os.Rename(d.program+".new", d.program); err != nil {
		d.t.Fatal(err)
	}
}

// serve starts the program, or a command that does.
func (d *replaceable) serve(args ...string) *exec.Cmd {
	d.t.Helper()
	out, err := os.OpenFile(d.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		d.t.Fatal(err)
	}
	defer out.Close()
	if len(args) == 0 {
		args = append([]string{d.program}, d.args...)
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(d.environ(), "NOTIFY_SOCKET="+filepath.Join(d.home, "notify"))
	cmd.Dir, cmd.Stdout, cmd.Stderr = d.home, out, out
	if err := cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() {
		var pid int
		holder, _ := os.ReadFile(filepath.Join(d.data, "postern.lock"))
		if fmt.Sscan(string(holder), &pid); pid > 1 {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		cmd.Process.Kill()
		cmd.Wait()
	})
	return cmd
}

type liveStatus struct {
	PID    int
	Ready  bool
	Listen []string
}

func (d *replaceable) status() (s liveStatus, ok bool) {
	out, _, code := d.command("status", "--json")
	return s, json.Unmarshal([]byte(out), &s) == nil && code == 0
}

// await waits for a serving process that is none of those.
func (d *replaceable) await(not ...int) int {
	d.t.Helper()
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		s, ok := d.status()
		for _, pid := range not {
			ok = ok && s.PID != pid
		}
		if ok && s.Ready {
			return s.PID
		}
	}
	log, _ := os.ReadFile(d.log)
	d.t.Fatalf("no other process serves; the log says:\n%s", log)
	return 0
}

// hears waits until the service manager is told that.
func (d *replaceable) hears(want string) {
	d.t.Helper()
	d.told.SetReadDeadline(time.Now().Add(30 * time.Second))
	b := make([]byte, 4096)
	for {
		n, err := d.told.Read(b)
		if err != nil {
			d.t.Fatalf("the service manager was never told %q: %v", want, err)
		}
		for line := range strings.SplitSeq(string(b[:n]), "\n") {
			if strings.HasPrefix(line, want) {
				return
			}
		}
	}
}

// saysLog waits until the log holds a text.
func (d *replaceable) saysLog(want string) {
	d.t.Helper()
	var log []byte
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if log, _ = os.ReadFile(d.log); strings.Contains(string(log), want) {
			return
		}
	}
	d.t.Fatalf("the log never says %q:\n%s", want, log)
}

// A visitor opens a connection for every request, all the time.
type visitor struct {
	wg     sync.WaitGroup
	stop   chan struct{}
	served atomic.Int64
	failed chan error
}

func (d *replaceable) visit(config *tls.Config) *visitor {
	v := &visitor{stop: make(chan struct{}), failed: make(chan error, 1)}
	for range 3 {
		v.wg.Go(func() {
			for {
				select {
				case <-v.stop:
					return
				default:
				}
				if err := d.once(config); err != nil {
					select {
					case v.failed <- err:
					default:
					}
					return
				}
				v.served.Add(1)
			}
		})
	}
	return v
}

func (d *replaceable) once(config *tls.Config) error {
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true, TLSHandshakeTimeout: 30 * time.Second}, Timeout: 30 * time.Second}
	resp, err := c.Get("https://localhost:" + d.port() + "/")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && string(body) != "hello" {
		err = fmt.Errorf("got %s %s", resp.Status, body)
	}
	return err
}

func (v *visitor) leave(t *testing.T) {
	t.Helper()
	close(v.stop)
	v.wg.Wait()
	select {
	case err := <-v.failed:
		t.Errorf("after %d visits: %v", v.served.Load(), err)
	default:
	}
}

// more waits until as many visits have been made from now on.
func (v *visitor) more(t *testing.T, n int64) {
	t.Helper()
	end := time.Now().Add(60 * time.Second)
	for want := v.served.Load() + n; v.served.Load() < want; time.Sleep(5 * time.Millisecond) {
		if len(v.failed) > 0 || time.Now().After(end) {
			v.leave(t)
			t.Fatal("no more visits")
		}
	}
}

// SIGUSR2 replaces the program under load, twice in a row, and nobody is
// refused or kept from being revoked afterwards.
func TestUpgradeRefusesNobody(t *testing.T) {
	t.Parallel()
	d := newReplaceable(t)
	first := d.serve()
	d.await()
	d.hears("READY=1")
	ben := d.enrol("ben/phone")
	visitor := d.visit(d.tls(ben, "localhost"))
	visitor.more(t, 20)
	if err := first.Process.Signal(syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	second := d.await(first.Process.Pid)
	if err := first.Wait(); err != nil {
		t.Errorf("the first process: %v", err)
	}
	d.hears(fmt.Sprintf("MAINPID=%d", second))
	visitor.more(t, 20)
	d.install()
	if err := syscall.Kill(second, syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	third := d.await(first.Process.Pid, second)
	d.hears(fmt.Sprintf("MAINPID=%d", third))
	visitor.more(t, 20)
	visitor.leave(t)
	d.run("revoke", "ben")
	if err := d.once(d.tls(ben, "localhost")); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("revoked, and then: %v", err)
	}
	d.run("ledger", "verify")
	syscall.Kill(third, syscall.SIGTERM)
	d.hears("STOPPING=1")
}

// A program that cannot take over, in whatever way, changes nothing.
func TestUpgradeThatFails(t *testing.T) {
	t.Parallel()
	d := newReplaceable(t)
	d.args = append(d.args, "--no-sandbox") // in which no shell can be started
	cmd := d.serve()
	pid := d.await()
	config := d.tls(d.enrol("ben/phone"), "localhost")
	visitor := d.visit(config)
	for _, c := range []struct{ sentence, program, log string }{
		{"a program of another kind", "no program at all", "upgrade given up, this process goes on"},
		{"one that ends at once", "#!/bin/sh\nexit 1\n", "ended before it was prepared"},
		{"one that ends when it should serve", "#!/bin/sh\necho prepared >&3\nexit 1\n", "ended before it was ready"},
	} {
		d.replace(c.program)
		if err := cmd.Process.Signal(syscall.SIGUSR2); err != nil {
			t.Fatal(c.sentence, err)
		}
		d.saysLog(c.log)
		if got := d.await(); got != pid {
			t.Fatalf("%s: process %d serves, and not %d", c.sentence, got, pid)
		}
		visitor.more(t, 10)
	}
	visitor.leave(t)
	d.install()
	if err := cmd.Process.Signal(syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	d.await(pid)
}

// The service manager's own sockets are served, and stay what is served.
func TestSocketActivation(t *testing.T) {
	t.Parallel()
	d := newReplaceable(t)
	config, folder := filepath.Join(d.home, "postern.yaml"), t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "index.html"), []byte("hello"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config, fmt.Appendf(nil, "listen: \"127.0.0.1:1\"\nsites:\n  localhost: {static: %s, allow: [ben]}\n", folder), 0o600); err != nil {
		t.Fatal(err)
	}
	public := freePair(t)
	args := []string{"systemd-socket-activate", "--fdname=sites:public", "-l", d.addr, "-l", public}
	for _, v := range append(d.environ(), "NOTIFY_SOCKET="+filepath.Join(d.home, "notify")) {
		if name, _, _ := strings.Cut(v, "="); name == "HOME" || name == "POSTERN_STATE_DIR" || name == "NOTIFY_SOCKET" {
			args = append(args, "-E", v)
		}
	}
	d.serve(append(args, d.program, "up", "--data", d.data, "--config", config)...)
	var c net.Conn
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) { // the first connection starts it
		var err error
		if c, err = net.Dial("tcp", d.addr); err == nil {
			break
		}
		if !errors.Is(err, syscall.ECONNREFUSED) || time.Now().After(end) {
			t.Fatal(err)
		}
	}
	defer c.Close()
	pid := d.await()
	ben := d.enrol("ben/phone")
	if err := d.once(d.tls(ben, "localhost")); err != nil {
		t.Error(err)
	}
	d.run("invite", "anna/phone", "--json")
	if err := syscall.Kill(pid, syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	d.await(pid)
	if err := d.once(d.tls(ben, "localhost")); err != nil {
		t.Error("after an upgrade:", err)
	}
	if s, _ := d.status(); len(s.Listen) != 1 || s.Listen[0] != d.addr {
		t.Errorf("listening on %q", s.Listen)
	}
}
