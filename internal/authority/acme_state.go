package authority

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/store"
)

// An ACMERecord is an ACME document as it is kept: its Body is JSON, and it is
// changed only by who names the version that they read.
type ACMERecord = store.State

// ACMERecord returns a document. One that is not there is CodeNotFound.
func (s *Service) ACMERecord(ctx context.Context, kind, id string) (ACMERecord, error) {
	r, err := s.store.State(ctx, kind, id)
	return r, notFound(err, refuse(CodeNotFound, "", "there is no ACME %s %s", kind, id))
}

// ACMERecordBy returns the document that is found by lookup. One that is not
// there is CodeNotFound.
func (s *Service) ACMERecordBy(ctx context.Context, kind, lookup string) (ACMERecord, error) {
	r, err := s.store.StateBy(ctx, kind, lookup)
	return r, notFound(err, refuse(CodeNotFound, "", "there is no such ACME %s", kind))
}

// ACMERecordsOf returns the newest documents of an owner, at most limit.
func (s *Service) ACMERecordsOf(ctx context.Context, kind, owner string, limit int) ([]ACMERecord, error) {
	return s.store.StatesOf(ctx, kind, owner, limit)
}

// CountACMERecords returns how many documents of a kind an owner has.
func (s *Service) CountACMERecords(ctx context.Context, kind, owner string) (int, error) {
	return s.store.CountStates(ctx, kind, owner)
}

// WriteACMERecords writes all of the documents or none. A document that
// somebody else has changed or made is CodeConflict.
func (s *Service) WriteACMERecords(ctx context.Context, records ...ACMERecord) error {
	err := s.store.WriteStates(ctx, records...)
	if errors.Is(err, store.ErrConflict) {
		return refuse(CodeConflict, "read it again", "the ACME record was changed by somebody else")
	}
	return err
}

// SweepACMERecords removes documents that have expired, some at a time, and
// returns how many went.
func (s *Service) SweepACMERecords(ctx context.Context) (int64, error) {
	return s.store.SweepStates(ctx, s.now(), 1000)
}

// CodeConflict is the code of a document that was changed by somebody else.
const CodeConflict = "conflict"

// ACMEAccounts returns every account, and the keys with which none was made
// yet.
func (s *Service) ACMEAccounts(ctx context.Context) ([]ACMEAccountInfo, error) {
	all := []ACMEAccountInfo{}
	for row, err := range s.store.ACMEKeys(ctx) {
		if err != nil {
			return nil, err
		}
		a := ACMEAccountInfo{ID: row.Key, Name: row.Name.String(), Profile: row.Profile, Hosts: row.Hosts, Created: row.CreatedAt}
		switch {
		case !row.CancelledAt.IsZero():
			a.Status = StatusCancelled
		case !row.BoundAt.IsZero():
			a.Status = StatusGood
			if _, suspended := s.roster.Suspended(row.Name); suspended {
				a.Status = StatusSuspended
			}
		case !s.now().Before(row.Expires):
			a.Status = StatusExpired
		default:
			a.Status = StatusOpen
		}
		if err := s.countOrders(ctx, &a); err != nil {
			return nil, err
		}
		all = append(all, a)
	}
	for doc, err := range documents[ACMEAccount](ctx, s, ACMEKindAccount) {
		if err != nil {
			return nil, err
		}
		if !strings.HasPrefix(doc.ID, openAccount) {
			continue // it is a key's
		}
		a := ACMEAccountInfo{ID: doc.ID, Name: doc.Name, Profile: doc.Profile, Created: doc.Created, Contact: doc.Contact, Status: StatusGood}
		if doc.Status != "valid" {
			a.Status = doc.Status
		}
		if err := s.countOrders(ctx, &a); err != nil {
			return nil, err
		}
		all = append(all, a)
	}
	return all, nil
}

func (s *Service) countOrders(ctx context.Context, a *ACMEAccountInfo) (err error) {
	a.Orders, err = s.store.CountStates(ctx, ACMEKindOrder, a.ID)
	return err
}

// An ACMEAccountInfo is an account, or the key for one, as lists show it.
type ACMEAccountInfo struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	Profile string    `json:"profile"`
	Hosts   []string  `json:"hosts,omitempty"`
	Contact []string  `json:"contact,omitempty"`
	Created time.Time `json:"created"`
	// Status is open for a key without an account, good, suspended, expired,
	// cancelled or deactivated.
	Status string `json:"status"`
	Orders int    `json:"orders"` // that are kept
}

// maxListed bounds a list of orders.
const maxListed = 1000

// ACMEOrders returns orders, those of one account when it is named, the newest
// first and at most 1000.
func (s *Service) ACMEOrders(ctx context.Context, q ACMEOrderQuery) ([]ACMEOrder, error) {
	all := []ACMEOrder{}
	rows, err := s.store.StatesOf(ctx, ACMEKindOrder, q.Account, maxListed)
	if q.Account == "" {
		rows, err = s.store.NewestStates(ctx, ACMEKindOrder, maxListed)
	}
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		var o ACMEOrder
		if err := json.Unmarshal(row.Body, &o); err != nil {
			return nil, fmt.Errorf("ACME order %s: %w", row.ID, err)
		}
		if q.Status == "" || o.Status == q.Status {
			all = append(all, o)
		}
	}
	return all, nil
}

// An ACMEOrderQuery selects orders; zero fields select everything.
type ACMEOrderQuery struct {
	Account string `json:"account,omitempty"`
	Status  string `json:"status,omitempty"`
}

// An ACMEOrderStory is an order with its authorizations.
type ACMEOrderStory struct {
	ACMEOrder
	Authorized []ACMEAuthorization `json:"authorized"`
}

// ACMEOrder returns one order with all that happened to it.
func (s *Service) ACMEOrder(ctx context.Context, id string) (ACMEOrderStory, error) {
	row, err := s.store.State(ctx, ACMEKindOrder, id)
	if err != nil {
		return ACMEOrderStory{}, notFound(err, refuse(CodeNotFound, "'postern acme orders' shows those that are kept", "there is no ACME order %s", id))
	}
	var story ACMEOrderStory
	if err := json.Unmarshal(row.Body, &story.ACMEOrder); err != nil {
		return ACMEOrderStory{}, fmt.Errorf("ACME order %s: %w", id, err)
	}
	for _, authz := range story.Authorizations {
		row, err := s.store.State(ctx, ACMEKindAuthorization, authz)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return ACMEOrderStory{}, err
		}
		var a ACMEAuthorization
		if err := json.Unmarshal(row.Body, &a); err != nil {
			return ACMEOrderStory{}, fmt.Errorf("ACME authorization %s: %w", authz, err)
		}
		story.Authorized = append(story.Authorized, a)
	}
	return story, nil
}

// documents returns every document of a kind.
func documents[T any](ctx context.Context, s *Service, kind string) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for row, err := range s.store.States(ctx, kind) {
			var doc T
			if err == nil {
				err = json.Unmarshal(row.Body, &doc)
			}
			if !yield(doc, err) || err != nil {
				return
			}
		}
	}
}

// An ACMERenewal is what renewal information (RFC 9773) is made of.
type ACMERenewal struct {
	NotBefore, NotAfter time.Time
	Account             string // that it was issued to; "" for none
	Hosts               []ACMEIdentifier
	// Hurry says that the certificate should be replaced now: it was revoked,
	// or its issuer is distrusted or was replaced by a newer one.
	Hurry string
}

// ACMERenewal returns what is known of the certificate with a serial number by
// the issuer with a key identifier (AKI).
func (s *Service) ACMERenewal(ctx context.Context, aki []byte, serial ledger.Serial) (ACMERenewal, error) {
	unknown := refuse(CodeNotFound, "", "no certificate here has that identifier")
	row, err := s.store.Certificate(ctx, serial)
	if err != nil {
		return ACMERenewal{}, notFound(err, unknown)
	}
	r := ACMERenewal{NotBefore: row.NotBefore, NotAfter: row.NotAfter}
	for _, i := range s.roster.Issuers() {
		if i.KeyID == row.Issuer && string(i.Certificate.SubjectKeyId) != string(aki) {
			return ACMERenewal{}, unknown
		}
	}
	if r.Hurry, err = s.hurry(row); err != nil {
		return ACMERenewal{}, err
	}
	for _, n := range row.DNSNames {
		r.Hosts = append(r.Hosts, ACMEIdentifier{"dns", n})
	}
	for _, ip := range row.IPs {
		r.Hosts = append(r.Hosts, ACMEIdentifier{"ip", ip.String()})
	}
	order, err := s.store.ACMEOrderOf(ctx, row.TBS)
	if err == nil {
		r.Account = order.Account
	}
	return r, unless(store.ErrNotFound, err)
}

// hurry says why a certificate should be replaced now; "" for no reason.
func (s *Service) hurry(row store.CertificateRow) (string, error) {
	if row.Revoked {
		return "it was revoked", nil
	}
	p, err := s.findProfile(row.Profile)
	if err != nil {
		return "", err
	}
	by, err := s.issuerFor(p)
	if err != nil {
		return "", nil // there is nobody to renew it
	}
	if by.KeyID != row.Issuer {
		return "issuer " + by.Name + " has taken over", nil
	}
	return "", nil
}

// ACMECertID returns the unique identifier of RFC 9773 section 4.1.
func ACMECertID(aki, serial []byte) string {
	if len(serial) > 0 && serial[0]&0x80 != 0 {
		serial = append([]byte{0}, serial...)
	}
	return base64.RawURLEncoding.EncodeToString(aki) + "." + base64.RawURLEncoding.EncodeToString(serial)
}
