package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"filippo.io/age"
	"github.com/spf13/cobra"

	"github.com/postern-project/postern/internal/backup"
	"github.com/postern-project/postern/internal/keys"
)

type backingUp struct {
	out        string
	withKeys   bool
	recipients []string
	passphrase string
}

func newBackup(a *app) *cobra.Command {
	var f backingUp
	c := &cobra.Command{
		Use:   "backup",
		Short: "A copy of the data folder, while it is in use",
		Long: `Write one moment of the ledger, the certificates and the public files into a
single file or stream. The server goes on meanwhile. Private keys are left out,
so that a stolen backup is worth nothing; --with-keys adds them, sealed to an
age recipient or by a passphrase. 'postern restore FILE' makes a data folder of
it.`,
		Example: `  postern backup --out postern.backup
  postern backup --out - | ssh elsewhere 'cat > postern.backup'
  postern backup --with-keys --recipient age1… --out postern.backup`,
		Args: arguments(0, 0, "", ""),
		RunE: func(c *cobra.Command, _ []string) error { return a.backup(c.Context(), f) },
	}
	c.Flags().StringVar(&f.out, "out", "", "the new `FILE`, or - for standard output")
	c.Flags().BoolVar(&f.withKeys, "with-keys", false, "add the private keys, sealed")
	c.Flags().StringArrayVar(&f.recipients, "recipient", nil, "seal the keys to an age `RECIPIENT`; may be repeated")
	c.Flags().StringVar(&f.passphrase, "passphrase-file", "", "seal the keys by the passphrase in `FILE`")
	return c
}

func (f backingUp) sealedTo() ([]age.Recipient, error) {
	named := len(f.recipients) > 0 || f.passphrase != ""
	switch {
	case !f.withKeys && named:
		return nil, usage("add --with-keys", "nothing is sealed without --with-keys")
	case f.withKeys && !named, len(f.recipients) > 0 && f.passphrase != "":
		return nil, usage("--recipient age1… or --passphrase-file FILE", "keys are sealed to recipients or by a passphrase: name one of them")
	}
	if f.passphrase != "" {
		p, err := keys.ReadPassphraseFile(f.passphrase)
		if err != nil {
			return nil, err
		}
		r, err := p.Recipient()
		return []age.Recipient{r}, err
	}
	var all []age.Recipient
	for _, text := range f.recipients {
		r, err := age.ParseX25519Recipient(text)
		if err != nil {
			return nil, usage("'age-keygen' makes one that begins with age1", "%q is no age recipient", text)
		}
		all = append(all, r)
	}
	return all, nil
}

func (a *app) backup(ctx context.Context, f backingUp) error {
	if f.out == "" {
		return usage("postern backup --out FILE", "a backup needs a place to go")
	}
	recipients, err := f.sealedTo()
	if err != nil {
		return err
	}
	if err := a.haveData(); err != nil {
		return err
	}
	o := backup.Options{Dir: a.data(), Recipients: recipients, Now: a.Now()}
	if f.out == "-" {
		if a.StdoutTerminal {
			return usage("postern backup --out - | …", "a backup is not for a terminal")
		}
		_, err := backup.Write(ctx, a.Stdout, o)
		return err
	}
	m, err := writeBackup(ctx, f.out, o)
	if err != nil {
		return err
	}
	return a.show(m, func(w io.Writer) {
		say(w, "%s holds the ledger of %s with %s.", here(f.out), m.TrustDomain, entries(m.Size))
		if !m.Keys {
			say(w, "The private keys are not in it: keep ledger.key and issuers/*.key elsewhere too.")
		}
	})
}

// writeBackup writes a new file, and leaves none behind when it fails.
func writeBackup(ctx context.Context, path string, o backup.Options) (m backup.Manifest, err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return m, fmt.Errorf("backup: %w", err)
	}
	m, err = backup.Write(ctx, f, o)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		os.Remove(path)
	}
	return m, err
}
