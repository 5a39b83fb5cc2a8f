package rule

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestParsePattern(t *testing.T) {
	for sentence, c := range map[string]struct {
		in  string
		err string
	}{
		"everything":                        {"/", ""},
		"a tree":                            {"/admin/", ""},
		"a page":                            {"/healthz", ""},
		"a method":                          {"GET /healthz", ""},
		"several spaces":                    {"POST \t /a", ""},
		"a wildcard":                        {"/users/{id}/keys", ""},
		"the rest":                          {"/files/{path...}", ""},
		"an end":                            {"/{$}", ""},
		"an encoded space":                  {"/a%20b", ""},
		"nothing":                           {"", "the path is missing"},
		"a method alone":                    {"GET ", "the path is missing"},
		"a method in small letters":         {"get /", "in capitals"},
		"a method that is never served":     {"CONNECT /", "never served"},
		"a space in front":                  {" /a", "begins with a space"},
		"a host":                            {"example.com/a", "the host is the site's"},
		"a host with a method":              {"GET example.com/a", "the host is the site's"},
		"no slash":                          {"admin", "begins with '/'"},
		"an empty segment":                  {"/a//b", "empty segment"},
		"a dot segment":                     {"/a/../b", `segment ".."`},
		"an encoded dot segment":            {"/a/%2e%2e/b", `segment ".."`},
		"an encoded slash":                  {"/a%2Fb", "ambiguous"},
		"a semicolon":                       {"/a;b", "ambiguous"},
		"a NUL":                             {"/a%00", "ambiguous"},
		"an encoded percent sign":           {"/a%2541", "ambiguous"},
		"a broken escape":                   {"/a%zz", "hexadecimal"},
		"a query":                           {"/a?b", "not what follows"},
		"a wildcard within a segment":       {"/a{b}", "whole segment"},
		"a wildcard without a name":         {"/{}", "letters"},
		"a wildcard named by a number":      {"/{1}", "letters"},
		"the rest in the middle":            {"/{a...}/b", "at the end only"},
		"an end in the middle":              {"/{$}/b", "at the end only"},
		"a wildcard twice":                  {"/{a}/{a}", "twice"},
		"a pattern of more than a kilobyte": {"/" + strings.Repeat("a", MaxPattern), "at most"},
	} {
		t.Run(sentence, func(t *testing.T) {
			p, err := ParsePattern(c.in)
			switch {
			case c.err == "" && (err != nil || p.String() != c.in || p.IsZero()):
				t.Errorf("%q: %v", p, err)
			case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err) || !p.IsZero()):
				t.Errorf("%v, want %q", err, c.err)
			}
		})
	}
}

func TestTheMostSpecificPatternIsFound(t *testing.T) {
	patterns := []string{"/", "/admin/", "GET /admin/{$}", "/admin/login", "POST /admin/login", "/users/{id}", "/users/{id}/", "/users/me", "GET /users/me", "/files/{rest...}"}
	var parsed []Pattern
	for _, p := range patterns {
		parsed = append(parsed, must(ParsePattern(p)))
	}
	r, err := NewRoutes(parsed)
	if err != nil {
		t.Fatal(err)
	}
	for request, want := range map[string]string{
		"GET /":                     "/",
		"GET /x":                    "/",
		"GET /administrator":        "/",
		"GET /ADMIN/":               "/",
		"GET /admin":                "GET /admin/{$}",
		"GET /admin/":               "GET /admin/{$}",
		"HEAD /admin/":              "GET /admin/{$}",
		"PUT /admin":                "/admin/",
		"GET /admin/x":              "/admin/",
		"GET /admin/login":          "/admin/login",
		"POST /admin/login":         "POST /admin/login",
		"POST /admin/login/":        "/admin/",
		"GET /users/ben":            "/users/{id}",
		"GET /users/ben/":           "/users/{id}/",
		"GET /users/ben/keys":       "/users/{id}/",
		"GET /users/me":             "GET /users/me",
		"HEAD /users/me":            "GET /users/me",
		"PUT /users/me":             "/users/me",
		"GET /users":                "/",
		"GET /files":                "/files/{rest...}",
		"BREW /files/a/b":           "/files/{rest...}",
		"OPTIONS /admin/login/deep": "/admin/",
	} {
		method, path, _ := strings.Cut(request, " ")
		i, ok := r.Find(method, path)
		if !ok || patterns[i] != want {
			t.Errorf("%s: %q, want %q", request, patterns[i], want)
		}
	}
}

// vocabulary makes patterns that meet often.
var (
	someMethods  = []string{"", "", "", "GET ", "HEAD ", "POST "}
	someSegments = []string{"a", "b", "{x}", "{y}", "c d"}
	someEnds     = []string{"", "/", "/{$}", "/{z...}", "/a", "/{w}"}
)

func pick(r *rand.Rand, from []string) string { return from[r.IntN(len(from))] }

func somePattern(r *rand.Rand) string {
	var b strings.Builder
	b.WriteString(pick(r, someMethods))
	used := map[string]bool{}
	for range r.IntN(3) {
		s := pick(r, someSegments)
		if used[s] {
			s = "a"
		}
		used[s] = true
		b.WriteString("/" + strings.ReplaceAll(s, " ", "%20"))
	}
	end := pick(r, someEnds)
	if b.Len() == 0 || strings.HasSuffix(b.String(), " ") {
		end = cmpOr(end, "/")
	}
	b.WriteString(end)
	return b.String()
}

func cmpOr(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

func somePath(r *rand.Rand) string {
	var b strings.Builder
	for range r.IntN(4) {
		b.WriteString("/" + pick(r, []string{"a", "b", "c d", "e"}))
	}
	if b.Len() == 0 || r.IntN(3) == 0 {
		b.WriteByte('/')
	}
	return b.String()
}

// register reports whether mux takes the pattern.
func register(mux *http.ServeMux, pattern string) (ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	mux.HandleFunc(pattern, func(http.ResponseWriter, *http.Request) {})
	return true
}

// TestRoutesAreThoseOfServeMux compares many small sets of patterns with the
// standard library's router: the same conflicts, and the same pattern for each
// request, where ServeMux answers with a redirect the one it redirects to.
func TestRoutesAreThoseOfServeMux(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	conflicts := 0
	for range 1500 {
		mux, taken := http.NewServeMux(), []Pattern{}
		for range 1 + r.IntN(5) {
			text := somePattern(r)
			p, err := ParsePattern(text)
			if err != nil {
				t.Fatalf("%q: %v", text, err)
			}
			conflict := len(Conflicts(append(slices.Clone(taken), p))) > 0
			if conflict == register(mux, text) {
				t.Fatalf("%q beside %q: conflict %v", text, taken, conflict)
			}
			if conflict {
				conflicts++
				continue
			}
			taken = append(taken, p)
		}
		compareWithServeMux(t, r, mux, taken)
	}
	if conflicts < 100 {
		t.Errorf("only %d conflicts were tried", conflicts)
	}
}

func compareWithServeMux(t *testing.T, r *rand.Rand, mux *http.ServeMux, taken []Pattern) {
	t.Helper()
	routes, err := NewRoutes(taken)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		method, path := strings.TrimSpace(cmpOr(pick(r, someMethods), "PUT ")), somePath(r)
		request := httptest.NewRequest(method, strings.ReplaceAll(path, " ", "%20"), nil)
		_, want := mux.Handler(request)
		got := ""
		if i, ok := routes.Find(method, path); ok {
			got = taken[i].String()
		}
		if got != want {
			t.Fatalf("%s %s among %q: %q, ServeMux says %q", method, path, taken, got, want)
		}
	}
}

// What ParsePattern accepts prints as it was written, and ServeMux accepts it
// too.
func FuzzParsePattern(f *testing.F) {
	for _, s := range []string{"/", "GET /a/{b}/{c...}", "/a%20b/{$}", "POST\t/é"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePattern(s)
		if err != nil {
			return
		}
		if p.String() != s {
			t.Errorf("%q prints as %q", s, p)
		}
		if !register(http.NewServeMux(), s) {
			t.Errorf("%q is no pattern to ServeMux", s)
		}
		if p.compare(p) != equal {
			t.Errorf("%q is not itself", s)
		}
	})
}

func TestConflictsAreNamed(t *testing.T) {
	patterns := []Pattern{must(ParsePattern("/a/{x}")), must(ParsePattern("/{y}/b")), must(ParsePattern("/a/{z}"))}
	found := Conflicts(patterns)
	if len(found) != 2 || found[0].First != 0 || found[0].Second != 1 || found[0].Same || !found[1].Same {
		t.Fatalf("%v", found)
	}
	if _, err := NewRoutes(patterns); err == nil || !strings.Contains(err.Error(), "neither is more specific") {
		t.Errorf("%v", err)
	}
}

func TestNetworks(t *testing.T) {
	lan, guests := must(ParseNetwork("lan")), must(ParseNetwork("guests"))
	n := Networks{
		{lan, []netip.Prefix{must(ParsePrefix("192.168.1.0/24")), must(ParsePrefix("fd00:1::/64"))}},
		{guests, []netip.Prefix{must(ParsePrefix("192.168.1.128/25")), must(ParsePrefix("10.0.0.7"))}},
	}
	for address, want := range map[string]string{
		"192.168.1.5": "[lan]", "192.168.1.200": "[lan guests]", "::ffff:192.168.1.5": "[lan]", "fd00:1::9": "[lan]",
		"fd00:2::9": "[]", "10.0.0.7": "[guests]", "10.0.0.8": "[]", "fe80::1%eth0": "[]",
	} {
		if got := fmt.Sprint(n.Of(netip.MustParseAddr(address))); got != want {
			t.Errorf("%s is in %s, want %s", address, got, want)
		}
	}
	if got := n.Of(netip.Addr{}); got != nil {
		t.Errorf("no address is in %v", got)
	}
	for _, wrong := range []string{"", "192.168.1.1/24", "::ffff:10.0.0.0/104", "10.0.0.0/33", "lan", "fe80::1%eth0"} {
		if p, err := ParsePrefix(wrong); err == nil {
			t.Errorf("%q is %s", wrong, p)
		}
	}
	l := must(Parse([]string{"network:lan"}, []string{"network:guests"}))
	if !l.UsesNetworks() || !l.Decide(Subject{Networks: []Network{lan}}).Allow || l.Decide(Subject{Networks: []Network{lan, guests}}).Allow || l.AdmitsStrangers() {
		t.Error("networks in a list")
	}
}

func BenchmarkFind(b *testing.B) {
	var patterns []Pattern
	for i := range 1000 {
		patterns = append(patterns, must(ParsePattern(fmt.Sprintf("/api/v%d/things/{id}/", i))))
	}
	r := must(NewRoutes(patterns))
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := r.Find("GET", "/api/v500/things/7/x"); !ok {
			b.Fatal()
		}
	}
}
