package cli

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/ceremony"
	"github.com/postern-project/postern/internal/config"
	"github.com/postern-project/postern/internal/invite"
	"github.com/postern-project/postern/internal/keys"
)

const (
	rootKeyUsage = "the root's key: its sealed `FILE`, or pkcs11:… or tpm:… for one in a token"
	rootUsage    = "the root's certificate, `FILE` (default root.pem beside the key)"
)

func newRootCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "root",
		Short: "Ceremonies with the root's key, also without a network",
		Long: `The root signs issuers, its revocation list and whatever else changes what is
trusted. 'create', 'sign', 'cross-sign' and 'show FILE' work on a machine that
has no network and no data folder; 'request' and 'apply' are the running
authority's side. Requests and answers are small files that any stick carries.`,
		Args: cobra.ArbitraryArgs,
		RunE: a.noCommand,
	}
	c.AddCommand(newRootCreate(a), newRootSign(a), newRootCrossSign(a), newRootShow(a), newRootRequest(a), newRootApply(a))
	return c
}

func newRootCreate(a *app) *cobra.Command {
	var out, domain, kind, token string
	c := &cobra.Command{
		Use:   "create",
		Short: "Make a root and seal its key",
		Long: `Make a root for a trust domain: its certificate, and its key sealed with a
passphrase. The passphrase is generated and shown this one time; to use one of
your own, name a file with it in ` + passphraseVariable + `.
--root-key makes the key in a PKCS#11 token or a TPM instead, where it stays;
its PIN is asked for.`,
		Example: "  postern root create --trust-domain example.com --out safe\n  postern root create --root-key tpm:0x81000001",
		Args:    arguments(0, 0, "", ""),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.rootCreate(out, domain, kind, token)
		},
	}
	c.Flags().StringVar(&out, "out", "postern-root", "the `FOLDER` that is made for it")
	c.Flags().StringVar(&domain, "trust-domain", "", trustDomainUsage)
	c.Flags().StringVar(&kind, "key", "", "the `KIND` of its key: ecdsa-p256, ecdsa-p384 or rsa-3072")
	c.Flags().StringVar(&token, "root-key", "", "make the key in a token or TPM: `pkcs11:…` or tpm:…")
	return c
}

// A rootMade is what 'root create' tells.
type rootMade struct {
	TrustDomain string `json:"trust_domain"`
	Root        string `json:"root"` // fingerprint
	Certificate string `json:"certificate"`
	Key         string `json:"key"`
	Transcript  string `json:"transcript"`
	founded
}

func (a *app) rootCreate(out, domain, kind, token string) error {
	conf, err := config.Default().WithTrustDomain(domain)
	if err != nil {
		return &UsageError{err, ""}
	}
	k, err := keys.ParseKind(kind)
	if err != nil {
		return &UsageError{err, ""}
	}
	if token != "" && (!keys.IsToken(token) || kind != "") {
		return usage("postern root create --root-key tpm:0x81000001", "--root-key makes a key in a token (pkcs11:… or tpm:…), of the kind ecdsa-p256")
	}
	if err := os.Mkdir(out, 0o700); err != nil {
		return withHint(err, "--out names a folder that is not there yet")
	}
	made := rootMade{TrustDomain: domainOf(conf).String(), Certificate: filepath.Join(out, authority.RootFile), Key: token}
	made.Data = out
	key, err := a.newRootKey(&made, k)
	if err != nil {
		return errors.Join(err, os.Remove(out))
	}
	defer key.Close()
	root, err := ceremony.Create(domainOf(conf), key, a.Now())
	if err != nil {
		return err
	}
	answer, err := root.Created(ceremony.Policy{Now: a.Now()})
	if err != nil {
		return err
	}
	if err := writeFileNew(made.Certificate, pemOf(root.Certificate().Raw)); err != nil {
		return err
	}
	if err := keepTranscript(filepath.Join(out, authority.CeremoniesFile), "", answer.Transcript); err != nil {
		return err
	}
	made.Root, made.Transcript = invite.PinOf(root.Certificate()).String(), answer.Transcript
	return a.showRoot(made)
}

// newRootKey makes the key of a root: sealed in a file, or in the token that
// made.Key names.
func (a *app) newRootKey(made *rootMade, kind keys.Kind) (keys.Held, error) {
	if made.Key != "" {
		return keys.Make(made.Key, a.askSecret)
	}
	made.Key = filepath.Join(made.Data, authority.RootKeyFile)
	p, generated, err := a.newPassphrase()
	if err != nil {
		return nil, err
	}
	key, err := keys.Generate(kind)
	if err != nil {
		return nil, err
	}
	if err := keys.Seal(made.Key, key, p, generated); err != nil {
		return nil, err
	}
	if generated {
		if err := a.showPassphrase(&made.founded, p); err != nil {
			return nil, err
		}
	}
	return keys.InMemory(key), nil
}

func (a *app) showRoot(made rootMade) error {
	return a.show(made, func(w io.Writer) {
		say(w, "The root of %s is made.", made.TrustDomain)
		facts(w, "certificate", here(made.Certificate), "key", made.where(), "fingerprint", made.Root)
		a.sayTranscript(w, made.Transcript)
		say(w, "Take %s to the machine that shall run the authority, and there:", here(made.Certificate))
		say(w, "  postern init --without-root --trust-domain %s", made.TrustDomain)
	})
}

// where says where the key is.
func (m rootMade) where() string {
	if keys.IsToken(m.Key) {
		return m.Key
	}
	return here(m.Key) + ", sealed"
}

// newPassphrase returns the passphrase of the file that the environment names,
// or draws one.
func (a *app) newPassphrase() (p keys.Passphrase, generated bool, err error) {
	if a.Getenv(passphraseVariable) != "" {
		p, err = a.askSecret(keys.Question{})
		return p, false, err
	}
	p, err = keys.NewPassphrase()
	return p, true, err
}

// sayTranscript prints a transcript, set off from what surrounds it.
func (a *app) sayTranscript(w io.Writer, transcript string) {
	say(w, "")
	for line := range strings.Lines(transcript) {
		say(w, "%s", strings.TrimSuffix(line, "\n"))
	}
	say(w, "transcript: %x", sha256.Sum256([]byte(transcript)))
	say(w, "")
}

func newRootSign(a *app) *cobra.Command {
	var ref rootRef
	var out string
	var zones []string
	c := &cobra.Command{
		Use:   "sign REQUEST",
		Short: "Sign what an authority asks for, by the root's policy",
		Long: `Sign the issuers, the revocation list and whatever else the request asks for.
The root composes all of it by its own policy: a request contributes keys, and
which of the names that the root forms they are for. 'postern root show
REQUEST' says beforehand what is asked. The transcript is kept beside the key.`,
		Example: "  postern root sign clients-2.request --root-key safe/root.key.age",
		Args:    arguments(1, 1, "the request", "'postern issuer rotate' and 'postern root request' make one"),
		RunE: func(c *cobra.Command, args []string) error {
			return a.rootSign(args[0], out, ref, zones)
		},
	}
	c.Flags().StringVar(&ref.key, "root-key", authority.RootKeyFile, rootKeyUsage)
	c.Flags().StringVar(&ref.cert, "root", "", rootUsage)
	c.Flags().StringVar(&out, "out", "", "where the answer goes, `FILE` (default the request's name with .answer)")
	c.Flags().StringSliceVar(&zones, "permit", nil, "a DNS `ZONE` beside the trust domain that an issuer for servers may have; may be repeated")
	return c
}

// A signedView is what a ceremony tells.
type signedView struct {
	Answer     string `json:"answer"` // the file
	Transcript string `json:"transcript"`
	SHA256     string `json:"transcript_sha256"`
}

func (a *app) rootSign(path, out string, ref rootRef, zones []string) error {
	file, err := readSmallFile(path)
	if err != nil {
		return err
	}
	out = cmp.Or(out, strings.TrimSuffix(path, ".request")+".answer")
	if _, err := os.Lstat(out); err == nil {
		return withHint(fmt.Errorf("%s exists", here(out)), "--out names another file")
	}
	if _, err := ceremony.ParseRequest(file); err != nil { // before anybody types a passphrase
		return fmt.Errorf("%s: %w", here(path), err)
	}
	root, err := a.openRoot(ref, noDomain)
	if err != nil {
		return err
	}
	defer root.close()
	answer, err := a.perform(root, func(p ceremony.Policy) (ceremony.Answer, error) {
		p.Zones = zones
		return root.Answer(file, p)
	})
	if err != nil {
		return err
	}
	return a.handOver(answer, out)
}

// perform has a root sign something, and keeps the transcript beside its key
// before the answer leaves.
func (a *app) perform(root *openRoot, sign func(ceremony.Policy) (ceremony.Answer, error)) (ceremony.Answer, error) {
	before, kept, err := a.before(root.log)
	if err != nil {
		return ceremony.Answer{}, err
	}
	answer, err := sign(ceremony.Policy{Before: before, Now: a.Now()})
	if err != nil {
		return ceremony.Answer{}, err
	}
	return answer, keepTranscript(root.log, kept, answer.Transcript)
}

func (a *app) handOver(answer ceremony.Answer, out string) error {
	text, err := answer.Marshal()
	if err != nil {
		return err
	}
	if err := writeFileNew(out, text); err != nil {
		return err
	}
	view := signedView{out, answer.Transcript, ceremony.HashOf(answer.Transcript).String()}
	return a.show(view, func(w io.Writer) {
		a.sayTranscript(w, answer.Transcript)
		say(w, "Take %s back, and there: postern root apply %s", here(out), filepath.Base(out))
	})
}

func newRootCrossSign(a *app) *cobra.Command {
	var old, next rootRef
	var out string
	c := &cobra.Command{
		Use:   "cross-sign",
		Short: "Have a new root follow the old one",
		Long: `Make one root the successor of another, each certified by the other, so that
whoever knows only one of them believes what the other signs. Both keys are
needed. Applied, the answer makes the authority trust both; new issuers are
signed by the new one from then on.`,
		Example: "  postern root cross-sign --root-key old/root.key.age --new-key new/root.key.age",
		Args:    arguments(0, 0, "", ""),
		RunE: func(c *cobra.Command, _ []string) error {
			if next.key == "" {
				return usage("postern root cross-sign --root-key old/root.key.age --new-key new/root.key.age", "--new-key is missing")
			}
			return a.rootCrossSign(old, next, out)
		},
	}
	c.Flags().StringVar(&old.key, "root-key", authority.RootKeyFile, rootKeyUsage)
	c.Flags().StringVar(&old.cert, "root", "", rootUsage)
	c.Flags().StringVar(&next.key, "new-key", "", "the new root's sealed key, `FILE`")
	c.Flags().StringVar(&next.cert, "new-root", "", "the new root's certificate, `FILE` (default root.pem beside its key)")
	c.Flags().StringVar(&out, "out", "succession.answer", "where the answer goes, `FILE`")
	return c
}

func (a *app) rootCrossSign(old, next rootRef, out string) error {
	before, err := a.openRoot(old, noDomain)
	if err != nil {
		return fmt.Errorf("old root: %w", err)
	}
	defer before.close()
	after, err := a.openRoot(next, before.TrustDomain())
	if err != nil {
		return fmt.Errorf("new root: %w", err)
	}
	defer after.close()
	answer, err := a.perform(before, func(p ceremony.Policy) (ceremony.Answer, error) { return before.Succeed(after.Root, p) })
	if err != nil {
		return err
	}
	return a.handOver(answer, out)
}

func newRootRequest(a *app) *cobra.Command {
	var q authority.RootAsk
	var out string
	var ref rootRef
	c := &cobra.Command{
		Use:   "request",
		Short: "Ask for a new list, or the end of an older root",
		Long: `Write a request for the root. With --root-key the root signs it here and now.
Issuers are asked for by 'postern issuer rotate', a new ledger key by 'postern
ledger rotate-key'.`,
		Example: "  postern root request --list\n  postern root request --retire 3f9a02c1",
		Args:    arguments(0, 0, "", ""),
		RunE: func(c *cobra.Command, _ []string) error {
			if !q.List && q.Retire == "" {
				return usage("postern root request --list", "say what to ask for: --list or --retire")
			}
			return a.ask(c.Context(), q, out, ref)
		},
	}
	c.Flags().BoolVar(&q.List, "list", false, "a revocation list for another year")
	c.Flags().StringVar(&q.Retire, "retire", "", "end an older `ROOT`, by its name or the beginning of its fingerprint")
	c.Flags().BoolVar(&q.Force, "force", false, "retire it although some machines have no other yet")
	askFlags(c, &out, &ref)
	return c
}

// askFlags are those of every command that asks the root.
func askFlags(c *cobra.Command, out *string, ref *rootRef) {
	c.Flags().StringVar(out, "out", "", "where the request goes, `FILE`")
	c.Flags().StringVar(&ref.key, "root-key", "", "sign it here with the root's sealed key, `FILE`")
	c.Flags().StringVar(&ref.cert, "root", "", rootUsage)
}

// ask has the authority ask its root: by a file, or at once where the key is
// here.
func (a *app) ask(ctx context.Context, q authority.RootAsk, out string, ref rootRef) error {
	auth, done, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer done()
	request, err := auth.AskRoot(ctx, q)
	if err != nil {
		return err
	}
	if ref.key != "" {
		return a.askHere(ctx, auth.ApplyRoot, request, ref, q.Zones)
	}
	out = cmp.Or(out, request.Name+".request")
	if err := writeFileNew(out, request.File); err != nil {
		return err
	}
	return a.show(map[string]string{"request": out}, func(w io.Writer) {
		say(w, "The request is in %s. Where the root's key is:", here(out))
		say(w, "  postern root sign %s --root-key root.key.age%s", filepath.Base(out), permits(q.Zones))
		say(w, "and here, with the answer:")
		say(w, "  postern root apply %s.answer%s", strings.TrimSuffix(filepath.Base(out), ".request"), a.sameData())
	})
}

func permits(zones []string) string {
	var b strings.Builder
	for _, z := range zones {
		b.WriteString(" --permit " + z)
	}
	return b.String()
}

// askHere has a root whose key is here answer at once.
func (a *app) askHere(ctx context.Context, apply func(context.Context, authority.RootAnswer) (authority.RootApplied, error), request authority.RootRequest, ref rootRef, zones []string) error {
	if ref.cert == "" {
		ref.cert = filepath.Join(a.data(), authority.RootFile)
	}
	root, err := a.openRoot(ref, noDomain)
	if err != nil {
		return err
	}
	defer root.close()
	root.log = filepath.Join(ref.dir(), authority.CeremoniesFile)
	answer, err := a.perform(root, func(p ceremony.Policy) (ceremony.Answer, error) {
		p.Zones = zones
		return root.Answer(request.File, p)
	})
	if err != nil {
		return err
	}
	file, err := answer.Marshal()
	if err != nil {
		return err
	}
	applied, err := apply(ctx, authority.RootAnswer{File: file})
	if err != nil {
		return err
	}
	return a.showApplied(applied)
}

func newRootApply(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "apply ANSWER",
		Short: "Take over what the root has signed",
		Long: `Record the root's answer in the ledger. Every signature is checked; an answer
that nobody here asked for is refused.`,
		Example: "  postern root apply clients-2.answer",
		Args:    arguments(1, 1, "the answer", "'postern root sign' and 'postern root cross-sign' make one"),
		RunE: func(c *cobra.Command, args []string) error {
			file, err := readSmallFile(args[0])
			if err != nil {
				return err
			}
			auth, done, err := a.open(c.Context())
			if err != nil {
				return err
			}
			defer done()
			applied, err := auth.ApplyRoot(c.Context(), authority.RootAnswer{File: file})
			if err != nil {
				return err
			}
			return a.showApplied(applied)
		},
	}
}

func (a *app) showApplied(r authority.RootApplied) error {
	return a.show(r, func(w io.Writer) {
		a.sayTranscript(w, r.Transcript)
		for _, did := range r.Did {
			say(w, "%s.", sentence(did))
		}
		for _, warning := range r.Warnings {
			a.note("warning: %s", warning)
		}
	})
}

// sentence begins s with a capital letter.
func sentence(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
