package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/config"
)

func (a *app) initOptions(conf config.Config) authority.InitOptions {
	return authority.InitOptions{Dir: a.data(), TrustDomain: domainOf(conf), KeyKind: conf.IssuerKey, TPM: conf.IssuerTPM, PublicURL: conf.Public.PlainURL(), Now: a.Now}
}

// initUnder makes the authority under a root whose key is here for the moment.
func (a *app) initUnder(ctx context.Context, conf config.Config, ref rootRef) error {
	root, err := a.openRoot(ref, noDomain)
	if err != nil {
		return err
	}
	defer root.close()
	o := a.initOptions(conf)
	if !zero(conf.TrustDomain) && conf.TrustDomain != root.TrustDomain() {
		return fmt.Errorf("that is the root of %s, and %s is asked for", root.TrustDomain(), conf.TrustDomain)
	}
	before, kept, err := a.before(root.log)
	if err != nil {
		return err
	}
	o.TrustDomain, o.Root, o.Before = root.TrustDomain(), root.Root, before
	r, err := authority.Init(ctx, o)
	if err != nil {
		return err
	}
	if err := keepTranscript(root.log, kept, r.Transcript); err != nil {
		return err
	}
	return a.showUnder(o, r)
}

// initWithoutRoot makes all but what the root has to sign.
func (a *app) initWithoutRoot(ctx context.Context, conf config.Config, out string) error {
	if _, err := os.Lstat(out); err == nil {
		return withHint(fmt.Errorf("%s exists", here(out)), "--out names another file")
	}
	o := a.initOptions(conf)
	o.Elsewhere = true
	r, err := authority.Init(ctx, o)
	if err != nil {
		return err
	}
	if err := writeFileNew(out, r.Request); err != nil {
		return err
	}
	return a.show(map[string]string{"trust_domain": o.TrustDomain.String(), "request": out}, func(w io.Writer) {
		say(w, "All is made but what the root has to sign. The request is in %s.", here(out))
		say(w, "Where the root's key is:")
		say(w, "  postern root sign %s --root-key root.key.age", filepath.Base(out))
		say(w, "and here, with the answer:")
		say(w, "  postern init --answer root.answer%s", a.sameData())
	})
}

func (a *app) initComplete(ctx context.Context, conf config.Config, path string) error {
	answer, err := readSmallFile(path)
	if err != nil {
		return err
	}
	o := a.initOptions(conf)
	r, err := authority.Complete(ctx, o, answer)
	if err != nil {
		return err
	}
	return a.showUnder(o, r)
}

// showUnder prints what was made under a root that is not kept here.
func (a *app) showUnder(o authority.InitOptions, r authority.InitResult) error {
	if !a.json {
		a.sayTranscript(a.Stdout, r.Transcript)
	}
	return a.showFounded(founded{TrustDomain: r.TrustDomain.String(), Data: o.Dir, Root: r.RootFingerprint, Transcript: r.Transcript})
}
