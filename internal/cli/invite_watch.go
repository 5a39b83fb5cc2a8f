package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/postern-project/postern/internal/api"
	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/invite"
	"github.com/postern-project/postern/internal/ledger"
)

// Between two looks at an invitation, and how long its first visit is awaited.
const (
	watchEvery = 500 * time.Millisecond
	visitWait  = 10 * time.Minute
)

// watchInvitation shows what happens to an invitation until its certificate
// was used, or it is cancelled or over.
func (a *app) watchInvitation(ctx context.Context, auth api.Authority, made authority.Invitation) error {
	live, ok := auth.(api.Live)
	if !ok {
		return nil
	}
	code, err := invite.Parse(made.Code)
	if err != nil {
		return err
	}
	a.note("Waiting for %s; Ctrl-C ends the waiting, not the invitation.", made.Name)
	w := &watch{app: a, auth: auth, live: live, made: made}
	for {
		steps, err := live.Steps(ctx, code.Hash())
		if err == nil {
			err = w.show(ctx, steps)
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		case w.done:
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(watchEvery):
		}
	}
}

// A watch is what an operator has seen of an invitation.
type watch struct {
	app  *app
	auth api.Authority
	live api.Live
	made authority.Invitation

	shown  int       // steps
	asked  string    // the words that were asked about last
	issued time.Time // zero before
	done   bool
}

func (w *watch) show(ctx context.Context, steps []invite.Step) error {
	for _, s := range steps[min(w.shown, len(steps)):] {
		w.tell(s)
	}
	w.shown = len(steps)
	switch {
	case w.done:
		return nil
	case !w.issued.IsZero():
		if w.app.Now().Sub(w.issued) > visitWait {
			say(w.app.Stdout, "No visit yet; the certificate is good all the same.")
			w.done = true
		}
		return nil
	case w.made.Approve:
		if err := w.ask(ctx); err != nil || w.done {
			return err
		}
	}
	return w.check(ctx)
}

// tell prints one step.
func (w *watch) tell(s invite.Step) {
	switch s.Step {
	case invite.StepOpened:
		say(w.app.Stdout, "  opened on %s", s.Device)
	case invite.StepKey:
		say(w.app.Stdout, "  key made there")
	case invite.StepIssued:
		say(w.app.Stdout, "  certificate issued: %s", s.Serial)
		w.issued = s.At
	case invite.StepVisit:
		say(w.app.Stdout, "  first visit to %s: %s is in.", s.Site, w.made.Name)
		w.done = true
	}
}

// check looks whether the invitation can still be used, or was, by a device
// that told nothing.
func (w *watch) check(ctx context.Context) error {
	i, err := inviteByHash(ctx, w.auth, w.made.Hash)
	if err != nil {
		return err
	}
	switch i.Status {
	case authority.StatusOpen:
		return nil
	case authority.StatusUsed:
		if w.app.Now().Sub(i.UsedAt) > 5*time.Second { // its step comes first, if it comes
			say(w.app.Stdout, "%s is in.", w.made.Name)
			w.done = true
		}
		return nil
	}
	return withHint(fmt.Errorf("the invitation is %s", i.Status), "make a new one with 'postern invite "+w.made.Name.String()+"'")
}

// ask shows the words of whoever waits, once, and does what the operator says.
func (w *watch) ask(ctx context.Context) error {
	all, err := w.live.Requests(ctx)
	if err != nil {
		return err
	}
	for _, r := range all {
		if r.Invite != w.made.Hash.String() {
			continue
		}
		words := invite.Words(w.made.Hash, r.PublicKey)
		if words == w.asked {
			return nil
		}
		w.asked = words
		return w.app.confirm(ctx, w.auth, request{Waiting: r, Words: words, Name: w.made.Name.String()})
	}
	return nil
}

// inviteByHash returns the record of an invitation.
func inviteByHash(ctx context.Context, auth api.Authority, hash ledger.Hash) (authority.Invite, error) {
	all, err := auth.Invites(ctx)
	if err != nil {
		return authority.Invite{}, err
	}
	for _, i := range all {
		if i.ID == inviteID(hash) {
			return i, nil
		}
	}
	return authority.Invite{}, errors.New("the invitation is not on record any more")
}

// confirm asks the operator about a request, and approves it or withdraws the
// invitation. Where nobody can be asked it says how to do it.
func (a *app) confirm(ctx context.Context, auth api.Authority, r request) error {
	say(a.Stdout, "  waiting for your yes: %s\n\n      %s\n", r.deviceOr("a device"), r.Words)
	if a.ReadPassword == nil { // nobody at the keyboard
		say(a.Stdout, "If the device shows the same: postern approve %s%s", r.Words, a.sameData())
		return nil
	}
	io.WriteString(a.Stdout, "Does it show these words? [y/N] ")
	yes, err := a.saidYes(ctx)
	say(a.Stdout, "")
	if err != nil {
		return err
	}
	if yes {
		return a.approve(ctx, auth, r)
	}
	return a.deny(ctx, auth, r)
}

// saidYes reads the answer to a question that ends in [y/N].
func (a *app) saidYes(ctx context.Context) (bool, error) {
	answer, err := readLine(ctx, a.Stdin)
	answer = strings.ToLower(answer)
	return err == nil && (answer == "y" || answer == "yes"), err
}

// readLine reads what a person types, or returns when ctx ends.
func readLine(ctx context.Context, in io.Reader) (string, error) {
	type typed struct {
		line string
		err  error
	}
	done := make(chan typed, 1)
	go func() {
		line, err := bufio.NewReader(io.LimitReader(in, 1<<10)).ReadString('\n')
		done <- typed{strings.TrimSpace(line), err}
	}()
	select {
	case <-ctx.Done():
		return "", context.Cause(ctx)
	case t := <-done:
		if t.err != nil && !errors.Is(t.err, io.EOF) {
			return "", t.err
		}
		return t.line, nil
	}
}
