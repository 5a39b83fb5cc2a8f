package cli

import (
	"context"
	"strings"
	"testing"

	"github.com/postern-project/postern/internal/api"
	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/ledger"
)

// certified is an authority that lists certificates and knows no names.
type certified struct {
	api.Authority
	serials []string
}

func (c certified) Certificates(_ context.Context, q authority.CertificateFilter) ([]authority.Certificate, error) {
	var all []authority.Certificate
	for _, s := range c.serials {
		serial, err := ledger.ParseSerial(s)
		if err != nil {
			return nil, err
		}
		if serial == q.Serial || q.Serial.IsZero() && strings.HasPrefix(s, q.Beginning) {
			all = append(all, authority.Certificate{Serial: serial})
		}
	}
	return all, nil
}

func (c certified) Identities(context.Context, authority.IdentityFilter) ([]authority.Identity, error) {
	return nil, nil
}

func TestTheBeginningOfASerialNumberIsEnough(t *testing.T) {
	const one, other = "02b847b380647b026e4db8f807ca5738", "02b847b399999999999999999999aaaa"
	auth := certified{serials: []string{one, other}}
	for word, c := range map[string]struct{ serial, wrong string }{
		one:                                {serial: one},
		"02b847b380":                       {serial: one},
		"02B847B380…":                      {serial: one},
		"02:b8:47:b3:99":                   {serial: other},
		one[1:]:                            {serial: one}, // as big numbers are printed
		"02b847b3":                         {wrong: "more than one serial number begins with 02b847b3"},
		"12b847b3":                         {wrong: "no certificate with serial number 12b847b3"},
		"12b847b312b847b312b847b312b847b3": {serial: "12b847b312b847b312b847b312b847b3"}, // the authority says that it is not there
	} {
		got, err := find(t.Context(), auth, word)
		switch {
		case c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong) || hintOf(err) == ""):
			t.Errorf("%s: %v, hint %q", word, err, hintOf(err))
		case c.wrong == "" && (err != nil || got.serial.String() != c.serial):
			t.Errorf("%s: %s, %v", word, got.serial, err)
		}
	}
}
