package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// A server is a program of somebody else's that runs for a test, in a folder
// of its own.
type server struct {
	t    testing.TB
	dir  string
	addr string // on 127.0.0.1
	cred *syscall.Credential
	out  *lockedBuffer
}

// newServer prepares a folder and a port. Where the tests run as root, owner
// names whom the program is to run as instead, if that is not to be root.
func newServer(t testing.TB, owner string) *server {
	t.Helper()
	dir, err := os.MkdirTemp("", "postern-server")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &server{t: t, dir: dir, addr: freePair(t), out: &lockedBuffer{}}
	if owner == "" || os.Getuid() != 0 {
		return s
	}
	u, err := user.Lookup(owner)
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	s.cred = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return s
}

func (s *server) port() string { _, p, _ := net.SplitHostPort(s.addr); return p }

// file writes a file into the folder and returns its path.
func (s *server) file(name, text string) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
	return path
}

func (s *server) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, s.out, s.out
	cmd.Env = append(os.Environ(), "LC_ALL=C", "HOME="+s.dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.cred}
	return cmd
}

// run starts the program and waits until it accepts connections.
func (s *server) run(program string, args ...string) {
	s.t.Helper()
	cmd := s.command(program, args...)
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() { cmd.Wait(); close(exited) }()
	s.t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		select {
		case <-exited:
		case <-time.After(10 * time.Second):
			cmd.Process.Kill()
			<-exited
		}
	})
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		if c, err := net.Dial("tcp", s.addr); err == nil {
			c.Close()
			return
		}
		select {
		case <-exited:
			s.t.Fatalf("%s ended by itself; it said:\n%s", program, s.out)
		default:
		}
		if time.Since(began) > 60*time.Second {
			s.t.Fatalf("%s does not listen; it said:\n%s", program, s.out)
		}
	}
}

// redis, mosquitto and postgres run the servers of that name from Debian.
func redis(t testing.TB) *server {
	s := newServer(t, "")
	s.run("redis-server", "--bind", "127.0.0.1", "--port", s.port(), "--save", "", "--appendonly", "no", "--dir", s.dir)
	return s
}

func mosquitto(t testing.TB) *server {
	s := newServer(t, "mosquitto")
	s.run("mosquitto", "-c", s.file("mosquitto.conf", fmt.Sprintf("listener %s 127.0.0.1\nallow_anonymous true\npersistence false\n", s.port())))
	return s
}

func postgres(t testing.TB) *server {
	s := newServer(t, "postgres")
	data := filepath.Join(s.dir, "data")
	if out, err := runQuiet(s.command(postgresProgram(t, "initdb"), "-D", data, "-A", "trust", "-U", "postgres", "--no-sync", "--locale=C", "-E", "UTF8")); err != nil {
		t.Fatalf("initdb: %v\n%s%s", err, out, s.out)
	}
	s.run(postgresProgram(t, "postgres"), "-D", data, "-p", s.port(), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off")
	return s
}

// postgresProgram returns the path of a program that Debian keeps out of the
// way.
func postgresProgram(t testing.TB, name string) string {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if err != nil || len(found) == 0 {
		t.Fatalf("%s is not installed: run scripts/test-tools", name)
	}
	return slices.Max(found)
}

func runQuiet(cmd *exec.Cmd) (string, error) {
	cmd.Stdout, cmd.Stderr = nil, nil
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// configured returns a door, not open yet, that serves what the text of a
// postern.yaml says.
func configured(t testing.TB, text string) *door {
	t.Helper()
	d := newDoor(t)
	d.configure(text)
	d.args = append(d.args, "--config", filepath.Join(d.home, "postern.yaml"))
	return d
}

// configure replaces the door's postern.yaml.
func (d *door) configure(text string) {
	d.t.Helper()
	path := filepath.Join(d.home, "postern.yaml")
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		d.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		d.t.Fatal(err)
	}
}

// issue writes a certificate for a name into a folder, and returns that.
func (d *door) issue(name string) string {
	d.t.Helper()
	dir := filepath.Join(d.home, "issued", name)
	d.run("issue", name, "--out", dir)
	return dir
}

// program runs a client of somebody else's and returns what it printed.
func program(t testing.TB, stdin io.Reader, name string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "HOME="+t.TempDir())
	cmd.Stdin = stdin
	return runQuiet(cmd)
}
