package authority

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/postern-project/postern/internal/keys"
)

// The ledger's key is exchanged while the store's writer stands still: the next
// one is moved into place, signs the checkpoint over the entry that names it,
// and the last one is removed once that is on the disk. A crash in between
// leaves both, and the entries say which is in use.

// exchangeLedgerKey puts the next key in place of the one in use.
func (s *Service) exchangeLedgerKey() error {
	return errors.Join(
		os.Rename(s.file(LedgerKeyFile), s.file(lastLedgerKeyFile)),
		os.Rename(s.file(nextLedgerKeyFile), s.file(LedgerKeyFile)),
		keys.SyncDir(s.dir))
}

// putBackLedgerKey undoes exchangeLedgerKey, unless the exchange had not begun.
func (s *Service) putBackLedgerKey() error {
	if _, err := os.Stat(s.file(lastLedgerKeyFile)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return SettleLedgerKey(s.dir, s.roster.Anchors().LedgerKey)
}

func (s *Service) file(name string) string { return filepath.Join(s.dir, name) }

// SettleLedgerKey makes the key that the entries name the one in place, whatever
// a crash has left. A key that was replaced does not stay.
func SettleLedgerKey(dir string, inUse ed25519.PublicKey) error {
	place := filepath.Join(dir, LedgerKeyFile)
	found := ""
	for _, name := range []string{LedgerKeyFile, lastLedgerKeyFile, nextLedgerKeyFile} {
		key, err := keys.ReadPrivate(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if pub, ok := key.Public().(ed25519.PublicKey); ok && pub.Equal(inUse) {
			found = name
			break
		}
	}
	switch found {
	case "":
		return fmt.Errorf("%s is not the key that the entries of the ledger name: put back the one that belongs to it", place)
	case lastLedgerKeyFile: // the exchange was not recorded: the other one goes on waiting
		if err := moveIfThere(place, filepath.Join(dir, nextLedgerKeyFile)); err != nil {
			return err
		}
		return errors.Join(os.Rename(filepath.Join(dir, lastLedgerKeyFile), place), keys.SyncDir(dir))
	case nextLedgerKeyFile:
		return errors.Join(os.Rename(filepath.Join(dir, nextLedgerKeyFile), place), keys.SyncDir(dir))
	}
	err := os.Remove(filepath.Join(dir, lastLedgerKeyFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(err, keys.SyncDir(dir))
}

func moveIfThere(from, to string) error {
	err := os.Rename(from, to)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
