package authority

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// ListNumberFile keeps the number of the newest revocation list, of whichever
// issuer.
const ListNumberFile = "crl.number"

// epochBits is where a list number has the ledger's epoch: above all the
// milliseconds there will be for some thousand years.
const epochBits = 48

// listNumbers gives out the numbers of revocation lists, which grow with every
// list (RFC 5280 section 5.2.3), whatever becomes of the clock: they are
// milliseconds since 1970 as long as that is more than the last one, which the
// file holds. A ledger that was restored behind what was seen has a new epoch,
// which comes before all else.
type listNumbers struct {
	path string
	log  *slog.Logger
	mu   sync.Mutex // guards last
	last uint64
}

func openListNumbers(dir string, log *slog.Logger) (*listNumbers, error) {
	n := &listNumbers{path: filepath.Join(dir, ListNumberFile), log: log}
	text, err := os.ReadFile(n.path)
	if errors.Is(err, fs.ErrNotExist) {
		return n, nil
	}
	if err != nil {
		return nil, err
	}
	// One that cannot be read is as good as none: then the clock counts alone.
	if n.last, err = strconv.ParseUint(strings.TrimSpace(string(text)), 10, 63); err != nil {
		log.Warn("number of the newest revocation list not readable, the clock gives the next one", "file", n.path, "err", err)
	}
	return n, nil
}

// next returns a number above every one before. It is kept before anybody sees
// it; a disk that refuses is told to the operator and stops no list.
func (n *listNumbers) next(epoch uint64, now time.Time) uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.last = max(epoch<<epochBits|uint64(max(now.UnixMilli(), 0)), n.last+1)
	if err := writePlain(n.path, strconv.AppendUint(nil, n.last, 10)); err != nil {
		n.log.Warn("number of the newest revocation list not kept", "file", n.path, "err", err)
	}
	return n.last
}
