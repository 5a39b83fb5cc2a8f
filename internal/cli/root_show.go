package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/ceremony"
	"github.com/postern-project/postern/internal/chain"
	"github.com/postern-project/postern/internal/invite"
	"github.com/postern-project/postern/internal/ledger"
)

func newRootShow(a *app) *cobra.Command {
	var transcripts bool
	c := &cobra.Command{
		Use:   "show [FILE]",
		Short: "The roots that are trusted, or what a file asks or answers",
		Long: `Without a file: the roots of the data folder, their revocation lists, and how
many ceremonies are recorded. With one: what a request asks for, what an answer
brings, or which root a certificate is.`,
		Example: "  postern root show\n  postern root show clients-2.request",
		Args:    arguments(0, 1, "", ""),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 {
				return a.rootShowFile(args[0])
			}
			return a.rootShow(c.Context(), transcripts)
		},
	}
	c.Flags().BoolVar(&transcripts, "transcripts", false, "print every recorded transcript")
	return c
}

func (a *app) rootShow(ctx context.Context, transcripts bool) error {
	auth, done, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer done()
	h, err := auth.Hierarchy(ctx)
	if err != nil {
		return err
	}
	return a.show(h, func(w io.Writer) {
		for _, r := range h.Roots {
			state := "trusted; signs new issuers"
			switch {
			case r.Retired:
				state = "retired"
			case !r.Newest:
				state = "trusted beside its successor"
			}
			list := ""
			if !r.ListUntil.IsZero() {
				list = fmt.Sprintf("number %s, until %s, %s revoked", r.ListNumber, r.ListUntil.Format(time.DateOnly), count(r.Revoked, "issuer"))
			}
			facts(w, "root", r.Name, "fingerprint", pinOfDER(r.Certificate), "valid until", r.NotAfter.Format(time.DateOnly), "state", state, "revocation list", list)
			say(w, "")
		}
		say(w, "%s on record%s.", count(len(h.Transcripts), "transcript"), map[bool]string{false: "; --transcripts prints them", true: ""}[transcripts])
		if transcripts {
			for _, t := range h.Transcripts {
				a.sayTranscript(w, t)
			}
		}
	})
}

func pinOfDER(der []byte) string {
	certs, err := chain.ParsePEM(pemOf(der))
	if err != nil || len(certs) != 1 {
		return ""
	}
	return invite.PinOf(certs[0]).String()
}

func (a *app) rootShowFile(path string) error {
	file, err := readSmallFile(path)
	if err != nil {
		return err
	}
	if q, err := ceremony.ParseRequest(file); err == nil {
		return a.show(q, func(w io.Writer) { a.sayRequest(w, q) })
	}
	if answer, err := ceremony.ParseAnswer(file); err == nil {
		return a.show(answer, func(w io.Writer) { a.sayTranscript(w, answer.Transcript) })
	}
	root, err := readCertificateFile(path)
	if err != nil {
		return withHint(fmt.Errorf("%s is neither a request, nor an answer, nor a root's certificate", here(path)), "'postern explain "+path+"' tells what it is")
	}
	view := authority.RootStatus{Name: root.Subject.CommonName, Certificate: root.Raw, NotAfter: root.NotAfter}
	return a.show(view, func(w io.Writer) {
		facts(w, "root", view.Name, "fingerprint", invite.PinOf(root).String(), "valid until", root.NotAfter.Format(time.DateOnly))
	})
}

// sayRequest says what a root would sign.
func (a *app) sayRequest(w io.Writer, q ceremony.Request) {
	say(w, "The authority of %s asks its root for:", q.TrustDomain)
	if q.LedgerKey != nil {
		say(w, "  the beginning of a new ledger")
	}
	for _, i := range q.Issuers {
		say(w, "  issuer %s for %s", i.Name, i.Use)
		if len(i.Zones) > 0 {
			say(w, "    also for names below %s, with --permit", strings.Join(i.Zones, ", "))
		}
	}
	if q.PublicURL != "" {
		say(w, "    with the address of the root's list, below %s", q.PublicURL)
	}
	if q.List != nil {
		say(w, "  revocation list %d, of %s", q.List.Number, count(len(q.List.Revoked), "certificate"))
		for _, r := range q.List.Revoked {
			say(w, "    %s, serial %s, %s", r.Name, r.Serial, r.Reason)
		}
	}
	if q.Rekey != nil {
		say(w, "  another key for the ledger's checkpoints")
	}
	if q.Retire != (ledger.KeyID{}) {
		say(w, "  the end of the root with key sha256 %s", q.Retire)
	}
}
