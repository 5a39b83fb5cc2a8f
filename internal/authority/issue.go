package authority

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/profile"
	"github.com/postern-project/postern/internal/refusal"
	"github.com/postern-project/postern/internal/store"
)

// The doors a request comes through, as the ledger names them.
const (
	viaIssue  = "issue"
	viaSign   = "sign"
	viaSelf   = "self"
	viaInvite = "invite"
	viaRenew  = "renew"
	// viaUnproven is viaRenew on the gateway's word, without a proof by the old
	// key.
	viaUnproven = "renew-unproven"
	// viaServerKey is viaInvite for a key that the server has made.
	viaServerKey = "server-key"
	viaACME      = "acme"
	viaSCEP      = "scep"
)

// A decision is what every door ends in: whose key is certified for which
// name. Nothing in it comes from a certificate request but the key.
type decision struct {
	name     identity.Name
	profile  string
	dns      []string
	ips      []netip.Addr
	spki     []byte
	lifetime time.Duration
	via      string
	from     ledger.Ref // renewed from; zero otherwise
	by       *issuer    // whose responder or registration authority it is; nil otherwise
}

// A draft is a certificate whose to-be-signed part is final and has been
// through every check, but which no issuer has signed.
type draft struct {
	issuer  *issuer
	profile profile.Profile
	request profile.Request
	cert    *x509.Certificate // with a worthless signature
	body    ledger.CertificateIssued
}

// Issue certifies a key for a name. A name that was never mentioned is
// created.
func (s *Service) Issue(ctx context.Context, r IssueRequest) (Issued, error) {
	switch r.Via {
	case viaIssue, viaSign, viaSelf:
	case "":
		r.Via = viaIssue
	default:
		return Issued{}, refuse(CodeBadRequest, "use issue, sign or self", "%q is no door of the authority", r.Via)
	}
	return s.carryOut(ctx, decision{
		name: r.Name, profile: r.Profile, dns: r.DNSNames, ips: r.IPs,
		spki: r.PublicKey, lifetime: r.Lifetime, via: r.Via,
	})
}

// carryOut carries a decision out.
func (s *Service) carryOut(ctx context.Context, want decision) (Issued, error) {
	d, err := s.draft(want)
	if err != nil {
		return Issued{}, err
	}
	err = s.update(ctx, func(tx *store.Tx) error {
		if want.via == viaSelf { // who asks for those may be somebody else's by now
			if err := s.unhurried(ctx, tx, want.name, ownPerHour, viaSelf); err != nil {
				return err
			}
		}
		return d.record(ctx, tx)
	})
	if err != nil {
		return Issued{}, err
	}
	return s.finish(ctx, d)
}

// ownPerHour bounds how many certificates the server obtains for one name of
// its own.
const ownPerHour = 60

// draft turns a decision into a checked, unsigned certificate.
func (s *Service) draft(want decision) (*draft, error) {
	if want.name.IsZero() {
		return nil, refuse(CodeBadRequest, "a name looks like ben/phone or services/checkout", "no name is given")
	}
	if err := place(want.name, want.via); err != nil {
		return nil, err
	}
	p, err := s.profileFor(want)
	if err != nil {
		return nil, err
	}
	pub, err := profile.ParseKey(want.spki)
	if err == nil {
		err = s.policy.Load().BlockedKeys.Check(pub)
	}
	if err != nil {
		return nil, &Error{Code: CodeWeakKey, Msg: err.Error()}
	}
	by := want.by
	if by == nil {
		if by, err = s.issuerFor(p); err != nil {
			return nil, err
		}
	}
	if err := by.ready(); err != nil {
		return nil, err
	}
	d := &draft{issuer: by, profile: p, request: profile.Request{
		ID: s.domain.ID(want.name), DNSNames: want.dns, IPs: want.ips,
		PublicKey: pub, Now: s.now(), Lifetime: want.lifetime, Issuer: by.Certificate,
	}}
	d.request.Shard, d.request.Pointers = s.shardFor(by)
	if want.by != nil { // it is not to be asked about
		d.request.Pointers = profile.Pointers{}
	}
	template, err := p.Template(d.request)
	switch {
	case errors.Is(err, profile.ErrWeakKey):
		return nil, &Error{Code: CodeWeakKey, Msg: err.Error()}
	case err != nil:
		return nil, badRequest(err)
	}
	if d.cert, err = rehearse(template, by); err != nil {
		return nil, err
	}
	if err := p.Check(d.cert, d.request); err != nil {
		return nil, linted(err)
	}
	return d, d.describe(want)
}

// linted tells whoever asked which lint stopped their certificate. A key that
// anybody can work out is theirs to replace.
func linted(err error) error {
	e, ok := errors.AsType[*profile.LintError](err)
	switch {
	case !ok:
		return fmt.Errorf("nothing was signed: %w", err)
	case slices.Contains(e.Lints, "e_ecdsa_small_private_key"):
		return &Error{Code: CodeWeakKey, Msg: "nothing was signed: " + err.Error(), Hint: "make a new key with another program"}
	}
	return &Error{Code: CodeLint, Msg: "nothing was signed: " + err.Error()}
}

// profileFor returns the profile of a decision. The server's own certificates
// keep to the built-in one, so that no configuration can lock its owner out.
func (s *Service) profileFor(want decision) (profile.Profile, error) {
	switch {
	case want.by != nil && want.profile == profile.RegistrationName:
		return profile.Registration(), nil
	case want.by != nil:
		return profile.Responder(), nil
	}
	if want.via == viaSelf {
		return profile.Builtin(want.profile)
	}
	p, err := s.findProfile(want.profile)
	if err == nil && want.via == viaACME && p.Names() != profile.ByRequester {
		err = refuse(CodeForbidden, "'names: requester' in the profile lets them", "profile %s does not let requesters name their hosts, as ACME does", p.Name())
	}
	return p, err
}

func (s *Service) findProfile(name string) (profile.Profile, error) {
	p, err := s.policy.Load().Profiles.Find(name)
	if errors.Is(err, profile.ErrUnknown) {
		return p, &Error{Code: CodeUnknownProfile, Msg: err.Error()}
	}
	return p, err
}

// describe fills in what the ledger will say, from the certificate as it was
// encoded.
func (d *draft) describe(want decision) error {
	ref, err := refOf(d.cert, d.issuer)
	if err != nil {
		return err
	}
	d.body = ledger.CertificateIssued{
		Ref: ref, Name: want.name, Profile: d.profile.Name(), Key: sha256.Sum256(d.cert.RawSubjectPublicKeyInfo),
		NotBefore: d.cert.NotBefore, NotAfter: d.cert.NotAfter, RenewedFrom: want.from,
		DNSNames: d.cert.DNSNames, IPs: addrs(d.cert.IPAddresses), Via: want.via,
	}
	return nil
}

func addrs(ips []net.IP) []netip.Addr {
	var all []netip.Addr
	for _, ip := range ips {
		if a, ok := netip.AddrFromSlice(ip); ok {
			all = append(all, a.Unmap())
		}
	}
	return all
}

// record writes the draft into the ledger, unless its name is suspended; the
// store refuses it if its issuer is distrusted by now.
func (d *draft) record(ctx context.Context, tx *store.Tx) error {
	if err := inGoodStanding(ctx, tx, d.body.Name); err != nil {
		return err
	}
	if err := mention(tx, d.body.Name); err != nil {
		return err
	}
	if err := tx.Append(d.body); err != nil {
		return err
	}
	return tx.KeepTBS(d.body.TBS, d.cert.RawTBSCertificate)
}

// finish has the recorded draft signed, compares the outcome with the
// decision, and hands it out.
func (s *Service) finish(ctx context.Context, d *draft) (Issued, error) {
	c, err := sign(d.cert, d.issuer)
	if err != nil {
		return Issued{}, err
	}
	if hash := ledger.Hash(sha256.Sum256(c.RawTBSCertificate)); hash != d.body.TBS {
		return Issued{}, errors.New("the signed certificate is withheld: it is not the one that the ledger holds")
	}
	s.keep(ctx, d.body, c.Raw)
	return s.handOut(d.body, c.Raw, d.issuer)
}

// keep stores the signature. It can be made again, so its loss is told to the
// operator and keeps nobody from their certificate.
func (s *Service) keep(ctx context.Context, b ledger.CertificateIssued, der []byte) {
	if err := s.store.KeepCertificate(ctx, b.TBS, der); err != nil {
		s.log.Warn("certificate copy not kept", "id", b.Name, "serial", b.Serial, "err", err)
	}
}

// handOut gives a certificate to its owner, once the roster beside us holds it
// and as long as it is good.
func (s *Service) handOut(b ledger.CertificateIssued, der []byte, by *issuer) (Issued, error) {
	switch v := s.roster.Check(b.Ref, b.NotBefore); v.Code {
	case "":
	case refusal.Revoked:
		return Issued{}, refuse(CodeRevoked, inviteAnew, "the certificate was revoked in the meantime")
	case refusal.Suspended:
		return Issued{}, refuse(CodeSuspended, "'postern reinstate' ends a suspension", "%s was suspended in the meantime", b.Name)
	default:
		return Issued{}, fmt.Errorf("certificate %s is recorded but the roster says %s: start postern again", b.Serial, v.Code)
	}
	s.log.Info("certificate issued", "id", b.Name, "serial", b.Serial, "profile", b.Profile, "via", b.Via, "not_after", b.NotAfter)
	return Issued{
		Ref: b.Ref, Serial: b.Serial, Name: b.Name, Profile: b.Profile,
		NotBefore: b.NotBefore, NotAfter: b.NotAfter,
		Chain: s.chainOf(der, by), Root: s.Root(), Roots: s.Roots(),
	}, nil
}

// mention creates the identity of a name at its first mention.
func mention(tx *store.Tx, n identity.Name) error {
	return unless(store.ErrExists, tx.Append(ledger.IdentityCreated{Name: n}))
}

func inGoodStanding(ctx context.Context, tx *store.Tx, n identity.Name) error {
	by, suspended, err := tx.Suspended(ctx, n)
	if err != nil {
		return err
	}
	if suspended {
		return suspendedName(n, by)
	}
	return nil
}
