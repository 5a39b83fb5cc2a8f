package attack

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unicode/utf8"
)

// A secret that others can read is no secret: the server does not start on it,
// and says which file and what to type.
func TestKeysThatOthersCanRead(t *testing.T) {
	t.Parallel()
	h := ownHouse(t, "%LISTEN%\nsites:\n  ben.attack.test: {static: page, allow: [ben]}\n")
	for _, name := range []string{"ledger.key", "issuers/clients-1.key", "issuers/servers-1.key"} {
		path := filepath.Join(h.data, name)
		for _, mode := range []os.FileMode{0o644, 0o640, 0o602} {
			must(t, os.Chmod(path, mode))
			if said := h.refusesToStart(t); !strings.Contains(said, "chmod 600") || !strings.Contains(said, filepath.Base(name)) {
				t.Errorf("%s with mode %o: %.300s", name, mode, said)
			}
			h.kill()
		}
		must(t, os.Chmod(path, 0o600))
	}
	h.mustOpen(t)
	must(t, filepath.WalkDir(h.data, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		secret := strings.HasSuffix(path, ".key") || strings.HasSuffix(path, ".age") || strings.Contains(path, "postern.db") || strings.HasSuffix(path, "refusals.jsonl")
		if secret && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has the mode %v", path, info.Mode())
		}
		return nil
	}))
}

// A data folder that others can write in is mended and the log says so: whoever
// can put a file there has the house.
func TestADataFolderThatOthersCanWriteIn(t *testing.T) {
	t.Parallel()
	h := ownHouse(t, "%LISTEN%\nsites:\n  ben.attack.test: {static: page, allow: [ben]}\n")
	loose := map[string][2]os.FileMode{
		".": {0o777, 0o755}, "issuers": {0o770, 0o750}, "secrets": {0o777, 0o755},
		"postern.db": {0o666, 0o600}, "root.key.age": {0o644, 0o600}, "root.pem": {0o666, 0o644}, "issuers/clients-1.pem": {0o664, 0o644},
	}
	for name, c := range loose {
		must(t, os.Chmod(filepath.Join(h.data, name), c[0]))
	}
	h.mustOpen(t)
	for name, c := range loose {
		path := filepath.Join(h.data, name)
		info, err := os.Stat(path)
		must(t, err)
		if got := info.Mode().Perm(); got != c[1] {
			t.Errorf("%s: %04o, want %04o", name, got, c[1])
		}
		if said := h.output.String(); !strings.Contains(said, "path="+path+" ") || !strings.Contains(said, fmt.Sprintf("mode=%04o", c[0])) {
			t.Errorf("%s: nothing is said of it:\n%s", name, said)
		}
	}
}

// A folder that is not the server's own is used, and the log says that others can
// write in it: so are the volumes of many containers.
func TestADataFolderOfAnother(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("this was not tried: only root can have two users")
		}
		t.Skip("only root can have two users")
	}
	h := ownHouse(t, "%LISTEN%\nsites:\n  ben.attack.test: {static: page, allow: [ben]}\n")
	const nobody = 65534
	must(t, filepath.WalkDir(h.home, func(path string, _ os.DirEntry, err error) error {
		if err != nil || path == h.data {
			return err
		}
		return os.Lchown(path, nobody, nobody)
	}))
	must(t, os.Chmod(h.data, 0o777))
	for dir := filepath.Dir(h.home); dir != "/" && dir != os.TempDir(); dir = filepath.Dir(dir) {
		must(t, os.Chmod(dir, 0o755))
	}
	h.dropTo = &syscall.Credential{Uid: nobody, Gid: nobody}
	h.mustOpen(t)
	if said := h.output.String(); !strings.Contains(said, "not ours to mend") {
		t.Errorf("nothing is said of it:\n%s", said)
	}
}

// What strangers write into names, paths and fields is one line of the log at
// most, with nothing that steers a terminal, and no secret of anybody's.
//
// Puppet CVE-2012-3867; lines forged by a line break.
func TestNothingIsForgedInTheLog(t *testing.T) {
	t.Parallel()
	h := theHouse(t)
	ben := h.identity(t, "ben/laptop")
	const forged = "level=ERROR msg=\"forged by mallory\""
	evil := []string{"\n" + forged, "\r\n" + forged, "%0a" + forged, "\x1b[2J" + forged, "\x00" + forged, "\u2028" + forged, "\u202e" + forged, "\x9b31m" + forged, "\u0085" + forged}
	for _, e := range evil {
		for _, request := range []string{
			"GET /" + e + " HTTP/1.1\r\nHost: ben.attack.test\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: " + e + "\r\n\r\n",
			"G" + e + " / HTTP/1.1\r\nHost: ben.attack.test\r\n\r\n",
			"POST / HTTP/1.1\r\nHost: ben.attack.test\r\nOrigin: " + e + "\r\nContent-Length: 0\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: ben.attack.test\r\nUser-Agent: " + e + "\r\nReferer: " + e + "\r\n\r\n",
			"GET /?secret=hunter2 HTTP/1.1\r\nHost: ben.attack.test\r\nAuthorization: Bearer hunter2\r\nCookie: a=hunter2\r\n\r\n",
		} {
			h.say(t, h.tls(ben, "ben.attack.test"), request)
		}
		if !utf8.ValidString(e) { // no certificate can be made of it
			continue
		}
		template := device("ben/laptop")
		template.Subject.CommonName, template.Subject.Organization = e, []string{e}
		stranger, err := newAuthority("evil "+e, nil)
		must(t, err)
		h.get(t, stranger.sign(t, template), "ben.attack.test", "/")
		c := h.tls(ben, "x"+strings.Trim(e, "\x00\r\n")+".attack.test")
		c.InsecureSkipVerify = true
		h.dial(t, c)
	}
	for line := range strings.Lines(h.output.String()) {
		if strings.HasPrefix(line, "level=ERROR") || strings.Contains(line, "hunter2") || strings.ContainsFunc(strings.TrimSuffix(line, "\n"), func(r rune) bool {
			return r < ' ' || 0x7f <= r && r < 0xa0 || r == '\u2028' || r == '\u202e'
		}) {
			t.Errorf("the log has %q", line)
		}
	}
}

// Neither the environment of the running server nor what it leaves when it is
// made to crash holds a key.
func TestNoKeyInEnvironmentOrCoreDump(t *testing.T) {
	t.Parallel()
	h := ownHouse(t, "%LISTEN%\nsites:\n  ben.attack.test: {static: page, allow: [ben]}\n")
	h.env = []string{"GOTRACEBACK=crash"} // the setting with which Go dumps core
	h.mustOpen(t)
	environment, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", h.cmd.Process.Pid))
	must(t, err)
	if strings.Contains(string(environment), "PRIVATE KEY") || strings.Contains(string(environment), "AGE-SECRET") {
		t.Error("a key is in the environment")
	}
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", h.cmd.Process.Pid))
	must(t, err)
	for line := range strings.Lines(string(limits)) {
		if strings.HasPrefix(line, "Max core file size") && !strings.Contains(line, " 0                    0                    ") {
			t.Errorf("the system may write the server's memory to a file: %s", line)
		}
	}
	must(t, h.cmd.Process.Signal(syscall.SIGABRT))
	<-h.exited
	if h.cmd.ProcessState.Sys().(syscall.WaitStatus).CoreDump() {
		t.Error("it dumped core")
	}
	if strings.Contains(h.output.String(), "PRIVATE KEY") {
		t.Error("a key is in the trace")
	}
	h.cmd = nil
}
