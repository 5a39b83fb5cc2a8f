package authority

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"path/filepath"
	"strings"

	"github.com/postern-project/postern/internal/ceremony"
	"github.com/postern-project/postern/internal/invite"
	"github.com/postern-project/postern/internal/keys"
	"github.com/postern-project/postern/internal/ledger"
)

// requestsFolder holds, in the data folder, what the root was asked and has not
// answered yet.
const requestsFolder = "requests"

// nextLedgerKeyFile is the ledger's key that the root has not agreed to yet,
// and lastLedgerKeyFile the one before while they are exchanged.
const (
	nextLedgerKeyFile = "ledger.key.next"
	lastLedgerKeyFile = "ledger.key.last"
)

// A RootAsk says what the root is to be asked.
type RootAsk struct {
	// Line is a line of issuers, such as clients, that needs its next one;
	// "" for none. A line that is not there yet begins, for Use.
	Line string `json:"line,omitempty"`
	Use  string `json:"use,omitempty"` // clients or servers; "" for that of the line
	// Zones are DNS zones beside the trust domain that an issuer for servers
	// shall be able to certify.
	Zones []string `json:"zones,omitempty"`
	// List asks for a new revocation list; one comes with every issuer anyway.
	List bool `json:"list,omitempty"`
	// Rekey asks for another key for the ledger's checkpoints.
	Rekey bool `json:"rekey,omitempty"`
	// Retire is an older root, by its name or the beginning of its
	// fingerprint, that shall end; "" for none.
	Retire string `json:"retire,omitempty"`
	// Force retires a root whatever still needs it.
	Force bool `json:"force,omitempty"`
}

// A RootRequest is a file for the root.
type RootRequest struct {
	File []byte `json:"file"`
	// Name is a good beginning of a file name, such as clients-2.
	Name string `json:"name"`
}

// AskRoot prepares what only the root can sign: keys are made where they will
// be used, and the file says what is asked for them. Asking again for the same
// thing uses the same keys.
func (s *Service) AskRoot(ctx context.Context, a RootAsk) (RootRequest, error) {
	s.ceremonies.Lock()
	defer s.ceremonies.Unlock()
	anchors := s.roster.Anchors()
	q := ceremony.Request{TrustDomain: s.domain.String(), Root: anchors.Newest().Raw, Before: anchors.Transcript}
	name := "root-list"
	if a.Line != "" {
		asked, err := s.askIssuer(a)
		if err != nil {
			return RootRequest{}, err
		}
		q.Issuers, name = []ceremony.Issuer{asked}, asked.Name
		q.PublicURL = s.policy.Load().PublicURL
	}
	if a.Rekey {
		rekey, err := s.askRekey()
		if err != nil {
			return RootRequest{}, err
		}
		q.Rekey, name = &rekey, "ledger-key"
	}
	if a.Retire != "" {
		id, err := s.retirable(ctx, a)
		if err != nil {
			return RootRequest{}, err
		}
		q.Retire, name = id, "root-retired"
	}
	if a.List || a.Line != "" {
		q.List = s.askList()
	}
	file, err := q.Marshal()
	if err != nil {
		return RootRequest{}, err
	}
	if _, err := ceremony.ParseRequest(file); err != nil {
		return RootRequest{}, badRequest(err)
	}
	return RootRequest{File: file, Name: name}, s.keepRequest(file)
}

// askIssuer makes the key of the next issuer of a line.
func (s *Service) askIssuer(a RootAsk) (ceremony.Issuer, error) {
	var use ledger.Use
	for _, i := range s.roster.Issuers() {
		if i.Line() == a.Line {
			use = i.Use
		}
		if i.Line() == a.Line && stateOf(i) == StateStaged {
			return ceremony.Issuer{}, refuse(CodeExists, fmt.Sprintf("'postern issuer rotate %s' switches to it", a.Line), "issuer %s is staged already", i.Name)
		}
	}
	switch {
	case use == 0 && a.Use == "":
		return ceremony.Issuer{}, refuse(CodeNotFound, "'postern issuer list' shows those there are; --use clients or --use servers begins a new line", "there is no issuer of the line %s", a.Line)
	case use == 0:
		if err := use.UnmarshalText([]byte(a.Use)); err != nil {
			return ceremony.Issuer{}, badRequest(err)
		}
	case a.Use != "" && a.Use != use.String():
		return ceremony.Issuer{}, refuse(CodeBadRequest, "choose another name", "issuers of the line %s are for %s", a.Line, use)
	}
	name := nextName(a.Line, s.roster.Issuers())
	key, err := s.pendingKey(issuerFile(s.dir, name, ".key"), s.likeIssuers)
	if err != nil {
		return ceremony.Issuer{}, err
	}
	return ceremony.Ask(s.domain, name, use, a.Zones, key)
}

// likeIssuers makes a key of the kind that the issuers have.
func (s *Service) likeIssuers() (crypto.Signer, error) {
	if device := s.tpm(); device != "" {
		return keys.MakeTPMFile(device)
	}
	issuers := s.roster.Issuers()
	return keys.Like(issuers[len(issuers)-1].Certificate.PublicKey)
}

// pendingKey returns the key at path, which an earlier request may have left
// there, or a new one.
func (s *Service) pendingKey(path string, generate func() (crypto.Signer, error)) (crypto.Signer, error) {
	key, err := keys.Read(path, s.tpm())
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if key, err = generate(); err != nil {
		return nil, err
	}
	return key, keys.WritePrivate(path, key)
}

func (s *Service) askRekey() (ceremony.Rekey, error) {
	key, err := s.pendingKey(filepath.Join(s.dir, nextLedgerKeyFile), func() (crypto.Signer, error) {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	})
	if err != nil {
		return ceremony.Rekey{}, err
	}
	pub, ok := key.Public().(ed25519.PublicKey)
	if !ok {
		return ceremony.Rekey{}, fmt.Errorf("%s holds no Ed25519 key: remove it", nextLedgerKeyFile)
	}
	return ceremony.Rekey{Old: s.roster.Anchors().LedgerKey, New: pub}, nil
}

// askList asks for a list of every distrusted issuer of the newest root.
func (s *Service) askList() *ceremony.List {
	anchors := s.roster.Anchors()
	newest := anchors.Roots[len(anchors.Roots)-1]
	number := big.NewInt(1)
	if newest.List != nil {
		number = new(big.Int).Add(newest.List.Number, number)
	}
	l := &ceremony.List{Number: number.Uint64()}
	for _, i := range s.roster.Issuers() {
		if !i.Distrusted || string(i.Certificate.RawIssuer) != string(newest.Certificate.RawSubject) {
			continue
		}
		serial, err := ledger.SerialFromBytes(i.Certificate.SerialNumber.Bytes())
		if err == nil {
			l.Revoked = append(l.Revoked, ceremony.Revoked{Serial: serial, Name: i.Name, Reason: i.Reason, At: i.DistrustedAt})
		}
	}
	return l
}

// retirable returns the key id of an older root, unless somebody would be left
// without one.
func (s *Service) retirable(ctx context.Context, a RootAsk) (ledger.KeyID, error) {
	roots := s.roster.Anchors().Roots
	for n, r := range roots {
		pin := invite.PinOf(r.Certificate).String()
		if r.Certificate.Subject.CommonName != a.Retire && !(len(a.Retire) >= 8 && strings.HasPrefix(pin, a.Retire)) {
			continue
		}
		switch {
		case r.Retired:
			return ledger.KeyID{}, refuse(CodeExists, "", "the root %s is retired", r.Certificate.Subject.CommonName)
		case n == len(roots)-1:
			return ledger.KeyID{}, refuse(CodeBadRequest, "'postern root cross-sign' makes its successor", "%s is the newest root", r.Certificate.Subject.CommonName)
		}
		return ledger.KeyIDOf(r.Certificate), s.spared(ctx, r.Certificate, a.Force)
	}
	return ledger.KeyID{}, refuse(CodeNotFound, "'postern root show' lists them", "no root is named %s", a.Retire)
}

// spared refuses to end a root under which certificates are issued still, or
// beside which somebody has no other.
func (s *Service) spared(ctx context.Context, root *x509.Certificate, force bool) error {
	for _, i := range s.roster.Issuers() {
		if i.Active && string(i.Certificate.RawIssuer) == string(root.RawSubject) {
			return refuse(CodeNotYet, fmt.Sprintf("replace it first with 'postern issuer rotate %s'", i.Line()), "issuer %s is in use and has been signed by that root", i.Name)
		}
	}
	holders, err := s.rootHolders(ctx)
	if err != nil {
		return err
	}
	if lacking := lacking(holders); len(lacking) > 0 && !force {
		return refuse(CodeNotYet, "wait until they have renewed, or retire it all the same with --force",
			"%d machines have not got the newest root yet, such as %s", len(lacking), lacking[0].Name)
	}
	return nil
}
