package cli

import (
	"crypto/ed25519"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"

	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/chain"
	"github.com/postern-project/postern/internal/keys"
)

// ledgerPublicKey returns the key that the checkpoints of a data folder have
// to be signed with, from its ledger.key.
func ledgerPublicKey(dir string) (ed25519.PublicKey, error) {
	path := filepath.Join(dir, authority.LedgerKeyFile)
	k, err := keys.ReadPrivate(path)
	if err != nil {
		return nil, err
	}
	pub, ok := k.Public().(ed25519.PublicKey)
	if !ok {
		return nil, fmt.Errorf("%s holds a key of type %T, and ledgers are signed with Ed25519: put back the file that postern wrote", path, k)
	}
	return pub, nil
}

// sameRoot compares the root that the ledger begins with to root.pem, which is
// what devices were given.
func sameRoot(dir string, begun *x509.Certificate) error {
	root, err := readRoot(dir)
	if err != nil {
		return err
	}
	if begun == nil || !root.Equal(begun) {
		return fmt.Errorf("the ledger in %s was begun by another root than %s: put back the files that belong together", dir, authority.RootFile)
	}
	return nil
}

// readRoot reads the root certificate of a data folder.
func readRoot(dir string) (*x509.Certificate, error) {
	path := filepath.Join(dir, authority.RootFile)
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	certs, err := chain.ParsePEM(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(certs) != 1 {
		return nil, fmt.Errorf("%s holds %d certificates: the root alone belongs there", path, len(certs))
	}
	return certs[0], nil
}
