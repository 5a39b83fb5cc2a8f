package cli

import (
	"github.com/spf13/cobra"

	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/ledger"
)

// fullPage is how many certificates or identities a list has unless asked
// otherwise.
const fullPage = 1000

// searching are the flags that look for certificates.
type searching struct {
	serial, dns, key, issuer, via, after string
	within                               lifetime
	due                                  bool
}

func (f *searching) register(c *cobra.Command) {
	c.Flags().StringVar(&f.serial, "serial", "", "only the certificate with this whole serial `NUMBER`")
	c.Flags().StringVar(&f.dns, "dns", "", "only certificates for this host `NAME` or address")
	c.Flags().StringVar(&f.key, "key", "", "only certificates of the public key with this `SHA256`")
	c.Flags().StringVar(&f.issuer, "issuer", "", "only certificates by this `ISSUER`")
	c.Flags().StringVar(&f.via, "via", "", "only what came through `DOOR`: issue, sign, invite, server-key, scep, renew, renew-unproven, self or acme")
	c.Flags().Var(&f.within, "expires-within", "only certificates that end so soon, such as 14d, the first to end first")
	c.Flags().BoolVar(&f.due, "due", false, "only certificates that should have been renewed by now: in the last third\nof their life, at most 30 days before the end, without a successor")
	c.Flags().StringVar(&f.after, "after", "", "the next page: `PLACE` is what the one before ended with (identities, certificates)")
}

func (f *searching) filter() (q authority.CertificateFilter, err error) {
	q = authority.CertificateFilter{Host: f.dns, Issuer: f.issuer, Via: f.via, Within: f.within.d, Due: f.due, After: f.after}
	if f.serial != "" {
		if q.Serial, err = ledger.ParseSerial(f.serial); err != nil {
			return q, usage("'postern list certificates' shows their beginnings, --json all of them", "%v", err)
		}
	}
	if f.key != "" {
		if err := q.Key.UnmarshalText([]byte(f.key)); err != nil {
			return q, usage("'postern show' prints it", "%q is no SHA-256 of a key: %v", f.key, err)
		}
	}
	return q, nil
}
