package authority

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/invite"
)

// A gateway's word that somebody holds a certificate is not enough to have
// another key certified: only the old key's is. What a browser holds is the
// exception, once, when it is time, where the policy says so.
func TestARenewalIsProvedByTheOldKey(t *testing.T) {
	const day = 24 * time.Hour
	spki := newSPKI(t)
	prove := func(t *testing.T, signer, about Issued, key []byte) []byte {
		k, _ := keysMade.Load(sha256.Sum256(leafOf(t, signer).RawSubjectPublicKeyInfo))
		proof, err := invite.ProveRenewal(k.(crypto.Signer), leafOf(t, about), key)
		if err != nil {
			t.Fatal(err)
		}
		return proof
	}
	for sentence, c := range map[string]struct {
		profile  string
		after    time.Duration
		proof    func(t *testing.T, old, other Issued) []byte
		policy   []string
		want     string
		via      string
		thenOnce bool
	}{
		"its holder's proof is good at any time": {proof: func(t *testing.T, old, _ Issued) []byte { return prove(t, old, old, spki) }, via: viaRenew},
		"so it is for a service":                 {profile: "service", proof: func(t *testing.T, old, _ Issued) []byte { return prove(t, old, old, spki) }, via: viaRenew},
		"a proof by another key":                 {proof: func(t *testing.T, old, other Issued) []byte { return prove(t, other, old, spki) }, want: CodeBadRequest},
		"a proof for another certificate":        {proof: func(t *testing.T, old, other Issued) []byte { return prove(t, old, other, spki) }, want: CodeBadRequest},
		"a proof for another key":                {proof: func(t *testing.T, old, _ Issued) []byte { return prove(t, old, old, newSPKI(t)) }, want: CodeBadRequest},
		"a proof that is none, when it is time":  {after: 340 * day, proof: func(*testing.T, Issued, Issued) []byte { return []byte("x") }, want: CodeBadRequest, policy: []string{"device"}},
		"none, long before it is time":           {want: CodeNotYet, policy: []string{"device"}},
		"none, the day before it is time":        {after: 334 * day, want: CodeNotYet, policy: []string{"device"}},
		"none, when it is time":                  {after: 336 * day, policy: []string{"device"}, via: viaUnproven, thenOnce: true},
		"none, where the policy has none":        {after: 336 * day, want: CodeForbidden},
		"none, for a service":                    {profile: "service", after: 23 * time.Hour, want: CodeForbidden, policy: []string{"device"}},
		"none, for an admin":                     {profile: "admin", after: 80 * day, want: CodeForbidden, policy: []string{"device"}},
	} {
		t.Run(sentence, func(t *testing.T) {
			h := newHouse(t, "")
			h.Enforce(Policy{RenewUnproven: c.policy})
			issue := func(name string) Issued {
				i, err := h.Issue(t.Context(), IssueRequest{Name: named(t, name), Profile: c.profile, PublicKey: newSPKI(t)})
				if err != nil {
					t.Fatal(err)
				}
				return i
			}
			old, other := issue("ben/phone"), issue("eve/phone")
			h.clock.forward(c.after)
			r := RenewRequest{Ref: old.Ref, PublicKey: spki}
			if c.proof != nil {
				r.Proof = c.proof(t, old, other)
			}
			got, err := h.Renew(t.Context(), r)
			if c.want != "" {
				wantCode(t, err, c.want)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			all, err := h.Certificates(t.Context(), CertificateFilter{Via: c.via})
			if err != nil || !slices.ContainsFunc(all, func(x Certificate) bool { return x.Serial == got.Serial }) {
				t.Errorf("the ledger does not say %s: %v", c.via, err)
			}
			if !c.thenOnce {
				return
			}
			if again, err := h.Renew(t.Context(), r); err != nil || again.Serial != got.Serial {
				t.Errorf("an answer that was lost: %v, %v", again.Serial, err)
			}
			r.PublicKey = newSPKI(t)
			_, err = h.Renew(t.Context(), r)
			wantCode(t, err, CodeSpent)
			h.clock.forward(11 * time.Minute)
			r.PublicKey = spki
			_, err = h.Renew(t.Context(), r)
			wantCode(t, err, CodeSpent)
			if _, err := h.Renew(t.Context(), proved(t, old, newSPKI(t))); err != nil {
				t.Errorf("its holder's own proof is good still: %v", err)
			}
		})
	}
}

// A proof that was seen on its way gives nobody anything: it is for the key of
// its holder, and for nothing once the certificate was revoked; another
// authority takes it for nothing at all.
func TestAProofThatIsUsedAgain(t *testing.T) {
	h, elsewhere := newHouse(t, ""), newHouse(t, "")
	old := h.issue("ben/phone")
	elsewhere.issue("ben/phone")
	r := proved(t, old, newSPKI(t))
	first, err := h.Renew(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	again, err := h.Renew(t.Context(), r)
	if err != nil || !bytes.Equal(leafOf(t, again).RawSubjectPublicKeyInfo, r.PublicKey) || leafOf(t, again).Subject.String() != leafOf(t, first).Subject.String() {
		t.Errorf("the holder gets something else: %v", err)
	}
	_, err = elsewhere.Renew(t.Context(), r)
	wantCode(t, err, CodeNotFound)
	thief := r
	thief.PublicKey = newSPKI(t)
	_, err = h.Renew(t.Context(), thief)
	wantCode(t, err, CodeBadRequest)
	successor := r
	successor.Ref = first.Ref
	_, err = h.Renew(t.Context(), successor)
	wantCode(t, err, CodeBadRequest)
	if _, err := h.Revoke(t.Context(), RevokeRequest{Name: named(t, "ben/phone")}); err != nil {
		t.Fatal(err)
	}
	before := len(h.entries(0))
	for _, q := range []RenewRequest{r, thief, successor} {
		if _, err := h.Renew(t.Context(), q); CodeOf(err) != CodeRevoked {
			t.Errorf("after the revocation: %v", err)
		}
	}
	if after := len(h.entries(0)); after != before {
		t.Errorf("%d entries came of it", after-before)
	}
}

// What a refusal of a renewal says reads well.
func TestRefusedRenewalsSayWhatToDo(t *testing.T) {
	h := newHouse(t, "")
	h.Enforce(Policy{RenewUnproven: []string{"device"}})
	device := h.issue("ben/phone")
	service, err := h.Issue(t.Context(), IssueRequest{Name: named(t, "services/orders"), Profile: "service", PublicKey: newSPKI(t)})
	if err != nil {
		t.Fatal(err)
	}
	from := invite.DueFrom(leafOf(t, device).NotBefore, leafOf(t, device).NotAfter).UTC().Format(time.DateOnly)
	for sentence, c := range map[string]struct {
		q          RenewRequest
		code, says string
		hint       string
	}{
		"a bad proof":             {RenewRequest{Ref: device.Ref, PublicKey: newSPKI(t), Proof: []byte("x")}, CodeBadRequest, "certificate " + device.Serial.String() + " is not renewed: the old certificate's key did not sign this renewal", "'postern renew' proves it"},
		"no proof, and not yet":   {RenewRequest{Ref: device.Ref, PublicKey: newSPKI(t)}, CodeNotYet, "without a proof by its key certificate " + device.Serial.String() + " can be renewed from " + from + " on", "wait until then, or use 'postern renew', which proves it by the old key"},
		"no proof, for a service": {RenewRequest{Ref: service.Ref, PublicKey: newSPKI(t)}, CodeForbidden, "a certificate of the profile service is not renewed without a proof by its key", "'postern renew' proves it by the old key"},
	} {
		_, err := h.Renew(t.Context(), c.q)
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Code != c.code || e.Msg != c.says || e.Hint != c.hint {
			t.Errorf("%s: %+v", sentence, err)
		}
	}
}

// A gateway that was taken over fills no disk with certificates of the server's
// own: a name gets so many within an hour.
func TestTheServersOwnCertificatesAreBounded(t *testing.T) {
	h := newHouse(t, "")
	own := func(name string) error {
		_, err := h.Issue(t.Context(), IssueRequest{Name: named(t, name), Profile: "server", DNSNames: []string{"localhost"}, Via: "self", PublicKey: newSPKI(t)})
		return err
	}
	registration := func() error {
		spki, _ := x509.MarshalPKIXPublicKey(rsaKeys()[0].Public())
		_, err := h.IssueRegistration(t.Context(), spki)
		return err
	}
	for range ownPerHour {
		if err := errors.Join(own("sites/localhost"), registration()); err != nil {
			t.Fatal(err)
		}
	}
	before := len(h.entries(0))
	wantCode(t, own("sites/localhost"), CodeRateLimited)
	wantCode(t, registration(), CodeRateLimited)
	if after := len(h.entries(0)); after != before {
		t.Errorf("%d entries came of it", after-before)
	}
	if err := own("sites/other"); err != nil {
		t.Errorf("another host: %v", err)
	}
	h.clock.forward(61 * time.Minute)
	if err := errors.Join(own("sites/localhost"), registration()); err != nil {
		t.Errorf("an hour later: %v", err)
	}
}
