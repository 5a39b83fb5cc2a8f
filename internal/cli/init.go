package cli

import (
	"context"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/postern-project/postern/internal/api"
	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/config"
	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/keys"
)

// defaultTrustDomain is the namespace of whoever named none.
const defaultTrustDomain = "postern.internal"

const trustDomainUsage = "the namespace of all names, `DOMAIN`, fixed by the first start (default " + defaultTrustDomain + ")"

// passphraseVariable names the file that holds a passphrase of the
// operator's own for the root key.
const passphraseVariable = "POSTERN_ROOT_PASSPHRASE_FILE"

func newInit(a *app) *cobra.Command {
	var domain, key string
	c := &cobra.Command{
		Use:   "init",
		Short: "Make the authority: root, issuers and ledger",
		Long: `Make the authority in the data folder: a root key, sealed at once with a
passphrase, two issuers and the ledger. 'postern up' does this by itself when
it starts for the first time.

The passphrase is generated and shown this one time. To use one of your own,
write it to a file that only you can read and name that file in
` + passphraseVariable + `.`,
		Example: "  postern init --trust-domain example.com",
		Args:    arguments(0, 0, "", ""),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.init(c.Context(), domain, key)
		},
	}
	c.Flags().StringVar(&domain, "trust-domain", "", trustDomainUsage)
	c.Flags().StringVar(&key, "key", "", "the `KIND` of the issuers' keys: ecdsa-p256, ecdsa-p384 or rsa-3072")
	return c
}

func (a *app) init(ctx context.Context, domain, key string) (err error) {
	conf, _, err := a.config()
	if err != nil {
		return err
	}
	if key != "" {
		if conf.IssuerKey, err = keys.ParseKind(key); err != nil {
			return &UsageError{err, ""}
		}
	}
	if conf, err = conf.WithTrustDomain(domain); err != nil {
		return &UsageError{err, ""}
	}
	lock, err := api.Hold(ctx, a.data(), api.DefaultWait)
	if err != nil {
		return err
	}
	defer func() { leave(lock, err) }()
	made, err := a.found(ctx, conf)
	if err != nil {
		return err
	}
	return a.showFounded(made)
}

// founded is what making an authority tells.
type founded struct {
	TrustDomain string `json:"trust_domain"`
	Data        string `json:"data"`
	Root        string `json:"root"`
	// One of the two is set when the passphrase was generated: itself for a
	// person's terminal, else the file that keeps it.
	Passphrase     string `json:"passphrase,omitempty"`
	PassphraseFile string `json:"passphrase_file,omitempty"`
}

// found makes the authority in the data folder, which the caller holds. The
// passphrase is shown before the authority counts, so that no crash leaves a
// root sealed by words that nobody has seen.
func (a *app) found(ctx context.Context, conf config.Config) (founded, error) {
	made := founded{TrustDomain: domainOf(conf).String(), Data: a.data()}
	o := authority.InitOptions{Dir: a.data(), TrustDomain: domainOf(conf), KeyKind: conf.IssuerKey, Now: a.Now}
	if path := a.Getenv(passphraseVariable); path != "" {
		p, err := keys.ReadPassphraseFile(path)
		if err != nil {
			return founded{}, withHint(err, passphraseVariable+" names the file")
		}
		o.Passphrase = &p
	}
	o.Show = func(p keys.Passphrase) error {
		return a.showPassphrase(&made, p)
	}
	r, err := authority.Init(ctx, o)
	made.Root = r.RootFingerprint
	return made, err
}

// domainOf returns the trust domain that a configuration asks for.
func domainOf(conf config.Config) identity.TrustDomain {
	if !zero(conf.TrustDomain) {
		return conf.TrustDomain
	}
	d, err := identity.ParseTrustDomain(defaultTrustDomain)
	if err != nil {
		panic(err) // a constant
	}
	return d
}

// showPassphrase hands a generated passphrase over: on a person's terminal,
// there in the JSON that follows if it was asked for, and else in a file.
func (a *app) showPassphrase(made *founded, p keys.Passphrase) (err error) {
	if a.StdoutTerminal {
		made.Passphrase = p.Reveal()
		if !a.json {
			say(a.Stdout, "The root key is sealed with this passphrase, shown this one time. Keep it, away\nfrom this machine:\n")
			say(a.Stdout, "    %s\n", made.Passphrase)
		}
		return nil
	}
	if made.PassphraseFile, err = keepSecret(made.Data, "root-passphrase", p.Reveal()); err != nil || a.json {
		return err
	}
	say(a.Stdout, "The passphrase of the root key is in %s: keep it elsewhere and delete the file.", here(made.PassphraseFile))
	return nil
}

// showFounded prints what found made.
func (a *app) showFounded(made founded) error {
	return a.show(made, func(w io.Writer) {
		say(w, "The authority of %s is ready in %s.", made.TrustDomain, here(made.Data))
		facts(w, "root", made.Root, "sealed root key", here(filepath.Join(made.Data, authority.RootKeyFile)))
		say(w, "Move the sealed root key off this machine; nothing needs it day by day.")
	})
}

func zero[T comparable](v T) bool { return v == *new(T) }
