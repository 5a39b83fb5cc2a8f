package authority

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/roster"
	"github.com/postern-project/postern/internal/store"
)

// An Acknowledger tells who has taken in an issuer: the gateway in this process
// today, remote gateways and agents later.
type Acknowledger interface {
	// Holders returns everybody it speaks for.
	Holders(ctx context.Context, issuer ledger.KeyID) ([]Holder, error)
}

// A Holder is somebody who needs to know of an issuer or a root.
type Holder struct {
	Name string `json:"name"`
	Kind string `json:"kind"` // gateway or machine
	Has  bool   `json:"has"`
	// Needed says that a switch waits for it. A machine that joined is told of
	// an issuer with its next certificate, and needs only the root until then.
	Needed bool `json:"needed"`
}

type acknowledgers struct {
	mu  sync.Mutex // guards all
	all []Acknowledger
}

// Await has every later switch wait for those that a speaks for, until stop is
// called.
func (s *Service) Await(a Acknowledger) (stop func()) {
	w := &s.watchers
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, a)
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.all = slices.DeleteFunc(w.all, func(b Acknowledger) bool { return a == b })
	}
}

func (s *Service) holders(ctx context.Context, i roster.Issuer) ([]Holder, error) {
	s.watchers.mu.Lock()
	asked := slices.Clone(s.watchers.all)
	s.watchers.mu.Unlock()
	var all []Holder
	for _, a := range asked {
		some, err := a.Holders(ctx, i.KeyID)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	machines, err := s.machines(ctx, i.Added)
	return append(all, machines...), err
}

// machines returns those that joined and hold a good certificate. What they were
// given with their newest one is all that was known by then.
func (s *Service) machines(ctx context.Context, since uint64) ([]Holder, error) {
	newest, err := s.store.NewestByName(ctx, s.now(), viaInvite, viaServerKey, viaSCEP, viaRenew, viaUnproven)
	if err != nil {
		return nil, err
	}
	var all []Holder
	for name, seq := range newest {
		if below(name, SitesName) {
			continue
		}
		all = append(all, Holder{Name: name.String(), Kind: "machine", Has: seq > since})
	}
	slices.SortFunc(all, func(a, b Holder) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

func below(n identity.Name, first string) bool {
	for above := range n.Lineage() {
		if above.String() == first {
			return true
		}
	}
	return false
}

// rootHolders returns the machines that joined, which all need the newest root.
func (s *Service) rootHolders(ctx context.Context) ([]Holder, error) {
	var added uint64
	number := uint64(0)
	for e, err := range s.store.Entries(ctx, 0) {
		if err != nil {
			return nil, err
		}
		if _, ok := e.Body.(ledger.RootAdded); ok {
			added = number
		}
		number++
	}
	all, err := s.machines(ctx, added)
	for i := range all {
		all[i].Needed = true
	}
	return all, err
}

// lacking returns those that a change has to wait for.
func lacking(all []Holder) []Holder {
	return slices.DeleteFunc(slices.Clone(all), func(h Holder) bool { return h.Has || !h.Needed })
}

// A Rotation is where the replacement of a line's issuer has come to.
type Rotation struct {
	Line string `json:"line"`
	// Active is what the line issues under; nil when it is distrusted.
	Active *Issuer `json:"active,omitempty"`
	// Staged waits to be switched to; nil for none.
	Staged *Issuer `json:"staged,omitempty"`
	// Former are those before whose keys are still here.
	Former []Issuer `json:"former,omitempty"`
	// Holders are those who need to know of Staged.
	Holders []Holder `json:"holders,omitempty"`
	// Did says what was done, in words.
	Did string `json:"did,omitempty"`
}

// A RotationStep goes on with the replacement of a line's issuer.
type RotationStep struct {
	Line string `json:"line"`
	// Switch issues under the staged one from now on, if all that need it have
	// it, or with Force.
	Switch bool `json:"switch,omitempty"`
	// Retire gives up the keys of former issuers under which nothing is good
	// any more, or with Force of all.
	Retire bool `json:"retire,omitempty"`
	Force  bool `json:"force,omitempty"`
}

// Rotate goes on with the replacement of a line's issuer, or only tells where
// it has come to.
func (s *Service) Rotate(ctx context.Context, step RotationStep) (Rotation, error) {
	s.ceremonies.Lock()
	defer s.ceremonies.Unlock()
	r, err := s.rotation(ctx, step.Line)
	if err != nil {
		return r, err
	}
	var did string
	switch {
	case step.Switch:
		did, err = s.switchTo(ctx, r, step.Force)
	case step.Retire:
		did, err = s.retire(ctx, r, step.Force)
	default:
		return r, nil
	}
	if err != nil {
		return r, err
	}
	r, err = s.rotation(ctx, step.Line)
	r.Did = did
	return r, err
}

func (s *Service) rotation(ctx context.Context, line string) (Rotation, error) {
	all, err := s.Issuers(ctx)
	if err != nil {
		return Rotation{}, err
	}
	r, known := Rotation{Line: line}, false
	for _, i := range all {
		if i.Line != line {
			continue
		}
		known = true
		switch i.State {
		case StateActive:
			r.Active = &i
		case StateStaged:
			r.Staged = &i
		case StateFormer:
			r.Former = append(r.Former, i)
		}
	}
	if !known {
		return r, refuse(CodeNotFound, "'postern issuer list' shows the lines there are", "there is no issuer of the line %s", line)
	}
	if r.Staged == nil {
		return r, nil
	}
	for _, i := range s.roster.Issuers() {
		if i.KeyID == r.Staged.KeyID {
			r.Holders, err = s.holders(ctx, i)
		}
	}
	return r, err
}

func (s *Service) switchTo(ctx context.Context, r Rotation, force bool) (string, error) {
	if r.Staged == nil {
		return "", refuse(CodeNotFound, fmt.Sprintf("'postern issuer rotate %s' makes one", r.Line), "no issuer of the line %s is staged", r.Line)
	}
	if late := lacking(r.Holders); len(late) > 0 && !force {
		return "", refuse(CodeNotYet, "wait for them, or switch all the same with --force", "%d of those who need %s do not have it yet, such as the %s %s",
			len(late), r.Staged.Name, late[0].Kind, late[0].Name)
	}
	err := s.update(ctx, func(tx *store.Tx) error { return tx.Append(ledger.IssuerActivated{Issuer: r.Staged.KeyID}) })
	if err != nil {
		return "", err
	}
	s.log.Info("issuer switched", "issuer", r.Staged.Name)
	return fmt.Sprintf("certificates of the line %s are issued by %s from now on", r.Line, r.Staged.Name), nil
}

// retire gives up keys: the entry first, for a key that the ledger believes in
// has to be there.
func (s *Service) retire(ctx context.Context, r Rotation, force bool) (string, error) {
	if len(r.Former) == 0 {
		return "", refuse(CodeNotFound, "", "no issuer of the line %s waits to be retired", r.Line)
	}
	var names []string
	for _, i := range r.Former {
		if i.InUse > 0 && !force {
			return "", refuse(CodeNotYet, "wait until they have renewed or ended, or retire it all the same with --force: what it issued goes on working here, and no list or status can be signed under it any more",
				"%d certificates by %s are good still", i.InUse, i.Name)
		}
		if err := s.update(ctx, func(tx *store.Tx) error { return tx.Append(ledger.IssuerRetired{Issuer: i.KeyID}) }); err != nil {
			return "", err
		}
		s.letGo(i.KeyID)
		if err := os.Remove(issuerFile(s.dir, i.Name, ".key")); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		names = append(names, i.Name)
	}
	s.log.Info("issuer retired", "issuer", strings.Join(names, " "))
	return fmt.Sprintf("the key of %s is gone; what it issued stays as good as it is", strings.Join(names, ", ")), nil
}

// A DistrustRequest ends trust in an issuer whose key may be in strange hands.
type DistrustRequest struct {
	Name   string        `json:"name"`
	Reason ledger.Reason `json:"reason"`
	// Preview only tells what would follow.
	Preview bool `json:"preview,omitempty"`
}

// A Distrusted is what follows from distrusting an issuer.
type Distrusted struct {
	Issuer Issuer `json:"issuer"`
	// Kept is how many certificates go on working here, because the ledger
	// shows that they were honestly issued.
	Kept int `json:"kept"`
	// Next is the issuer that takes over at once; "" when the root has to sign
	// one first.
	Next string    `json:"next,omitempty"`
	At   time.Time `json:"at,omitzero"`
}

// Distrust ends trust in an issuer, at once and without the root. What the
// ledger shows it has issued goes on working at gateways that read the ledger;
// everything else under it is refused with an alarm.
func (s *Service) Distrust(ctx context.Context, r DistrustRequest) (Distrusted, error) {
	s.ceremonies.Lock()
	defer s.ceremonies.Unlock()
	all, err := s.Issuers(ctx)
	if err != nil {
		return Distrusted{}, err
	}
	at := slices.IndexFunc(all, func(i Issuer) bool { return i.Name == r.Name })
	if at < 0 {
		return Distrusted{}, refuse(CodeNotFound, "'postern issuer list' shows them", "there is no issuer %s", r.Name)
	}
	d := Distrusted{Issuer: all[at], Kept: all[at].InUse}
	if d.Issuer.Distrusted {
		return d, refuse(CodeExists, "", "issuer %s is distrusted already", r.Name)
	}
	for _, i := range all {
		if i.Line == d.Issuer.Line && i.Name != r.Name && (i.State == StateActive || i.State == StateStaged && d.Issuer.State == StateActive) {
			d.Next = i.Name
		}
	}
	if r.Preview {
		return d, nil
	}
	err = s.update(ctx, func(tx *store.Tx) error {
		if err := tx.Append(ledger.IssuerDistrusted{Issuer: d.Issuer.KeyID, Reason: r.Reason}); err != nil {
			return err
		}
		for _, i := range all {
			if i.Name == d.Next && i.State == StateStaged {
				return tx.Append(ledger.IssuerActivated{Issuer: i.KeyID})
			}
		}
		return nil
	})
	if err != nil {
		return d, err
	}
	s.letGo(d.Issuer.KeyID)
	d.At, d.Issuer.Distrusted, d.Issuer.State = s.now(), true, StateDistrusted
	s.log.Error("issuer distrusted", "issuer", r.Name, "reason", r.Reason.String(), "next", d.Next)
	return d, nil
}
