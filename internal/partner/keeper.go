package partner

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postern-project/postern/internal/confine"
)

// How often sources are looked at: a file, and an address that failed, every
// minute; an address that answered every hour, or sooner when its list is due.
const (
	lookEvery  = time.Minute
	fetchEvery = time.Hour
	// fetchTime bounds one look.
	fetchTime = 10 * time.Second
)

// A Keeper keeps the revocation lists of one trust fresh. It is safe for
// concurrent use.
type Keeper struct {
	trust   Trust
	log     *slog.Logger
	now     func() time.Time
	client  *http.Client
	checker atomic.Pointer[Checker]

	mu      sync.Mutex // guards sources
	sources []source
}

type source struct {
	where   string
	list    *List
	fetched time.Time // the last success
	wrong   string    // why not, as it was last told
}

// NewKeeper returns the keeper of t, which has no list before the first Look.
func NewKeeper(t Trust, log *slog.Logger, now func() time.Time) *Keeper {
	k := &Keeper{trust: t, log: log, now: now}
	k.client = &http.Client{Timeout: fetchTime, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		if len(via) > 3 || r.URL.Scheme != "http" && r.URL.Scheme != "https" {
			return errors.New("too many redirects")
		}
		return nil
	}}
	for _, where := range t.Lists {
		k.sources = append(k.sources, source{where: where})
	}
	k.checker.Store(NewChecker(t, nil))
	return k
}

// Checker returns what judges by the lists that there are now.
func (k *Keeper) Checker() *Checker { return k.checker.Load() }

// Run looks for newer lists until ctx ends and calls changed after each change.
func (k *Keeper) Run(ctx context.Context, changed func()) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			k.client.CloseIdleConnections()
			return
		case <-tick.C:
			if k.Look(ctx) {
				changed()
			}
		}
	}
}

// Look asks the sources that are due, and reports whether a list changed. What
// cannot be had leaves the list that there is.
func (k *Keeper) Look(ctx context.Context) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	changed := false
	for i := range k.sources {
		s := &k.sources[i]
		if !s.due(k.now()) {
			continue
		}
		list, err := k.fetch(ctx, s.where)
		if err == nil && !list.newer(s.list) {
			err = errors.New("the revocation list is older than the one that is known")
		}
		if err != nil {
			if err.Error() != s.wrong {
				k.log.Warn("revocation list not read", "partner", k.trust.Name.String(), "source", s.where, "err", err)
			}
			s.wrong = err.Error()
			continue
		}
		changed = changed || !list.same(s.list)
		s.list, s.fetched, s.wrong = list, k.now(), ""
	}
	if changed {
		var lists []*List
		for _, s := range k.sources {
			if s.list != nil {
				lists = append(lists, s.list)
			}
		}
		k.checker.Store(NewChecker(k.trust, lists))
		k.log.Info("revocation lists in force", "partner", k.trust.Name.String(), "lists", len(lists))
	}
	return changed
}

func (s *source) due(now time.Time) bool {
	return s.list == nil || s.wrong != "" || !strings.HasPrefix(s.where, "http") || now.Sub(s.fetched) >= fetchEvery || !now.Before(s.list.nextUpdate)
}

func (l *List) same(old *List) bool {
	return old != nil && l.thisUpdate.Equal(old.thisUpdate) && l.nextUpdate.Equal(old.nextUpdate) && len(l.serials) == len(old.serials)
}

func (k *Keeper) fetch(ctx context.Context, where string) (*List, error) {
	read := readFile
	if strings.HasPrefix(where, "http") {
		read = k.get
	}
	data, err := read(ctx, where)
	if err != nil {
		return nil, err
	}
	issuers := slices.Concat(k.trust.Anchors.Roots, k.trust.Anchors.Intermediates)
	return ParseList(data, issuers)
}

func readFile(_ context.Context, path string) ([]byte, error) {
	f, err := confine.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return bounded(f)
}

func (k *Keeper) get(ctx context.Context, url string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := k.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the answer is %s", resp.Status)
	}
	return bounded(resp.Body)
}

// bounded reads one byte more than a list may have, so that ParseList refuses.
func bounded(r io.Reader) ([]byte, error) { return io.ReadAll(io.LimitReader(r, MaxList+1)) }

// ReadAnchors reads a trust file.
func ReadAnchors(path string, parse func([]byte) ([]*x509.Certificate, error)) ([]*x509.Certificate, error) {
	f, err := confine.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	const most = 1 << 20
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	switch {
	case err != nil:
		return nil, err
	case len(data) > most:
		return nil, fmt.Errorf("more than %d bytes, which is no trust file", most)
	}
	return parse(data)
}
