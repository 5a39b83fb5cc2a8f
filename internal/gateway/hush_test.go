package gateway

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2/hpack"

	"github.com/postern-project/postern/internal/refusal"
)

// A stranger writes next to nothing into the log: a path of 4000 odd bytes,
// which HTTP/2 compresses to one, is clipped, of many lines alike only the
// first few are written, and a connection ends with its first refusal.
func TestAFloodOverHTTP2LeavesLittleInTheLog(t *testing.T) {
	w := newWorld(t)
	var log lines
	h := w.open(Options{Log: log.logger()}, Site{Host: "pw.example.com", Handler: whoami, List: allow(t, "ben")})
	config := w.clientTLS(nil, "pw.example.com")
	config.NextProtos = []string{"h2"}
	for range 2 {
		s := newH2(t, h.mustDial(config))
		var block strings.Builder
		enc := hpack.NewEncoder(&block)
		for _, f := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "pw.example.com"}, {":path", "/" + strings.Repeat("\xff", 3900)}} {
			must(t, enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}))
		}
		s.send(block.String(), 5)
		for range 100 {
			s.send("\x82\x87\xbf\xbe", 5) // all of it from the table
		}
		gone(t, s.conn)
	}
	eventually(t, "a line", func() bool { return log.String() != "" })
	written := strings.Split(strings.TrimSpace(log.String()), "\n")
	for _, line := range written {
		if len(line) > 1500 {
			t.Fatalf("a line of %d bytes: %.200s…", len(line), line)
		}
	}
	if len(written) > hushFirst {
		t.Errorf("%d lines", len(written))
	}
}

func TestAConnectionOverHTTP2EndsWithAStrangersRefusal(t *testing.T) {
	w := newWorld(t)
	h := w.openConfig(Options{}, Config{Public: whoami, PublicHost: "join.example.com",
		Sites: []Site{{Host: "pw.example.com", Handler: whoami, List: allow(t, "ben")}}})
	for sentence, c := range map[string]struct {
		device    *device
		host      string
		authority string
		stays     bool
	}{
		"a stranger, misdirected":           {nil, "pw.example.com", "x.example.com", false},
		"on the public side, misdirected":   {nil, "join.example.com", "x.example.com", false},
		"on the public side, all was well":  {nil, "join.example.com", "join.example.com", true},
		"somebody revoked, misdirected":     {func() *device { d := w.enrol("ben/old"); w.revoke(d); return d }(), "pw.example.com", "x.example.com", false},
		"somebody known, misdirected":       {w.enrol("ben"), "pw.example.com", "x.example.com", true},
		"somebody not on list, misdirected": {w.enrol("anna"), "pw.example.com", "x.example.com", true},
	} {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			config := w.clientTLS(c.device, c.host)
			config.NextProtos = []string{"h2"}
			s := newH2(t, h.mustDial(config))
			s.get(map[string]string{":authority": c.authority})
			s.conn.SetDeadline(time.Now().Add(2 * time.Second))
			if !c.stays {
				gone(t, s.conn)
				return
			}
			if got := s.get(map[string]string{":authority": c.host}); got == "reset" || got == "" {
				t.Errorf("the second request got %q", got)
			}
		})
	}
}

// Somebody who tries a few times finds every reference in the log, and the
// line after a flood tells how much of it was left out.
func TestAFloodOfLinesIsCounted(t *testing.T) {
	w, now := newWorld(t), &shiftedClock{}
	var log lines
	h := w.openConfig(Options{Log: log.logger(), Now: now.now}, Config{Public: whoami,
		Sites: []Site{{Host: "pw.example.com", Handler: whoami, List: allow(t, "ben")}}})
	has := func(text string) func() bool { return func() bool { return strings.Contains(log.String(), text) } }
	for range 10 {
		_, body := h.get(nil, "pw.example.com", "/")
		_, reference, _ := strings.Cut(body, `"reference":"`)
		eventually(t, "the reference", has(reference[:9]))
	}
	hc := client(t, h.public, plain(w.clientTLS(nil, "pw.example.com")))
	for range hushFirst + 7 {
		fetch(t, hc, "https://pw.example.com/")
		fetch(t, client(t, h.addr, w.clientTLS(nil, "pw.example.com")), "https://pw.example.com/.postern/health")
	}
	lines := strings.Count(log.String(), "request served")
	if lines > hushFirst {
		t.Errorf("%d lines about strangers served", lines)
	}
	h.get(w.enrol("ben"), "pw.example.com", "/known")
	eventually(t, "a line about somebody known", has("path=/known"))
	h.get(w.mint(w.clients, clientTemplate("ben")), "pw.example.com", "/forged")
	eventually(t, "the alarm", has("path=/forged"))
	alarm := log.String()[strings.LastIndex(log.String(), "level=ERROR"):]
	if want := fmt.Sprintf("left_out=%d", 2*(hushFirst+7)-lines); !strings.Contains(alarm, want) {
		t.Errorf("%s\nwant %s", alarm, want)
	}
	now.advance(2 * time.Minute)
	_, body := h.get(nil, "pw.example.com", "/")
	_, reference, _ := strings.Cut(body, `"reference":"`)
	eventually(t, "the reference after the flood", has(reference[:9]))
}

func TestAFloodOfLinesHidesNoAlarm(t *testing.T) {
	h := newHush()
	for i := range 10_000 {
		h.take(refusal.NoCertificate, fmt.Sprintf("2001:db8:%x::1", i), noon)
		if write, _ := h.take(refusal.NotInLedger, "192.0.2.1", noon); !write {
			t.Fatal("an alarm was left out")
		}
	}
	if write, _ := h.take(refusal.Expired, "198.51.100.1", noon); write {
		t.Errorf("more than %d lines", hushTotal)
	}
}

// What is left out at the end is told at the end.
func TestTheLastLinesAreCounted(t *testing.T) {
	var log lines
	h := newWorld(t).open(Options{Log: log.logger()})
	for range hushFirst + 3 {
		h.tell(0, "x", refusal.NoCertificate, "192.0.2.1:1")
	}
	h.stop()
	if !strings.Contains(log.String(), "left_out=3") {
		t.Error(log.String())
	}
}

func FuzzClip(f *testing.F) {
	f.Add("/\xff\x00\u2028\"\\ü", 7)
	f.Fuzz(func(t *testing.T, s string, most int) {
		most = min(max(most, 0), 4096)
		got := clipTo(s, most)
		if n := len(fmt.Sprintf("%q", got)) - 2; n > most+len("…") {
			t.Fatalf("%d bytes are left of %q, want %d", n, s, most)
		}
		if !strings.HasPrefix(s, strings.TrimSuffix(got, "…")) && got != s {
			t.Fatalf("%q became %q", s, got)
		}
	})
}

// An identity in the log or in a list is one that chain and ledger bear out;
// what a certificate merely says is marked as such.
func TestWhatACertificateClaimsIsNoIdentity(t *testing.T) {
	w := newWorld(t)
	var log lines
	j := openJournal(t, t.TempDir()+"/refusals", JournalOptions{})
	h := w.open(Options{Log: log.logger(), Journal: j},
		Site{Host: "s.example.com", Stealth: true, List: allow(t, "anna"), Handler: whoami},
		Site{Host: "pw.example.com", List: allow(t, "anna"), Handler: whoami})
	revoked := w.enrol("ben")
	w.revoke(revoked)
	for sentence, c := range map[string]struct {
		host   string
		device *device
		known  bool
	}{
		"stealthy, another authority's certificate": {"s.example.com", w.mint(newIssuer(t, "other", nil), clientTemplate("ben")), false},
		"stealthy, a forgery":                       {"s.example.com", w.mint(w.clients, clientTemplate("ben")), false},
		"stealthy, before the key was proved":       {"s.example.com", w.enrol("ben"), false},
		"a page, another authority's certificate":   {"pw.example.com", w.mint(newIssuer(t, "other", nil), clientTemplate("ben")), false},
		"a page, a forgery":                         {"pw.example.com", w.mint(w.clients, clientTemplate("ben")), false},
		"a page, somebody not on the list":          {"pw.example.com", w.enrol("ben"), true},
		"a page, somebody revoked":                  {"pw.example.com", revoked, true},
	} {
		t.Run(sentence, func(t *testing.T) {
			begin := len(log.String())
			if conn, err := h.dial(w.clientTLS(c.device, c.host)); err == nil {
				fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", c.host)
				gone(t, conn)
			}
			eventually(t, "a line", func() bool { return strings.HasSuffix(log.String()[begin:], "\n") })
			line := log.String()[begin:]
			if strings.Contains(line, "id=ben") != c.known || strings.Contains(line, "claims=spiffe://example.com/ben") == c.known {
				t.Error(line)
			}
			list, err := j.Recent(1)
			if err != nil || len(list) != 1 || list[0].Client.Name != "ben" || (list[0].Client.Claims == "") != c.known {
				t.Errorf("%+v %v", list, err)
			}
		})
	}
}
