package store

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/ledger"
)

// To keep the data folder of a release:
//
//	go test ./internal/store -run TestDataOfEveryReleaseOpens -keep data-v2
var keep = flag.String("keep", "", "make testdata/NAME from this version")

func TestDataOfEveryReleaseOpens(t *testing.T) {
	if *keep != "" {
		keepFixture(t, filepath.Join("testdata", *keep, "postern.db"))
	}
	found, err := filepath.Glob("testdata/data-v*/postern.db")
	must(t, err)
	if len(found) == 0 {
		t.Fatal("there is no kept data to open")
	}
	for _, path := range found {
		t.Run(filepath.Base(filepath.Dir(path)), func(t *testing.T) {
			data, err := os.ReadFile(path)
			must(t, err)
			target := filepath.Join(t.TempDir(), "postern.db")
			must(t, os.WriteFile(target, data, 0o600))
			s := openAt(t, target, Options{Now: func() time.Time { return time.Date(2026, 5, 2, 0, 0, 0, 0, time.UTC) }})
			sound(t, s)
			if n := len(bodies(t, s)); n != 21 {
				t.Errorf("%d entries, want 21", n)
			}
			update(t, s, ledger.IdentityCreated{Name: name("anna")})
			sound(t, s)
			head, err := s.Head(t.Context())
			if err != nil || head.Epoch != 1 || head.Size != 22 {
				t.Errorf("head %+v, %v", head, err)
			}
		})
	}
}

func keepFixture(t *testing.T, path string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	s := openAt(t, path, Options{Now: func() time.Time { return time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC) }})
	newWorld(t).everything(t, s)
	must(t, s.Close())
}
