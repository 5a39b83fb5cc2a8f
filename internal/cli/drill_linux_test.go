package cli

import (
	"bufio"
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/smallstep/scep/x509util"
	"golang.org/x/sys/unix"

	"github.com/postern-project/postern/internal/api"
	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/invite"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/split"
)

// drillVariable has a process of the test be postern. In its gateway's process
// an intruder's code runs beside ours, with all that this process has: it is
// built into the test only. What it is to know stands in drillFile, in the
// folder of a site.
const (
	drillVariable = "POSTERN_TEST_DRILL"
	drillFile     = "site/drill.json"
)

// A scene is what the intruder knows besides.
type scene struct {
	Data, Other, State string
	Spent, Cancelled   string     // codes
	Device, Service    ledger.Ref // that others hold
	DeviceCertificate  []byte     // DER
}

func runDrill() int {
	if os.Getenv(gateVariable) != "" {
		fd, err := syscall.Dup(fileWindow) // before postern takes it
		if err != nil {
			panic(err)
		}
		syscall.CloseOnExec(fd)
		go intrude(os.NewFile(uintptr(fd), "window"))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return Main(ctx, OSEnv())
}

// intrude tries everything and says what came of it.
func intrude(window *os.File) {
	var s scene
	for {
		text, err := os.ReadFile(drillFile)
		if err == nil && json.Unmarshal(text, &s) == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	l, err := split.Of(window)
	if err != nil {
		panic(err)
	}
	i := &intruder{scene: s, window: api.DialWindow(l), line: l, parent: os.Getppid()}
	for _, a := range i.attempts() {
		what, err := a.what, a.try()
		if err == nil {
			fmt.Fprintf(os.Stderr, "drill: DONE: %s\n", what)
			continue
		}
		fmt.Fprintf(os.Stderr, "drill: refused: %s: %v\n", what, err)
	}
	fmt.Fprintln(os.Stderr, "drill: end")
}

type intruder struct {
	scene
	window *api.WindowClient
	line   *split.Line
	parent int
}

// An attempt has succeeded when it returns nil.
type attempt struct {
	what string
	try  func() error
}

func (i *intruder) attempts() (all []attempt) {
	add := func(what string, try func() error) { all = append(all, attempt{what, try}) }
	in := func(name string) string { return filepath.Join(i.Data, name) }
	read := func(path string) error { _, err := os.ReadFile(path); return err }
	secrets := []string{in("issuers/clients-1.key"), in("issuers/servers-1.key"), in("ledger.key"), in("root.key.age"), in("postern.secret"), in("postern.db"), i.Other}
	more, _ := filepath.Glob(in("secrets/*")) // nothing, for who may not look
	for n, path := range append(secrets, more...) {
		add("read "+path, func() error { return read(path) })
		add("write "+path, func() error {
			f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
			if err == nil {
				f.Close()
			}
			return err
		})
		add("read by a link "+path, func() error {
			abs, err := filepath.Abs(path)
			if err != nil {
				return err
			}
			link := in(fmt.Sprintf("served/link-%d", n))
			if err := os.Symlink(abs, link); err != nil {
				return err
			}
			return read(link)
		})
		add("read by a second name "+path, func() error {
			second := in(fmt.Sprintf("served/second-%d", n))
			if err := os.Link(path, second); err != nil {
				return err
			}
			return read(second)
		})
		add("move away "+path, func() error { return os.Rename(path, in(fmt.Sprintf("served/moved-%d", n))) })
		add("read through the parent's root "+path, func() error {
			abs, err := filepath.Abs(path)
			if err != nil {
				return err
			}
			return read(fmt.Sprintf("/proc/%d/root%s", i.parent, abs))
		})
		add("have it read "+path, func() error {
			abs, err := filepath.Abs(path)
			if err != nil {
				return err
			}
			_, err = i.window.ReadFile(context.Background(), abs)
			return err
		})
	}
	add("list the keys", func() error { _, err := os.ReadDir(in("issuers")); return err })
	add("write into the state folder", func() error { return os.WriteFile(filepath.Join(i.State, "x"), nil, 0o600) })
	add("put a roster in place", func() error { return os.WriteFile(in(authority.SnapshotFile), []byte("x"), 0o600) })
	add("put a database in place", func() error { return os.WriteFile(in("served/../postern.db-wal"), []byte("x"), 0o600) })

	add("start postern", func() error { return exec.Command("/proc/self/exe", "list").Run() })
	add("start a shell", func() error { return exec.Command("/bin/sh", "-c", "true").Run() })
	add("read the authority's memory", func() error {
		f, err := os.Open(fmt.Sprintf("/proc/%d/mem", i.parent))
		if err == nil {
			f.Close()
		}
		return err
	})
	add("read the authority's environment", func() error { return read(fmt.Sprintf("/proc/%d/environ", i.parent)) })
	add("see what the authority has open", func() error { _, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/3", i.parent)); return err })
	add("attach to the authority", func() error { return unix.PtraceAttach(i.parent) })
	add("copy from the authority's memory", func() error {
		b := make([]byte, 8)
		local := []unix.Iovec{{Base: &b[0], Len: 8}}
		_, err := unix.ProcessVMReadv(i.parent, local, []unix.RemoteIovec{{Base: 0x400000, Len: 8}}, 0)
		return err
	})
	add("take an open file of the authority's", func() error {
		pid, err := unix.PidfdOpen(i.parent, 0)
		if err != nil {
			return err
		}
		_, err = unix.PidfdGetfd(pid, 3, 0)
		return err
	})

	command := func(c *http.Client, path, secret string, q any) error {
		body, err := json.Marshal(q)
		if err != nil {
			return err
		}
		req, err := http.NewRequest(http.MethodPost, "http://postern"+path, bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer "+secret)
		resp, err := c.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			text, _ := io.ReadAll(resp.Body)
			return fmt.Errorf("%s %s", resp.Status, strings.TrimSpace(string(text)))
		}
		return nil
	}
	socket := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", in("postern.sock"))
	}}}
	through := &http.Client{Transport: &http.Transport{DialContext: i.line.Ask}}
	key, spki := aKey()
	eve := must(parseName("eve/phone"))
	for _, path := range []string{"/v1/issue", "/v1/invite", "/v1/revoke", "/v1/approve", "/v1/root/ask", "/v1/root/apply", "/v1/issuer/rotate", "/v1/token/create", "/v1/acme/key", "/p1/apply", "/p1/reload"} {
		q := map[string]any{"name": eve, "public_key": spki}
		add("command by the socket "+path, func() error { return command(socket, path, "", q) })
		add("command by the window "+path, func() error { return command(through, path, "", q) })
	}

	ctx := context.Background()
	issued := func(f func() (authority.Issued, error)) func() error {
		return func() error { _, err := f(); return err }
	}
	for name, code := range map[string]string{"made up": invite.New().String(), "spent": i.Spent, "cancelled": i.Cancelled} {
		add("enrol by a code that is "+name, issued(func() (authority.Issued, error) {
			return i.window.Redeem(ctx, authority.RedeemRequest{Code: code, PublicKey: spki})
		}))
		add("have a key made by a code that is "+name, issued(func() (authority.Issued, error) {
			return i.window.Redeem(ctx, authority.RedeemRequest{Code: code, PublicKey: spki, ServerKey: true})
		}))
		add("enrol over SCEP by a code that is "+name, issued(func() (authority.Issued, error) {
			return i.window.RedeemSCEP(ctx, authority.SCEPRequest{CSR: scepRequest(code)})
		}))
	}
	for name, ref := range map[string]ledger.Ref{"device": i.Device, "service": i.Service} {
		add("renew another's "+name, issued(func() (authority.Issued, error) {
			return i.window.Renew(ctx, authority.RenewRequest{Ref: ref, PublicKey: spki})
		}))
		add("renew another's "+name+" with a proof of our own", issued(func() (authority.Issued, error) {
			old, err := x509.ParseCertificate(i.DeviceCertificate)
			if err != nil {
				return authority.Issued{}, err
			}
			proof, err := invite.ProveRenewal(key, old, spki)
			if err != nil {
				return authority.Issued{}, err
			}
			return i.window.Renew(ctx, authority.RenewRequest{Ref: ref, PublicKey: spki, Proof: proof})
		}))
	}
	for _, host := range []string{"elsewhere.example", "", "eve/phone", "*", "localhost."} {
		add("be certified for the host "+host, issued(func() (authority.Issued, error) {
			return i.window.IssueServed(ctx, api.OwnRequest{Host: host, PublicKey: spki})
		}))
		add("be certified for an application as "+host, issued(func() (authority.Issued, error) {
			return i.window.IssueUpstream(ctx, api.OwnRequest{Host: host, PublicKey: spki})
		}))
	}
	add("be certified for an application of a site that asks for none", issued(func() (authority.Issued, error) {
		return i.window.IssueUpstream(ctx, api.OwnRequest{Host: "localhost", PublicKey: spki})
	}))
	add("be certified by an ACME order that nobody made", issued(func() (authority.Issued, error) {
		return i.window.IssueACME(ctx, authority.ACMEIssueRequest{
			ACMEProof: authority.ACMEProof{Profile: "server", Account: "made-up", Key: json.RawMessage(`{}`), Message: json.RawMessage(`{}`)},
			Order:     "made-up", Hosts: []authority.ACMEIdentifier{{Type: "dns", Value: "localhost"}},
		})
	}))
	// what the gateway does get is good for what it is meant for
	useless := func(what string, f func() (authority.Issued, error)) {
		add(what, func() error {
			got, err := f()
			if err != nil {
				return fmt.Errorf("NOT EVEN WHAT IT NEEDS: %w", err)
			}
			c, err := x509.ParseCertificate(got.Chain[0])
			if err != nil {
				return err
			}
			for _, u := range c.ExtKeyUsage {
				if u == x509.ExtKeyUsageClientAuth || u == x509.ExtKeyUsageAny {
					return nil
				}
			}
			if c.IsCA || c.KeyUsage&x509.KeyUsageCertSign != 0 || len(c.ExtKeyUsage)+len(c.UnknownExtKeyUsage) == 0 && c.KeyUsage == 0 {
				return nil
			}
			return errors.New("it signs nothing and opens nothing")
		})
	}
	useless("use a site's certificate for more", func() (authority.Issued, error) {
		return i.window.IssueServed(ctx, api.OwnRequest{Host: "localhost", PublicKey: spki})
	})
	_, big := rsaKey()
	useless("use SCEP's certificate for more", func() (authority.Issued, error) { return i.window.IssueRegistration(ctx, big) })
	return all
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func aKey() (crypto.Signer, []byte) {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	return key, must(x509.MarshalPKIXPublicKey(key.Public()))
}

func rsaKey() (*rsa.PrivateKey, []byte) {
	key := must(rsa.GenerateKey(rand.Reader, 2048))
	return key, must(x509.MarshalPKIXPublicKey(key.Public()))
}

// scepRequest returns a certificate request with a code as its
// challengePassword (RFC 2985 section 5.4.1).
func scepRequest(code string) []byte {
	key, _ := rsaKey()
	return must(x509util.CreateCertificateRequest(rand.Reader, &x509util.CertificateRequest{ChallengePassword: code}, key))
}

// A split server is one whose two processes are this test's program.
type splitServer struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines chan string // of its standard error
}

func splitCommand(port int, args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], append([]string{"up", "--listen", fmt.Sprint("127.0.0.1:", port)}, args...)...)
	cmd.Env = append(os.Environ(), drillVariable+"=1")
	return cmd
}

func startSplit(t *testing.T, port int, args ...string) *splitServer {
	t.Helper()
	cmd := splitCommand(port, args...)
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout = io.Discard
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s := &splitServer{t, cmd, make(chan string, 10_000)}
	go func() {
		defer close(s.lines)
		for in := bufio.NewScanner(out); in.Scan(); {
			s.lines <- in.Text()
		}
	}()
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	if out, code := at(t.Context(), time.Now, "status", "--wait", "30s"); code != exitDone {
		cmd.Process.Kill()
		for line := range s.lines {
			out += line + "\n"
		}
		t.Fatal(out)
	}
	return s
}

// stop ends the server as an operator does.
func (s *splitServer) stop() {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
	for range s.lines {
	}
}

// gate returns the gateway's process.
func (s *splitServer) gate() int {
	s.t.Helper()
	for _, c := range must(filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", s.cmd.Process.Pid))) {
		var pid int
		if text, err := os.ReadFile(c); err == nil {
			if n, _ := fmt.Sscan(string(text), &pid); n == 1 {
				return pid
			}
		}
	}
	s.t.Fatal("the server has no gateway in a process of its own")
	return 0
}

// gone reports whether a process ends within a second.
func gone(pid int) bool {
	for end := time.Now().Add(time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return true
		}
	}
	return false
}

const drillConfig = "public: {listen: \"127.0.0.1:%d\"}\nprofiles: {bot: {usage: client, lifetime: 24h}}\nsites: {localhost: {static: site, allow: [ben]}}\n"

// drilled prepares a folder whose configuration lies beside the data folder,
// where it is hardest to keep the two apart.
func drilled(t *testing.T) (port int) {
	t.Helper()
	inFolder(t, true)
	if err := errors.Join(os.Mkdir("site", 0o755), os.WriteFile("postern.yaml", fmt.Appendf(nil, drillConfig, freeTCP(t)), 0o600)); err != nil {
		t.Fatal(err)
	}
	return freeTCP(t)
}

func freeTCP(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// Code in the gateway's process reads no key and no other's file, writes
// neither ledger nor roster, gets no certificate that lets anybody in without a
// code, and signs nothing.
func TestAnIntruderInTheGateway(t *testing.T) {
	port := drilled(t)
	other := filepath.Join(t.TempDir(), "private")
	if err := os.WriteFile(other, []byte("another user's"), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) string {
		t.Helper()
		out, code := at(t.Context(), time.Now, args...)
		if code != exitDone {
			t.Fatalf("%v: %s", args, out)
		}
		return out
	}
	s := startSplit(t, port)
	link := func(name string) string {
		var v struct{ Link string }
		if err := json.Unmarshal([]byte(run("invite", name, "--json")), &v); err != nil {
			t.Fatal(err)
		}
		return v.Link
	}
	codeOf := func(link string) string { return must(invite.ParseLink(link)).Code.String() }
	spent, cancelled := link("ben/phone"), link("ben/old")
	run("join", spent, "--out", "ben")
	run("revoke", "ben/old")
	run("issue", "bot/one", "--profile", "bot", "--out", "bot")
	refOf := func(dir string) (ledger.Ref, *x509.Certificate) {
		leaf := must(readCertificateFile(filepath.Join(dir, "cert.pem")))
		issuer := must(readCertificateFile(filepath.Join(defaultData, "issuers", "clients-1.pem")))
		key := sha256.Sum256(issuer.RawSubjectPublicKeyInfo)
		return ledger.Ref{Issuer: ledger.KeyID(key), Serial: must(ledger.ParseSerial(leaf.SerialNumber.Text(16))), TBS: sha256.Sum256(leaf.RawTBSCertificate)}, leaf
	}
	device, leaf := refOf("ben")
	service, _ := refOf("bot")
	before := run("list", "certificates", "--json")
	text := must(json.Marshal(scene{
		Data: defaultData, Other: other, State: os.Getenv("POSTERN_STATE_DIR"), Spent: codeOf(spent), Cancelled: codeOf(cancelled), Device: device, Service: service, DeviceCertificate: leaf.Raw,
	}))
	if err := errors.Join(os.WriteFile(drillFile+".new", text, 0o644), os.Rename(drillFile+".new", drillFile)); err != nil {
		t.Fatal(err)
	}
	tried := 0
	for line := range s.lines {
		switch {
		case strings.HasPrefix(line, "drill: DONE: ") || strings.Contains(line, "NOT EVEN"):
			t.Error(line)
		case strings.HasPrefix(line, "drill: refused: "):
			tried++
			t.Log(line)
		case strings.Contains(line, "not confined to its files"):
			if os.Getenv("CI") != "" {
				t.Fatal("there is no Landlock here, so this was not tried")
			}
			t.Skip(line)
		case line == "drill: end":
			if tried < 100 {
				t.Errorf("it tried %d things only", tried)
			}
			for _, profile := range []string{"device", "bot", "admin", "service"} {
				mark := `"profile": "` + profile + `"`
				if after := run("list", "certificates", "--json"); strings.Count(after, mark) != strings.Count(before, mark) {
					t.Errorf("there are other certificates now: %s", after)
				}
			}
			run("ledger", "verify")
			return
		}
	}
	t.Fatal("the server ended")
}

// Neither process outlives the other: one that is killed takes the other along,
// within a second, and the port is free.
func TestNeitherProcessOutlivesTheOther(t *testing.T) {
	for sentence, victim := range map[string]func(*splitServer) (killed, other int){
		"the authority is killed": func(s *splitServer) (int, int) { return s.cmd.Process.Pid, s.gate() },
		"the gateway is killed":   func(s *splitServer) (int, int) { return s.gate(), s.cmd.Process.Pid },
	} {
		t.Run(sentence, func(t *testing.T) {
			port := drilled(t)
			s := startSplit(t, port)
			killed, other := victim(s)
			if err := syscall.Kill(killed, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			if !gone(other) {
				t.Errorf("the other process lives on")
			}
			var l net.Listener
			err := errors.New("not tried")
			for end := time.Now().Add(time.Second); err != nil && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
				l, err = net.Listen("tcp", fmt.Sprint("127.0.0.1:", port)) // its threads end one after the other
			}
			if err != nil {
				t.Fatal(err)
			}
			l.Close()
		})
	}
}

// What a gateway that was taken over leaves in its own part of the data folder
// leads the next one nowhere.
func TestWhatAnIntruderLeavesBehind(t *testing.T) {
	port := drilled(t)
	victim := filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(victim, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := startSplit(t, port)
	s.stop()
	record := filepath.Join(defaultData, refusalsFile)
	if err := errors.Join(os.RemoveAll(record), os.Symlink(victim, record)); err != nil { // its last line is not finished, and would be dropped
		t.Fatal(err)
	}
	cmd := splitCommand(port)
	defer time.AfterFunc(10*time.Second, func() { cmd.Process.Kill() }).Stop()
	out, err := cmd.CombinedOutput()
	if strings.Contains(string(out), "not confined to its files") {
		t.Skip(string(out))
	}
	if err == nil || !strings.Contains(string(out), "permission denied") {
		t.Errorf("it starts: %v %s", err, out)
	}
	if got, err := os.ReadFile(victim); err != nil || string(got) != "precious" {
		t.Errorf("the next gateway wrote through a link: %q, %v", got, err)
	}
}

// A gateway has no terminal: it could type into the operator's.
func TestTheGatewayHasASessionOfItsOwn(t *testing.T) {
	s := startSplit(t, drilled(t))
	pid := s.gate()
	if sid, err := unix.Getsid(pid); err != nil || sid != pid {
		t.Errorf("the gateway %d is in the session %d, %v", pid, sid, err)
	}
}

// Every commit is followed, or the gateway that does not is ended, and the
// server with it: it would let in who may come in no more.
func TestAGatewayThatStandsStill(t *testing.T) {
	s := startSplit(t, drilled(t))
	if out, code := at(t.Context(), time.Now, "issue", "ben/phone", "--out", "ben"); code != exitDone {
		t.Fatal(out)
	}
	pid := s.gate()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	out, code := at(t.Context(), time.Now, "revoke", "ben")
	t.Logf("%d after %s: %s", code, time.Since(began), out)
	for end := began.Add(25 * time.Second); !gone(pid) || !gone(s.cmd.Process.Pid); {
		if time.Now().After(end) {
			t.Fatal("the gateway stands still and the server lives on")
		}
	}
}
