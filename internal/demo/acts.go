package demo

import (
	"github.com/postern-project/postern/internal/ledger"
)

// letIn is how a visit ends that reaches Bob's page.
const letIn = "let in"

func trust(s *stage, t *teller) {
	t.act("Alice trusts Steve; Bob has Steve's signature")
	t.say("   Steve is the authority. He made a root key, put it into a safe, and signs\n   with two intermediates: one for clients, one for servers. What he issues he\n   first writes into the ledger, which nobody can change unseen.")
	t.fail(s.enrol("alice/laptop", &s.alice))
	t.expect(letIn, s.visit(s.alice), "Alice checks Bob's certificate, Bob checks Alice's: she gets the page.")
	t.expect("no-certificate", s.visit(nobody), "A stranger without a certificate gets a page that says so (no-certificate).")
}

func forgery(s *stage, t *teller) {
	t.act("Eve forges")
	eve, err := s.selfMade("alice/laptop")
	t.fail(err)
	t.expect("self-signed", s.visit(eve), "Eve writes Alice's name on a certificate of her own making (self-signed).")
	own, err := newCA("Steve", "Eve's root, named like Steve's", s.now)
	t.fail(err)
	if t.err != nil {
		return
	}
	eve, err = own.client(s, "alice/laptop", nil)
	t.fail(err)
	t.expect("unknown-issuer", s.visit(eve), "Her own authority, called Steve too: a name is no key (unknown-issuer).")
	t.expect("not verified", s.impersonateBob(own), "She plays Bob with it: Alice's own check refuses her.")
}

func theft(s *stage, t *teller) {
	t.act("Eve steals the key of Steve's intermediate for clients")
	forged, err := s.steve.clients.client(s, "alice/laptop", nil)
	t.fail(err)
	s.eve = forged
	t.expect("verifies", s.elsewhere(forged), "What she signs now verifies everywhere that checks signatures only.")
	t.expect("not-in-ledger", s.visit(forged), "Bob's door asks the ledger: never issued. Alarm! (not-in-ledger)")
	t.expect(letIn, s.visit(s.alice), "Alice has noticed nothing.")
}

func distrust(s *stage, t *teller) {
	t.act("Steve distrusts the intermediate")
	t.fail(s.append(ledger.IssuerDistrusted{Issuer: s.steve.clients.keyID(), Reason: ledger.ReasonKeyCompromise}))
	t.expect("issuer-distrusted", s.visit(s.eve), "Eve's certificate is refused for that alone. Alarm! (issuer-distrusted)")
	backdated, err := s.steve.clients.client(s, "alice/laptop", s.yesterday)
	t.fail(err)
	t.expect("issuer-distrusted", s.visit(backdated), "She backdates one to before the theft: the ledger does not go by dates.")
	t.expect(letIn, s.visit(s.alice), "Alice's was honestly issued and goes on working: no device is touched.")
}

func replacement(s *stage, t *teller) {
	t.act("Steve takes the root from the safe and signs a new intermediate")
	t.fail(s.replaceClients())
	t.fail(s.renew(&s.alice))
	t.expect(letIn, s.visit(s.alice), "Alice renews with the new intermediate, over her old certificate.")
	t.fail(s.enrol("carol/phone", &s.carol))
	t.expect(letIn, s.visit(s.carol), "Carol, who comes later, gets hers from it at once.")
}

func revocation(s *stage, t *teller) {
	t.act("Alice loses the laptop")
	held, err := s.hold(s.alice)
	t.fail(err)
	t.fail(s.append(ledger.CertificatesRevoked{Name: s.alice.name, Reason: ledger.ReasonKeyCompromise, Certificates: s.alice.refs}))
	if err == nil {
		t.expect("cut", held(), "Steve revokes it: the connection that was open is cut.")
	}
	t.expect("revoked", s.visit(s.alice), "A new one is refused (revoked).")
	t.expect(letIn, s.visit(s.carol), "Carol goes on reading.")
}
