package enroll

import (
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/invite"
	"github.com/postern-project/postern/internal/ledger"
)

func hexHash(c invite.Code) string { h := c.Hash(); return hex.EncodeToString(h[:]) }

func TestAReportIsHeardByWhoWatches(t *testing.T) {
	w := newWorld(t)
	watched, other := invite.New(), invite.New()
	w.course.Steps(watched.Hash())
	for _, c := range []invite.Code{watched, other} {
		report, err := json.Marshal(invite.Report{Invite: hexHash(c), Step: invite.StepOpened, Device: "Android 15\x1b[31m Chrome\u202e" + strings.Repeat("x", 200)})
		if err != nil {
			t.Fatal(err)
		}
		if response, text := w.do(t, "POST", invite.ReportPath, string(report), nil); response.StatusCode != http.StatusNoContent || text != "" {
			t.Errorf("status %d: %s", response.StatusCode, text)
		}
	}
	steps := w.course.Steps(watched.Hash())
	if len(steps) != 1 || !strings.HasPrefix(steps[0].Device, "Android 15[31m Chrome") || len(steps[0].Device) > maxDevice {
		t.Errorf("steps %+v", steps)
	}
	if got := w.course.Steps(other.Hash()); len(got) != 0 {
		t.Errorf("a stranger's word is remembered: %+v", got)
	}
	if w.office.asked() != 0 {
		t.Error("a report spends something")
	}
}

func TestHostileReports(t *testing.T) {
	w := newWorld(t)
	good := hexHash(invite.New())
	for name, body := range map[string]string{
		"not JSON":         "x",
		"an unknown field": `{"invite":"` + good + `","step":"opened","code":"x"}`,
		"a short hash":     `{"invite":"00","step":"opened"}`,
		"no hash":          `{"invite":"` + strings.Repeat("x", 64) + `","step":"opened"}`,
		"a step of ours":   `{"invite":"` + good + `","step":"issued"}`,
		"a large one":      `{"invite":"` + good + `","step":"opened","device":"` + strings.Repeat("x", 2*maxReport) + `"}`,
	} {
		w.clock = w.clock.Add(time.Minute)
		if response, _ := w.do(t, "POST", invite.ReportPath, body, nil); response.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: status %d", name, response.StatusCode)
		}
	}
	limited := false
	for range 10 {
		response, _ := w.do(t, "POST", invite.ReportPath, `{"invite":"`+good+`","step":"opened"}`, nil)
		limited = limited || response.StatusCode == http.StatusTooManyRequests
	}
	if !limited {
		t.Error("reports have no limit")
	}
}

// A device that has to wait is told the words that the operator sees, and its
// asking again costs it nothing.
func TestWaitingForAYes(t *testing.T) {
	w := newWorld(t)
	w.office.err = &authority.Error{Code: authority.CodePending}
	code, request := invite.New(), csr(t, x509.CertificateRequest{})
	var got invite.Problem
	for range 20 {
		response, text := w.do(t, "POST", "/join", body(t, code.String(), request), http.Header{"User-Agent": {"a phone"}})
		if err := json.Unmarshal([]byte(text), &got); err != nil || response.StatusCode != http.StatusAccepted {
			t.Fatalf("status %d, %v: %s", response.StatusCode, err, text)
		}
	}
	waiting := w.course.Waiting(w.clock)
	if len(waiting) != 1 || waiting[0].Device != "a phone" {
		t.Fatalf("waiting %+v", waiting)
	}
	if words := invite.Words(code.GuardedHash(), waiting[0].PublicKey); got.Words != words || strings.Count(words, "-") != 3 {
		t.Errorf("the device shows %q, the operator %q", got.Words, words)
	}
	w.do(t, "POST", "/join", body(t, code.String(), csr(t, x509.CertificateRequest{})), nil)
	if diff := cmp.Diff(waiting, w.course.Waiting(w.clock)); diff != "" {
		t.Errorf("another key takes the place of one that waits:\n%s", diff)
	}
	w.clock = w.clock.Add(patience + time.Second)
	if got := w.course.Waiting(w.clock); len(got) != 0 {
		t.Errorf("one that has gone still waits: %+v", got)
	}
	w.office.err, w.office.issued.Ref.TBS = nil, ledger.Hash{1}
	w.do(t, "POST", "/join", body(t, code.String(), request), nil)
	steps := w.course.Steps(code.Hash())
	if len(steps) != 2 || steps[1].Step != invite.StepIssued || len(w.course.Waiting(w.clock)) != 0 {
		t.Errorf("steps %+v", steps)
	}
}

func TestTheFirstVisitIsTold(t *testing.T) {
	c, code, now := &Course{}, invite.New(), time.Now()
	ref := ledger.Ref{TBS: ledger.Hash{1}}
	c.Visited(ref, "early.example.com", now)
	c.Steps(code.Hash())
	c.issued(code.Hash(), authority.Issued{Ref: ref}, now)
	c.Visited(ledger.Ref{TBS: ledger.Hash{2}}, "other.example.com", now)
	c.Visited(ref, "pw.example.com", now)
	c.Visited(ref, "app.example.com", now)
	steps := c.Steps(code.Hash())
	if len(steps) != 2 || steps[1].Site != "pw.example.com" || c.awaited.Load() != 0 {
		t.Errorf("steps %+v, %d awaited", steps, c.awaited.Load())
	}
}

// What is remembered has a bound, whoever asks.
func TestACourseForgetsTheOldest(t *testing.T) {
	c, now := &Course{}, time.Now()
	first := invite.New()
	c.Steps(first.Hash())
	c.issued(first.Hash(), authority.Issued{Ref: ledger.Ref{TBS: ledger.Hash{1}}}, now)
	for range 3 * maxFollowed {
		c.wait(invite.New(), []byte("key"), "device", now)
	}
	if len(c.followed) != maxFollowed || len(c.oldest) != maxFollowed || c.awaited.Load() != 0 {
		t.Errorf("%d followed, %d in order, %d awaited", len(c.followed), len(c.oldest), c.awaited.Load())
	}
}
