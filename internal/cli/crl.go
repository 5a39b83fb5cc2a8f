package cli

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/postern-project/postern/internal/api"
	"github.com/postern-project/postern/internal/authority"
)

func newCRL(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "crl",
		Short: "The lists of revoked certificates, for others",
		Args:  cobra.ArbitraryArgs,
		RunE:  a.noCommand,
	}
	var out string
	var asPEM, all bool
	export := &cobra.Command{
		Use:   "export [ISSUER]",
		Short: "Write the revocation lists into files",
		Long: `Write the newest revocation lists of ISSUER, or of every issuer, into a folder:
ISSUER-SHARD.crl, the list that certificates of the shard point to, and
root.crl, the root's own list of issuers that are distrusted. --all writes one
ISSUER.crl with everything instead, for programs that take a single list; no
certificate points to it, and it has no bound.`,
		Example: `  postern crl export --out /var/www/crl
  postern crl export clients-1 --all --pem --out .`,
		Args: arguments(0, 1, "", ""),
		RunE: func(c *cobra.Command, args []string) error {
			issuer := ""
			if len(args) == 1 {
				issuer = args[0]
			}
			return a.exportLists(c.Context(), issuer, out, all, asPEM)
		},
	}
	export.Flags().StringVar(&out, "out", "", "the folder `DIR` for the files (default crl)")
	export.Flags().BoolVar(&all, "all", false, "one list for each issuer, with everything")
	export.Flags().BoolVar(&asPEM, "pem", false, "write PEM instead of DER")
	c.AddCommand(export)
	return c
}

// writtenList is one line of 'crl export --json'.
type writtenList struct {
	Issuer     string    `json:"issuer"`
	Shard      uint32    `json:"shard"`
	Number     uint64    `json:"number"`
	Revoked    int       `json:"revoked"`
	NextUpdate time.Time `json:"next_update"`
	File       string    `json:"file"`
}

func (a *app) exportLists(ctx context.Context, only, out string, all, asPEM bool) error {
	if out == "" {
		out = "crl"
	}
	auth, done, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer done()
	issuers, err := auth.Issuers(ctx)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	written, found := []writtenList{}, false
	if only == "" {
		if written, err = exportRootList(ctx, auth, out, asPEM); err != nil {
			return err
		}
	}
	for _, i := range issuers {
		if only != "" && i.Name != only {
			continue
		}
		if found = true; i.Distrusted && only == "" {
			a.note("no list for %s: it is distrusted, and the root's list names it", i.Name)
			continue
		}
		if i.State == authority.StateRetired && only == "" {
			continue // its key is gone
		}
		shards, err := auth.Shards(ctx, i.Name)
		if err != nil {
			return err
		}
		if all {
			shards = 1
		}
		for shard := range shards {
			l, err := auth.RevocationList(ctx, authority.ListRequest{Issuer: i.Name, Shard: shard, All: all})
			if err != nil {
				return err
			}
			w, err := writeList(out, l, asPEM)
			if err != nil {
				return err
			}
			written = append(written, w)
		}
	}
	if !found && only != "" {
		return withHint(fmt.Errorf("there is no issuer %q", only), "'postern list issuers' shows those there are")
	}
	return a.show(written, func(w io.Writer) {
		for _, l := range written {
			say(w, "%s: %s, good until %s.", here(l.File), count(l.Revoked, "revocation"), moment(l.NextUpdate))
		}
	})
}

// exportRootList writes the newest root's list of issuers, root.crl.
func exportRootList(ctx context.Context, auth api.Authority, dir string, asPEM bool) ([]writtenList, error) {
	written := []writtenList{}
	h, err := auth.Hierarchy(ctx)
	if err != nil || len(h.Roots) == 0 || len(h.Roots[0].List) == 0 {
		return written, err
	}
	newest := h.Roots[0]
	number, err := strconv.ParseUint(newest.ListNumber, 10, 64)
	if err != nil {
		return nil, err
	}
	w, err := writeList(dir, authority.RevocationList{
		Issuer: "root", All: true, Number: number, Revoked: newest.Revoked, NextUpdate: newest.ListUntil, DER: newest.List,
	}, asPEM)
	return append(written, w), err
}

func writeList(dir string, l authority.RevocationList, asPEM bool) (writtenList, error) {
	name := l.Issuer
	if !l.All {
		name += "-" + strconv.FormatUint(uint64(l.Shard), 10)
	}
	path, data := filepath.Join(dir, name+".crl"), l.DER
	if asPEM {
		data = pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: l.DER})
	}
	w := writtenList{l.Issuer, l.Shard, l.Number, l.Revoked, l.NextUpdate, path}
	return w, replaceFile(path, data, 0o644)
}

// replaceFile writes a file that readers see either as it was or as it is.
func replaceFile(path string, data []byte, mode os.FileMode) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.tmp")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	_, err = f.Write(data)
	if err := errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
