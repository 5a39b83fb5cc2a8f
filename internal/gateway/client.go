package gateway

import (
	"context"
	"crypto/x509"
	"net/http"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/ledger"
)

// A Client is who a request speaks for: a certificate, or an app token, that was
// good when the request was judged. The zero Client is a stranger.
type Client struct {
	Name        identity.Name
	Ref         ledger.Ref
	Certificate *x509.Certificate
	Profile     string
	// Token is the id of the app token that was presented in place of a
	// certificate; "" for none. Ref, Certificate and Profile are zero then.
	Token string
	// Partner is set, and all else is zero, for a foreign authority's member.
	Partner Partner
}

// IsZero reports whether c is nobody enrolled: a stranger, or a partner's.
func (c Client) IsZero() bool { return c.Name.IsZero() }

type exchangeKey struct{}

// ClientOf returns who r speaks for, and false for a stranger and for a
// request that no gateway has judged.
func ClientOf(r *http.Request) (Client, bool) {
	x := exchangeOf(r.Context())
	if x == nil || x.client.IsZero() {
		return Client{}, false
	}
	return x.client, true
}

func exchangeOf(ctx context.Context) *exchange {
	x, _ := ctx.Value(exchangeKey{}).(*exchange)
	return x
}

// who names the client for the operator.
func (c Client) who() string {
	if !c.Partner.Name.IsZero() {
		return "a member of " + c.Partner.Name.String()
	}
	return c.Name.String()
}
