package authority

import (
	"crypto"
	"crypto/rand"
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
	// key signs certificates and revocation lists. Only the functions sign and
	// attest use it.
	key crypto.Signer
	// understudy is made at the first use, for RSA takes its time.
	understudy func() (understudy, error)
	shards     shardCounter
	// askedAs returns the hashes by which OCSP requests name the issuer.
	askedAs func() map[crypto.Hash]hashed
}

// An understudy lends its signature to certificates that are to be looked at
// before the issuer signs. A throw-away key of the issuer's kind made it, once,
// under a text that is no certificate: it is of the right form and worth nothing.
type understudy struct {
	profile.Signature
	worthless []byte
}

func newUnderstudy(of *x509.Certificate) (understudy, error) {
	how, err := profile.SignatureOf(of)
	if err != nil {
		return understudy{}, err
	}
	throwAway, err := keys.Like(of.PublicKey)
	if err != nil {
		return understudy{}, err
	}
	signature, err := crypto.SignMessage(throwAway, rand.Reader, []byte("postern rehearsal"), how.Hash())
	return understudy{how, signature}, err
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
	return &issuer{
		Issuer: known, key: key,
		understudy: sync.OnceValues(func() (understudy, error) { return newUnderstudy(known.Certificate) }),
		askedAs:    sync.OnceValue(func() map[crypto.Hash]hashed { return namesOf(known) }),
	}, nil
}

func useOf(u profile.Usage) ledger.Use {
	if u == profile.Server {
		return ledger.UseServers
	}
	return ledger.UseClients
}

// issuerFor returns the newest issuer that a profile names, or of its usage,
// that is trusted now.
func (s *Service) issuerFor(p profile.Profile) (*issuer, error) {
	use, distrusted := useOf(p.Usage()), map[ledger.KeyID]bool{}
	for _, k := range s.roster.Issuers() {
		distrusted[k.KeyID] = k.Distrusted
	}
	for n := len(s.issuers) - 1; n >= 0; n-- {
		if i := s.issuers[n]; i.Use == use && p.Signs(i.Name) && !distrusted[i.KeyID] {
			return i, nil
		}
	}
	if p.Issuer() != "" {
		return nil, fmt.Errorf("profile %s is bound to the issuer %q, and no issuer for %s of that name is trusted: add one with 'postern issuer rotate'", p.Name(), p.Issuer(), use)
	}
	return nil, fmt.Errorf("no issuer for %s is trusted: add one with 'postern issuer rotate'", use)
}
