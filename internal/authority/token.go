package authority

import (
	"context"
	"strings"
	"time"

	"github.com/postern-project/postern/internal/apptoken"
	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/store"
)

// How long an app token lives.
const (
	defaultTokenLifetime = 90 * 24 * time.Hour
	maxTokenLifetime     = 365 * 24 * time.Hour
)

// A TokenRequest asks for an app token.
type TokenRequest struct {
	Name identity.Name `json:"name"`
	// Site is the host of the only site that the token opens, in any spelling.
	Site string `json:"site"`
	// Lifetime is at most 365 days; zero means 90.
	Lifetime time.Duration `json:"lifetime,omitempty"`
}

// A Token is an app token's record.
type Token struct {
	ID      string        `json:"id"` // the beginning of its hash
	Name    identity.Name `json:"name"`
	Site    string        `json:"site"`
	Created time.Time     `json:"created"`
	Expires time.Time     `json:"expires"`
	Revoked time.Time     `json:"revoked,omitzero"`
	Status  string        `json:"status"`
}

// A TokenCreated is a new token with its secret, which nobody can show again.
type TokenCreated struct {
	Token
	Secret string `json:"token"`
}

// CreateToken makes an app token for a name, which is created at its first
// mention, and a site.
func (s *Service) CreateToken(ctx context.Context, r TokenRequest) (TokenCreated, error) {
	if r.Name.IsZero() {
		return TokenCreated{}, refuse(CodeBadRequest, "a name looks like ben/phone or services/checkout", "no name is given")
	}
	if err := place(r.Name, viaIssue); err != nil {
		return TokenCreated{}, err
	}
	host, err := hostOf(r.Site)
	switch {
	case err != nil:
		return TokenCreated{}, badRequest(err)
	case host == "":
		return TokenCreated{}, refuse(CodeBadRequest, "name one of the sites in postern.yaml", "no site is given")
	case r.Lifetime < 0 || r.Lifetime > maxTokenLifetime:
		return TokenCreated{}, refuse(CodeBadRequest, "write 365d or less", "a token lives for 365 days at most")
	case r.Lifetime == 0:
		r.Lifetime = defaultTokenLifetime
	}
	secret := apptoken.New()
	body := ledger.TokenIssued{Token: secret.Hash(), Name: r.Name, Site: host, Expires: s.now().Add(r.Lifetime).UTC().Truncate(time.Millisecond)}
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
		return TokenCreated{}, err
	}
	s.log.Info("app token created", "id", r.Name, "site", host, "until", body.Expires)
	made := s.tokenValue(store.TokenRow{TokenIssued: body, CreatedAt: s.now()})
	return TokenCreated{made, secret.String()}, nil
}

// Tokens returns every app token, by name.
func (s *Service) Tokens(ctx context.Context) ([]Token, error) {
	all := []Token{}
	for row, err := range s.store.Tokens(ctx) {
		if err != nil {
			return nil, err
		}
		all = append(all, s.tokenValue(row))
	}
	return all, nil
}

func (s *Service) tokenValue(row store.TokenRow) Token {
	t := Token{
		ID: ledger.TokenID(row.Token), Name: row.Name, Site: row.Site, Created: row.CreatedAt, Expires: row.Expires,
		Revoked: row.RevokedAt, Status: StatusGood,
	}
	_, suspended := s.roster.Suspended(row.Name)
	switch {
	case !row.RevokedAt.IsZero():
		t.Status = StatusRevoked
	case !s.now().Before(row.Expires):
		t.Status = StatusExpired
	case suspended:
		t.Status = StatusSuspended
	}
	return t
}

// leastTokenID is how much of an id tells which token is meant.
const leastTokenID = 6

// RevokeToken ends the one token whose id begins so. Live connections of its
// bearer are cut. One that was revoked stays so.
func (s *Service) RevokeToken(ctx context.Context, id string) (Token, error) {
	id = strings.ToLower(id)
	if len(id) < leastTokenID {
		return Token{}, refuse(CodeBadRequest, "'postern token list' shows them", "%q is too short for a token's id", id)
	}
	var found store.TokenRow
	err := s.update(ctx, func(tx *store.Tx) error {
		found = store.TokenRow{}
		for row, err := range tx.Tokens(ctx) {
			switch {
			case err != nil:
				return err
			case !strings.HasPrefix(row.Token.String(), id):
			case found.Token.IsZero():
				found = row
			default:
				return refuse(CodeBadRequest, "add digits: 'postern token list' shows them", "more than one token has an id that begins with %s", id)
			}
		}
		switch {
		case found.Token.IsZero():
			return refuse(CodeNotFound, "'postern token list' shows them", "there is no token %s", id)
		case !found.RevokedAt.IsZero():
			return nil
		}
		found.RevokedAt = s.now()
		return tx.Append(ledger.TokenRevoked{Token: found.Token})
	})
	if err != nil {
		return Token{}, err
	}
	s.log.Info("app token revoked", "id", found.Name, "site", found.Site)
	return s.tokenValue(found), nil
}

// revokeTokens ends the tokens of a name and of all below it.
func revokeTokens(ctx context.Context, tx *store.Tx, n identity.Name) (int, error) {
	live, err := tx.LiveTokens(ctx, n)
	if err != nil {
		return 0, err
	}
	for _, t := range live {
		if err := tx.Append(ledger.TokenRevoked{Token: t.Token}); err != nil {
			return 0, err
		}
	}
	return len(live), nil
}
