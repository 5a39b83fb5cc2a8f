package authority

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/postern-project/postern/internal/ceremony"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/roster"
	"github.com/postern-project/postern/internal/store"
)

// A RootAnswer is a file that a root has answered with.
type RootAnswer struct {
	File []byte `json:"file"`
}

// A RootApplied is what an answer brought.
type RootApplied struct {
	Did []string `json:"did"` // in words
	// Warnings are what somebody should look into.
	Warnings   []string `json:"warnings,omitempty"`
	Transcript string   `json:"transcript"`
}

// ApplyRoot records what a root has signed. Every signature is checked; an
// answer that does not belong to a request of this authority is refused, but for
// a succession, which is begun on the root's side.
func (s *Service) ApplyRoot(ctx context.Context, file RootAnswer) (RootApplied, error) {
	s.ceremonies.Lock()
	defer s.ceremonies.Unlock()
	a, err := ceremony.ParseAnswer(file.File)
	if err != nil {
		return RootApplied{}, badRequest(err)
	}
	p := &application{service: s, answer: a}
	if a.Successor == nil {
		if err := p.findRequest(); err != nil {
			return RootApplied{}, err
		}
	}
	if err := p.prepare(); err != nil {
		return RootApplied{}, err
	}
	if err := p.commit(ctx); err != nil {
		return RootApplied{}, err
	}
	s.log.Info("root's answer recorded", "ceremony", ceremony.HashOf(a.Transcript))
	return p.applied, p.settle()
}

// An application is one answer on its way into the ledger.
type application struct {
	service *Service
	answer  ceremony.Answer
	request ceremony.Request
	bodies  []ledger.Body
	added   []string // issuers
	applied RootApplied
}

func (p *application) did(format string, args ...any) {
	p.applied.Did = append(p.applied.Did, fmt.Sprintf(format, args...))
}

func (p *application) findRequest() error {
	file, err := os.ReadFile(p.service.requestPath(p.answer.Request))
	if errors.Is(err, fs.ErrNotExist) {
		return refuse(CodeNotFound, "apply each answer once, in the data folder that asked", "this authority waits for no such answer")
	}
	if err != nil {
		return err
	}
	if err := p.answer.Answers(file); err != nil {
		return badRequest(err)
	}
	if p.request, err = ceremony.ParseRequest(file); err != nil {
		return badRequest(err)
	}
	return nil
}

// prepare turns the answer into entries.
func (p *application) prepare() error {
	a, q, s := p.answer, p.request, p.service
	p.applied.Transcript = a.Transcript
	anchors := s.roster.Anchors()
	if before, _ := ceremony.BeforeOf(a.Transcript); before != anchors.Transcript {
		p.applied.Warnings = append(p.applied.Warnings,
			"the root was used in a ceremony that this ledger does not know of, between its last one and this: look into the transcripts beside the root's key")
	}
	p.bodies = append(p.bodies, a.Recorded())
	if len(a.Issuers) != len(q.Issuers) {
		return refuse(CodeBadRequest, "", "the answer holds %d issuers and %d were asked for", len(a.Issuers), len(q.Issuers))
	}
	for n, asked := range q.Issuers {
		if err := p.issuer(asked, a.Issuers[n]); err != nil {
			return err
		}
	}
	if a.List != nil {
		p.bodies = append(p.bodies, ledger.RootListSigned{List: a.List})
		p.did("the root's revocation list is renewed")
	}
	if a.Successor != nil {
		p.bodies = append(p.bodies, *a.Successor)
		p.did("a new root is trusted beside the old one")
	}
	if a.Retire != nil {
		p.bodies = append(p.bodies, ledger.RootRetired{Root: q.Retire, RootSignature: a.Retire})
		p.did("the older root is retired")
	}
	if a.Rekey != nil && q.Rekey != nil {
		p.bodies = append(p.bodies, ledger.LedgerKeyChanged{Old: q.Rekey.Old, New: q.Rekey.New, RootSignature: a.Rekey})
		p.did("the ledger's checkpoints are signed with a new key")
	}
	return nil
}

// issuer prepares to add an issuer whose key is here. Where its line has none
// that is trusted it is used at once.
func (p *application) issuer(asked ceremony.Issuer, der []byte) error {
	c, err := answered(asked, der)
	if err != nil {
		return badRequest(err)
	}
	known := roster.Issuer{Name: asked.Name, Use: asked.Use, Certificate: c, KeyID: ledger.KeyIDOf(c)}
	if _, err := loadIssuer(p.service.dir, p.service.tpm(), known); err != nil {
		return err
	}
	p.bodies = append(p.bodies, ledger.IssuerAdded{Name: asked.Name, Use: asked.Use, Certificate: der})
	p.added = append(p.added, asked.Name)
	first, active := true, false
	for _, i := range p.service.roster.Issuers() {
		if i.Line() == known.Line() {
			first, active = false, active || i.Active
		}
	}
	switch {
	case active:
		p.did("issuer %s is staged: 'postern issuer rotate %s' switches to it", asked.Name, known.Line())
	default:
		if !first {
			p.bodies = append(p.bodies, ledger.IssuerActivated{Issuer: known.KeyID})
		}
		p.did("issuer %s is in use", asked.Name)
	}
	return nil
}

// commit records the entries. An issuer's key is held before anybody can ask for
// it.
func (p *application) commit(ctx context.Context) error {
	rekey := p.answer.Rekey != nil
	err := p.service.update(ctx, func(tx *store.Tx) error {
		for _, b := range p.bodies {
			if err := tx.Append(b); err != nil {
				return err
			}
		}
		if rekey {
			return p.service.exchangeLedgerKey()
		}
		return nil
	})
	if err != nil && rekey {
		err = errors.Join(err, p.service.putBackLedgerKey())
	}
	if errors.Is(err, store.ErrExists) {
		return refuse(CodeExists, "", "the answer was applied before")
	}
	if err != nil {
		return &Error{Code: CodeBadRequest, Msg: "the answer is not taken over: " + err.Error()}
	}
	return p.hold()
}

// hold loads the keys of the issuers that were added.
func (p *application) hold() error {
	for _, known := range p.service.roster.Issuers() {
		for _, name := range p.added {
			if known.Name != name {
				continue
			}
			i, err := loadIssuer(p.service.dir, p.service.tpm(), known)
			if err != nil {
				return err
			}
			p.service.hold(i)
		}
	}
	return nil
}

// settle brings the folder's files up to date with the ledger. What a crash
// keeps it from doing the next start does.
func (p *application) settle() error {
	s := p.service
	if err := s.settleFiles(); err != nil {
		return err
	}
	if p.answer.Successor != nil {
		return nil
	}
	return os.Remove(s.requestPath(p.answer.Request))
}

// settleFiles writes what programs beside us read of the hierarchy: root.pem
// with every root that is trusted, newest first, and the issuers' certificates;
// and clears away a key of the ledger that was replaced.
func (s *Service) settleFiles() error {
	if err := SettleLedgerKey(s.dir, s.roster.Anchors().LedgerKey); err != nil {
		return err
	}
	roots := s.roster.Anchors().Trusted()
	if err := writeIfOther(filepath.Join(s.dir, RootFile), roots...); err != nil {
		return err
	}
	for _, i := range s.roster.Issuers() {
		if err := writeIfOther(issuerFile(s.dir, i.Name, ".pem"), i.Certificate); err != nil {
			return err
		}
	}
	return nil
}

// writeIfOther writes certificates to a file that does not hold them already.
func writeIfOther(path string, certs ...*x509.Certificate) error {
	if have, err := os.ReadFile(path); err == nil && string(have) == string(encode(certs)) {
		return nil
	}
	return writeCertificates(path, certs...)
}
