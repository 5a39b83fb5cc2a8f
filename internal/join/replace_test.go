package join

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestASecondJoinAsksForForce(t *testing.T) {
	o := newOffice(t).start(t)
	dir := filepath.Join(t.TempDir(), "out")
	options := Options{Link: o.link(), Out: dir, P12: true}
	if _, err := Run(t.Context(), options); err != nil {
		t.Fatal(err)
	}
	first := checkPair(t, dir)
	asked := o.asked.Load()
	_, err := Run(t.Context(), options)
	if e, ok := errors.AsType[*ExistsError](err); !ok || e.Name != "anna/laptop" || !strings.Contains(err.Error(), "--force") {
		t.Fatalf("got %v, want an ExistsError", err)
	}
	if !checkPair(t, dir).Equal(first) || o.asked.Load() != asked {
		t.Error("the refused join changed something")
	}
	options.Force, options.P12 = true, false
	options.write = failing(CertFile, syscall.ENOSPC)
	if _, err = Run(t.Context(), options); err == nil || !checkPair(t, dir).Equal(first) {
		t.Errorf("a join that did not end well changed the files: %v", err)
	}
	options.write = nil
	if _, err = Run(t.Context(), options); err != nil {
		t.Fatal(err)
	}
	if checkPair(t, dir).Equal(first) {
		t.Error("the certificate was not replaced")
	}
	if exists(dir, P12File) || exists(dir, PasswordFile) {
		t.Error("the old key is still in " + P12File)
	}
}

func TestAnExpiredCertificateIsReplacedWithoutForce(t *testing.T) {
	o := newOffice(t)
	o.lifetime = 30 * time.Minute // it began an hour ago
	o.start(t)
	dir := t.TempDir()
	for range 2 {
		if _, err := Run(t.Context(), Options{Link: o.link(), Out: dir}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestInTheUsualFolderAGoodCertificateIsSetAside(t *testing.T) {
	o := newOffice(t).start(t)
	home := t.TempDir()
	r, err := Run(t.Context(), Options{Link: o.link(), Home: home})
	if err != nil {
		t.Fatal(err)
	}
	first := checkPair(t, r.Dir)
	again, err := Run(t.Context(), Options{Link: o.link(), Home: home})
	if err != nil {
		t.Fatal(err)
	}
	aside := filepath.Join(r.Dir, asidePrefix+r.Serial)
	if !checkPair(t, aside).Equal(first) || checkPair(t, again.Dir).Equal(first) {
		t.Error("the old files are not where they should be")
	}
	if len(again.Notes) != 1 || !strings.Contains(again.Notes[0], aside) {
		t.Errorf("notes %q", again.Notes)
	}
}

func TestOtherFilesInTheFolderStay(t *testing.T) {
	o := newOffice(t).start(t)
	dir := t.TempDir()
	other := filepath.Join(dir, "letter.txt")
	if err := os.WriteFile(other, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(t.Context(), Options{Link: o.link(), Out: dir}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(other); err != nil {
		t.Error(err)
	}
}

// Killed between any two renames, the files are whole again after the next run.
func TestAnInterruptedInstallIsFinished(t *testing.T) {
	o := newOffice(t).start(t)
	for done := range placed {
		dir := t.TempDir()
		options := Options{Link: o.link(), Out: dir, P12: true}
		if _, err := Run(t.Context(), options); err != nil {
			t.Fatal(err)
		}
		fresh := t.TempDir()
		if _, err := Run(t.Context(), Options{Link: o.link(), Out: fresh, P12: true}); err != nil {
			t.Fatal(err)
		}
		want := checkPair(t, fresh)
		if err := os.Rename(fresh, filepath.Join(dir, nextDir)); err != nil {
			t.Fatal(err)
		}
		for _, name := range placed[:done] {
			if !exists(filepath.Join(dir, nextDir), name) {
				continue
			}
			if err := os.Rename(filepath.Join(dir, nextDir, name), filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := Renew(t.Context(), RenewOptions{Dir: dir, write: failing(KeyFile, syscall.ENOSPC)}); err == nil {
			t.Fatal("no error")
		}
		if !checkPair(t, dir).Equal(want) || exists(dir, nextDir) {
			t.Errorf("after %d renames the files are not whole", done)
		}
		checkP12(t, dir)
	}
}

func TestWhatAKilledRunLeftIsSweptLater(t *testing.T) {
	o := newOffice(t).start(t)
	dir := t.TempDir()
	old, recent := filepath.Join(dir, stagePrefix+"1"), filepath.Join(dir, stagePrefix+"2")
	for _, stage := range []string{old, recent} {
		if err := os.Mkdir(stage, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	past := time.Now().Add(-2 * staleAfter)
	if err := os.Chtimes(old, past, past); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(t.Context(), Options{Link: o.link(), Out: dir}); err != nil {
		t.Fatal(err)
	}
	if exists(dir, filepath.Base(old)) || !exists(dir, filepath.Base(recent)) {
		t.Error("the wrong stage was swept")
	}
}
