package demo

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"io"
	"math/big"
	"strings"
	"time"

	"github.com/postern-project/postern/internal/ledger"
)

// RunTheft plays through what to do about a stolen issuer key, on w, and takes
// about a second. An error means that a step did not come out as it has to.
func RunTheft(ctx context.Context, w io.Writer, colour bool, now time.Time) error {
	return tell(ctx, w, colour, now, []func(*stage, *teller){before, stolen, cut, elsewhere, successor},
		"\nYour own drill: copy a data folder to another machine and type the two commands\nthere. docs/rotation.md goes through them.")
}

func before(s *stage, t *teller) {
	t.act("An ordinary day")
	t.fail(s.enrol("alice/laptop", &s.alice))
	t.expect(letIn, s.visit(s.alice), "Alice has a certificate by clients-1, and gets Bob's page.")
}

func stolen(s *stage, t *teller) {
	t.act("Somebody has copied the key of clients-1")
	forged, err := s.steve.clients.client(s, "alice/laptop", nil)
	t.fail(err)
	s.eve = forged
	t.expect("verifies", s.elsewhere(forged), "A certificate made with it verifies everywhere that checks signatures only.")
	t.expect("not-in-ledger", s.visit(forged), "Here it is refused, and that is the alarm: nobody ever issued it.")
}

func cut(s *stage, t *teller) {
	t.act("postern issuer distrust clients-1")
	t.fail(s.append(ledger.IssuerDistrusted{Issuer: s.steve.clients.keyID(), Reason: ledger.ReasonKeyCompromise}))
	t.expect("issuer-distrusted", s.visit(s.eve), "In force at once, and without the root: issuer-distrusted.")
	later, err := s.steve.clients.client(s, "alice/laptop", nil)
	t.fail(err)
	t.expect("issuer-distrusted", s.visit(later), "So is one that the thief makes now.")
	backdated, err := s.steve.clients.client(s, "alice/laptop", s.yesterday)
	t.fail(err)
	t.expect("issuer-distrusted", s.visit(backdated), "And one that is dated to before the theft: nothing goes by dates.")
	t.expect(letIn, s.visit(s.alice), "Alice's is in the ledger and goes on working: no device is touched.")
}

// elsewhere is what the root's next list does to programs without a ledger.
func elsewhere(s *stage, t *teller) {
	t.act("postern issuer rotate clients: the root signs, and lists clients-1 as revoked")
	theirs, err := s.steve.revoked(s.steve.clients.cert, s.now)
	t.fail(err)
	s.list = theirs
	t.expect("refused by the root's list", s.elsewhere(s.eve), "Other programs refuse the thief once they have the root's list.")
	t.expect("refused by the root's list", s.elsewhere(s.alice), "They refuse Alice's old certificate too: they have no ledger to ask.")
}

func successor(s *stage, t *teller) {
	t.act("Everybody renews in their own time")
	t.fail(s.replaceClients())
	t.fail(s.renew(&s.alice))
	t.expect(letIn, s.visit(s.alice), "Alice renews over her old certificate, by clients-2.")
	t.expect(letIn, strings.ReplaceAll(s.elsewhere(s.alice), "verifies", letIn), "Now the other programs take her again.")
	t.expect("issuer-distrusted", s.visit(s.eve), "The thief has nothing.")
}

// revoked returns the root's list with one issuer on it.
func (s steve) revoked(issuer *x509.Certificate, now time.Time) (*x509.RevocationList, error) {
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: big.NewInt(2), ThisUpdate: now, NextUpdate: now.AddDate(1, 0, 0),
		RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: issuer.SerialNumber, RevocationTime: now, ReasonCode: int(ledger.ReasonKeyCompromise)}},
	}, s.root.cert, s.root.key)
	if err != nil {
		return nil, err
	}
	return x509.ParseRevocationList(der)
}

// onList reports whether a list that the root has signed holds the issuer.
func (s *stage) onList(issuer *x509.Certificate) bool {
	if s.list == nil || s.list.CheckSignatureFrom(s.steve.root.cert) != nil {
		return false
	}
	for _, e := range s.list.RevokedCertificateEntries {
		if e.SerialNumber.Cmp(issuer.SerialNumber) == 0 {
			return true
		}
	}
	return false
}
