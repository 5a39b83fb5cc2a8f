package confine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const within = "POSTERN_TEST_CONFINE"

// TestMain is also the process that is confined: it tries what it was told to,
// and says what it could do.
func TestMain(m *testing.M) {
	dir := os.Getenv(within)
	if dir == "" {
		os.Exit(m.Run())
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	if err := ToFiles(Reach{Read: []string{in("read"), in("missing")}, Write: []string{in("write"), os.DevNull}, Run: []string{in("run")}}); err != nil {
		fmt.Println("confine:", err)
		os.Exit(1)
	}
	try := func(what string, err error) {
		switch {
		case err == nil:
			fmt.Println(what, "yes")
		case errors.Is(err, fs.ErrPermission):
			fmt.Println(what, "no")
		default:
			fmt.Println(what, err)
		}
	}
	read := func(path string) error { _, err := os.ReadFile(path); return err }
	try("read what is to be read", read(in("read/file")))
	try("write there", os.WriteFile(in("read/file"), nil, 0o600))
	try("make a file there", os.WriteFile(in("read/new"), nil, 0o600))
	try("write what is to be written", os.WriteFile(in("write/file"), nil, 0o600))
	try("move it", os.Rename(in("write/file"), in("write/moved")))
	try("read beside", read(in("beside")))
	try("read by a link", read(in("read/link")))
	try("move it out", os.Rename(in("write/moved"), in("moved")))
	try("read the passwords", read("/etc/shadow"))
	try("start what may be started", exec.Command(in("run/true")).Run())
	try("start a shell", exec.Command("/bin/sh", "-c", "true").Run())
	got, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	fmt.Println("no new privileges:", got, err)
	try("in another thread", func() error {
		done := make(chan error)
		go func() { done <- read(in("beside")) }()
		return <-done
	}())
	os.Exit(0)
}

// A process that was confined reads, writes and starts what it may, and nothing
// else, in each of its threads, by whatever name.
func TestToFiles(t *testing.T) {
	dir := t.TempDir()
	for _, folder := range []string{"read", "write", "run"} {
		if err := os.Mkdir(filepath.Join(dir, folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"read/file", "beside"} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(dir, "beside"), filepath.Join(dir, "read/link")); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "true.go")
	if err := os.WriteFile(program, []byte("package main\nfunc main() {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "run/true"), program)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), within+"="+dir)
	out, err := cmd.CombinedOutput()
	if strings.Contains(string(out), ErrUnsupported.Error()) {
		if os.Getenv("CI") != "" {
			t.Fatal("there is no Landlock here, so this was not tried")
		}
		t.Skip(ErrUnsupported)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	want := `read what is to be read yes
write there no
make a file there no
write what is to be written yes
move it yes
read beside no
read by a link no
move it out no
read the passwords no
start what may be started yes
start a shell no
no new privileges: 1 <nil>
in another thread no
`
	if string(out) != want {
		t.Errorf("it could:\n%swant:\n%s", out, want)
	}
}

func TestCovers(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "real/below"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(dir, "real"), filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	r := Reach{Read: []string{filepath.Join(dir, "link")}, Write: []string{filepath.Join(dir, "gone")}}
	for path, want := range map[string]bool{"real": true, "real/below/file": true, "link/below": true, "real2": false, "": false, "gone/file": true, "real/../other": false} {
		if got := r.Covers(filepath.Join(dir, path)); got != want {
			t.Errorf("%q is covered: %v, want %v", path, got, want)
		}
	}
	if (Reach{}).Covers("/") {
		t.Error("no reach covers something")
	}
}
