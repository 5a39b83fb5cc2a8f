package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/postern-project/postern/internal/authority"
)

// secretsFolder holds, inside the data folder, what could not be shown to a
// person: each in a file that only its owner reads.
const secretsFolder = "secrets"

// keepSecret writes a secret that nobody was there to read into a new file of
// its own and returns the path.
func keepSecret(data, name, secret string) (string, error) {
	dir := filepath.Join(data, secretsFolder)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("keep %s: %w", name, err)
	}
	for n := 1; n < 100; n++ {
		path := filepath.Join(dir, name+".txt")
		if n > 1 {
			path = filepath.Join(dir, fmt.Sprintf("%s-%d.txt", name, n))
		}
		err := writeSecret(path, secret)
		if !errors.Is(err, fs.ErrExist) {
			return path, err
		}
	}
	return "", fmt.Errorf("%s is full of files named %s: read and delete them", dir, name)
}

func writeSecret(path, secret string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(secret + "\n")
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		os.Remove(path)
	}
	return err
}

// keptSecrets returns the paths of the secrets that still wait to be read and
// deleted, for 'status' to nag about.
func keptSecrets(data string) []string {
	paths, err := filepath.Glob(filepath.Join(escapeGlob(data), secretsFolder, "*.txt"))
	if err != nil {
		return nil
	}
	return paths
}

// keptInvitation returns where a file of secretsFolder keeps an invitation for
// a name, all of whose ids match with "*".
func keptInvitation(data, name, id string) string {
	return filepath.Join(escapeGlob(data), secretsFolder, "invite-"+name+"-"+id+"*.txt")
}

// sweepInvitations removes the files of invitations that let nobody in any
// more. A file whose invitation is not on record stays.
func sweepInvitations(ctx context.Context, data string, invites func(context.Context) ([]authority.Invite, error)) error {
	kept, err := filepath.Glob(keptInvitation(data, "*", ""))
	if err != nil || len(kept) == 0 {
		return err
	}
	all, err := invites(ctx)
	if err != nil {
		return err
	}
	for _, i := range all {
		if i.Status == "open" {
			continue
		}
		over, err := filepath.Glob(keptInvitation(data, fileWord(i.Name.String()), i.ID))
		if err != nil {
			return err
		}
		for _, path := range over {
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// fileWord returns s as a part of a file name.
func fileWord(s string) string { return strings.ReplaceAll(s, "/", "-") }
