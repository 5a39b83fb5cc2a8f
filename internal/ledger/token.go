package ledger

import (
	"time"

	"github.com/postern-project/postern/internal/identity"
)

// The kinds of entries about app tokens.
const (
	KindTokenIssued  Kind = 54
	KindTokenRevoked Kind = 55
)

// TokenIssued lets whoever knows the token come in at one site, in the place of
// one device, until it expires.
type TokenIssued struct {
	Token   Hash // apptoken.Token's Hash
	Name    identity.Name
	Site    string // the site's host, canonical
	Expires time.Time
}

// TokenRevoked ends a token before that.
type TokenRevoked struct{ Token Hash }

// TokenID names a token to people by the beginning of its hash.
func TokenID(token Hash) string { return token.String()[:12] }

// Kind returns KindTokenIssued.
func (TokenIssued) Kind() Kind { return KindTokenIssued }

func (t TokenIssued) encode(e *encoder) {
	e.hash(t.Token)
	e.name(t.Name)
	e.text(t.Site)
	e.time(t.Expires)
}

func decodeTokenIssued(d *decoder) Body {
	return TokenIssued{Token: d.hash(), Name: d.name(), Site: d.host(), Expires: d.time()}
}

// Kind returns KindTokenRevoked.
func (TokenRevoked) Kind() Kind { return KindTokenRevoked }

func (t TokenRevoked) encode(e *encoder) { e.hash(t.Token) }

func decodeTokenRevoked(d *decoder) Body { return TokenRevoked{Token: d.hash()} }
