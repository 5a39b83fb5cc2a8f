package authority

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"github.com/postern-project/postern/internal/keys"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/profile"
	"github.com/postern-project/postern/internal/roster"
)

// An issuer is an intermediate whose key is here.
type issuer struct {
	roster.Issuer
	// key signs certificates. Only the function sign uses it.
	key crypto.Signer
	// understudy is made at the first use, for RSA takes its time.
	understudy func() (understudy, error)
}

// An understudy is a throw-away key of the issuer's kind, and the issuer's
// certificate as if it were that key's: what they sign has the very bytes that
// the issuer will sign, and the signature is worth nothing.
type understudy struct {
	crypto.Signer
	stage *x509.Certificate
}

func newUnderstudy(of *x509.Certificate) (understudy, error) {
	throwAway, err := keys.Like(of.PublicKey)
	if err != nil {
		return understudy{}, err
	}
	stage := *of
	stage.PublicKey = throwAway.Public()
	return understudy{throwAway, &stage}, nil
}

// loadIssuers reads the keys of the issuers that the ledger trusts.
func loadIssuers(dir string, known []roster.Issuer) ([]*issuer, error) {
	var issuers []*issuer
	for _, k := range known {
		if k.Distrusted {
			continue
		}
		i, err := loadIssuer(dir, k)
		if err != nil {
			return nil, fmt.Errorf("issuer %s: %w", k.Name, err)
		}
		issuers = append(issuers, i)
	}
	return issuers, nil
}

func loadIssuer(dir string, known roster.Issuer) (*issuer, error) {
	path := issuerFile(dir, known.Name, ".key")
	key, err := keys.ReadPrivate(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: put the key back from the backup, or distrust the issuer", err)
	}
	if err != nil {
		return nil, err
	}
	if pub, ok := known.Certificate.PublicKey.(interface{ Equal(crypto.PublicKey) bool }); !ok || !pub.Equal(key.Public()) {
		return nil, fmt.Errorf("the key in %s does not belong to the issuer's certificate: put the right one back", path)
	}
	return &issuer{Issuer: known, key: key, understudy: sync.OnceValues(func() (understudy, error) {
		return newUnderstudy(known.Certificate)
	})}, nil
}

func useOf(u profile.Usage) ledger.Use {
	if u == profile.Server {
		return ledger.UseServers
	}
	return ledger.UseClients
}

// issuerFor returns the newest issuer for a usage that is trusted now.
func (s *Service) issuerFor(u profile.Usage) (*issuer, error) {
	distrusted := map[ledger.KeyID]bool{}
	for _, k := range s.roster.Issuers() {
		distrusted[k.KeyID] = k.Distrusted
	}
	for n := len(s.issuers) - 1; n >= 0; n-- {
		if i := s.issuers[n]; i.Use == useOf(u) && !distrusted[i.KeyID] {
			return i, nil
		}
	}
	return nil, fmt.Errorf("no issuer for %s is trusted: add one with 'postern issuer rotate'", useOf(u))
}
