package config

import (
	"fmt"

	"github.com/goccy/go-yaml/ast"

	"github.com/postern-project/postern/internal/confine"
	"github.com/postern-project/postern/internal/profile"
)

// blockedKeys reads the lists of keys that nobody gets certified. One that is
// missing or cannot be read is a mistake and not an empty list.
func (r *reader) blockedKeys(n ast.Node) profile.Blocklist {
	var all profile.Blocklist
	for _, it := range r.list(n, "blocked_keys") {
		b, err := readBlocklist(r.path(it.text))
		if err != nil {
			r.fail(it.at, "a list has 20 hexadecimal digits on a line, as in Debian's openssl-blacklist, or 64, the SHA-256 of a public key", "blocked_keys: %v", err)
			continue
		}
		all = all.With(b)
	}
	return all
}

func readBlocklist(path string) (profile.Blocklist, error) {
	f, err := confine.Open(path)
	if err != nil {
		return profile.Blocklist{}, fmt.Errorf("%s: %w", path, plain(err))
	}
	defer f.Close()
	b, err := profile.ReadBlocklist(f)
	switch {
	case err != nil:
		return profile.Blocklist{}, fmt.Errorf("%s: %w", path, plain(err))
	case b.Len() == 0:
		return profile.Blocklist{}, fmt.Errorf("%s: it names no key", path)
	}
	return b, nil
}
