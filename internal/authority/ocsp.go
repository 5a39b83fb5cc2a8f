package authority

import (
	"context"
	"crypto"
	"crypto/tls"
	"encoding/asn1"
	"sync"
	"time"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/profile"
	"github.com/postern-project/postern/internal/revocation"
	"github.com/postern-project/postern/internal/roster"
)

// answerLife is how long an OCSP answer is good. It is made anew at half its
// life, and as soon as the ledger says something else.
const answerLife = 12 * time.Hour

// maxAnswers bounds how many OCSP answers are remembered.
const maxAnswers = 16_384

// A Responder returns the certificate, with its key, that answers for an issuer
// in OCSP; nil while there is none.
type Responder func(issuer string) *tls.Certificate

// IssueResponder certifies a key for answering in OCSP for an issuer.
func (s *Service) IssueResponder(ctx context.Context, issuer string, spki []byte) (Issued, error) {
	by, err := s.publisher(issuer)
	if err != nil {
		return Issued{}, err
	}
	name, err := identity.ParseName(RespondersName + "/" + issuer)
	if err != nil {
		return Issued{}, badRequest(err)
	}
	return s.carryOut(ctx, decision{name: name, profile: profile.ResponderName, spki: spki, via: viaSelf, by: by})
}

// Respond has OCSP requests answered with the certificates that r returns. Until
// it is called nothing is answered.
func (s *Service) Respond(r Responder) { s.responder.Store(&r) }

// An OCSPAnswer is an answer, DER. One that is not signed has no NextUpdate, and
// must not be kept by anybody.
type OCSPAnswer struct {
	DER                    []byte
	ThisUpdate, NextUpdate time.Time
}

func failed(f revocation.Failure) OCSPAnswer { return OCSPAnswer{DER: f.DER()} }

// AnswerOCSP answers a request, DER, from the ledger: what the ledger does not
// hold is unknown, never good. It always has an answer.
func (s *Service) AnswerOCSP(request []byte) OCSPAnswer {
	r, err := revocation.ParseRequest(request)
	if err != nil {
		return failed(revocation.Malformed)
	}
	by := s.askedFor(r)
	responder := s.responder.Load()
	if by == nil || responder == nil {
		return failed(revocation.Unauthorized)
	}
	if _, err := s.publisher(by.Name); err != nil {
		return failed(revocation.Unauthorized)
	}
	with, now := (*responder)(by.Name), s.now().UTC().Truncate(time.Second)
	if with == nil || with.Leaf == nil || !now.Before(with.Leaf.NotAfter) {
		return failed(revocation.TryLater)
	}
	singles := make([]revocation.Single, len(r.Asked))
	for i, id := range r.Asked {
		singles[i].ID = id
		if !id.Possible() {
			continue
		}
		var ok bool
		if singles[i].Standing, ok = s.roster.Standing(by.KeyID, id.Serial); !ok {
			return failed(revocation.TryLater)
		}
	}
	return s.answer(revocation.Answer{Singles: singles, Nonce: r.Nonce}, with, now)
}

// answer signs an answer, or takes one that still says the same.
func (s *Service) answer(a revocation.Answer, with *tls.Certificate, now time.Time) OCSPAnswer {
	remember := len(a.Singles) == 1 && len(a.Nonce) == 0 && a.Singles[0].Standing.Known
	if remember {
		if kept, ok := s.answers.get(a.Singles[0], with, now); ok {
			return kept
		}
	}
	a.Produced, a.ThisUpdate, a.NextUpdate = now, now, now.Add(answerLife)
	if end := with.Leaf.NotAfter; end.Before(a.NextUpdate) {
		a.NextUpdate = end
	}
	der, err := attestAnswer(a, with)
	if err != nil {
		s.log.Error("OCSP request not answered", "err", err)
		return failed(revocation.InternalError)
	}
	made := OCSPAnswer{DER: der, ThisUpdate: a.ThisUpdate, NextUpdate: a.NextUpdate}
	if remember {
		s.answers.put(a.Singles[0], with, made)
	}
	return made
}

// askedFor returns the one issuer that a request is about, or nil.
func (s *Service) askedFor(r revocation.Request) *issuer {
	for _, i := range s.held() {
		all := true
		for _, id := range r.Asked {
			hash, ok := i.askedAs()[id.Hash]
			all = all && ok && hash.subject == id.NameHash && hash.spki == id.KeyHash
		}
		if all {
			return i
		}
	}
	return nil
}

// hashed is how a request names an issuer.
type hashed struct{ subject, spki string }

// namesOf returns the hashes by which an issuer may be asked for.
func namesOf(i roster.Issuer) map[crypto.Hash]hashed {
	var info struct {
		Algorithm asn1.RawValue
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(i.Certificate.RawSubjectPublicKeyInfo, &info); err != nil {
		return nil
	}
	all := map[crypto.Hash]hashed{}
	for _, h := range revocation.Hashes() {
		name, key := h.New(), h.New()
		name.Write(i.Certificate.RawSubject)
		key.Write(info.Key.RightAlign())
		all[h] = hashed{string(name.Sum(nil)), string(key.Sum(nil))}
	}
	return all
}

// answers remembers what was signed lately.
type answers struct {
	mu   sync.Mutex // guards kept
	kept map[revocation.CertID]keptAnswer
}

type keptAnswer struct {
	OCSPAnswer
	standing roster.Standing
	with     *tls.Certificate
}

// get returns an answer that says the same with half of its life before it.
func (a *answers) get(about revocation.Single, with *tls.Certificate, now time.Time) (OCSPAnswer, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	k, ok := a.kept[about.ID]
	good := ok && k.standing == about.Standing && k.with == with && !now.Before(k.ThisUpdate) &&
		now.Before(k.ThisUpdate.Add(k.NextUpdate.Sub(k.ThisUpdate)/2))
	return k.OCSPAnswer, good
}

func (a *answers) put(about revocation.Single, with *tls.Certificate, made OCSPAnswer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.kept == nil || len(a.kept) >= maxAnswers {
		a.kept = map[revocation.CertID]keptAnswer{}
	}
	a.kept[about.ID] = keptAnswer{made, about.Standing, with}
}
