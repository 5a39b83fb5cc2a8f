package authority

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/ceremony"
	"github.com/postern-project/postern/internal/keys"
	"github.com/postern-project/postern/internal/ledger"
)

// rooted returns a house whose root's key is at hand.
func rooted(t *testing.T) (*house, *ceremony.Root) {
	t.Helper()
	key, err := keys.Generate("")
	if err != nil {
		t.Fatal(err)
	}
	root, err := ceremony.Create(domain(t), key, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	h := &house{t: t, dir: t.TempDir(), clock: &clock{}, log: newTape()}
	if _, err := Init(t.Context(), InitOptions{Dir: h.dir, TrustDomain: domain(t), Root: root}); err != nil {
		t.Fatal(err)
	}
	h.open()
	return h, root
}

// ask has the root sign what the house asks for.
func (h *house) ask(root *ceremony.Root, q RootAsk) RootAnswer {
	h.t.Helper()
	request, err := h.AskRoot(h.t.Context(), q)
	if err != nil {
		h.t.Fatal(err)
	}
	a, err := root.Answer(request.File, ceremony.Policy{Now: h.clock.now()})
	if err != nil {
		h.t.Fatal(err)
	}
	file, err := a.Marshal()
	if err != nil {
		h.t.Fatal(err)
	}
	return RootAnswer{file}
}

// late is a gateway that has not taken anything in.
type late struct{ has bool }

func (l *late) Holders(context.Context, ledger.KeyID) ([]Holder, error) {
	return []Holder{{Name: "berlin", Kind: "gateway", Has: l.has, Needed: true}}, nil
}

func TestASwitchWaitsForThoseWhoNeedIt(t *testing.T) {
	h, root := rooted(t)
	berlin := &late{}
	stop := h.Await(berlin)
	if _, err := h.ApplyRoot(t.Context(), h.ask(root, RootAsk{Line: "clients"})); err != nil {
		t.Fatal(err)
	}
	step := RotationStep{Line: "clients", Switch: true}
	_, err := h.Rotate(t.Context(), step)
	wantCode(t, err, CodeNotYet)
	if !strings.Contains(err.Error(), "gateway berlin") {
		t.Errorf("the error does not say who is late: %v", err)
	}
	if r, err := h.Rotate(t.Context(), RotationStep{Line: "clients"}); err != nil || r.Active.Name != "clients-1" || r.Staged.Name != "clients-2" {
		t.Errorf("%+v, %v", r, err)
	}
	berlin.has = true
	if r, err := h.Rotate(t.Context(), step); err != nil || r.Active.Name != "clients-2" {
		t.Errorf("%+v, %v", r, err)
	}
	// early, by force; and nobody waits for one that has gone away
	berlin.has = false
	if _, err := h.ApplyRoot(t.Context(), h.ask(root, RootAsk{Line: "clients"})); err != nil {
		t.Fatal(err)
	}
	step.Force = true
	if r, err := h.Rotate(t.Context(), step); err != nil || r.Active.Name != "clients-3" {
		t.Errorf("%+v, %v", r, err)
	}
	stop()
	if _, err := h.ApplyRoot(t.Context(), h.ask(root, RootAsk{Line: "clients"})); err != nil {
		t.Fatal(err)
	}
	if r, err := h.Rotate(t.Context(), RotationStep{Line: "clients", Switch: true}); err != nil || r.Active.Name != "clients-4" {
		t.Errorf("%+v, %v", r, err)
	}
	h.verify()
}

func TestTheRootsListIsMissedInTime(t *testing.T) {
	h, root := rooted(t)
	says := func() string { return strings.Join(h.Advice(), "\n") }
	if got := says(); got != "" {
		t.Errorf("a new authority is told %q", got)
	}
	h.clock.forward(330 * 24 * time.Hour)
	if got := says(); got != "" {
		t.Errorf("after 330 days: %q", got)
	}
	h.clock.forward(10 * 24 * time.Hour)
	if got := says(); !strings.Contains(got, "ends on") || !strings.Contains(got, "postern root request --list") {
		t.Errorf("after 340 days: %q", got)
	}
	h.clock.forward(30 * 24 * time.Hour)
	if got := says(); !strings.Contains(got, "ended on") {
		t.Errorf("after 370 days: %q", got)
	}
	if _, err := h.ApplyRoot(t.Context(), h.ask(root, RootAsk{List: true})); err != nil {
		t.Fatal(err)
	}
	if got := says(); got != "" {
		t.Errorf("after a new list: %q", got)
	}
}

// An answer that somebody changed, or that is another's, changes nothing.
func TestAnswersThatAreNotOurs(t *testing.T) {
	h, root := rooted(t)
	other, otherRoot := rooted(t)
	good := h.ask(root, RootAsk{Line: "clients"})
	from := len(h.entries(0))
	strange := other.ask(otherRoot, RootAsk{Line: "clients"})
	for sentence, file := range map[string][]byte{
		"another authority's":      strange.File,
		"no answer":                []byte("{}"),
		"a transcript changed":     []byte(strings.Replace(string(good.File), "signed 1: issuer", "signed 1: Issuer", 1)),
		"another's certificate":    []byte(strings.Replace(string(good.File), certificateIn(t, good), certificateIn(t, strange), 1)),
		"something behind its end": append([]byte(nil), append(good.File, "{}"...)...),
	} {
		t.Run(sentence, func(t *testing.T) {
			if _, err := h.ApplyRoot(t.Context(), RootAnswer{file}); err == nil {
				t.Error("taken over")
			}
		})
	}
	if n := len(h.entries(0)); n != from {
		t.Errorf("%d entries were written", n-from)
	}
	if _, err := h.ApplyRoot(t.Context(), good); err != nil {
		t.Errorf("the good one afterwards: %v", err)
	}
	h.verify()
}

// certificateIn returns the text of the issuer in an answer.
func certificateIn(t *testing.T, a RootAnswer) string {
	t.Helper()
	_, after, _ := strings.Cut(string(a.File), `"issuers": [`)
	text, _, ok := strings.Cut(after, "]")
	if !ok {
		t.Fatal("the answer holds no issuer")
	}
	return strings.TrimSpace(text)
}
