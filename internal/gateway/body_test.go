package gateway

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/refusal"
)

// Whoever was let in and announces a body has to send it: slowly if they like,
// but not never. The time is theirs again once the body is there.
func TestABodyHasToCome(t *testing.T) {
	const stall = 400 * time.Millisecond
	for _, proto := range []string{"http/1.1", "h2"} {
		for sentence, c := range map[string]struct {
			pieces int // sent one by one, a quarter of the stall apart
			whole  bool
			status int
		}{
			"a slow body":               {pieces: 8, whole: true, status: http.StatusOK},
			"a body that stops midway":  {pieces: 2, status: http.StatusRequestTimeout},
			"a body that never begins":  {pieces: 0, status: http.StatusRequestTimeout},
			"a body before a long wait": {pieces: 1, whole: true, status: http.StatusOK},
		} {
			t.Run(sentence+", "+proto, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				h := w.open(Options{Limits: Limits{Stall: stall}}, Site{Host: "pw.example.com", List: allow(t, "ben"), Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
					n, err := io.Copy(io.Discard, r.Body)
					if err != nil {
						Refuse(rw, r, refusal.UpstreamDown, err.Error())
						return
					}
					select {
					case <-r.Context().Done(): // the client is still there
					case <-time.After(2 * stall):
					}
					fmt.Fprint(rw, n)
				})})
				config := w.clientTLS(w.enrol("ben"), "pw.example.com")
				config.NextProtos = []string{proto}
				body, say := io.Pipe()
				defer say.Close()
				go func() {
					for range c.pieces {
						io.WriteString(say, "piece.")
						time.Sleep(stall / 4)
					}
					if c.whole {
						say.Close()
					}
				}()
				ctx, cancel := context.WithTimeout(t.Context(), 30*stall)
				defer cancel()
				context.AfterFunc(ctx, func() { body.CloseWithError(ctx.Err()) }) // the client's transport waits for it
				req, err := http.NewRequestWithContext(ctx, "POST", "https://pw.example.com/", body)
				must(t, err)
				resp, err := client(t, h.addr, config).Do(req)
				must(t, err)
				got := read(t, resp)
				switch {
				case resp.StatusCode != c.status:
					t.Errorf("%s %s", resp.Status, got)
				case c.whole && got != fmt.Sprint(c.pieces*len("piece.")):
					t.Errorf("%s bytes came", got)
				case !c.whole && codeOf(got) != refusal.BodyStalled:
					t.Errorf("got %s", got)
				}
			})
		}
	}
}

// A site tells those whom it turns away as much as it wants: the reference is
// always there.
func TestFrankness(t *testing.T) {
	w := newWorld(t)
	site := func(host string, f Frankness) Site {
		return Site{Host: host, Handler: whoami, List: allow(t, "ben"), Frankness: f}
	}
	h := w.openConfig(Options{}, Config{JoinURL: "https://join.example.com/join", Sites: []Site{
		site("none.example.com", TellNothing), site("reason.example.com", TellReason), site("full.example.com", TellAll)}})
	anna := w.enrol("anna/phone")
	revoked := w.enrol("ben/old")
	w.revoke(revoked)
	for sentence, c := range map[string]struct {
		host           string
		device         *device
		page           bool
		tells, conceal []string
	}{
		"a discreet site, to a program":        {"none.example.com", anna, false, []string{`"reference":"`, `"status":403`, "about:blank"}, []string{"not-on-list", "anna", "list", "join"}},
		"a discreet site, to a person":         {"none.example.com", anna, true, []string{"Not allowed"}, []string{"not-on-list", "anna", "on the list", "/join"}},
		"a discreet site, to a stranger":       {"none.example.com", nil, true, []string{"Not allowed"}, []string{"no-certificate", "enrolled", "invitation"}},
		"a discreet site, to somebody revoked": {"none.example.com", revoked, true, []string{"Not allowed"}, []string{"revoked"}},
		"a usual site, to a program":           {"reason.example.com", anna, false, []string{`"code":"not-on-list"`, "the person who runs this site"}, []string{"because", "anna/phone"}},
		"a usual site, to a person":            {"reason.example.com", anna, true, []string{"not-on-list"}, []string{"Exactly"}},
		"a frank site, to a program":           {"full.example.com", anna, false, []string{`"code":"not-on-list"`, `"because":"anna/phone`}, nil},
		"a frank site, to a person":            {"full.example.com", anna, true, []string{"Exactly", "anna/phone"}, nil},
	} {
		t.Run(sentence, func(t *testing.T) {
			req, err := http.NewRequest("GET", "https://"+c.host+"/", nil)
			must(t, err)
			if c.page {
				req.Header.Set("Accept", "text/html")
			}
			resp, err := client(t, h.addr, w.clientTLS(c.device, c.host)).Do(req)
			must(t, err)
			body := read(t, resp)
			if i := strings.Index(body, "<main"); c.page && i >= 0 {
				body = body[i:]
			}
			for _, want := range c.tells {
				if !strings.Contains(body, want) {
					t.Errorf("it does not tell %q: %s", want, body)
				}
			}
			for _, secret := range c.conceal {
				if bytes.Contains([]byte(body), []byte(secret)) {
					t.Errorf("it tells %q: %s", secret, body)
				}
			}
			if resp.StatusCode != http.StatusForbidden {
				t.Errorf("status %s", resp.Status)
			}
		})
	}
}
