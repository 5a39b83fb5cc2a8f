// Package api is the way from a command to the authority of a running server:
// HTTP with JSON over the socket in the data folder, one route for each method
// of the authority. It also holds the lock that gives a data folder one
// holder.
package api

import (
	"context"
	"time"

	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/gateway"
	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/invite"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/refusal"
)

// An Authority is all that commands ask of the authority. Both
// *authority.Service and *Client are one.
type Authority interface {
	Issue(context.Context, authority.IssueRequest) (authority.Issued, error)
	Invite(context.Context, authority.InviteRequest) (authority.Invitation, error)
	Approve(context.Context, authority.ApproveRequest) (authority.Issued, error)
	CancelInvite(context.Context, ledger.Hash) error
	Revoke(context.Context, authority.RevokeRequest) (authority.Revocation, error)
	Suspend(context.Context, identity.Name) error
	Reinstate(context.Context, identity.Name) error
	ChangeGroup(context.Context, authority.GroupChange) error
	Identities(context.Context, authority.IdentityFilter) ([]authority.Identity, error)
	Identity(context.Context, identity.Name) (authority.Identity, error)
	Certificates(context.Context, authority.CertificateFilter) ([]authority.Certificate, error)
	Invites(context.Context) ([]authority.Invite, error)
	CreateToken(context.Context, authority.TokenRequest) (authority.TokenCreated, error)
	Tokens(context.Context) ([]authority.Token, error)
	RevokeToken(ctx context.Context, id string) (authority.Token, error)
	Groups(context.Context) ([]authority.Group, error)
	Issuers(context.Context) ([]authority.Issuer, error)
	RevocationList(context.Context, authority.ListRequest) (authority.RevocationList, error)
	// Shards returns how many revocation lists an issuer has.
	Shards(ctx context.Context, issuer string) (uint32, error)
	Hierarchy(context.Context) (authority.Hierarchy, error)
	AskRoot(context.Context, authority.RootAsk) (authority.RootRequest, error)
	ApplyRoot(context.Context, authority.RootAnswer) (authority.RootApplied, error)
	Rotate(context.Context, authority.RotationStep) (authority.Rotation, error)
	Distrust(context.Context, authority.DistrustRequest) (authority.Distrusted, error)
	Profiles(context.Context) ([]authority.Profile, error)
	Head(context.Context) (authority.Head, error)
	Verify(context.Context) (authority.Verification, error)
	CreateACMEKey(context.Context, authority.ACMEKeyRequest) (authority.ACMEKey, error)
	ACMEAccounts(context.Context) ([]authority.ACMEAccountInfo, error)
	ACMEOrders(context.Context, authority.ACMEOrderQuery) ([]authority.ACMEOrder, error)
	ACMEOrder(ctx context.Context, id string) (authority.ACMEOrderStory, error)
}

// A Live is what only a running server can tell.
type Live interface {
	Status(context.Context) (Status, error)
	// Refusals returns the newest refusals, newest first.
	Refusals(ctx context.Context, limit int) ([]Refused, error)
	// Refusal returns one refusal; a reference that is not on record is an
	// authority.Error with CodeNotFound.
	Refusal(context.Context, refusal.Reference) (Refused, error)
	// Steps returns what happened to an invitation, by its code's Hash, since
	// somebody asked for the first time.
	Steps(context.Context, ledger.Hash) ([]invite.Step, error)
	// Requests returns the keys that wait for a yes.
	Requests(context.Context) ([]invite.Waiting, error)
	// AccessRequests returns the requests for access that wait for an answer.
	AccessRequests(context.Context) ([]invite.AccessRequest, error)
	// GrantAccess answers one with an invitation that only its browser learns,
	// and DenyAccess, by its words, with no. One that is not there, or was
	// answered, is an authority.Error.
	GrantAccess(context.Context, AccessGrant) (AccessGranted, error)
	DenyAccess(ctx context.Context, words string) error
}

// An AccessGrant says yes to the request for access with these words.
type AccessGrant struct {
	Words   string         `json:"words"`
	Name    identity.Name  `json:"name"`
	Profile string         `json:"profile,omitempty"` // "" means device
	Group   identity.Group `json:"group,omitzero"`
}

// An AccessGranted is the invitation that was made of it, without its code.
type AccessGranted struct {
	Name    identity.Name `json:"name"`
	Profile string        `json:"profile"`
	Expires time.Time     `json:"expires"`
}

// A Refused is the record of one refusal.
type Refused = gateway.Refused

// A Status is what a running server says of itself.
type Status struct {
	Version     string    `json:"version"`
	PID         int       `json:"pid"`
	Started     time.Time `json:"started"`
	TrustDomain string    `json:"trust_domain"`
	// Ready says that the gateway answers.
	Ready bool `json:"ready"`
	// Config is the file in force; ConfigError says why a newer version of
	// it was not taken.
	Config      string       `json:"config,omitempty"`
	ConfigError string       `json:"config_error,omitempty"`
	Listen      []string     `json:"listen"`
	PublicURL   string       `json:"public_url"`
	Sites       []SiteStatus `json:"sites"`
	Connections int          `json:"connections"`
	Ledger      LedgerStatus `json:"ledger"`
	Certificate time.Time    `json:"server_certificate_until,omitzero"`
	Advice      []string     `json:"advice,omitempty"` // what somebody should do, most pressing first
}

// A SiteStatus is one site as it is served.
type SiteStatus struct {
	Host    string `json:"host"`
	URL     string `json:"url"`
	Target  string `json:"target"`
	Stealth bool   `json:"stealth"`
}

// A LedgerStatus is the newest checkpoint in short.
type LedgerStatus struct {
	Epoch uint64      `json:"epoch"`
	Size  uint64      `json:"size"`
	Root  ledger.Hash `json:"root"`
}
