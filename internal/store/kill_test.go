package store

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/ledger"
)

// TestMain lets the test binary be the victim of TestKilledAtAnyInstant.
func TestMain(m *testing.M) {
	if path := os.Getenv("POSTERN_TEST_VICTIM"); path != "" {
		fmt.Fprintln(os.Stderr, victim(path, os.Getenv("POSTERN_TEST_ROUND")))
		os.Exit(1)
	}
	if path := os.Getenv("POSTERN_TEST_STRANGER"); path != "" {
		fmt.Print(stranger(path))
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// victim appends for ever and says which names are safe.
func victim(path, round string) error {
	s, err := Open(context.Background(), path, Options{Signer: signer})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	errs := make(chan error)
	for g := range 8 {
		go func() {
			for i := 0; ; i++ {
				n := fmt.Sprintf("r%s-%d-%d", round, g, i)
				if err := appendAll(s, ledger.IdentityCreated{Name: name(n)}, ledger.IdentityCreated{Name: name(n + "/x")}); err != nil {
					errs <- err
					return
				}
				os.Stdout.WriteString(n + "\n") // one write, so that no line is torn by another
			}
		}()
	}
	return <-errs
}

// I10: killing the process at any instant loses no acknowledged entry and
// leaves no half-written state.
func TestKilledAtAnyInstant(t *testing.T) {
	path := filepath.Join(t.TempDir(), "postern.db")
	s := openAt(t, path, Options{})
	newWorld(t).begin(t, s)
	must(t, s.Close())
	rounds := 12
	if testing.Short() {
		rounds = 3
	}
	acknowledged := 0
	for round := range rounds {
		names := killed(t, path, round, time.Duration(round*7+1)*time.Millisecond)
		acknowledged += len(names)
		s := openAt(t, path, Options{})
		for _, n := range names {
			for _, half := range []string{n, n + "/x"} {
				if _, err := s.Identity(t.Context(), name(half)); err != nil {
					t.Errorf("round %d: %s was acknowledged: %v", round, half, err)
				}
			}
		}
		sound(t, s)
		must(t, s.Close())
	}
	if acknowledged == 0 {
		t.Error("nothing was ever acknowledged, so nothing was tested")
	}
}

// killed runs a victim, kills it some time after it is ready, and returns what
// it had acknowledged.
func killed(t *testing.T, path string, round int, after time.Duration) []string {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "POSTERN_TEST_VICTIM="+path, fmt.Sprint("POSTERN_TEST_ROUND=", round))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "ready" {
		t.Fatalf("the victim said %q: %v", lines.Text(), cmd.Wait())
	}
	var names []string
	var wg sync.WaitGroup
	wg.Go(func() {
		for lines.Scan() {
			names = append(names, lines.Text())
		}
	})
	time.Sleep(after) // a real process is killed after real time
	must(t, cmd.Process.Kill())
	wg.Wait()
	if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Fatalf("the victim ended by itself: %v", err)
	}
	return names
}
