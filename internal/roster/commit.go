package roster

import (
	"slices"
	"time"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/ledger"
)

// commit makes a plan's entries visible in their order and returns what that
// changed.
func (r *Roster) commit(p *plan, entries []ledger.Entry) Change {
	change := Change{Trust: p.trust.generation != r.trust.Load().generation}
	r.trust.Store(p.trust)
	r.history = append(r.history, p.history...)
	for _, e := range entries {
		ledger.FollowInvites(r.invites, e.Body)
		switch b := e.Body.(type) {
		case ledger.IssuerDistrusted:
			change.Issuers = append(change.Issuers, b.Issuer)
		case ledger.CertificateIssued:
			r.issue(p, b)
		case ledger.CertificatesRevoked:
			for _, ref := range b.Certificates {
				r.revoke(p, ref, newMark(b.Reason, e.At), e.At)
			}
			change.Certificates = append(change.Certificates, b.Certificates...)
			if !b.Name.IsZero() {
				r.withdraw(b.Name, newMark(b.Reason, e.At))
				r.tokens.withdraw(b.Name)
				change.Names = append(change.Names, b.Name)
			}
		case ledger.IdentitySuspended:
			r.suspend(b.Name, true)
			change.Names = append(change.Names, b.Name)
		case ledger.IdentityReinstated:
			r.suspend(b.Name, false)
			change.Names = append(change.Names, b.Name)
		case ledger.GroupJoined:
			r.join(b.Name, b.Group)
			change.Names = append(change.Names, b.Name)
		case ledger.GroupLeft:
			r.leave(b.Name, b.Group)
			change.Names = append(change.Names, b.Name)
		case ledger.InviteCreated:
			r.mention(b.Group)
		case ledger.TokenRevoked:
			r.tokens.follow(b)
			change.Tokens = true
		default:
			if !r.tokens.follow(e.Body) {
				r.accounts.follow(e.Body)
			}
		}
	}
	return change
}

func (r *Roster) issue(p *plan, b ledger.CertificateIssued) {
	issuer := p.trust.byKey[b.Issuer]
	profile, _ := r.words.enter(b.Profile) // plan has entered it
	var m mark
	if p.void[number{issuer, b.Serial}] {
		m = void
	}
	r.certificates.add(b.TBS, b.Serial, r.names.enter(b.Name), issuer, profile, m)
	r.published.countIssued(issuer, b.Serial)
}

// revoke marks a certificate that plan has found. The first reason stays.
func (r *Roster) revoke(p *plan, ref ledger.Ref, m mark, at time.Time) {
	issuer := p.trust.byKey[ref.Issuer]
	item, c, ok := r.certificates.find(issuer, ref.Serial)
	if !ok {
		return
	}
	if old := mark(c.mark.Load()); !old.revoked() {
		c.mark.Store(uint32(old | m))
		r.published.enter(issuer, ref.Serial, item, at)
	}
}

// withdraw revokes the whole name as the ledger has it. The entry lists the
// certificates too, but that list was read from a view.
func (r *Roster) withdraw(n identity.Name, m mark) {
	i := r.names.enter(n)
	r.withdrawn[i] = r.names.nodes.at(i).withdraw(r.certificates.count(), m)
}

func (r *Roster) suspend(n identity.Name, is bool) {
	i := r.names.enter(n)
	r.names.nodes.at(i).suspended.Store(is)
	if delete(r.suspended, i); is {
		r.suspended[i] = struct{}{}
	}
}

func (r *Roster) join(n identity.Name, g identity.Group) {
	r.mention(g)
	i := r.names.enter(n)
	if !slices.Contains(r.members[i], g) {
		r.members[i] = append(slices.Clone(r.members[i]), g)
		r.names.regroup(i, r.members)
	}
}

func (r *Roster) leave(n identity.Name, g identity.Group) {
	i := r.names.enter(n)
	if !slices.Contains(r.members[i], g) {
		return
	}
	r.members[i] = slices.DeleteFunc(slices.Clone(r.members[i]), func(x identity.Group) bool { return x == g })
	if len(r.members[i]) == 0 {
		delete(r.members, i)
	}
	r.names.regroup(i, r.members)
}

func (r *Roster) mention(g identity.Group) {
	if !g.IsZero() {
		r.groups.Store(g, struct{}{})
	}
}
