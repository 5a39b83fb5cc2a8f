package authority

import (
	"context"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/jws"
	"github.com/postern-project/postern/internal/keys"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/permit"
	"github.com/postern-project/postern/internal/profile"
	"github.com/postern-project/postern/internal/store"
)

// ACMEKeyFile is the file of the data folder from which the keys for external
// account binding and for nonces are derived.
const ACMEKeyFile = "acme.key"

// acmeKeyTTL is how long an account can be made with a key, unless asked
// otherwise: provisioning takes longer than opening a link.
const acmeKeyTTL = 24 * time.Hour

// maxACMEHosts bounds the patterns of one key.
const maxACMEHosts = 100

// ACMENames is the name that accounts of open profiles stand below: nobody
// invited them.
const ACMENames = "acme-accounts"

// openAccount begins the identifiers of accounts that nobody invited. No key
// has such an identifier.
const openAccount = "open-"

// acmeSecret derives the secret for a purpose from the one file.
func (s *Service) acmeSecret(purpose string) ([]byte, error) {
	secret, err := keys.Secret(filepath.Join(s.dir, ACMEKeyFile))
	if err != nil {
		return nil, err
	}
	return hkdf.Key(sha256.New, secret, nil, "postern acme "+purpose, 32)
}

// ACMENonceKey returns the key under which the ACME server seals its nonces.
// It stays the same, so that a nonce outlives a restart.
func (s *Service) ACMENonceKey(context.Context) ([]byte, error) { return s.acmeSecret("nonces") }

// CreateACMEKey makes a key for external account binding. The name is created
// at its first mention.
func (s *Service) CreateACMEKey(ctx context.Context, r ACMEKeyRequest) (ACMEKey, error) {
	p, err := s.acmeTerms(&r)
	if err != nil {
		return ACMEKey{}, err
	}
	var id [8]byte
	rand.Read(id[:])
	body := ledger.ACMEKeyCreated{
		Key: hex.EncodeToString(id[:]), Name: r.Name, Profile: p.Name(), Hosts: r.Hosts,
		Expires: s.now().Add(r.TTL).UTC().Truncate(time.Millisecond),
	}
	mac, err := s.acmeSecret("binding " + body.Key)
	if err != nil {
		return ACMEKey{}, err
	}
	err = s.update(ctx, func(tx *store.Tx) error {
		if err := inGoodStanding(ctx, tx, r.Name); err != nil {
			return err
		}
		if err := mention(tx, r.Name); err != nil {
			return err
		}
		return tx.Append(body)
	})
	if err != nil {
		return ACMEKey{}, err
	}
	s.log.Info("acme key created", "id", r.Name, "key", body.Key, "profile", body.Profile, "expires", body.Expires)
	return ACMEKey{
		Key: body.Key, MAC: base64.RawURLEncoding.EncodeToString(mac), Name: r.Name,
		Profile: body.Profile, Hosts: r.Hosts, Expires: body.Expires,
	}, nil
}

// acmeTerms checks what a key is to be good for and fills in what was left
// out.
func (s *Service) acmeTerms(r *ACMEKeyRequest) (profile.Profile, error) {
	if r.Name.IsZero() {
		return profile.Profile{}, refuse(CodeBadRequest, "a name looks like ben/phone or services/checkout", "no name is given")
	}
	if err := place(r.Name, viaInvite); err != nil {
		return profile.Profile{}, err
	}
	if r.Profile == "" {
		r.Profile = "server"
	}
	p, err := s.findProfile(r.Profile)
	if err != nil {
		return p, err
	}
	if p.Usage() != profile.Server {
		return p, refuse(CodeBadRequest, "leave --profile out, or name one for servers", "ACME proves host names, and a certificate of profile %s holds none", p.Name())
	}
	if r.TTL == 0 {
		r.TTL = acmeKeyTTL
	}
	if r.TTL < minInviteTTL || r.TTL > maxInviteTTL {
		return p, refuse(CodeBadRequest, "24h or 7d are usual", "a key for an ACME account lasts from a second to %d days, not %s", maxInviteTTL/day, days(r.TTL))
	}
	if len(r.Hosts) > maxACMEHosts {
		return p, refuse(CodeBadRequest, "", "%d names for one key: at most %d", len(r.Hosts), maxACMEHosts)
	}
	r.Hosts = slices.Clone(r.Hosts)
	for i, h := range r.Hosts {
		pattern, err := permit.ParsePattern(h)
		if err != nil {
			return p, badRequest(err)
		}
		r.Hosts[i] = pattern.String()
	}
	return p, nil
}

// errBinding is all that a stranger learns of a binding that is not good.
func errBinding() *Error {
	return refuse(CodeForbidden, "ask for a new one: 'postern invite NAME --acme'", "the external account binding is not by a key that can be used here")
}

// BindACMEAccount binds an account's key to the name of the key for external
// account binding that has signed it. The same key and account again is the
// same answer.
func (s *Service) BindACMEAccount(ctx context.Context, b ACMEBinding) (ACMEHolder, error) {
	key, err := jws.ParseKey(b.Account)
	if err != nil {
		return ACMEHolder{}, badRequest(err)
	}
	m, err := jws.ParseMAC(b.Message)
	if err != nil {
		return ACMEHolder{}, badRequest(err)
	}
	mac, err := s.acmeSecret("binding " + m.KeyID)
	if err != nil {
		return ACMEHolder{}, err
	}
	a, known := s.roster.Account(m.KeyID)
	if m.VerifyMAC(mac) != nil || !known || m.URL != b.URL || m.Nonce != "" || a.Profile != b.Profile {
		return ACMEHolder{}, errBinding()
	}
	// RFC 8555 section 7.3.4: what it signs is the account's key
	if inner, err := jws.ParseKey(m.Payload); err != nil || inner.Thumbprint() != key.Thumbprint() {
		return ACMEHolder{}, errBinding()
	}
	if err := s.bind(ctx, a.ACMEKeyCreated, key.Thumbprint()); err != nil {
		return ACMEHolder{}, err
	}
	return holderOf(a.ACMEKeyCreated)
}

// FindACMEAccount returns the account of a profile that the ledger knows for a
// key. None is CodeNotFound.
func (s *Service) FindACMEAccount(_ context.Context, profile string, thumbprint [32]byte) (ACMEHolder, error) {
	a, ok := s.roster.AccountOf(profile, thumbprint)
	if !ok {
		return ACMEHolder{}, refuse(CodeNotFound, "", "the ledger knows no account of profile %s with this key", profile)
	}
	return holderOf(a.ACMEKeyCreated)
}

func (s *Service) bind(ctx context.Context, a ledger.ACMEKeyCreated, thumbprint ledger.Hash) error {
	fresh := false
	err := s.update(ctx, func(tx *store.Tx) error {
		row, err := tx.ACMEKey(ctx, a.Key)
		switch {
		case err != nil:
			return err
		case !row.CancelledAt.IsZero():
			return refuse(CodeCancelled, "ask for a new one: 'postern invite NAME --acme'", "the key of this external account binding was withdrawn")
		case !row.BoundAt.IsZero() && row.Thumbprint == thumbprint:
			return nil
		case !row.BoundAt.IsZero():
			return refuse(CodeSpent, "ask for a new one: 'postern invite NAME --acme'", "the key of this external account binding has its account")
		case !s.now().Before(row.Expires):
			return refuse(CodeExpired, "ask for a new one: 'postern invite NAME --acme'", "the key of this external account binding has expired")
		}
		if err := inGoodStanding(ctx, tx, a.Name); err != nil {
			return err
		}
		fresh = true
		return tx.Append(ledger.ACMEAccountBound{Key: a.Key, Thumbprint: thumbprint})
	})
	if err == nil && fresh {
		s.log.Info("acme account bound", "id", a.Name, "key", a.Key)
	}
	return err
}

func holderOf(a ledger.ACMEKeyCreated) (ACMEHolder, error) {
	h := ACMEHolder{Account: a.Key, Name: a.Name}
	for _, text := range a.Hosts {
		p, err := permit.ParsePattern(text)
		if err != nil {
			return ACMEHolder{}, err
		}
		h.Hosts = append(h.Hosts, p)
	}
	return h, nil
}

// OpenACMEAccount returns the identifier that the account of a key has in an
// open profile.
func OpenACMEAccount(thumbprint [32]byte) string {
	return openAccount + hex.EncodeToString(thumbprint[:12])
}

// holder returns whom an account stands for, if the key with that thumbprint
// is its key now. The ledger knows invited accounts; anybody is an account of
// an open profile.
func (s *Service) holder(p string, policy permit.Policy, account string, thumbprint [32]byte) (ACMEHolder, error) {
	if strings.HasPrefix(account, openAccount) {
		if !policy.Open {
			return ACMEHolder{}, refuse(CodeForbidden, "bind the account to a name: 'postern invite NAME --acme'", "profile %s is no longer open to accounts that nobody invited", p)
		}
		n, err := identity.ParseName(ACMENames + "/" + p + "/" + strings.TrimPrefix(account, openAccount))
		if err != nil {
			return ACMEHolder{}, badRequest(err)
		}
		return ACMEHolder{Account: account, Name: n}, nil
	}
	a, ok := s.roster.Account(account)
	switch {
	case !ok || a.Profile != p || a.Thumbprint.IsZero():
		return ACMEHolder{}, refuse(CodeForbidden, "ask for a key: 'postern invite NAME --acme'", "the ledger knows no such account of profile %s", p)
	case a.Cancelled:
		return ACMEHolder{}, refuse(CodeCancelled, "ask for a new key: 'postern invite NAME --acme'", "the account was ended")
	case a.Thumbprint != thumbprint:
		return ACMEHolder{}, refuse(CodeForbidden, "", "this is not the account's key")
	}
	return holderOf(a.ACMEKeyCreated)
}

// cancelACMEKeys ends every key of a name and of all below it, and so their
// accounts.
func cancelACMEKeys(ctx context.Context, tx *store.Tx, n identity.Name) (int, error) {
	live, err := tx.LiveACMEKeys(ctx, n)
	if err != nil {
		return 0, err
	}
	for _, k := range live {
		if err := tx.Append(ledger.ACMEKeyCancelled{Key: k.Key}); err != nil {
			return 0, err
		}
	}
	return len(live), nil
}
