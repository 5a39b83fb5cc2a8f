package attack

import (
	"bytes"
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

var long = os.Getenv("ATTACK") == "long"

// either returns what the brisk form of the suite takes, or the long one.
func either[T any](brisk, thorough T) T {
	if long {
		return thorough
	}
	return brisk
}

// ground is what all attacks share: the program, an authority that was made
// once, and one house that runs. It is made on first use.
type ground struct {
	dir      string
	program  func() (string, error)
	prepared func() (string, error)
	house    func() (*house, error)
}

var shared *ground // made by TestMain

func newGround(dir string) *ground {
	g := &ground{dir: dir}
	g.program = sync.OnceValues(func() (string, error) {
		path := filepath.Join(g.dir, "postern")
		out, err := exec.Command("go", "build", "-ldflags", "-s -w", "-o", path, "../../cmd/postern").CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("go build: %w\n%s", err, out)
		}
		return path, nil
	})
	g.prepared = sync.OnceValues(func() (string, error) {
		h := &house{home: filepath.Join(g.dir, "prepared")}
		h.data = filepath.Join(h.home, "data")
		if err := os.MkdirAll(h.home, 0o700); err != nil {
			return "", err
		}
		_, errout, code, err := h.command("init")
		if err == nil && code != 0 {
			err = fmt.Errorf("init exited with %d: %s", code, errout)
		}
		return h.data, err
	})
	g.house = sync.OnceValues(func() (*house, error) { return openSharedHouse(filepath.Join(g.dir, "house")) })
	return g
}

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "postern-attack")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Chmod(dir, 0o755)
	shared = newGround(dir)
	code := m.Run()
	if sharedHouse != nil {
		sharedHouse.kill()
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

var sharedHouse *house // to be ended with the tests

// A house is a data folder and the server that runs on it.
type house struct {
	home, data, config  string
	addr, public, plain string // of the sites, the public side, and the public side without TLS
	metrics             string // address of the gateway's
	app                 *application
	env                 []string
	cmd                 *exec.Cmd
	output              *output
	exited              chan struct{}
	mu                  sync.Mutex // guards identities
	identities          map[string]*tls.Certificate
	partner             *authority
	roots               *x509.CertPool
	dropTo              *syscall.Credential
}

// newHouse prepares a house in dir with a copy of the authority that was made
// once.
func newHouse(dir string) (*house, error) {
	from, err := shared.prepared()
	if err != nil {
		return nil, err
	}
	h := &house{home: dir, data: filepath.Join(dir, "data"), config: filepath.Join(dir, "postern.yaml"), identities: map[string]*tls.Certificate{}}
	if err := errors.Join(copyFolder(h.data, from), os.Mkdir(filepath.Join(dir, "page"), 0o755)); err != nil {
		return nil, err
	}
	ports, err := freePorts()
	if err != nil {
		return nil, err
	}
	h.addr, h.public, h.plain = fmt.Sprint("127.0.0.1:", ports), fmt.Sprint("127.0.0.1:", ports+1), fmt.Sprint("127.0.0.1:", ports+2)
	h.metrics = fmt.Sprint("127.0.0.1:", ports+3)
	root, err := os.ReadFile(filepath.Join(h.data, "root.pem"))
	if err != nil {
		return nil, err
	}
	h.roots = x509.NewCertPool()
	if !h.roots.AppendCertsFromPEM(root) {
		return nil, errors.New("root.pem holds no certificate")
	}
	return h, nil
}

// copyFolder copies files with their modes, which os.CopyFS does not.
func copyFolder(to, from string) error {
	return filepath.WalkDir(from, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), info.Mode().Perm())
		}
		if !info.Mode().IsRegular() {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), data, info.Mode().Perm())
	})
}

// ownHouse returns a house for one test, with a configuration in which %LISTEN%
// stands for the lines that every one has. It does not run yet.
func ownHouse(t testing.TB, config string) *house {
	t.Helper()
	h, err := newHouse(t.TempDir())
	must(t, err)
	h.write(t, config)
	t.Cleanup(h.kill)
	return h
}

// write replaces the configuration at once.
func (h *house) write(t testing.TB, config string) {
	t.Helper()
	must(t, h.configure(config))
}

func (h *house) configure(config string) error {
	text := strings.ReplaceAll(config, "%LISTEN%", fmt.Sprintf("listen: %q\npublic: {listen: %q, http: %q}\n", h.addr, h.public, h.plain))
	text = strings.ReplaceAll(text, "%METRICS%", fmt.Sprintf("metrics: {listen: %q}\n", h.metrics))
	if err := os.WriteFile(h.config+".new", []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(h.config+".new", h.config)
}

// freePorts returns the first of four neighbouring ports that are free, below
// those that the system gives to outgoing connections.
func freePorts() (int, error) {
	for range 100 {
		port, all := 10000+rand.IntN(20000), true
		for i := range 4 {
			l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", port+i))
			if err != nil {
				all = false
				break
			}
			l.Close()
		}
		if all {
			return port, nil
		}
	}
	return 0, errors.New("no four neighbouring ports are free")
}

// environ keeps every command within the house's own folders.
func (h *house) environ() []string {
	return append(append(os.Environ(), "HOME="+h.home, "XDG_DATA_HOME="+h.home+"/share", "POSTERN_STATE_DIR="+h.home+"/state", "NO_COLOR=1"), h.env...)
}

// start starts the server without waiting for it.
func (h *house) start() error {
	path, err := shared.program()
	if err != nil {
		return err
	}
	h.cmd = exec.Command(path, "up", "--data", h.data, "--config", h.config)
	h.cmd.Env, h.cmd.Dir = h.environ(), h.home
	if h.dropTo != nil {
		h.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: h.dropTo}
	}
	h.output, h.exited = &output{}, make(chan struct{})
	h.cmd.Stdout, h.cmd.Stderr = h.output, h.output
	if err := h.cmd.Start(); err != nil {
		return err
	}
	go func(cmd *exec.Cmd, exited chan struct{}) { cmd.Wait(); close(exited) }(h.cmd, h.exited)
	return nil
}

// open starts the server and waits until it serves.
func (h *house) open() error {
	if err := h.start(); err != nil {
		return err
	}
	for end := time.Now().Add(time.Minute); ; {
		_, errout, code, err := h.command("status", "--wait", "2s")
		if err != nil || code == 0 {
			return err
		}
		select {
		case <-h.exited:
			return fmt.Errorf("the server ended by itself: %s", h.output)
		default:
		}
		if time.Now().After(end) {
			return fmt.Errorf("the server did not open: %s\n%s", errout, h.output)
		}
	}
}

func (h *house) mustOpen(t testing.TB) *house {
	t.Helper()
	must(t, h.open())
	return h
}

// refusesToStart starts the server, which has to end by itself with an error,
// and returns what it said.
func (h *house) refusesToStart(t testing.TB) string {
	t.Helper()
	must(t, h.start())
	select {
	case <-h.exited:
		if h.cmd.ProcessState.ExitCode() == 0 {
			t.Errorf("it ended with 0: %s", h.output)
		}
	case <-time.After(30 * time.Second):
		t.Errorf("it serves: %s", h.output)
	}
	return h.output.String()
}

func (h *house) kill() {
	if h.cmd == nil || h.cmd.Process == nil {
		return
	}
	h.cmd.Process.Kill()
	<-h.exited
	h.cmd = nil
}

func (h *house) command(args ...string) (stdout, stderr string, code int, err error) {
	path, err := shared.program()
	if err != nil {
		return "", "", 0, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, append(args, "--data", h.data)...)
	cmd.Env, cmd.Dir = h.environ(), h.home
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	if err = cmd.Run(); err != nil {
		if _, ok := errors.AsType[*exec.ExitError](err); !ok {
			return "", "", 0, err
		}
	}
	return o.String(), e.String(), cmd.ProcessState.ExitCode(), nil
}

// run runs a command that has to work and returns what it printed.
func (h *house) run(t testing.TB, args ...string) string {
	t.Helper()
	out, errout, code, err := h.command(args...)
	must(t, err)
	if code != 0 {
		t.Fatalf("postern %s exited with %d: %s%s", strings.Join(args, " "), code, out, errout)
	}
	return out
}

// identity returns the certificate of a name, which is issued on first use.
func (h *house) identity(t testing.TB, name string) *tls.Certificate {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if c := h.identities[name]; c != nil {
		return c
	}
	dir := filepath.Join(h.home, "identities", strings.ReplaceAll(name, "/", "-"))
	h.run(t, "issue", name, "--out", dir)
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
	must(t, err)
	h.identities[name] = &pair
	return &pair
}

// serverCertificate is one of ours for a server.
func (h *house) serverCertificate(t testing.TB) *tls.Certificate {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "web")
	h.run(t, "issue", "ben/web", "--profile", "server", "--dns", "web.attack.test", "--out", dir)
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
	must(t, err)
	return &pair
}

// invitation returns the link of an invitation.
func (h *house) invitation(t testing.TB, name string, more ...string) string {
	t.Helper()
	var v struct{ Link string }
	must(t, json.Unmarshal([]byte(h.run(t, append([]string{"invite", name, "--json"}, more...)...)), &v))
	return v.Link
}

// stolenIssuer is the issuer of client certificates in a thief's hands.
func (h *house) stolenIssuer(t testing.TB) *authority {
	t.Helper()
	read := func(name string) []byte {
		text, err := os.ReadFile(filepath.Join(h.data, "issuers", name))
		must(t, err)
		block, _ := pem.Decode(text)
		return block.Bytes
	}
	cert, err := x509.ParseCertificate(read("clients-1.pem"))
	must(t, err)
	key, err := x509.ParsePKCS8PrivateKey(read("clients-1.key"))
	must(t, err)
	return &authority{cert: cert, key: key.(crypto.Signer)}
}

// until waits until ok, for longer than any loaded machine takes.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// An output is what a running server says.
type output struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// asNobody runs a program as a user who owns nothing.
func asNobody(t testing.TB, program string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	cmd.Dir = "/"
	out, err := cmd.CombinedOutput()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		t.Fatal(err)
	}
	return string(out)
}
