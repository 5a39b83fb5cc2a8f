package gateway

import (
	"cmp"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/postern-project/postern/internal/refusal"
)

// JournalOptions sets a journal's bounds. The zero value means the defaults.
type JournalOptions struct {
	// Max is how many records are kept, at most; 100,000 by default. Half
	// as many may be what is left after the older half was dropped.
	Max int
	// MaxAge is how long a record is kept; seven days by default.
	MaxAge time.Duration
	// Log is told when the disk refuses a write.
	Log *slog.Logger
	// Now is the clock; time.Now by default.
	Now func() time.Time
}

// A Journal keeps refusals in a bounded file. Whoever is refused costs no
// wait: records are written behind, and of many alike only some are. It is
// safe for concurrent use.
type Journal struct {
	log *slog.Logger
	now func() time.Time

	// mu guards what Record touches; it is never held during a write.
	mu      sync.Mutex
	sampler sampler
	recent  ring      // the newest, written or not
	pending []Refused // to be written, oldest first
	lost    uint64    // dropped because the disk was too slow
	closed  bool

	// disk guards the files. Who takes both takes disk first.
	disk    sync.Mutex
	files   segments
	ailing  bool // the last write failed, and the log knows
	wake    chan struct{}
	stopped sync.WaitGroup
}

// maxPending bounds what waits for the disk, in records.
const maxPending = 4096

// OpenJournal opens the journal at path and, beside it, path.1 with the older
// half, making what is missing, readable by the owner only. A line that a
// killed process left unfinished is dropped. Close it when done.
func OpenJournal(path string, o JournalOptions) (*Journal, error) {
	o.Max, o.MaxAge = cmp.Or(o.Max, 100_000), cmp.Or(o.MaxAge, 7*24*time.Hour)
	j := &Journal{log: cmp.Or(o.Log, slog.New(slog.DiscardHandler)), now: o.Now, wake: make(chan struct{}, 1)}
	if j.now == nil {
		j.now = time.Now
	}
	j.sampler = newSampler()
	j.recent = newRing(min(o.Max, recentSize))
	files, err := openSegments(path, o.Max, o.MaxAge, j.now())
	if err != nil {
		return nil, fmt.Errorf("open the refusals at %s: %w", path, err)
	}
	j.files = files
	j.stopped.Go(j.write)
	return j, nil
}

// Record notes one refusal and returns at once. Control characters in it are
// escaped, and long fields shortened. Of refusals with the same code from the
// same network only the first few in a minute reach the file, where the next
// record says how many did not; all of them are found by Find for a while.
func (j *Journal) Record(r Refused) {
	if r.Time.IsZero() {
		r.Time = j.now()
	}
	r = r.presentable()
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return
	}
	keep, suppressed := j.sampler.take(r.Code, r.Address, r.Time)
	r.Suppressed = suppressed
	j.recent.add(r)
	if !keep {
		return
	}
	if len(j.pending) >= maxPending {
		j.lost++
		return
	}
	j.pending = append(j.pending, r)
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// Lost returns how many records were given up because the disk did not keep
// up.
func (j *Journal) Lost() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.lost
}

// Find returns the refusal with that reference, and whether there is one.
func (j *Journal) Find(ref refusal.Reference) (Refused, bool, error) {
	if ref.IsZero() {
		return Refused{}, false, nil
	}
	j.disk.Lock()
	defer j.disk.Unlock()
	oldest := j.now().Add(-j.files.maxAge)
	j.mu.Lock()
	found, ok := j.recent.find(ref)
	if !ok {
		found, ok = findIn(j.pending, ref)
	}
	j.mu.Unlock()
	if ok {
		return found, found.Time.After(oldest), nil
	}
	for r, err := range j.files.newestFirst([]byte(ref.String())) {
		if err != nil {
			return Refused{}, false, err
		}
		if r.Reference == ref {
			return r, r.Time.After(oldest), nil
		}
	}
	return Refused{}, false, nil
}

// Recent returns the last n refusals that were kept, newest first.
func (j *Journal) Recent(n int) ([]Refused, error) {
	j.disk.Lock()
	defer j.disk.Unlock()
	oldest := j.now().Add(-j.files.maxAge)
	j.mu.Lock()
	waiting := slices.Clone(j.pending[max(0, len(j.pending)-max(0, n)):])
	j.mu.Unlock()
	var list []Refused
	for _, r := range slices.Backward(waiting) {
		if r.Time.After(oldest) {
			list = append(list, r)
		}
	}
	if len(list) >= n {
		return list, nil
	}
	for r, err := range j.files.newestFirst(nil) {
		if err != nil {
			return list, err
		}
		if r.Time.After(oldest) {
			list = append(list, r)
		}
		if len(list) >= n {
			break
		}
	}
	return list, nil
}

// write moves records to the disk until Close.
func (j *Journal) write() {
	for range j.wake {
		j.flush()
	}
	j.flush()
}

func (j *Journal) flush() {
	j.disk.Lock()
	defer j.disk.Unlock()
	j.mu.Lock()
	batch := j.pending
	j.pending = nil
	j.mu.Unlock()
	if len(batch) == 0 {
		return
	}
	err := j.files.append(batch, j.now())
	if err != nil && !j.ailing {
		j.log.Error("refusals not written", "err", err)
	}
	j.ailing = err != nil
}

// Close writes what is pending and closes the files. Record does nothing
// afterwards.
func (j *Journal) Close() error {
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		return nil
	}
	j.closed = true
	close(j.wake)
	j.mu.Unlock()
	j.stopped.Wait()
	j.disk.Lock()
	defer j.disk.Unlock()
	return j.files.close()
}
