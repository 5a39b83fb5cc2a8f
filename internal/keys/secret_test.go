package keys

import (
	"bytes"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

func TestASecretIsMadeOnceAndStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "acme.key")
	var all [8][]byte
	var wg sync.WaitGroup
	for i := range all {
		wg.Go(func() {
			var err error
			if all[i], err = Secret(path); err != nil && len(all[i]) != 0 {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	again, err := Secret(path)
	if err != nil || len(again) != secretSize {
		t.Fatalf("%d bytes, %v", len(again), err)
	}
	for _, s := range all {
		if s != nil && !bytes.Equal(s, again) {
			t.Error("two callers got different secrets")
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}

func TestASecretThatOthersReadOrThatIsNoneIsRefused(t *testing.T) {
	for sentence, prepare := range map[string]func(string) error{
		"others can read it": func(p string) error { return os.WriteFile(p, bytes.Repeat([]byte("ab"), 32), 0o644) },
		"it is too short":    func(p string) error { return os.WriteFile(p, []byte("abcd"), 0o600) },
		"it is no hex":       func(p string) error { return os.WriteFile(p, bytes.Repeat([]byte("xy"), 32), 0o600) },
		"it is a folder":     func(p string) error { return os.Mkdir(p, 0o700) },
	} {
		t.Run(sentence, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "acme.key")
			if err := prepare(path); err != nil {
				t.Fatal(err)
			}
			if s, err := Secret(path); err == nil {
				t.Errorf("%x was taken", s)
			}
		})
	}
}
