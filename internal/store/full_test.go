package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/postern-project/postern/internal/ledger"
)

// A disk has room or has not.
type disk struct {
	dir     string
	options Options
	resize  func(t *testing.T, large bool)
}

// pageLimit is a disk whose room SQLite itself keeps to.
func pageLimit(t *testing.T) disk {
	var pages atomic.Int64
	pages.Store(60)
	limit := func(c *session) error {
		var now int64
		return c.row(context.Background(), fmt.Sprintf("PRAGMA max_page_count = %d", pages.Load()), nil, &now)
	}
	return disk{dir: t.TempDir(), options: Options{connected: limit}, resize: func(_ *testing.T, large bool) {
		if large {
			pages.Store(1 << 20)
		}
	}}
}

// I10: a full disk stops appending with a clear error, loses nothing that was
// acknowledged, does not stop readers, and is over when there is room again.
func TestAFullDisk(t *testing.T) {
	t.Run("by a limit", func(t *testing.T) { fillAndFree(t, pageLimit(t)) })
	if d, ok := tmpfs(t); ok {
		t.Run("by a real one", func(t *testing.T) { fillAndFree(t, d) })
	}
}

func fillAndFree(t *testing.T, d disk) {
	s := openAt(t, filepath.Join(d.dir, "postern.db"), d.options)
	newWorld(t).begin(t, s)
	acknowledged := fill(t, s)
	for i := range 2 {
		flood := make([]ledger.Body, 2000)
		for j := range flood {
			flood[j] = large(fmt.Sprint("flood ", i, j))
		}
		if err := appendAll(s, flood...); !errors.Is(err, ErrFull) {
			t.Errorf("still full: %v", err)
		}
	}
	if _, err := s.Identity(t.Context(), name("ben")); err != nil {
		t.Errorf("a reader was stopped: %v", err)
	}
	d.resize(t, true)
	update(t, s, ledger.IdentityCreated{Name: name("after")})
	for _, n := range acknowledged {
		if _, err := s.Invite(t.Context(), n); err != nil {
			t.Errorf("acknowledged before the disk was full: %v", err)
		}
	}
	sound(t, s)
	must(t, s.Close())
	sound(t, openAt(t, s.Path(), Options{}))
}

// fill appends from many goroutines until each has met the full disk.
func fill(t *testing.T, s *Store) (acknowledged []ledger.Hash) {
	t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				invite := large(fmt.Sprint(g, " ", i))
				err := appendAll(s, invite)
				if err == nil {
					mu.Lock()
					acknowledged = append(acknowledged, invite.Code)
					mu.Unlock()
					continue
				}
				if !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), "free some space") {
					t.Errorf("got %v, want ErrFull", err)
				}
				return
			}
		})
	}
	wg.Wait()
	if len(acknowledged) == 0 {
		t.Error("nothing fitted on the disk, so nothing was tested")
	}
	return acknowledged
}

// large is an entry of some size.
func large(what string) ledger.InviteCreated {
	return ledger.InviteCreated{Code: hashOf(what, 0), Name: name("ben"), Profile: strings.Repeat("p", 60)}
}
