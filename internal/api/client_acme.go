package api

import (
	"context"

	"github.com/postern-project/postern/internal/authority"
)

// CreateACMEKey asks the server for a key for external account binding.
func (c *Client) CreateACMEKey(ctx context.Context, q authority.ACMEKeyRequest) (authority.ACMEKey, error) {
	return post[authority.ACMEKey](ctx, &c.caller, "/v1/acme/key", q)
}

// ACMEAccounts returns the ACME accounts and the keys for them.
func (c *Client) ACMEAccounts(ctx context.Context) ([]authority.ACMEAccountInfo, error) {
	return get[[]authority.ACMEAccountInfo](ctx, &c.caller, "/v1/acme/accounts")
}

// ACMEOrders returns ACME orders, newest first.
func (c *Client) ACMEOrders(ctx context.Context, q authority.ACMEOrderQuery) ([]authority.ACMEOrder, error) {
	return post[[]authority.ACMEOrder](ctx, &c.caller, "/v1/acme/orders", q)
}

// ACMEOrder returns one ACME order with all that happened to it.
func (c *Client) ACMEOrder(ctx context.Context, id string) (authority.ACMEOrderStory, error) {
	return post[authority.ACMEOrderStory](ctx, &c.caller, "/v1/acme/order", id)
}
