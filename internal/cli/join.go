package cli

import (
	"bufio"
	"context"
	"errors"
	"io"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/postern-project/postern/internal/invite"
	"github.com/postern-project/postern/internal/join"
	"github.com/postern-project/postern/internal/keys"
)

func newJoin(a *app) *cobra.Command {
	var o join.Options
	var key string
	var as placing
	c := &cobra.Command{
		Use:   "join LINK | DIR",
		Short: "Enrol this machine with an invitation",
		Long: `Use an invitation on this machine: make a key, which never leaves it, obtain
the certificate and write both where tools find them. The link says which
authority has to answer, so nothing has to be trusted beforehand. Give - to
read the link from standard input. Without --out the certificate also goes
into this user's Chromium and Firefox, and is renewed by itself from then on.
--install, --uninstall and --lines take the folder that was written.`,
		Example: `  postern join 'https://join.example.com/join#…'
  postern join --lines ~/.local/share/postern/example.com/ben/laptop
  postern join --uninstall ~/.local/share/postern/example.com/ben/laptop`,
		Args: arguments(1, 1, "the link", "copy the whole link, in quotes: postern join 'LINK'"),
		RunE: func(c *cobra.Command, args []string) (err error) {
			if as.count() > 1 {
				return usage("one at a time", "--no-install, --install, --uninstall and --lines exclude each other")
			}
			if as.chosen() {
				return a.placed(c.Context(), args[0], as)
			}
			if strings.HasPrefix(key, "tpm") {
				o.TPM, err = keys.ParseTPM(key)
			} else {
				o.KeyKind, err = keys.ParseKind(key)
			}
			if err != nil {
				return &UsageError{err, ""}
			}
			// The store of Windows is where its browsers look.
			o.Store = runtime.GOOS == "windows" && key == "" && !o.P12 && o.Out == "" && !as.no
			if o.Link, err = a.readLink(args[0]); err != nil {
				return err
			}
			o.Now = a.Now
			o.Waiting = func(words string) {
				a.note("Waiting for a yes. The person who invited you has to see these words:\n\n    %s\n", words)
			}
			return a.join(c.Context(), o, o.Out == "" && !as.no)
		},
	}
	c.Flags().StringVar(&o.Out, "out", "", "the folder `DIR` for the files (default in ~/.local/share/postern)")
	c.Flags().BoolVar(&o.P12, "p12", false, "write identity.p12 as well, for browsers")
	c.Flags().StringVar(&key, "key", "", "the `KIND` of key: ecdsa-p256 (the default), ecdsa-p384, rsa-3072,\nor tpm: made in this machine's TPM, and of no use without it")
	c.Flags().BoolVar(&o.Force, "force", false, "replace a certificate that has not expired")
	c.Flags().BoolVar(&as.no, "no-install", false, "write the files only: nothing into browsers, no renewal by itself")
	c.Flags().BoolVar(&as.install, "install", false, "put what lies in DIR into browsers, and have it renewed")
	c.Flags().BoolVar(&as.uninstall, "uninstall", false, "take it out of browsers, end its renewal and delete DIR's files")
	c.Flags().BoolVar(&as.lines, "lines", false, "show lines for curl, git, psql, kubectl, docker and browsers")
	return c
}

func (a *app) readLink(arg string) (invite.Link, error) {
	if arg == "-" {
		line, err := bufio.NewReader(io.LimitReader(a.Stdin, 2*invite.MaxLink)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return invite.Link{}, err
		}
		arg = strings.TrimSpace(line)
	}
	link, err := invite.ParseLink(arg)
	if _, typo := errors.AsType[*invite.TypoError](err); typo {
		return invite.Link{}, withHint(err, "the invitation is still good")
	}
	return link, err
}

func (a *app) join(ctx context.Context, o join.Options, install bool) error {
	r, err := join.Run(ctx, o)
	if exists, ok := errors.AsType[*join.ExistsError](err); ok && a.ReadPassword != nil && !a.json {
		if o.Force, err = a.mayReplace(ctx, exists); err == nil && o.Force {
			r, err = join.Run(ctx, o)
		} else if err == nil {
			err = exists
		}
	}
	if err != nil {
		return err
	}
	var p join.Placement
	if install { // what fails here is told: the certificate is in its files
		p = a.place(ctx, r.Dir)
		r.Notes = append(r.Notes, p.Notes...)
	}
	return a.show(r, func(w io.Writer) {
		a.sayJoined(w, "Joined as", r)
		sayPlaced(w, p)
	})
}

// mayReplace asks whether the certificate in the way may go. It stays until the
// new one is complete.
func (a *app) mayReplace(ctx context.Context, e *join.ExistsError) (bool, error) {
	if e.Name == "" { // nobody can say what would be lost
		return false, nil
	}
	a.note("There is a certificate of %s, good until %s, in\n  %s\nReplace it? [y/N]", e.Name, moment(e.NotAfter), here(e.Dir))
	return a.saidYes(ctx)
}

func (a *app) sayJoined(w io.Writer, did string, r join.Result) {
	say(w, "%s %s, good until %s.", did, r.Name, moment(r.NotAfter))
	say(w, "Certificate %s:", r.Serial)
	for _, path := range r.Files {
		say(w, "  %s", here(path))
	}
	for _, note := range r.Notes {
		a.tell("note: ", note)
	}
	say(w, "Try it:\n  %s", r.Curl)
}
