package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"filippo.io/age"

	"github.com/postern-project/postern/internal/api"
	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/backup"
	"github.com/postern-project/postern/internal/follow"
	"github.com/postern-project/postern/internal/keys"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/store"
)

// restoreFolder is where a backup is unpacked, inside the data folder, before
// it counts.
const restoreFolder = ".restore"

type restoring struct {
	accept, withoutKeys  bool
	identity, passphrase string
}

func (f restoring) identities() ([]age.Identity, error) {
	if f.passphrase != "" {
		p, err := keys.ReadPassphraseFile(f.passphrase)
		if err != nil {
			return nil, err
		}
		i, err := p.Identity()
		return []age.Identity{i}, err
	}
	if f.identity == "" {
		return nil, nil
	}
	file, err := os.Open(f.identity)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return age.ParseIdentities(file)
}

// restored is what 'restore --json' prints.
type restored struct {
	TrustDomain string   `json:"trust_domain"`
	Epoch       uint64   `json:"epoch"`
	Size        uint64   `json:"size"`
	Keys        []string `json:"keys"`
}

// restoreBackup makes a data folder of a backup.
func (a *app) restoreBackup(ctx context.Context, path string, f restoring) error {
	identities, err := f.identities()
	if err != nil {
		return err
	}
	from := a.Stdin
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		defer file.Close()
		from = file
	}
	lock, err := api.Hold(ctx, a.data(), api.DefaultWait)
	if err != nil {
		return err
	}
	done, err := a.unpack(ctx, lock.Dir(), from, backup.RestoreOptions{Identities: identities, WithoutKeys: f.withoutKeys, Check: a.sameDomain}, f.accept)
	if err != nil {
		lock.Abandon()
		return err
	}
	if err := lock.Close(); err != nil {
		return err
	}
	if f.accept && contains(done.KeyFiles, authority.LedgerKeyFile) {
		if err := a.acceptIfBehind(ctx); err != nil {
			return err
		}
	}
	result := restored{done.TrustDomain, done.Epoch, done.Size, present(done.KeyFiles)}
	return a.show(result, func(w io.Writer) {
		say(w, "%s holds the ledger of %s with %s again.", here(a.data()), done.TrustDomain, entries(done.Size))
		if len(done.KeyFiles) == 0 {
			say(w, "Put ledger.key and issuers/*.key there before you start it.")
		}
	})
}

func contains(all []string, one string) bool {
	for _, s := range all {
		if s == one {
			return true
		}
	}
	return false
}

// sameDomain refuses the backup of another trust domain than the
// configuration's.
func (a *app) sameDomain(m backup.Manifest) error {
	conf, _, err := a.config()
	if err != nil {
		return err
	}
	if d := conf.TrustDomain; !zero(d) && d.String() != m.TrustDomain {
		return withHint(fmt.Errorf("the backup is of the trust domain %s, and %s says %s", m.TrustDomain, conf.File, d), "restore the backup that belongs to this configuration")
	}
	return nil
}

// unpack restores into a folder aside, judges what came of it, and moves it
// into place.
func (a *app) unpack(ctx context.Context, dir string, from io.Reader, o backup.RestoreOptions, accept bool) (backup.Restored, error) {
	if there, err := authority.Initialised(dir); err != nil || there {
		return backup.Restored{}, errors.Join(err, withHint(fmt.Errorf("%s holds an authority already", here(a.data())), "restore into another folder with --data, or move this one away"))
	}
	o.Dir = filepath.Join(dir, restoreFolder)
	if err := os.RemoveAll(o.Dir); err != nil {
		return backup.Restored{}, err
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return backup.Restored{}, err
	}
	defer os.RemoveAll(o.Dir)
	done, err := backup.Restore(ctx, from, o)
	if err != nil {
		return done, err
	}
	if err := judgeRestored(ctx, o.Dir, accept); err != nil {
		return done, err
	}
	return done, authority.Adopt(ctx, dir, o.Dir)
}

// judgeRestored refuses a copy that is older than what this machine has seen,
// unless the loss is accepted.
func judgeRestored(ctx context.Context, dir string, accept bool) error {
	s, err := store.Open(ctx, filepath.Join(dir, authority.DatabaseFile), store.Options{})
	if err != nil {
		return err
	}
	defer s.Close()
	witness, err := witnessOf(ctx, s)
	if err != nil {
		return err
	}
	defer witness.Close()
	err = follow.Judge(s, witness)
	if behind, ok := errors.AsType[*follow.BehindError](err); ok {
		if accept {
			return nil
		}
		return withHint(fmt.Errorf("the backup is behind: it has %s (epoch %d), and on %s this machine had seen %s (epoch %d): certificates and revocations made since then would be lost",
			entries(behind.Have.Size), behind.Have.Epoch, moment(behind.Seen.At), entries(behind.Seen.Size), behind.Seen.Epoch),
			"use a newer backup; or go on from this one with --accept-loss, and bring back what is lost with 'postern ledger import' if an export has it")
	}
	return err
}

func witnessOf(ctx context.Context, s *store.Store) (*follow.Witness, error) {
	state, err := follow.StateDir()
	if err != nil {
		return nil, err
	}
	for first, err := range s.Records(ctx, 0) {
		if err != nil {
			return nil, err
		}
		return follow.OpenWitness(state, ledger.LeafHash(first.Data)), nil
	}
	return nil, errors.New("the backup's ledger holds no entries")
}

// acceptIfBehind opens a new epoch when the restored folder is behind.
func (a *app) acceptIfBehind(ctx context.Context) error {
	if err := judgeRestored(ctx, a.data(), false); err == nil {
		return nil
	}
	return a.acceptLoss(ctx)
}
