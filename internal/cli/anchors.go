package cli

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/chain"
	"github.com/postern-project/postern/internal/ledger"
)

// sameRoots compares the roots that the ledger knows to root.pem, which is what
// devices were given. The ledger may have come further than the file: a crash
// can keep it from being written.
func sameRoots(dir string, anchors ledger.Anchors) error {
	certs, err := readRootFile(dir)
	if err != nil {
		return err
	}
	for _, c := range certs {
		if !slices.ContainsFunc(anchors.Roots, func(r ledger.Root) bool { return r.Certificate.Equal(c) }) {
			return fmt.Errorf("the ledger in %s was begun by another root than %s: put back the files that belong together", dir, authority.RootFile)
		}
	}
	return nil
}

// readRoot reads the newest root's certificate of a data folder.
func readRoot(dir string) (*x509.Certificate, error) {
	certs, err := readRootFile(dir)
	if err != nil {
		return nil, err
	}
	return certs[0], nil
}

// readRootFile reads the roots of a data folder that are trusted, newest first.
func readRootFile(dir string) ([]*x509.Certificate, error) {
	path := filepath.Join(dir, authority.RootFile)
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, chain.MaxPEM+1))
	if err != nil {
		return nil, err
	}
	certs, err := chain.ParsePEM(data)
	if err == nil && len(certs) == 0 {
		err = errors.New("it holds no certificate")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return certs, nil
}
