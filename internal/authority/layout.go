package authority

import (
	"crypto/ed25519"
	"fmt"
	"path/filepath"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/keys"
	"github.com/postern-project/postern/internal/ledger"
)

// The files of a data folder, by DESIGN.md section 6.
const (
	DatabaseFile  = "postern.db"
	RootFile      = "root.pem"
	RootKeyFile   = "root.key.age"
	LedgerKeyFile = "ledger.key"
	IssuersFolder = "issuers"
	// CeremoniesFile keeps the transcripts of what was done with the root's
	// key, beside that key.
	CeremoniesFile = "root.ceremonies.txt"
	// SnapshotFile spares the next start of a long ledger most of its reading.
	// It can be removed at any time.
	SnapshotFile = "roster.snapshot"
)

// The issuers that every authority begins with.
const (
	firstClients = "clients-1"
	firstServers = "servers-1"
)

func issuerFile(dir, name, suffix string) string {
	return filepath.Join(dir, IssuersFolder, name+suffix)
}

// LedgerSigner returns what signs the checkpoints of the data folder dir, for
// store.Options. The key is read each time it is asked for.
func LedgerSigner(dir string, d identity.TrustDomain) func(epoch uint64) (*ledger.Signer, error) {
	return func(epoch uint64) (*ledger.Signer, error) {
		path := filepath.Join(dir, LedgerKeyFile)
		k, err := keys.ReadPrivate(path)
		if err != nil {
			return nil, err
		}
		key, ok := k.(ed25519.PrivateKey)
		if !ok {
			return nil, fmt.Errorf("%s holds a key of type %T, and ledgers are signed with Ed25519: put back the file that postern wrote", path, k)
		}
		return ledger.NewSigner(ledger.Origin(d, epoch), key)
	}
}
