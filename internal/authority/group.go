package authority

import (
	"context"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/store"
)

// ChangeGroup puts names into a group and takes others out, all or none.
// Putting in a member changes nothing; taking out a name that is none is an
// error. A name that was never mentioned is created.
func (s *Service) ChangeGroup(ctx context.Context, c GroupChange) error {
	if c.Group.IsZero() || len(c.Add)+len(c.Remove) == 0 {
		return refuse(CodeBadRequest, "a group looks like family, its members like ben/phone", "a change of a group needs the group and names")
	}
	err := s.update(ctx, func(tx *store.Tx) error {
		for _, n := range c.Add {
			if err := mention(tx, n); err != nil {
				return err
			}
			if err := joinOnce(tx, c.Group, n); err != nil {
				return err
			}
		}
		for _, n := range c.Remove {
			if err := leave(tx, c.Group, n); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		s.log.Info("group changed", "group", c.Group, "added", c.Add, "removed", c.Remove)
	}
	return err
}

func leave(tx *store.Tx, g identity.Group, n identity.Name) error {
	return notFound(tx.Append(ledger.GroupLeft{Group: g, Name: n}),
		refuse(CodeNotFound, "'postern list groups' shows who is", "%s is not in the group %s", n, g))
}

// joinOnce puts a name into a group unless it is in it, or the group is zero.
func joinOnce(tx *store.Tx, g identity.Group, n identity.Name) error {
	if g.IsZero() {
		return nil
	}
	return unless(store.ErrExists, tx.Append(ledger.GroupJoined{Group: g, Name: n}))
}
