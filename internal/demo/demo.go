// Package demo tells the story of Alice, Bob, Steve and Eve with real keys,
// certificates and handshakes, in memory: what mutual TLS proves, what a
// stolen issuing key breaks elsewhere, and why it breaks nothing here.
package demo

import (
	"context"
	"fmt"
	"io"
	"time"
)

// A teller prints the story and fails on the first step that does not come
// out as told.
type teller struct {
	w      io.Writer
	yes    string
	no     string
	plain  string
	strong string
	step   int
	err    error
}

// Run tells the story on w, with colours if asked, and takes about a second.
// An error means that a step did not come out as it has to.
func Run(ctx context.Context, w io.Writer, colour bool, now time.Time) error {
	return tell(ctx, w, colour, now, []func(*stage, *teller){trust, forgery, theft, distrust, replacement, revocation},
		"\nEvery line above was a real handshake. 'postern up' gives your own site such a\ndoor; 'postern explain' tells the story of your own certificates.")
}

func tell(ctx context.Context, w io.Writer, colour bool, now time.Time, acts []func(*stage, *teller), end string) error {
	t := &teller{w: w, yes: "✓", no: "✗"}
	if colour {
		t.yes, t.no, t.strong, t.plain = "\x1b[32m✓\x1b[0m", "\x1b[31m✗\x1b[0m", "\x1b[1m", "\x1b[0m"
	}
	s, err := newStage(ctx, now)
	if err != nil {
		return err
	}
	defer s.close()
	for _, act := range acts {
		act(s, t)
		if t.err != nil {
			return t.err
		}
	}
	t.say("%s", end)
	return nil
}

func (t *teller) say(format string, args ...any) { fmt.Fprintf(t.w, format+"\n", args...) }

// act begins a chapter.
func (t *teller) act(title string) {
	t.step++
	t.say("\n%s%d. %s%s", t.strong, t.step, title, t.plain)
}

// expect prints one step, and stops the story if it came out otherwise.
func (t *teller) expect(want, got, sentence string) {
	if t.err != nil {
		return
	}
	if got != want {
		t.err = fmt.Errorf("%s: the story says %q, what happened is %q", sentence, want, got)
		return
	}
	mark := t.yes
	if want != letIn {
		mark = t.no
	}
	t.say("   %s %s", mark, sentence)
}

// fail stops the story for a reason outside it.
func (t *teller) fail(err error) {
	if t.err == nil && err != nil {
		t.err = err
	}
}
