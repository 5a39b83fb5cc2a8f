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
	var f initFlags
	c := &cobra.Command{
		Use:   "init",
		Short: "Make the authority: root, issuers and ledger",
		Long: `Make the authority in the data folder: a root key, sealed at once with a
passphrase, two issuers and the ledger. 'postern up' does this by itself when
it starts for the first time.

The passphrase is generated and shown this one time. To use one of your own,
write it to a file that only you can read and name that file in
` + passphraseVariable + `.

With a root made elsewhere ('postern root create'), --root-key signs with it
here; --without-root makes all but the root's signatures and writes a request
for them, and --answer completes the authority with what the root answered.`,
		Example: `  postern init --trust-domain example.com
  postern init --root-key /media/safe/root.key.age
  postern init --without-root && … && postern init --answer root.answer`,
		Args: arguments(0, 0, "", ""),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.init(c.Context(), f)
		},
	}
	c.Flags().StringVar(&f.domain, "trust-domain", "", trustDomainUsage)
	c.Flags().StringVar(&f.key, "key", "", "the `KIND` of the issuers' keys: ecdsa-p256, ecdsa-p384, rsa-3072, or tpm: made in this machine's TPM")
	c.Flags().StringVar(&f.root.key, "root-key", "", "sign with a root made before, whose sealed key is in `FILE`")
	c.Flags().StringVar(&f.root.cert, "root", "", rootUsage)
	c.Flags().BoolVar(&f.without, "without-root", false, "make all but what the root has to sign, and ask for that")
	c.Flags().StringVar(&f.out, "out", "root.request", "where the request goes, `FILE`")
	c.Flags().StringVar(&f.answer, "answer", "", "complete the authority with the root's answer, `FILE`")
	return c
}

// initFlags are those of 'init'.
type initFlags struct {
	domain, key string
	root        rootRef
	without     bool
	out, answer string
}

func (a *app) init(ctx context.Context, f initFlags) (err error) {
	domain, key := f.domain, f.key
	conf, _, err := a.config()
	if err != nil {
		return err
	}
	if key != "" {
		if conf, err = conf.WithIssuerKey(key); err != nil {
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
	switch {
	case f.answer != "":
		return a.initComplete(ctx, conf, f.answer)
	case f.without:
		return a.initWithoutRoot(ctx, conf, f.out)
	case f.root.key != "":
		return a.initUnder(ctx, conf, f.root)
	}
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
	// Transcript tells what the root signed.
	Transcript string `json:"transcript,omitempty"`
	sealed     bool   // in the data folder
}

// found makes the authority in the data folder, which the caller holds. The
// passphrase is shown before the authority counts, so that no crash leaves a
// root sealed by words that nobody has seen.
func (a *app) found(ctx context.Context, conf config.Config) (founded, error) {
	made := founded{TrustDomain: domainOf(conf).String(), Data: a.data()}
	o := authority.InitOptions{Dir: a.data(), TrustDomain: domainOf(conf), KeyKind: conf.IssuerKey, TPM: conf.IssuerTPM, PublicURL: conf.Public.PlainURL(), Now: a.Now}
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
	made.Root, made.sealed = r.RootFingerprint, true
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
		if !made.sealed {
			facts(w, "root", made.Root)
		} else {
			facts(w, "root", made.Root, "sealed root key", here(filepath.Join(made.Data, authority.RootKeyFile)), "what it signed", here(filepath.Join(made.Data, authority.CeremoniesFile)))
			say(w, "Move the sealed root key off this machine; nothing needs it day by day.")
		}
		say(w, "As this user you manage it from this machine with the postern commands alone, no")
		say(w, "certificate needed: 'postern up' serves, 'postern invite NAME' lets somebody in.")
	})
}

func zero[T comparable](v T) bool { return v == *new(T) }
