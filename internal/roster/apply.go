package roster

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/postern-project/postern/internal/ledger"
)

// Apply takes in the entries that follow the last one applied; first is the
// number of the first of them. The signatures of the root on entry 0 and on
// every issuer are checked here; that the entries are those of the signed
// ledger is the caller's to check before. On error nothing of the batch is
// applied, and the roster is stale, lets nobody in and says so to its
// watchers, until a later Apply goes on at Size. A long ledger is better
// applied in batches of some thousand entries.
func (r *Roster) Apply(first uint64, entries []ledger.Entry) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	p, err := r.plan(first, entries)
	if r.condemned {
		err = ErrCondemned
	}
	if err != nil {
		if r.ready.Swap(false) {
			r.watchers.tell(Change{Trust: true})
		}
		return err
	}
	if len(entries) == 0 {
		return nil
	}
	change := r.commit(p, entries)
	r.size.Store(first + uint64(len(entries)))
	r.ready.Store(true)
	r.watchers.tell(change)
	return nil
}

// Condemn makes the roster stale for good: what it was made of turned out to be
// damaged.
func (r *Roster) Condemn() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.condemned = true
	if r.ready.Swap(false) {
		r.watchers.tell(Change{Trust: true})
	}
}

// A plan is a batch that was found to be in order, so that carrying it out
// cannot fail.
type plan struct {
	roster *Roster
	trust  *trust // what it will be
	fresh  map[number]ledger.Hash
	void   map[number]bool // of fresh: issued by an issuer that was distrusted before
	// history are the entries that changed trust.
	history []numbered
}

// A number is what the ledger gives out once.
type number struct {
	issuer uint16
	serial ledger.Serial
}

// plan checks entries without changing anything that a reader sees.
func (r *Roster) plan(first uint64, entries []ledger.Entry) (*plan, error) {
	if size := r.Size(); first != size {
		return nil, fmt.Errorf("%w: entry %d where %d is the next", ErrGap, first, size)
	}
	old := r.trust.Load()
	next := *old
	next.issuers, next.byKey = slices.Clone(old.issuers), maps.Clone(old.byKey)
	if next.byKey == nil {
		next.byKey = make(map[ledger.KeyID]uint16)
	}
	next.lost = slices.Clone(old.lost)
	p := &plan{roster: r, trust: &next, fresh: make(map[number]ledger.Hash), void: make(map[number]bool)}
	for i, e := range entries {
		if err := p.accept(first+uint64(i), e); err != nil {
			return nil, fmt.Errorf("ledger entry %d: %w", first+uint64(i), err)
		}
	}
	return p, nil
}

var errIncomplete = errors.New("it names nothing")

// accept checks one entry against everything before it.
func (p *plan) accept(seq uint64, e ledger.Entry) error {
	if known, err := p.governs(seq, e); known || err != nil {
		return err
	}
	complete := true
	switch b := e.Body.(type) {
	case ledger.CertificateIssued:
		return p.issued(b)
	case ledger.CertificatesRevoked:
		return p.revoked(b)
	case ledger.IdentitySuspended:
		complete = !b.Name.IsZero()
	case ledger.IdentityReinstated:
		complete = !b.Name.IsZero()
	case ledger.GroupJoined:
		complete = !b.Name.IsZero() && !b.Group.IsZero()
	case ledger.GroupLeft:
		complete = !b.Name.IsZero() && !b.Group.IsZero()
	case ledger.IdentityCreated, ledger.InviteCreated, ledger.InviteUsed, ledger.InviteCancelled:
	case ledger.TokenIssued:
		complete = !b.Name.IsZero() && b.Site != "" && !b.Token.IsZero()
	case ledger.TokenRevoked:
	case ledger.ACMEKeyCreated:
		complete = !b.Name.IsZero() && b.Key != ""
	case ledger.ACMEAccountBound, ledger.ACMEAccountRekeyed, ledger.ACMEKeyCancelled, ledger.ACMECertificateIssued:
	default:
		return fmt.Errorf("an entry of type %T is not known to this postern: update it", e.Body)
	}
	if !complete {
		return errIncomplete
	}
	return nil
}

// governs takes in an entry that changes trust, the only kind of entry that may
// do so, and keeps it for snapshots. known is false for every other entry.
func (p *plan) governs(seq uint64, e ledger.Entry) (known bool, err error) {
	if _, genesis := e.Body.(ledger.Genesis); genesis != (seq == 0) {
		return false, errors.New("a ledger begins with a genesis entry and has only one")
	}
	switch b := e.Body.(type) {
	case ledger.Genesis, ledger.RootAdded, ledger.RootRetired, ledger.LedgerKeyChanged, ledger.RootListSigned, ledger.CeremonyRecorded:
		err = p.anchored(b)
	case ledger.IssuerAdded:
		err = p.issuerAdded(seq, b)
	case ledger.IssuerDistrusted:
		err = p.issuerDistrusted(e.At, b)
	case ledger.IssuerActivated:
		err = p.issuerActivated(b)
	case ledger.IssuerRetired:
		err = p.issuerRetired(b)
	case ledger.EpochOpened:
		err = p.epochOpened(e, b)
	default:
		return false, nil
	}
	p.history = append(p.history, numbered{seq, e})
	return true, err
}

func (p *plan) issued(b ledger.CertificateIssued) error {
	issuer, ok := p.trust.byKey[b.Issuer]
	switch {
	case !ok:
		return fmt.Errorf("certificate %s is by an issuer that was never added, with key id %s", b.Serial, b.Issuer)
	case b.Name.IsZero() || b.Serial.IsZero():
		return errIncomplete
	}
	n := number{issuer, b.Serial}
	if _, taken := p.find(n); taken {
		return fmt.Errorf("serial number %s of issuer %s was given out before", b.Serial, p.trust.issuers[issuer].Name)
	}
	if _, ok := p.roster.words.enter(b.Profile); !ok {
		return fmt.Errorf("profile %q is one too many", b.Profile)
	}
	p.fresh[n] = b.TBS
	if p.trust.issuers[issuer].Distrusted {
		p.void[n] = true
	}
	return nil
}

// find returns the hash recorded for n, before this batch or in it.
func (p *plan) find(n number) (ledger.Hash, bool) {
	if tbs, ok := p.fresh[n]; ok {
		return tbs, true
	}
	if _, c, ok := p.roster.certificates.find(n.issuer, n.serial); ok {
		return c.tbs, true
	}
	return ledger.Hash{}, false
}

func (p *plan) revoked(b ledger.CertificatesRevoked) error {
	for _, ref := range b.Certificates {
		issuer, ok := p.trust.byKey[ref.Issuer]
		tbs, found := p.find(number{issuer, ref.Serial})
		if !ok || !found || tbs != ref.TBS {
			return fmt.Errorf("it revokes certificate %s, which was never issued", ref.Serial)
		}
	}
	return nil
}

func (p *plan) epochOpened(e ledger.Entry, b ledger.EpochOpened) error {
	if b.Epoch <= p.trust.epoch {
		return fmt.Errorf("epoch %d does not follow epoch %d", b.Epoch, p.trust.epoch)
	}
	p.trust.epoch = b.Epoch
	p.trust.lost = append(p.trust.lost, span{b.From, e.At})
	return nil
}
