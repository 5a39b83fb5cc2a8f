package authority

import (
	"context"
	"errors"
	"time"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/store"
)

// SitesName is the name that the certificates of a gateway's own sites stand
// below. Nobody else gets one there, so revoking or suspending a person or a
// service never closes a site, and the other way round.
const SitesName = "sites"

// RespondersName is the name that the certificates stand below which answer
// for an issuer in OCSP.
const RespondersName = "ocsp"

// place refuses a name below SitesName, RespondersName or RegistrationsName to everybody but the
// server itself, and one below ACMENames to everybody but the accounts of open
// profiles.
func place(n identity.Name, via string) error {
	var top string
	for above := range n.Lineage() {
		top = above.String()
	}
	sites, strangers := top == SitesName || top == RespondersName || top == RegistrationsName, top == ACMENames
	switch {
	case strangers && via != viaACME:
		return refuse(CodeBadRequest, "choose another first part", "names under %q belong to ACME accounts that nobody invited", ACMENames)
	case sites && via != viaSelf && via != viaRenew:
		return refuse(CodeBadRequest, "choose another first part", "names under %q belong to the server's own certificates", top)
	case !sites && via == viaSelf:
		return refuse(CodeBadRequest, "", "the server's own certificates stand under %q, not %s", SitesName, n)
	}
	return nil
}

// Suspend keeps a name and all below it out until it is reinstated. Suspending
// a suspended name changes nothing. A name that stands only above known ones
// can be suspended too.
func (s *Service) Suspend(ctx context.Context, n identity.Name) error {
	changed := false
	err := s.update(ctx, func(tx *store.Tx) error {
		if err := known(ctx, tx, n); err != nil {
			return err
		}
		if err := mention(tx, n); err != nil {
			return err
		}
		err := tx.Append(ledger.IdentitySuspended{Name: n})
		changed = err == nil
		return unless(store.ErrExists, err)
	})
	if err == nil && changed {
		s.log.Info("identity suspended", "id", n)
	}
	return err
}

// Reinstate ends the suspension of exactly this name. Reinstating a name that
// is not suspended changes nothing; one that is so by a name above it is an
// error that tells which.
func (s *Service) Reinstate(ctx context.Context, n identity.Name) error {
	changed := false
	err := s.update(ctx, func(tx *store.Tx) error {
		row, err := tx.Identity(ctx, n)
		if err != nil {
			return notFound(err, unknownName(n))
		}
		if !row.Suspended {
			return inGoodStanding(ctx, tx, n)
		}
		changed = true
		return tx.Append(ledger.IdentityReinstated{Name: n})
	})
	if err == nil && changed {
		s.log.Info("identity reinstated", "id", n)
	}
	return err
}

// known refuses a name of which neither itself nor anything below it was ever
// mentioned, which is a typing error more often than not.
func known(ctx context.Context, tx *store.Tx, n identity.Name) error {
	if n.IsZero() {
		return refuse(CodeBadRequest, "a name looks like ben/phone or services/checkout", "no name is given")
	}
	_, err := tx.Identity(ctx, n)
	if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	for _, err := range tx.Identities(ctx, store.IdentityFilter{Name: n, Limit: 1}, time.Time{}) {
		return err
	}
	return unknownName(n)
}
