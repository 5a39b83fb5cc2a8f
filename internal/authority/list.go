package authority

import (
	"context"
	"slices"
	"time"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/store"
)

// The states of a certificate or an invite, as lists show them.
const (
	StatusGood      = "good"
	StatusRevoked   = "revoked"
	StatusExpired   = "expired"
	StatusSuspended = "suspended"
	StatusOpen      = "open"
	StatusUsed      = "used"
	StatusCancelled = "cancelled"
)

// defaultLimit is how many certificates are listed unless asked otherwise.
const defaultLimit = 1000

// Identities returns the names that fit f with their standing, sorted.
func (s *Service) Identities(ctx context.Context, f IdentityFilter) ([]Identity, error) {
	groups, err := s.memberships(ctx)
	if err != nil {
		return nil, err
	}
	suspended, err := s.store.AllSuspended(ctx)
	if err != nil {
		return nil, err
	}
	all := []Identity{}
	for row, err := range s.store.Identities(ctx, store.IdentityFilter(f), s.now()) {
		if err != nil {
			return nil, err
		}
		i := Identity{Name: row.Name, Created: row.CreatedAt, Groups: groups[row.Name], Certificates: row.Valid}
		for above := range row.Name.Lineage() {
			if suspended[above] {
				i.Suspended, i.Certificates = true, 0
			}
		}
		all = append(all, i)
	}
	return all, nil
}

// Identity returns one name with its standing.
func (s *Service) Identity(ctx context.Context, n identity.Name) (Identity, error) {
	all, err := s.Identities(ctx, IdentityFilter{Name: n, Limit: 1}) // the name itself comes before those below it
	switch {
	case err != nil:
		return Identity{}, err
	case len(all) == 0 || all[0].Name != n:
		return Identity{}, unknownName(n)
	}
	return all[0], nil
}

func (s *Service) memberships(ctx context.Context) (map[identity.Name][]identity.Group, error) {
	groups := map[identity.Name][]identity.Group{}
	for row, err := range s.store.Groups(ctx) {
		if err != nil {
			return nil, err
		}
		groups[row.Name] = append(groups[row.Name], row.Group)
	}
	return groups, nil
}

func certificate(row store.CertificateRow, suspended bool, now time.Time) Certificate {
	c := Certificate{
		Serial: row.Serial, Name: row.Name, Profile: row.Profile, Issuer: row.IssuerName,
		IssuerKeyID: row.Issuer, TBS: row.TBS, Key: row.Key, NotBefore: row.NotBefore, NotAfter: row.NotAfter,
		IssuedAt: row.IssuedAt, DNSNames: row.DNSNames, IPs: row.IPs, Via: row.Via,
		RenewedFrom: row.RenewedFrom.Serial, Status: StatusGood, Place: writePlace(row.Place()),
	}
	switch {
	case row.Revoked:
		c.Status, c.RevokedAt, c.Reason = StatusRevoked, row.RevokedAt, row.Reason.String()
	case !now.Before(row.NotAfter):
		c.Status = StatusExpired
	case suspended:
		c.Status = StatusSuspended
	}
	return c
}

// Invites returns every invite, newest first.
func (s *Service) Invites(ctx context.Context) ([]Invite, error) {
	all := []Invite{}
	for row, err := range s.store.Invites(ctx) {
		if err != nil {
			return nil, err
		}
		all = append(all, inviteOf(row, s.now()))
	}
	slices.SortStableFunc(all, func(a, b Invite) int { return b.Created.Compare(a.Created) })
	return all, nil
}

func inviteOf(row store.InviteRow, now time.Time) Invite {
	return Invite{
		ID: row.Code.String()[:8], Name: row.Name, Profile: row.Profile, Group: row.Group,
		Created: row.CreatedAt, Expires: row.Expires, UsedAt: row.UsedAt, Status: inviteStatus(row, now),
	}
}

func inviteStatus(row store.InviteRow, now time.Time) string {
	switch {
	case used(row):
		return StatusUsed
	case cancelled(row):
		return StatusCancelled
	case !now.Before(row.Expires):
		return StatusExpired
	}
	return StatusOpen
}

// Groups returns every group that has members, sorted.
func (s *Service) Groups(ctx context.Context) ([]Group, error) {
	all := []Group{}
	for row, err := range s.store.Groups(ctx) {
		if err != nil {
			return nil, err
		}
		if n := len(all); n == 0 || all[n-1].Name != row.Group {
			all = append(all, Group{Name: row.Group})
		}
		last := &all[len(all)-1]
		last.Members = append(last.Members, row.Name)
	}
	return all, nil
}

// Head returns the ledger's newest checkpoint.
func (s *Service) Head(ctx context.Context) (Head, error) {
	h, err := s.store.Head(ctx)
	if err != nil {
		return Head{}, err
	}
	return Head{TrustDomain: s.domain.String(), Epoch: h.Epoch, Size: h.Size, Root: h.Root, Note: h.Note}, nil
}

// Verify recomputes the whole ledger and every view of it.
func (s *Service) Verify(ctx context.Context) (Verification, error) {
	r, err := s.store.Verify(ctx)
	if err != nil {
		return Verification{}, err
	}
	v := Verification{OK: r.OK, Size: r.Size, Root: ledger.Hash(r.Head.Root)}
	if !r.OK {
		v.Fault = r.Fault.Error()
	}
	return v, nil
}
