package authority

import (
	"cmp"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"slices"
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
func loadIssuers(dir, tpm string, known []roster.Issuer) ([]*issuer, error) {
	var issuers []*issuer
	for _, k := range known {
		if k.Distrusted || k.Retired {
			continue
		}
		i, err := loadIssuer(dir, tpm, k)
		if err != nil {
			return nil, fmt.Errorf("issuer %s: %w", k.Name, err)
		}
		issuers = append(issuers, i)
	}
	return issuers, nil
}

func loadIssuer(dir, tpm string, known roster.Issuer) (*issuer, error) {
	path := issuerFile(dir, known.Name, ".key")
	key, err := keys.Read(path, tpm)
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

// ready refuses what would be recorded and not signed, when a key in hardware is
// not there.
func (i *issuer) ready() error {
	if k, ok := i.key.(interface{ Ready() error }); ok {
		if err := k.Ready(); err != nil {
			return notSigned(i, err)
		}
	}
	return nil
}

func useOf(u profile.Usage) ledger.Use {
	if u == profile.Server {
		return ledger.UseServers
	}
	return ledger.UseClients
}

// held returns the issuers whose keys are here now.
func (s *Service) held() []*issuer {
	s.keysMu.Lock()
	defer s.keysMu.Unlock()
	return s.issuers
}

// hold adds an issuer to those whose keys are here. The slice is replaced, so
// that whoever reads the old one is not disturbed.
func (s *Service) hold(i *issuer) {
	s.keysMu.Lock()
	defer s.keysMu.Unlock()
	s.issuers = append(slices.Clone(s.issuers), i)
}

// letGo forgets the key of an issuer.
func (s *Service) letGo(key ledger.KeyID) {
	s.keysMu.Lock()
	defer s.keysMu.Unlock()
	s.issuers = slices.DeleteFunc(slices.Clone(s.issuers), func(i *issuer) bool { return i.KeyID == key })
}

// issuerFor returns the issuer that signs for a profile now: the one in use of
// the line that the profile is bound to, else of the line named for its use.
func (s *Service) issuerFor(p profile.Profile) (*issuer, error) {
	use := useOf(p.Usage())
	line, known := cmp.Or(p.Issuer(), use.String()), false
	for _, k := range s.roster.Issuers() {
		if k.Use != use || k.Line() != line && k.Name != line {
			continue
		}
		known, line = true, k.Line()
		if i := s.heldAs(k.KeyID); k.Active && i != nil {
			return i, nil
		}
	}
	if !known {
		return nil, refuse(CodeNotFound, fmt.Sprintf("'postern issuer rotate %s --use %s' makes its first one", line, use),
			"profile %s is signed by an issuer %s for %s, and there is none", p.Name(), line, use)
	}
	return nil, refuse(CodeDistrusted, fmt.Sprintf("the root has to sign a successor: 'postern issuer rotate %s'", line),
		"no issuer of the line %s is trusted, so nothing is issued for profile %s", line, p.Name())
}

func (s *Service) heldAs(key ledger.KeyID) *issuer {
	for _, i := range s.held() {
		if i.KeyID == key {
			return i
		}
	}
	return nil
}
