package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"syscall"

	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/invite"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/refusal"
)

// maxAnswer bounds what a client reads of an answer, in bytes.
const maxAnswer = 256 << 20

// A Client is the authority of a running server, and that server. It is safe
// for concurrent use.
type Client struct{ caller }

// A caller asks a handler of this package, over connections of one transport.
type caller struct {
	http *http.Client
	pool *http.Transport
	// secret is shown with every call, unless it is "".
	secret string
	// most bounds what is read of an answer, in bytes.
	most int64
	// gone says what it means that the other side went away.
	gone func(error) error
}

func newCaller(pool *http.Transport, gone func(error) error) caller {
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return caller{http: &http.Client{Transport: pool, CheckRedirect: stay}, pool: pool, most: maxAnswer, gone: gone}
}

// Dial returns a client of the server that holds the data folder dir, or
// ErrNoServer when none answers.
func Dial(ctx context.Context, dir string) (*Client, error) {
	probe, err := dialSocket(ctx, dir)
	switch {
	case err == nil:
		probe.Close()
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.EPERM):
		return nil, fmt.Errorf("data folder %s belongs to another user: run as its owner", dir)
	default:
		return nil, ErrNoServer
	}
	secret, err := readSecret(dir)
	if err != nil {
		return nil, fmt.Errorf("data folder %s belongs to another user: run as its owner (%w)", dir, err)
	}
	pool := &http.Transport{
		DialContext:     func(ctx context.Context, _, _ string) (net.Conn, error) { return dialSocket(ctx, dir) },
		MaxIdleConns:    2,
		Proxy:           nil,
		MaxConnsPerHost: 8,
	}
	c := &Client{newCaller(pool, func(err error) error {
		return fmt.Errorf("the server on data folder %s went away (%w): see what was done before you repeat the command", dir, err)
	})}
	c.secret = secret
	return c, nil
}

// Close ends the client's connections.
func (c *caller) Close() error {
	c.pool.CloseIdleConnections()
	return nil
}

// ask sends q to a route and reads its answer.
func ask[A any](ctx context.Context, c *caller, method, path string, q any) (A, error) {
	var a A
	var body io.Reader
	if method == http.MethodPost {
		b, err := json.Marshal(q)
		if err != nil {
			return a, err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://postern"+path, body)
	if err != nil {
		return a, err
	}
	return answered[A](ctx, c, req)
}

// answered makes a call and reads its answer.
func answered[A any](ctx context.Context, c *caller, req *http.Request) (a A, err error) {
	if c.secret != "" {
		req.Header.Set("Authorization", bearer(c.secret))
	}
	res, err := c.http.Do(req)
	if err != nil {
		return a, c.lost(ctx, err)
	}
	defer res.Body.Close()
	d := json.NewDecoder(io.LimitReader(res.Body, c.most))
	if res.StatusCode != http.StatusOK {
		return a, refused(res, d)
	}
	if err := d.Decode(&a); err != nil {
		if ctx.Err() != nil {
			return a, context.Cause(ctx)
		}
		return a, fmt.Errorf("the server's answer cannot be read: %w", err)
	}
	return a, nil
}

// lost says that the other side went away in the middle of a call.
func (c *caller) lost(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return c.gone(errors.Unwrap(err))
}

// refused turns an answer that is no success back into the error it was.
func refused(res *http.Response, d *json.Decoder) error {
	var e authority.Error
	if err := d.Decode(&e); err != nil || e.Code == "" {
		return fmt.Errorf("the server answers %q: it may be of another version, restart it", res.Status)
	}
	if e.Code == codeFault || e.Code == codeForbidden {
		return errors.New(e.Msg)
	}
	return &e
}

func post[A any](ctx context.Context, c *caller, path string, q any) (A, error) {
	return ask[A](ctx, c, http.MethodPost, path, q)
}

func get[A any](ctx context.Context, c *caller, path string) (A, error) {
	return ask[A](ctx, c, http.MethodGet, path, nil)
}

// Issue asks the server to issue a certificate.
func (c *Client) Issue(ctx context.Context, q authority.IssueRequest) (authority.Issued, error) {
	return post[authority.Issued](ctx, &c.caller, "/v1/issue", q)
}

// Invite asks the server for a one-time code.
func (c *Client) Invite(ctx context.Context, q authority.InviteRequest) (authority.Invitation, error) {
	return post[authority.Invitation](ctx, &c.caller, "/v1/invite", q)
}

// Approve spends an invite on the key that was recognised.
func (c *Client) Approve(ctx context.Context, q authority.ApproveRequest) (authority.Issued, error) {
	return post[authority.Issued](ctx, &c.caller, "/v1/approve", q)
}

// CancelInvite ends an invite unused.
func (c *Client) CancelInvite(ctx context.Context, hash ledger.Hash) error {
	_, err := post[struct{}](ctx, &c.caller, "/v1/cancel-invite", hash)
	return err
}

// Steps returns what happened to an invitation.
func (c *Client) Steps(ctx context.Context, code ledger.Hash) ([]invite.Step, error) {
	return post[[]invite.Step](ctx, &c.caller, "/v1/steps", code)
}

// Requests returns the keys that wait for a yes.
func (c *Client) Requests(ctx context.Context) ([]invite.Waiting, error) {
	return get[[]invite.Waiting](ctx, &c.caller, "/v1/requests")
}

// AccessRequests returns the requests for access that wait for an answer.
func (c *Client) AccessRequests(ctx context.Context) ([]invite.AccessRequest, error) {
	return get[[]invite.AccessRequest](ctx, &c.caller, "/v1/access")
}

// GrantAccess says yes to a request for access.
func (c *Client) GrantAccess(ctx context.Context, g AccessGrant) (AccessGranted, error) {
	return post[AccessGranted](ctx, &c.caller, "/v1/access/grant", g)
}

// DenyAccess says no to the request for access with these words.
func (c *Client) DenyAccess(ctx context.Context, words string) error {
	_, err := post[struct{}](ctx, &c.caller, "/v1/access/deny", words)
	return err
}

// Revoke asks the server to withdraw certificates.
func (c *Client) Revoke(ctx context.Context, q authority.RevokeRequest) (authority.Revocation, error) {
	return post[authority.Revocation](ctx, &c.caller, "/v1/revoke", q)
}

// Suspend keeps a name and all below it out.
func (c *Client) Suspend(ctx context.Context, n identity.Name) error {
	_, err := post[struct{}](ctx, &c.caller, "/v1/suspend", n)
	return err
}

// Reinstate ends the suspension of a name.
func (c *Client) Reinstate(ctx context.Context, n identity.Name) error {
	_, err := post[struct{}](ctx, &c.caller, "/v1/reinstate", n)
	return err
}

// ChangeGroup puts names into a group or takes them out.
func (c *Client) ChangeGroup(ctx context.Context, q authority.GroupChange) error {
	_, err := post[struct{}](ctx, &c.caller, "/v1/group", q)
	return err
}

// Identities returns the names that q selects, with their standing.
func (c *Client) Identities(ctx context.Context, q authority.IdentityFilter) ([]authority.Identity, error) {
	return post[[]authority.Identity](ctx, &c.caller, "/v1/identities", q)
}

// Identity returns one name with its standing.
func (c *Client) Identity(ctx context.Context, n identity.Name) (authority.Identity, error) {
	return post[authority.Identity](ctx, &c.caller, "/v1/identity", n)
}

// Certificates returns the certificates that q selects.
func (c *Client) Certificates(ctx context.Context, q authority.CertificateFilter) ([]authority.Certificate, error) {
	return post[[]authority.Certificate](ctx, &c.caller, "/v1/certificates", q)
}

// CreateToken makes an app token.
func (c *Client) CreateToken(ctx context.Context, q authority.TokenRequest) (authority.TokenCreated, error) {
	return post[authority.TokenCreated](ctx, &c.caller, "/v1/token/create", q)
}

// Tokens returns the record of every app token.
func (c *Client) Tokens(ctx context.Context) ([]authority.Token, error) {
	return get[[]authority.Token](ctx, &c.caller, "/v1/tokens")
}

// RevokeToken ends an app token.
func (c *Client) RevokeToken(ctx context.Context, id string) (authority.Token, error) {
	return post[authority.Token](ctx, &c.caller, "/v1/token/revoke", id)
}

// Invites returns the record of every invite.
func (c *Client) Invites(ctx context.Context) ([]authority.Invite, error) {
	return get[[]authority.Invite](ctx, &c.caller, "/v1/invites")
}

// Groups returns every group with its members.
func (c *Client) Groups(ctx context.Context) ([]authority.Group, error) {
	return get[[]authority.Group](ctx, &c.caller, "/v1/groups")
}

// Issuers returns the intermediates.
func (c *Client) Issuers(ctx context.Context) ([]authority.Issuer, error) {
	return get[[]authority.Issuer](ctx, &c.caller, "/v1/issuers")
}

// RevocationList returns the newest revocation list of a shard.
func (c *Client) RevocationList(ctx context.Context, q authority.ListRequest) (authority.RevocationList, error) {
	return post[authority.RevocationList](ctx, &c.caller, "/v1/crl", q)
}

// Shards returns how many revocation lists an issuer has.
func (c *Client) Shards(ctx context.Context, issuer string) (uint32, error) {
	return post[uint32](ctx, &c.caller, "/v1/shards", issuer)
}

// Profiles returns the profiles that are in force.
func (c *Client) Profiles(ctx context.Context) ([]authority.Profile, error) {
	return get[[]authority.Profile](ctx, &c.caller, "/v1/profiles")
}

// Head returns the ledger's newest checkpoint.
func (c *Client) Head(ctx context.Context) (authority.Head, error) {
	return get[authority.Head](ctx, &c.caller, "/v1/head")
}

// Verify recomputes the ledger and every view of it.
func (c *Client) Verify(ctx context.Context) (authority.Verification, error) {
	return post[authority.Verification](ctx, &c.caller, "/v1/verify", struct{}{})
}

// Status returns what the server says of itself.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return get[Status](ctx, &c.caller, "/v1/status")
}

// Refusals returns the newest refusals, newest first.
func (c *Client) Refusals(ctx context.Context, limit int) ([]Refused, error) {
	return get[[]Refused](ctx, &c.caller, "/v1/refusals?limit="+strconv.Itoa(limit))
}

// Refusal returns one refusal by its reference.
func (c *Client) Refusal(ctx context.Context, ref refusal.Reference) (Refused, error) {
	return get[Refused](ctx, &c.caller, "/v1/refusals/"+ref.String())
}

var (
	_ Authority = (*Client)(nil)
	_ Live      = (*Client)(nil)
)
