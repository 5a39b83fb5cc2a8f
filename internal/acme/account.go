package acme

import (
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/mail"
	"strings"

	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/jws"
)

// Bounds on what an account's contacts hold.
const (
	maxContacts = 10
	maxContact  = 320
)

// An account is one together with the record that it was read from.
type account struct {
	authority.ACMEAccount
	record kept[authority.ACMEAccount]
}

// asking is the payload of new-account and of changes to an account.
type asking struct {
	Contact            *[]string       `json:"contact"`
	Agreed             bool            `json:"termsOfServiceAgreed"`
	OnlyReturnExisting bool            `json:"onlyReturnExisting"`
	Binding            json.RawMessage `json:"externalAccountBinding"`
	Status             string          `json:"status"`
}

// newAccount makes an account, or finds the one that the key has (RFC 8555
// section 7.3).
func (s *Server) newAccount(c *call) error {
	var q asking
	if err := c.payload(&q); err != nil {
		return err
	}
	found, err := find[authority.ACMEAccount](c.Context(), s, authority.ACMEKindAccount, c.lookup(c.key))
	switch {
	case err == nil && found.Doc.Status != statusValid:
		return problem(unauthorized, "the account of this key is %s", found.Doc.Status)
	case err == nil:
		return c.showAccount(http.StatusOK, found.Doc)
	case !isNotFound(err):
		return fault(err)
	}
	if a, err := c.recover(); err != nil || a != nil {
		if err != nil {
			return err
		}
		return c.showAccount(http.StatusOK, *a)
	}
	if q.OnlyReturnExisting {
		return problem(accountDoesNotExist, "this key has no account here")
	}
	contact, err := contacts(q.Contact)
	if err != nil {
		return err
	}
	if wait, ok := s.limits.accounts.take(network(c.from)); !ok {
		return problem(rateLimited, "too many new accounts from this network").after(wait)
	}
	a := authority.ACMEAccount{
		Profile: c.profile.Name, Contact: contact, Status: statusValid, Agreed: q.Agreed, Created: s.now().UTC(), Binding: q.Binding,
	}
	if a.Key, err = c.key.MarshalJSON(); err != nil {
		return fault(err)
	}
	return c.admit(a)
}

// recover makes the record of an account anew that the ledger knows: after a
// restore, or when a crash came between the ledger and the record. It returns
// nil when the ledger knows no account of the key.
func (c *call) recover() (*authority.ACMEAccount, error) {
	holder, err := c.s.authority.FindACMEAccount(c.Context(), c.profile.Name, c.key.Thumbprint())
	if isNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fromAuthority(err)
	}
	k, err := load[authority.ACMEAccount](c.Context(), c.s, authority.ACMEKindAccount, holder.Account)
	if isNotFound(err) {
		now := c.s.now().UTC()
		k = kept[authority.ACMEAccount]{
			Doc:    authority.ACMEAccount{ID: holder.Account, Profile: c.profile.Name, Status: statusValid, Created: now, Name: holder.Name.String()},
			record: authority.ACMERecord{Kind: authority.ACMEKindAccount, ID: holder.Account, Created: now, Expires: forever},
		}
	} else if err != nil {
		return nil, fault(err)
	}
	k.record.Lookup = c.lookup(c.key)
	if k.Doc.Key, err = c.key.MarshalJSON(); err != nil {
		return nil, fault(err)
	}
	if err := c.s.write(c.Context(), k); err != nil {
		return nil, err
	}
	return &k.Doc, nil
}

// admit binds the account to its name and keeps it.
func (c *call) admit(a authority.ACMEAccount) error {
	expires := forever
	switch {
	case len(a.Binding) > 0 && string(a.Binding) != "null":
		holder, err := c.s.authority.BindACMEAccount(c.Context(), authority.ACMEBinding{
			Profile: c.profile.Name, Message: a.Binding, URL: c.message.URL, Account: a.Key,
		})
		if err != nil {
			return fromAuthority(err)
		}
		a.ID, a.Name = holder.Account, holder.Name.String()
	case !c.profile.Open:
		return problem(externalAccountRequired, "this server takes accounts with an external account binding only: 'postern invite NAME --acme' makes a key for one")
	default:
		if wait, ok := c.s.limits.opened.take(""); !ok {
			return problem(rateLimited, "too many new accounts").after(wait)
		}
		a.ID, expires = authority.OpenACMEAccount(c.key.Thumbprint()), c.s.now().Add(keepStrangers)
	}
	k := kept[authority.ACMEAccount]{Doc: a, record: authority.ACMERecord{
		Kind: authority.ACMEKindAccount, ID: a.ID, Lookup: c.lookup(c.key), Created: a.Created, Expires: expires,
	}}
	r, err := k.encode()
	if err != nil {
		return fault(err)
	}
	err = c.s.authority.WriteACMERecords(c.Context(), r)
	if isConflict(err) { // the same request came twice at once
		if k, err = find[authority.ACMEAccount](c.Context(), c.s, authority.ACMEKindAccount, c.lookup(c.key)); err == nil {
			return c.showAccount(http.StatusOK, k.Doc)
		}
	}
	if err != nil {
		return fault(err)
	}
	c.s.log.Info("acme account made", "account", a.ID, "id", a.Name, "profile", a.Profile)
	return c.showAccount(http.StatusCreated, a)
}

// lookup is what the account of a key is found by.
func (c *call) lookup(k jws.Key) string {
	t := k.Thumbprint()
	return c.profile.Name + "/" + hex.EncodeToString(t[:])
}

// contacts checks the URLs in a request (RFC 8555 section 7.3).
func contacts(all *[]string) ([]string, error) {
	if all == nil {
		return nil, nil
	}
	if len(*all) > maxContacts {
		return nil, problem(invalidContact, "an account has at most %d contacts", maxContacts)
	}
	for _, url := range *all {
		address, ok := strings.CutPrefix(url, "mailto:")
		if !ok {
			return nil, problem(unsupportedContact, "contact %.100q: only mailto: is known here", url)
		}
		if len(url) > maxContact || strings.ContainsAny(address, "?,") {
			return nil, problem(invalidContact, "contact %.100q: one plain address is wanted", url)
		}
		if parsed, err := mail.ParseAddress(address); err != nil || parsed.Address != address {
			return nil, problem(invalidContact, "contact %.100q is no address", url)
		}
	}
	return *all, nil
}

// shown is an account object (RFC 8555 section 7.1.2).
type shown struct {
	Status  string          `json:"status"`
	Contact []string        `json:"contact,omitempty"`
	Agreed  bool            `json:"termsOfServiceAgreed,omitempty"`
	Binding json.RawMessage `json:"externalAccountBinding,omitempty"`
	Orders  string          `json:"orders"`
}

func (c *call) showAccount(status int, a authority.ACMEAccount) error {
	c.w.Header().Set("Location", c.url("account", a.ID))
	return c.answer(status, shown{a.Status, a.Contact, a.Agreed, a.Binding, c.url("account", a.ID, "orders")})
}

// own refuses what belongs to another account.
func (c *call) own(id string) error {
	if c.PathValue("id") != id {
		return problem(unauthorized, "this belongs to another account")
	}
	return nil
}

// account shows an account, or changes its contacts, or ends it (RFC 8555
// sections 7.3.2 and 7.3.6). What cannot be changed is ignored.
func (s *Server) account(c *call) error {
	if err := c.own(c.account.ID); err != nil {
		return err
	}
	if c.asGet() {
		return c.showAccount(http.StatusOK, c.account.ACMEAccount)
	}
	var q asking
	if err := c.payload(&q); err != nil {
		return err
	}
	k := c.account.record
	switch {
	case q.Status == statusDeactivated:
		if err := s.authority.CloseACMEAccount(c.Context(), c.proof()); err != nil {
			return fromAuthority(err)
		}
		k.Doc.Status = statusDeactivated
	case q.Status != "" && q.Status != statusValid:
		return problem(malformed, "an account becomes %q only", statusDeactivated)
	case q.Contact != nil:
		list, err := contacts(q.Contact)
		if err != nil {
			return err
		}
		k.Doc.Contact = list
	}
	if err := s.write(c.Context(), k); err != nil {
		return err
	}
	return c.showAccount(http.StatusOK, k.Doc)
}

// keyChange gives an account another key (RFC 8555 section 7.3.5).
func (s *Server) keyChange(c *call) error {
	if c.asGet() {
		return problem(malformed, "a payload is missing")
	}
	inner, err := jws.Parse(c.message.Payload)
	if err != nil {
		return fromMessage(err)
	}
	if inner.Key != nil {
		other, err := find[authority.ACMEAccount](c.Context(), s, authority.ACMEKindAccount, c.lookup(*inner.Key))
		if err == nil {
			p := problem(malformed, "the new key has an account already").status(http.StatusConflict)
			p.location = c.url("account", other.Doc.ID)
			return p
		}
		if !isNotFound(err) {
			return fault(err)
		}
	}
	jwk, err := s.authority.RekeyACMEAccount(c.Context(), c.proof())
	if err != nil {
		return fromAuthority(err)
	}
	k := c.account.record
	k.Doc.Key, k.record.Lookup = jwk, c.lookup(*inner.Key)
	if err := s.write(c.Context(), k); err != nil {
		return err
	}
	return c.showAccount(http.StatusOK, k.Doc)
}

// maxOrders is how many orders a list shows.
const maxOrders = 100

// orders lists an account's orders (RFC 8555 section 7.1.2.1).
func (s *Server) orders(c *call) error {
	if err := c.own(c.account.ID); err != nil {
		return err
	}
	if err := c.needGet(); err != nil {
		return err
	}
	records, err := s.authority.ACMERecordsOf(c.Context(), authority.ACMEKindOrder, c.account.ID, maxOrders)
	if err != nil {
		return fault(err)
	}
	urls := []string{}
	for _, r := range records {
		urls = append(urls, c.url("order", r.ID))
	}
	return c.answer(http.StatusOK, map[string]any{"orders": urls})
}
