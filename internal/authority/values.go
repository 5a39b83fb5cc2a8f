package authority

import (
	"net/netip"
	"time"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/ledger"
)

// The plain values through which the rest of the house reaches the authority.
// They cross a process boundary as JSON, so they hold no handles and no keys.

// An IssueRequest asks for a certificate for a name. Nothing in it comes from
// a certificate request: PublicKey is a key and no more.
type IssueRequest struct {
	Name     identity.Name `json:"name"`
	Profile  string        `json:"profile"` // "" means device
	DNSNames []string      `json:"dns,omitempty"`
	IPs      []netip.Addr  `json:"ips,omitempty"`
	// PublicKey is a SubjectPublicKeyInfo, DER.
	PublicKey []byte `json:"public_key"`
	// Lifetime shortens the profile's; zero keeps it.
	Lifetime time.Duration `json:"lifetime,omitempty"`
	// Via says which door the request came through: issue, sign or self.
	Via string `json:"via"`
}

// An Issued is a certificate that the ledger holds and the in-process roster
// knows.
type Issued struct {
	Ref       ledger.Ref    `json:"-"`
	Serial    ledger.Serial `json:"serial"`
	Name      identity.Name `json:"name"`
	Profile   string        `json:"profile"`
	NotBefore time.Time     `json:"not_before"`
	NotAfter  time.Time     `json:"not_after"`
	// Chain is the leaf, then its issuer, and while one root follows another
	// what leads from the issuer to the other root; each DER. Root is the
	// newest root, DER, and Roots all that are trusted, newest first.
	Chain [][]byte `json:"chain"`
	Root  []byte   `json:"root"`
	Roots [][]byte `json:"roots"`
	// Invite is the hash of the code that SCEP spent on it; zero otherwise.
	Invite ledger.Hash `json:"-"`
}

// A RenewRequest asks for the successor of a certificate that its holder has
// proved to hold, by a TLS handshake with it.
type RenewRequest struct {
	Ref       ledger.Ref `json:"ref"`
	PublicKey []byte     `json:"public_key"` // SubjectPublicKeyInfo, DER
	// Proof is the holder's own word, as invite.ProveRenewal makes it; without
	// one there is only the gateway's.
	Proof []byte `json:"proof,omitempty"`
}

// An InviteRequest asks for a one-time code.
type InviteRequest struct {
	Name    identity.Name  `json:"name"`
	Profile string         `json:"profile"`        // "" means device
	TTL     time.Duration  `json:"ttl,omitempty"`  // zero: 15 minutes, 24 hours for service
	Group   identity.Group `json:"group,omitzero"` // joined on use; zero for none
	// ServerKey lets the server make the key, for a device that cannot.
	ServerKey bool `json:"server_key,omitempty"`
	// Approve asks for an invite that Redeem spends only after Approve.
	Approve bool `json:"approve,omitempty"`
}

// An Invitation is a code together with what it is good for. The code is a
// secret: it is shown once and kept only as a hash.
type Invitation struct {
	Code      string         `json:"code"`
	Name      identity.Name  `json:"name"`
	Profile   string         `json:"profile"`
	Group     identity.Group `json:"group,omitzero"`
	Expires   time.Time      `json:"expires"`
	Approve   bool           `json:"approve,omitempty"`
	ServerKey bool           `json:"server_key,omitempty"`
	// Hash is what the ledger keeps of the code.
	Hash ledger.Hash `json:"hash"`
}

// An ApproveRequest spends an invite that was made to be approved on the key
// that an operator recognised. The device gets the certificate when it asks
// the next time.
type ApproveRequest struct {
	Hash      ledger.Hash `json:"hash"`
	PublicKey []byte      `json:"public_key"` // SubjectPublicKeyInfo, DER
}

// A RedeemRequest spends an invite on a key.
type RedeemRequest struct {
	Code      string `json:"code"`
	PublicKey []byte `json:"public_key"` // SubjectPublicKeyInfo, DER
	// ServerKey says that the server has made the key: only an invite that
	// allows it is spent.
	ServerKey bool `json:"server_key,omitempty"`
}

// A RevokeRequest withdraws one certificate by its serial number, or all of a
// name and of every name below it together with their open invites. Exactly
// one of Name and Serial is set.
type RevokeRequest struct {
	Name   identity.Name `json:"name,omitzero"`
	Serial ledger.Serial `json:"serial,omitzero"`
	Reason ledger.Reason `json:"reason"`
}

// A Revocation is what a RevokeRequest withdrew.
type Revocation struct {
	Certificates []Certificate `json:"certificates"`
	Invites      int           `json:"invites"`
	ACMEKeys     int           `json:"acme_keys,omitempty"` // and the accounts they became
	Tokens       int           `json:"tokens,omitempty"`    // of apps
}

// An Identity is a name with its standing.
type Identity struct {
	Name      identity.Name    `json:"name"`
	Created   time.Time        `json:"created"`
	Suspended bool             `json:"suspended"`
	Groups    []identity.Group `json:"groups,omitempty"`
	// Certificates counts those that are good now.
	Certificates int `json:"certificates"`
}

// An IdentityFilter selects names; its zero fields select every one.
type IdentityFilter struct {
	Name identity.Name `json:"name,omitzero"` // the name and all below it
	// After is the last name of the page before.
	After identity.Name `json:"after,omitzero"`
	Limit int           `json:"limit,omitempty"` // zero: all
}

// A Certificate is one certificate's record.
type Certificate struct {
	Serial      ledger.Serial `json:"serial"`
	Name        identity.Name `json:"name"`
	Profile     string        `json:"profile"`
	Issuer      string        `json:"issuer"`
	IssuerKeyID ledger.KeyID  `json:"issuer_key_id"`
	TBS         ledger.Hash   `json:"tbs_sha256"`
	Key         ledger.Hash   `json:"key_sha256"`
	NotBefore   time.Time     `json:"not_before"`
	NotAfter    time.Time     `json:"not_after"`
	IssuedAt    time.Time     `json:"issued_at"`
	DNSNames    []string      `json:"dns,omitempty"`
	IPs         []netip.Addr  `json:"ips,omitempty"`
	Via         string        `json:"via"`
	RenewedFrom ledger.Serial `json:"renewed_from,omitzero"`
	RevokedAt   time.Time     `json:"revoked_at,omitzero"`
	Reason      string        `json:"reason,omitempty"`
	// Status is good, revoked, expired or suspended.
	Status string `json:"status"`
	// Place is where the next page goes on after this one.
	Place string `json:"place,omitempty"`
}

// An Invite is one invite's record; the code itself is not kept.
type Invite struct {
	// ID is the first eight hex digits of the code's hash.
	ID      string         `json:"id"`
	Name    identity.Name  `json:"name"`
	Profile string         `json:"profile"`
	Group   identity.Group `json:"group,omitzero"`
	Created time.Time      `json:"created"`
	Expires time.Time      `json:"expires"`
	UsedAt  time.Time      `json:"used_at,omitzero"`
	// Status is open, used, cancelled or expired.
	Status string `json:"status"`
}

// A Group is a group with its members.
type Group struct {
	Name    identity.Group  `json:"name"`
	Members []identity.Name `json:"members"`
}

// An Issuer is one intermediate's record.
type Issuer struct {
	Name        string       `json:"name"`
	Use         string       `json:"use"` // clients or servers
	KeyID       ledger.KeyID `json:"key_id"`
	Certificate []byte       `json:"certificate"` // DER
	NotAfter    time.Time    `json:"not_after"`
	Distrusted  bool         `json:"distrusted"`
	Line        string       `json:"line"`
	// State is active, staged, former, retired or distrusted.
	State string `json:"state"`
	// Root is the name of the root that signed it.
	Root string `json:"root"`
	// InUse counts the certificates under it that are good now.
	InUse int `json:"in_use"`
}

// A GroupChange puts names into a group or takes them out.
type GroupChange struct {
	Group  identity.Group  `json:"group"`
	Add    []identity.Name `json:"add,omitempty"`
	Remove []identity.Name `json:"remove,omitempty"`
}

// A CertificateFilter selects certificates; zero fields select everything.
type CertificateFilter struct {
	Name   identity.Name `json:"name,omitzero"` // the name and all below it
	Serial ledger.Serial `json:"serial,omitzero"`
	// Beginning is that of the serial number, in hex digits.
	Beginning string      `json:"beginning,omitempty"`
	Host      string      `json:"host,omitempty"`    // a host name or address that stands in it
	Key       ledger.Hash `json:"key,omitzero"`      // SHA-256 of the SubjectPublicKeyInfo
	Issuer    string      `json:"issuer,omitempty"`  // by name
	Via       string      `json:"via,omitempty"`     // the door it was issued through
	NotVia    string      `json:"not_via,omitempty"` // leaves out what came through this door
	Status    string      `json:"status,omitempty"`
	// Within selects those that end within so long from now, the first to end
	// first, without those that have ended or are revoked.
	Within time.Duration `json:"within,omitempty"`
	// Due selects the good ones that their holders should have renewed by now:
	// in the last third of their life, at most 30 days before the end, and
	// without a good successor. Those of the sites, which renew themselves, are
	// left out. The first to end come first.
	Due bool `json:"due,omitempty"`
	// After is the Place of the last certificate of the page before.
	After string `json:"after,omitempty"`
	Limit int    `json:"limit,omitempty"` // zero: 1000
}

// A Profile is one kind of certificate that is issued.
type Profile struct {
	Name        string        `json:"name"`
	Usage       string        `json:"usage"` // client or server
	Lifetime    time.Duration `json:"lifetime"`
	MaxLifetime time.Duration `json:"max_lifetime"`
	Issuer      string        `json:"issuer,omitempty"` // "" is the newest for the usage
	// Text is the profile as it is written in postern.yaml.
	Text string `json:"text"`
}

// A Head is the ledger's newest checkpoint.
type Head struct {
	TrustDomain string      `json:"trust_domain"`
	Epoch       uint64      `json:"epoch"`
	Size        uint64      `json:"size"`
	Root        ledger.Hash `json:"root"`
	// Note is the signed note (C2SP tlog-checkpoint).
	Note []byte `json:"note"`
}

// A Verification is the outcome of recomputing the whole ledger and every view
// of it.
type Verification struct {
	OK   bool        `json:"ok"`
	Size uint64      `json:"size"`
	Root ledger.Hash `json:"root"`
	// Fault names the first thing that is not as it was written; it is empty
	// when OK.
	Fault string `json:"fault,omitempty"`
}
