package api

import (
	"context"

	"github.com/postern-project/postern/internal/authority"
)

// Hierarchy returns the roots, the issuers and the recorded ceremonies.
func (c *Client) Hierarchy(ctx context.Context) (authority.Hierarchy, error) {
	return get[authority.Hierarchy](ctx, &c.caller, "/v1/hierarchy")
}

// AskRoot has the server prepare a request for its root.
func (c *Client) AskRoot(ctx context.Context, q authority.RootAsk) (authority.RootRequest, error) {
	return post[authority.RootRequest](ctx, &c.caller, "/v1/root/ask", q)
}

// ApplyRoot hands the server its root's answer.
func (c *Client) ApplyRoot(ctx context.Context, q authority.RootAnswer) (authority.RootApplied, error) {
	return post[authority.RootApplied](ctx, &c.caller, "/v1/root/apply", q)
}

// Rotate goes on with the replacement of an issuer.
func (c *Client) Rotate(ctx context.Context, q authority.RotationStep) (authority.Rotation, error) {
	return post[authority.Rotation](ctx, &c.caller, "/v1/issuer/rotate", q)
}

// Distrust ends trust in an issuer.
func (c *Client) Distrust(ctx context.Context, q authority.DistrustRequest) (authority.Distrusted, error) {
	return post[authority.Distrusted](ctx, &c.caller, "/v1/issuer/distrust", q)
}
