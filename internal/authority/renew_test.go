package authority

import (
	"crypto"
	"crypto/sha256"
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
