// Package roster is the view of the ledger that answers "is this one good?":
// which certificates were issued and not revoked, which names are suspended,
// who is in which group, and which root and issuers to believe. It is kept in
// memory, answers without locks, and tells its watchers what has changed.
package roster

import (
	"crypto/x509"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/ledger"
)

// ErrGap is the error of Apply for entries that do not follow the last one
// applied. Whoever gets it asks the source for everything after Size.
var ErrGap = errors.New("ledger entries out of order")

// ErrCondemned is the error of Apply after Condemn.
var ErrCondemned = errors.New("the ledger behind this roster is damaged")

// A Roster knows what the ledger's entries add up to. It is safe for
// concurrent use; Check and the other questions never wait for Apply. A
// roster that was never applied to, or whose last Apply failed, lets nobody in.
type Roster struct {
	ready atomic.Bool
	size  atomic.Uint64
	trust atomic.Pointer[trust]

	certificates certificates
	names        names
	words        words // profiles
	accounts     accounts
	tokens       tokens
	published    published

	mu        sync.Mutex                  // held by Apply; guards the writers' side of the above and what follows
	members   map[uint32][]identity.Group // slices are replaced, never changed
	suspended map[uint32]struct{}         // names
	withdrawn map[uint32]uint64           // names, with what their nodes say
	invites   map[ledger.Hash]ledger.InviteCreated
	history   []numbered // the entries that changed trust
	condemned bool
	groups    sync.Map // identity.Group -> struct{}: all that the ledger has named
	watchers  watchers
}

// An Issuer is an intermediate that the root has signed.
type Issuer struct {
	Name        string
	Use         ledger.Use
	Certificate *x509.Certificate
	KeyID       ledger.KeyID
	Distrusted  bool
	// DistrustedAt and Reason belong to Distrusted.
	DistrustedAt time.Time
	Reason       ledger.Reason
	// Active says that its line issues under it.
	Active bool
	// Used says that it is or was Active; before that it is staged.
	Used bool
	// Retired says that its key is gone.
	Retired bool
	// Added is the number of the entry that added it.
	Added uint64
}

// Line returns the line that the issuer belongs to, such as clients.
func (i Issuer) Line() string { return ledger.LineOf(i.Name) }

// trust is what changes rarely. A value is never changed once it is shared.
type trust struct {
	anchors    ledger.Anchors
	issuers    []Issuer
	byKey      map[ledger.KeyID]uint16 // index into issuers
	lost       []span
	epoch      uint64
	generation uint64
}

// A span is a time in which the ledger's lost tail may have issued.
type span struct{ from, to time.Time }

// New returns a roster that lets nobody in until Apply has given it the ledger
// from entry 0.
func New() *Roster {
	r := &Roster{
		members: make(map[uint32][]identity.Group), suspended: make(map[uint32]struct{}),
		withdrawn: make(map[uint32]uint64), invites: make(map[ledger.Hash]ledger.InviteCreated),
	}
	r.trust.Store(&trust{})
	r.certificates.init()
	r.names.init()
	r.published.init()
	return r
}

// Size returns how many entries have been applied.
func (r *Roster) Size() uint64 { return r.size.Load() }

// TrustDomain returns the trust domain; it is zero before the first Apply.
func (r *Roster) TrustDomain() identity.TrustDomain { return r.trust.Load().anchors.Domain }

// Ready reports whether the roster answers for its ledger: it has entries, all
// of them were in order, and nobody has condemned it.
func (r *Roster) Ready() bool { return r.ready.Load() }

// Epoch returns the ledger's epoch, which grows when a loss was accepted.
func (r *Roster) Epoch() uint64 { return r.trust.Load().epoch }

// Root returns the newest root's certificate, or nil before the first Apply.
func (r *Roster) Root() *x509.Certificate { return r.trust.Load().anchors.Newest() }

// Anchors returns the roots, and the key of the ledger's checkpoints.
func (r *Roster) Anchors() ledger.Anchors { return r.trust.Load().anchors }

// OpenInvites returns the invites that may be used, as far as the ledger says:
// their ends are not heeded.
func (r *Roster) OpenInvites() map[ledger.Hash]ledger.InviteCreated {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.invites)
}

// Issuers returns every issuer in the order in which they were added,
// distrusted ones included.
func (r *Roster) Issuers() []Issuer { return slices.Clone(r.trust.Load().issuers) }

// Issuer returns the issuer that has the key id, distrusted or not.
func (r *Roster) Issuer(id ledger.KeyID) (Issuer, bool) {
	all := r.trust.Load().issuers
	i := slices.IndexFunc(all, func(i Issuer) bool { return i.KeyID == id })
	if i < 0 {
		return Issuer{}, false
	}
	return all[i], true
}

// Generation returns a number that grows with every change of the root or the
// issuers, and with nothing else.
func (r *Roster) Generation() uint64 { return r.trust.Load().generation }

// Groups returns the groups that hold n or a name above it, sorted. The slice
// is shared: do not change it.
func (r *Roster) Groups(n identity.Name) []identity.Group {
	for above := range n.Lineage() {
		if node, ok := r.names.find(above); ok {
			return node.allGroups()
		}
	}
	return nil
}

// HasGroup reports whether the ledger has ever named g, in an invite or as a
// group that somebody joined.
func (r *Roster) HasGroup(g identity.Group) bool {
	_, ok := r.groups.Load(g)
	return ok
}
