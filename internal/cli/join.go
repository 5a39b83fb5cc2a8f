package cli

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/postern-project/postern/internal/invite"
	"github.com/postern-project/postern/internal/join"
	"github.com/postern-project/postern/internal/keys"
)

func newJoin(a *app) *cobra.Command {
	var o join.Options
	var key string
	c := &cobra.Command{
		Use:   "join LINK",
		Short: "Enrol this machine with an invitation",
		Long: `Use an invitation on this machine: make a key, which never leaves it, obtain
the certificate and write both where tools find them. The link says which
authority has to answer, so nothing has to be trusted beforehand. Give - to
read the link from standard input.`,
		Example: "  postern join 'https://join.example.com/join#…'",
		Args:    arguments(1, 1, "the link", "copy the whole link, in quotes: postern join 'LINK'"),
		RunE: func(c *cobra.Command, args []string) (err error) {
			if o.KeyKind, err = keys.ParseKind(key); err != nil {
				return &UsageError{err, ""}
			}
			if o.Link, err = a.readLink(args[0]); err != nil {
				return err
			}
			o.Now = a.Now
			o.Waiting = func(words string) {
				a.note("Waiting for a yes. The person who invited you has to see these words:\n\n    %s\n", words)
			}
			return a.join(c.Context(), o)
		},
	}
	c.Flags().StringVar(&o.Out, "out", "", "the folder `DIR` for the files (default in ~/.local/share/postern)")
	c.Flags().BoolVar(&o.P12, "p12", false, "write identity.p12 as well, for browsers")
	c.Flags().StringVar(&key, "key", "", "the `KIND` of key: ecdsa-p256, ecdsa-p384 or rsa-3072 (default ecdsa-p256)")
	c.Flags().BoolVar(&o.Force, "force", false, "replace a certificate that has not expired")
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

func (a *app) join(ctx context.Context, o join.Options) error {
	r, err := join.Run(ctx, o)
	if err != nil {
		return err
	}
	return a.show(r, func(w io.Writer) { a.sayJoined(w, "Joined as", r) })
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
