package access

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/refusal"
	"github.com/postern-project/postern/internal/rule"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func name(s string) identity.Name { return must(identity.ParseName(s)) }

func list(words ...string) rule.List { return must(rule.Parse(words, nil)) }

func when(s string) *rule.Condition { return must(rule.ParseCondition(s)) }

func site(host string, rest Part, parts map[string]Part) Site {
	var patterns []rule.Pattern
	var all []Part
	for match, p := range parts {
		p.Match = match
		patterns = append(patterns, must(rule.ParsePattern(match)))
		all = append(all, p)
	}
	return must(NewSite(host, rest, patterns, all))
}

func TestDecide(t *testing.T) {
	noon := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	p := Policy{Networks: rule.Networks{{Name: must(rule.ParseNetwork("lan")), Prefixes: []netip.Prefix{netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("127.0.0.0/9")}}}}
	ben := Asker{Name: name("ben/phone"), Time: noon, Method: "GET", Path: "/"}
	for sentence, c := range map[string]struct {
		part Part
		who  Asker
		want string
	}{
		"on the list":                  {Part{List: list("ben")}, ben, "yes  allowed by ben"},
		"not on it":                    {Part{List: list("anna")}, ben, "no not-on-list not on the list"},
		"a stranger":                   {Part{List: list("ben")}, Asker{}, "no no-certificate strangers are not on the list"},
		"a stranger who may":           {Part{List: list("strangers")}, Asker{}, "yes  allowed by strangers"},
		"suspended":                    {Part{List: list("ben")}, Asker{Name: ben.Name, Closed: refusal.Suspended}, "no suspended ben/phone: access is suspended"},
		"suspended, where anybody may": {Part{List: list("strangers")}, Asker{Name: ben.Name, Closed: refusal.Suspended}, "yes  allowed by strangers, as a stranger"},
		"from the network":             {Part{List: list("network:lan")}, Asker{Address: netip.MustParseAddr("192.168.1.1")}, "yes  allowed by network:lan"},
		"loopback is in no network":    {Part{List: list("network:lan")}, Asker{Address: netip.MustParseAddr("127.0.0.1")}, "no no-certificate"},
		"a condition that holds":       {Part{List: list("ben"), When: when("request.hour == 12")}, ben, "yes  allowed by ben, and the condition holds"},
		"one that does not":            {Part{List: list("ben"), When: when("request.hour == 13")}, ben, "no condition not so: request.hour == 13"},
		"one about what is not known":  {Part{List: list("ben"), When: when(`certificate.age > duration("1h")`)}, ben, "depends  allowed by ben, if certificate.age"},
		"one about a header":           {Part{List: list("ben"), When: when(`request.headers["x"] == "1"`)}, ben, "depends"},
		"an empty list":                {Part{}, ben, "no not-on-list"},
	} {
		t.Run(sentence, func(t *testing.T) {
			a := p.Decide("app.example.com", c.part, c.who)
			if got := fmt.Sprintf("%s %s %s", a.Verdict, a.Code, a.Why); !strings.HasPrefix(got, c.want) {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

// crowdAndRules are many people, a tenth of them in each of ten groups, and
// many lists.
func crowdAndRules(people, rules int) ([]Asker, []rule.List) {
	var askers []Asker
	for i := range people {
		group := must(identity.ParseGroup(fmt.Sprintf("team-%d", i%10)))
		askers = append(askers, Asker{Name: name(fmt.Sprintf("person-%d/phone", i)), Groups: []identity.Group{group}})
	}
	var lists []rule.List
	for i := range rules {
		allow := []string{fmt.Sprintf("group:team-%d", i%10), fmt.Sprintf("person-%d", i), fmt.Sprintf("person-%d/phone", 2*i)}
		if i%100 == 0 {
			allow = append(allow, "enrolled")
		}
		lists = append(lists, must(rule.Parse(allow, []string{fmt.Sprintf("person-%d", i+10), "group:team-9"})))
	}
	return askers, lists
}

// What is answered for all at once is what each one would be told.
func TestACrowdIsJudgedLikeEachOfIt(t *testing.T) {
	askers, lists := crowdAndRules(300, 110)
	askers[7].Closed = refusal.Suspended
	crowd := NewCrowd(askers)
	for i, l := range lists {
		var want []identity.Name
		for _, a := range askers {
			if (Policy{}).Decide("x", Part{List: l}, a).Verdict == Yes {
				want = append(want, a.Name)
			}
		}
		if got := crowd.Of(l); !slices.Equal(got, want) {
			t.Fatalf("list %d: %d names, want %d", i, len(got), len(want))
		}
	}
}

// BenchmarkTenThousandByAThousand answers every list for everybody.
func BenchmarkTenThousandByAThousand(b *testing.B) {
	askers, lists := crowdAndRules(10_000, 1000)
	for b.Loop() {
		crowd, sum := NewCrowd(askers), 0
		for _, l := range lists {
			sum += len(crowd.Of(l))
		}
		if sum == 0 {
			b.Fatal("nobody")
		}
	}
}

func TestTenThousandByAThousand(t *testing.T) {
	askers, lists := crowdAndRules(10_000, 1000)
	crowd, sum := NewCrowd(askers), 0
	for _, l := range lists {
		sum += len(crowd.Of(l))
	}
	for _, i := range []int{0, 9, 500} { // by another way
		want := 0
		for _, a := range askers {
			if lists[i].Decide(rule.Subject{Name: a.Name, Groups: a.Groups}).Allow {
				want++
			}
		}
		if got := len(crowd.Of(lists[i])); got != want {
			t.Errorf("list %d lets in %d, want %d", i, got, want)
		}
	}
	if sum < 500_000 {
		t.Errorf("%d answers of yes", sum)
	}
}

// logOf writes requests as the gateway's logger does.
func logOf(json bool, requests ...[]any) string {
	var b bytes.Buffer
	var h slog.Handler = slog.NewTextHandler(&b, nil)
	if json {
		h = slog.NewJSONHandler(&b, nil)
	}
	log := slog.New(h)
	log.Info("stopped")
	for _, r := range requests {
		log.Info("request served", r...)
	}
	return b.String()
}

func TestALogIsReadInBothForms(t *testing.T) {
	for _, json := range []bool{false, true} {
		text := logOf(json, []any{"site", "app.example.com", "id", "ben/phone", "serial", "5f1b", slog.Group("headers", "x-v", `a "b" = c`),
			"address", "192.0.2.7:51234", "method", "GET", "path", `/a "b"=c d`, "status", 200, "code", "not-on-list", "left_out", 7})
		var all []Request
		for q, err := range ReadLog(strings.NewReader("garbage\n{broken\n" + strings.Repeat("x", maxLine*2) + "\n" + text)) {
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, q)
		}
		if len(all) != 1 {
			t.Fatalf("json %v: %d requests in %q", json, len(all), text)
		}
		q := all[0]
		if q.Site != "app.example.com" || q.Name != name("ben/phone") || q.Serial != "5f1b" || q.Address != netip.MustParseAddr("192.0.2.7") ||
			q.Method != "GET" || q.Path != `/a "b"=c d` || q.Code != refusal.NotOnList || q.LeftOut != 7 || q.Headers["x-v"] != `a "b" = c` || q.Time.IsZero() {
			t.Errorf("json %v: %+v", json, q)
		}
	}
}

func TestReplay(t *testing.T) {
	policy := func(admin string) Policy {
		return Policy{Sites: []Site{site("app.example.com", Part{List: list("ben", "anna")}, map[string]Part{"/admin/": {List: list(admin)}, "/health": {List: list("strangers")}})}}
	}
	line := func(id, path, code string) []any {
		return []any{"site", "app.example.com", "id", id, "address", "192.0.2.7:1", "method", "GET", "path", path, "code", code}
	}
	text := logOf(false, line("ben/phone", "/admin/x", ""), line("ben/phone", "/admin/y", ""), line("anna/phone", "/admin/x", "not-on-list"),
		line("anna/phone", "/", ""), line("", "/health", ""), line("ben/old", "/admin/x", "revoked"), line("ben/phone", "//", "ambiguous-path"))
	r := Replay{Old: policy("ben"), New: policy("anna"), Who: func(q Request) Asker {
		a := Asker{Method: q.Method, Path: q.Path, Time: q.Time, Address: q.Address}
		if !q.Nameless() {
			a.Name = q.Name
		}
		return a
	}}
	for q, err := range ReadLog(strings.NewReader(text)) {
		if err != nil {
			t.Fatal(err)
		}
		r.Add(q)
	}
	d := r.Difference()
	if d.Requests != 7 || d.Passed != 1 || d.Undecided != 0 {
		t.Errorf("%+v", d)
	}
	if len(d.Lose) != 1 || d.Lose[0].Who != "ben/phone" || d.Lose[0].Requests != 2 || d.Lose[0].Route != "/admin/" || d.Lose[0].Why != "not on the list" {
		t.Errorf("lose: %+v", d.Lose)
	}
	if len(d.Gain) != 1 || d.Gain[0].Who != "anna/phone" || d.Gain[0].Requests != 1 {
		t.Errorf("gain: %+v", d.Gain)
	}
	r = Replay{Old: policy("ben"), New: Policy{}, Who: r.Who}
	for q := range ReadLog(strings.NewReader(text)) {
		r.Add(q)
	}
	if d := r.Difference(); len(d.Gain) != 0 || len(d.Lose) != 3 {
		t.Errorf("without sites: %+v", d)
	}
}

// What is read is bounded and says what it needs.
func FuzzReadLog(f *testing.F) {
	f.Add(logOf(false, []any{"site", "a", "method", "GET", "path", "/"}))
	f.Add(logOf(true, []any{"site", "a", "method", "GET", "path", "/", "id", "ben"}))
	f.Fuzz(func(t *testing.T, s string) {
		for q, err := range ReadLog(strings.NewReader(s)) {
			if err != nil {
				t.Fatal(err)
			}
			if q.Site == "" || q.Method == "" || q.Path == "" || q.Time.IsZero() && !strings.Contains(s, "0001") {
				t.Errorf("%+v of %q", q, s)
			}
		}
	})
}
