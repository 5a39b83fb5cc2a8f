package backup

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
)

// A Treatment is what becomes of a file of a data folder in a backup.
type Treatment int

const (
	// Unknown is the treatment of a file that Postern does not write. A backup
	// leaves it out.
	Unknown Treatment = iota
	// Public files are in every backup.
	Public
	// Secret files are in backups with keys, sealed.
	Secret
	// Recorded is what the ledger is made from again.
	Recorded
	// Left is what a backup leaves out on purpose.
	Left
)

// layout is every kind of file in a data folder, with what becomes of it and
// why. A pattern leaves no room for a path that leads out of the folder.
var layout = sync.OnceValue(func() []fileKind {
	return []fileKind{
		{exactly(`root\.pem`), Public},
		{exactly(`issuers/` + word + `\.pem`), Public},
		{exactly(`crl\.number`), Public},                    // lists go on above it
		{exactly(`root\.ceremonies\.txt`), Public},          // the chain that the next ceremony goes on with
		{exactly(`requests/[0-9a-f]{16}\.request`), Public}, // what the root was asked and has not answered
		{exactly(`ledger\.key(\.next|\.last)?`), Secret},
		{exactly(`root\.key\.age`), Secret},
		{exactly(`issuers/` + word + `\.key`), Secret},
		{exactly(`acme\.key`), Secret},                   // without it keys for accounts that were not used yet are void
		{exactly(`assertions/[0-9TZ]{16}\.key`), Secret}, // applications know the public halves
		{exactly(`(served|responders|registration|upstream)/` + word + `/kept\.pem`), Secret},
		{exactly(`public/locks(/` + word + `)+`), Left}, // of a process that runs
		{exactly(`public(/` + word + `){1,6}`), Secret}, // the account with a public authority, and its certificates
		{exactly(`postern\.db`), Recorded},
		{exactly(`postern\.db-(wal|shm|journal)`), Recorded},
		{exactly(`roster\.snapshot`), Left},                    // made again from the ledger
		{exactly(`postern\.db\.backup-v[0-9]+(\.tmp)?`), Left}, // copies from before an upgrade
		{exactly(`(refusals/)?refusals\.jsonl(\.1)?`), Left},   // days old, and no trust comes of it
		{exactly(`secrets/` + word + `\.txt`), Left},           // to be read once and removed
		{exactly(`downloads/` + word), Left},                   // programs, put there by the operator
		{exactly(`postern\.(lock|sock|secret)`), Left},
		{exactly(`\.(init|init-done|init-asked|restore)(/` + word + `)+`), Left}, // begun and not done
		{exactly(`(.*/)?\.` + word), Left},                                       // being written
		{exactly(`(.*/)?` + word + `\.new`), Left},                               // being written
	}
})

type fileKind struct {
	pattern *regexp.Regexp
	Treatment
}

// word is one element of a path: not hidden, and not the way up.
const word = `[A-Za-z0-9_@%*+:-][A-Za-z0-9._@%*+:-]{0,127}`

func exactly(pattern string) *regexp.Regexp { return regexp.MustCompile(`^(?:` + pattern + `)$`) }

// TreatmentOf says what a backup does with a file, by its path below the data
// folder with slashes.
func TreatmentOf(name string) Treatment {
	for _, kind := range layout() {
		if kind.pattern.MatchString(name) {
			return kind.Treatment
		}
	}
	return Unknown
}

// filesOf returns the files of a data folder with a treatment, sorted. What
// disappears meanwhile is left out.
func filesOf(dir string, how Treatment) ([]string, error) {
	var names []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			if os.IsNotExist(err) && path != dir {
				return nil
			}
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if name := filepath.ToSlash(rel); err == nil && TreatmentOf(name) == how {
			names = append(names, name)
		}
		return err
	})
	slices.Sort(names)
	return names, err
}
