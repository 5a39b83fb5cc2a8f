package authority

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	cryptobyteasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/invite"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/profile"
	"github.com/postern-project/postern/internal/store"
)

// RegistrationsName is the name that the certificates stand below to which
// SCEP clients encrypt.
const RegistrationsName = "scep"

// A SCEPRequest asks for the certificate of an invite by SCEP (RFC 8894). The
// evidence is the certificate request alone: its key has signed the invite's
// code together with itself.
type SCEPRequest struct {
	CSR []byte `json:"csr"` // PKCS#10, DER, with the code as challengePassword
}

// RedeemSCEP spends an invite on the key of a certificate request that holds
// its code. Names in the request are ignored. The same code with the same key
// gets the same certificate for ten minutes.
func (s *Service) RedeemSCEP(ctx context.Context, r SCEPRequest) (Issued, error) {
	csr, err := parseSCEP(r.CSR)
	if err != nil {
		return Issued{}, err
	}
	row, err := s.inviteFor(ctx, csr.challenge)
	if err != nil {
		return Issued{}, err
	}
	issued, err := s.redeem(ctx, row, csr.spki, viaSCEP)
	issued.Invite = row.Code
	return issued, err
}

// LookInvite returns what an open invite is good for, by its code, and spends
// nothing. One that was used, withdrawn or has ended, or that has to be
// approved by comparing words, is an error that says so.
func (s *Service) LookInvite(ctx context.Context, code string) (Invite, error) {
	row, err := s.inviteFor(ctx, code)
	if err != nil {
		return Invite{}, err
	}
	if err := usable(row, s.now()); err != nil {
		return Invite{}, err
	}
	return inviteOf(row, s.now()), nil
}

// inviteFor returns the invite of a code, unless it waits for approval: whoever
// asks for it here has nowhere to show the words.
func (s *Service) inviteFor(ctx context.Context, code string) (store.InviteRow, error) {
	c, err := invite.Parse(code)
	if err != nil {
		return store.InviteRow{}, &Error{Code: CodeMistyped, Msg: err.Error()}
	}
	for _, hash := range []ledger.Hash{ledger.Hash(c.Hash()), c.ServerKeyHash()} {
		row, err := s.store.Invite(ctx, hash)
		if !errors.Is(err, store.ErrNotFound) {
			return row, err
		}
	}
	if _, err := s.store.Invite(ctx, c.GuardedHash()); err != nil {
		return store.InviteRow{}, notFound(err, unknownInvite())
	}
	return store.InviteRow{}, refuse(CodePending, "make the key on the page of the invitation", "this invitation has to be approved by comparing words, which a profile cannot show")
}

// IssueRegistration certifies a key for the registration authority that SCEP
// clients encrypt to. The issuer of devices' certificates signs.
func (s *Service) IssueRegistration(ctx context.Context, spki []byte) (Issued, error) {
	p, err := s.findProfile(profile.Default)
	if err != nil {
		return Issued{}, err
	}
	by, err := s.issuerFor(p)
	if err != nil {
		return Issued{}, err
	}
	name, err := identity.ParseName(RegistrationsName + "/" + by.Name)
	if err != nil {
		return Issued{}, badRequest(err)
	}
	return s.carryOut(ctx, decision{name: name, profile: profile.RegistrationName, spki: spki, via: viaSelf, by: by})
}

// A scepCSR is what is taken from a certificate request.
type scepCSR struct {
	challenge string
	spki      []byte
}

// parseSCEP reads a certificate request whose key has signed it and is RSA:
// SCEP encrypts the answer to the key.
func parseSCEP(der []byte) (scepCSR, error) {
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return scepCSR{}, &Error{Code: CodeBadCSR, Msg: fmt.Sprintf("the certificate request cannot be read: %v", err)}
	}
	if _, ok := csr.PublicKey.(*rsa.PublicKey); !ok {
		return scepCSR{}, &Error{Code: CodeWeakKey, Msg: "the key is not RSA, and SCEP encrypts its answer to the key", Hint: "make an RSA key of 2048 bits"}
	}
	if _, err := profile.ParseKey(csr.RawSubjectPublicKeyInfo); err != nil { // before anything is computed with it
		return scepCSR{}, &Error{Code: CodeWeakKey, Msg: err.Error()}
	}
	if err := csr.CheckSignature(); err != nil {
		return scepCSR{}, &Error{Code: CodeBadCSR, Msg: "the certificate request is not signed by its own key"}
	}
	challenge, err := challengeOf(csr.RawTBSCertificateRequest)
	if err != nil {
		return scepCSR{}, &Error{Code: CodeBadCSR, Msg: err.Error(), Hint: "the challenge password is the code of an invitation"}
	}
	return scepCSR{challenge, csr.RawSubjectPublicKeyInfo}, nil
}

var oidChallengePassword = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 7}

// challengeOf returns the one challengePassword (RFC 2985 section 5.4.1) of a
// certificate request's to-be-signed part.
func challengeOf(tbs []byte) (string, error) {
	var info, attributes cryptobyte.String
	in := cryptobyte.String(tbs)
	if !in.ReadASN1(&info, cryptobyteasn1.SEQUENCE) || !info.SkipASN1(cryptobyteasn1.INTEGER) ||
		!info.SkipASN1(cryptobyteasn1.SEQUENCE) || !info.SkipASN1(cryptobyteasn1.SEQUENCE) {
		return "", errors.New("the certificate request cannot be read")
	}
	if !info.ReadOptionalASN1(&attributes, nil, cryptobyteasn1.Tag(0).ContextSpecific().Constructed()) {
		return "", errors.New("the certificate request's attributes cannot be read")
	}
	var challenge []byte
	for !attributes.Empty() {
		var attribute, values, value cryptobyte.String
		var oid asn1.ObjectIdentifier
		if !attributes.ReadASN1(&attribute, cryptobyteasn1.SEQUENCE) || !attribute.ReadASN1ObjectIdentifier(&oid) ||
			!attribute.ReadASN1(&values, cryptobyteasn1.SET) {
			return "", errors.New("the certificate request's attributes cannot be read")
		}
		if !oid.Equal(oidChallengePassword) {
			continue
		}
		var tag cryptobyteasn1.Tag
		if challenge != nil || !values.ReadAnyASN1(&value, &tag) || !values.Empty() || !isText(tag) || len(value) == 0 {
			return "", errors.New("the certificate request has not one challenge password")
		}
		challenge = bytes.Clone(value)
	}
	if challenge == nil {
		return "", errors.New("the certificate request has no challenge password")
	}
	return string(challenge), nil
}

// isText reports whether a DirectoryString of that tag is one of bytes. A code
// is ASCII in each of them.
func isText(t cryptobyteasn1.Tag) bool {
	return t == cryptobyteasn1.UTF8String || t == cryptobyteasn1.PrintableString || t == cryptobyteasn1.T61String || t == cryptobyteasn1.IA5String
}
