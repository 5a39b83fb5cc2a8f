package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/postern-project/postern/internal/authority"
)

// What others may not do: with the database, what was refused to whom and the
// sealed root, anything; with all the rest, write.
const (
	anyOfOthers   = 0o077
	writeOfOthers = 0o022
)

// confidential are the files of the first kind.
var confidential = []string{authority.DatabaseFile + "*", authority.SnapshotFile + "*", "refusals*", "*.age"}

// tighten takes away what others may do with a data folder, and says so. Keys
// are left to those who read them, who refuse one that others could have read.
func tighten(dir string, log *slog.Logger) error {
	if runtime.GOOS == "windows" { // has no such bits
		return nil
	}
	for _, pattern := range []string{"", "*", "issuers/*"} {
		paths, err := filepath.Glob(filepath.Join(escapeGlob(dir), pattern))
		if err != nil {
			return err
		}
		for _, path := range paths {
			if err := tightenOne(path, log); err != nil {
				return err
			}
		}
	}
	return nil
}

func tightenOne(path string, log *slog.Logger) error {
	info, err := os.Lstat(path)
	if err != nil {
		return nil // gone in between
	}
	if strings.HasSuffix(path, ".key") || !info.IsDir() && !info.Mode().IsRegular() {
		return nil
	}
	never := fs.FileMode(writeOfOthers)
	for _, pattern := range confidential {
		if is, _ := filepath.Match(pattern, filepath.Base(path)); is {
			never = anyOfOthers
		}
	}
	was := info.Mode().Perm()
	if was&never == 0 {
		return nil
	}
	said := "permissions taken from others: look whether anything was changed"
	switch err := os.Chmod(path, was&^never); {
	case err != nil && info.IsDir() && errors.Is(err, fs.ErrPermission):
		// A volume's folder is often somebody else's, in a container that has nobody else.
		said = "others can write in a folder that is not ours to mend"
	case err != nil:
		return fmt.Errorf("others can reach %s, and it cannot be mended from here: %w", path, err)
	}
	if log != nil {
		log.Warn(said, "path", path, "mode", fmt.Sprintf("%04o", was))
	}
	return nil
}
