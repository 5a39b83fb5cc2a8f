package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"golang.org/x/sys/unix"
)

// smallDisk mounts a disk of four megabytes, which only root can.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skipf("a small disk cannot be mounted here: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// fillUp takes all the room that is left, and returns what gives it back.
func fillUp(t *testing.T, disk string) (free func()) {
	t.Helper()
	path := filepath.Join(disk, "filler")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 16; size > 0; size /= 2 {
		for block := make([]byte, size); ; {
			if _, err := f.Write(block); err != nil {
				break
			}
		}
	}
	if _, err := f.Seek(0, io.SeekEnd); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// A disk that is full stops whatever writes, with an error that says so, and
// loses nothing: the same command works once there is room again.
func TestAFullDiskStopsWhatWritesAndLosesNothing(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t)
	d := newDoor(t)
	d.home, d.data = disk, filepath.Join(disk, "data")
	state := filepath.Join(t.TempDir(), "state")
	if err := os.MkdirAll(state, 0o700); err != nil {
		t.Fatal(err)
	}
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	identity := filepath.Join(state, "identity")
	writeTo(t, identity, []byte(id.String()+"\n"))
	d.env = append(d.env, "POSTERN_STATE_DIR="+state)
	root := filepath.Join(disk, "data", "root.key.age")
	full := func(name string, args ...string) {
		t.Helper()
		free := fillUp(t, disk)
		out, code := d.try(args...)
		free()
		if said := strings.Join(strings.Fields(out), " "); code == 0 || !strings.Contains(said, "no space left on device") && !strings.Contains(said, "disk is full") {
			t.Errorf("%s on a full disk exited with %d: %s", name, code, out)
		}
		if out, code := d.try(args...); code != 0 {
			t.Fatalf("%s with room again exited with %d: %s", name, code, out)
		}
	}
	full("init", "init", "--trust-domain", "example.com")
	words, err := filepath.Glob(filepath.Join(d.data, "secrets", "root-passphrase*.txt"))
	if err != nil || len(words) == 0 {
		t.Fatal(words, err)
	}
	d.env = append(d.env, "POSTERN_ROOT_PASSPHRASE_FILE="+words[len(words)-1])
	full("issue", "issue", "ben/phone", "--out", filepath.Join(state, "ben"))
	full("invite", "invite", "ben/tablet", "--json")
	full("group add", "group", "add", "family", "ben")
	full("issuer rotate", "issuer", "rotate", "clients", "--root-key", root)
	full("the switch", "issuer", "rotate", "clients")
	full("ledger rotate-key", "ledger", "rotate-key", "--root-key", root)
	full("revoke", "revoke", "ben/phone")
	full("backup", "backup", "--out", filepath.Join(disk, "all.backup"), "--with-keys", "--recipient", id.Recipient().String())
	if out := d.run("ledger", "verify"); !strings.Contains(out, "as it was written") {
		t.Error(out)
	}
	if out := d.run("show", "ben/phone"); !strings.Contains(out, "revoked") {
		t.Error(out)
	}
	d.data = filepath.Join(disk, "again")
	full("restore", "restore", filepath.Join(disk, "all.backup"), "--identity", identity)
	d.run("ledger", "verify")
	left, err := filepath.Glob(filepath.Join(disk, "*", ".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}
