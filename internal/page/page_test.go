package page

import (
	"crypto/sha256"
	"encoding/base64"
	"flag"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"

	"github.com/postern-project/postern/internal/refusal"
)

var update = flag.Bool("update", false, "write the golden files again")

func pages(t *testing.T) map[string]Page {
	t.Helper()
	ref, err := refusal.ParseReference("K7QM-2XPA")
	if err != nil {
		t.Fatal(err)
	}
	return map[string]Page{
		"refusal-none": Refusal(RefusalView{
			Info: refusal.Lookup(refusal.NoCertificate), Reference: ref, Site: "pw.example.com",
			JoinURL: "https://join.example.com/join", AskURL: "https://join.example.com/join/ask?site=pw.example.com", Again: true,
		}),
		"renew": Renew(RenewView{Site: "pw.example.com", Name: "anna/phone", Until: "2 January 2027"}),
		"refusal-expired": Refusal(RefusalView{
			Info: refusal.Lookup(refusal.Expired), Reference: ref, Site: "pw.example.com",
			Details: []Row{
				{"Name", "anna/phone"}, {"Issuer", "Postern clients-1"}, {"Ended", "3 November 2026, 08:14 UTC"},
				{"Serial", "4f0c9a7d15be20e3a7719c04d2aa1f6b"},
			},
			RenewURL: "/.postern/renew",
		}),
		"refusal-hostile": Refusal(RefusalView{
			Info: refusal.Lookup(refusal.UnknownIssuer), Site: `"><script>alert(1)</script>`,
			Details: []Row{{"Issuer", "<b>\u202egnp.exe\x00" + strings.Repeat("x", 400)}},
			JoinURL: "javascript:alert(1)",
		}),
		"join-downloads": Join(JoinView{Site: "example.com", Downloads: []Download{
			{System: "Linux, amd64", URL: "/join/postern-linux-amd64", SHA256: strings.Repeat("0f", 32)},
		}}),
		"ask":          Ask(AskView{Site: "example.com", Path: "/join/ask", MaxWho: 40, MaxNote: 140, For: "pw.example.com"}),
		"ask-again":    Ask(AskView{Site: "example.com", Path: "/join/ask", MaxWho: 40, MaxNote: 140, Note: `"><b>`, Wrong: true, Gone: true}),
		"asked":        Asked(AskedView{Site: "example.com", Path: "/join/ask", Words: "ramp-otter-cape-ozone", Who: "Anna Müller"}),
		"file":         File(FileView{Site: "example.com", Path: "/join/file", Wrong: "this invitation has been used"}),
		"filemade":     FileMade(FileMadeView{Site: "example.com", Name: "anna/phone", Password: "abcd-efgh-ijkl-mnop", File: []byte("p12")}),
		"denied":       AskDenied("example.com"),
		"later":        AskLater("example.com"),
		"join":         Join(JoinView{Site: "example.com"}),
		"join-profile": Join(JoinView{Site: "example.com", ProfilePath: "/join/profile", StatePath: "/join/state"}),
		"no-profile":   NoProfile("example.com", "this invitation has been used <b>", "/join"),
		"home":         Home("example.com", "/join"),
		"notfound":     NotFound("example.com"),
	}
}

func TestGolden(t *testing.T) {
	for name, p := range pages(t) {
		path := filepath.Join("testdata", name+".html")
		got := strings.Replace(string(p.HTML), style(), "STYLE", 1)
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s differs from its golden file ('go test ./internal/page -update' writes it again):\n%s", name, diff)
		}
	}
}

// A page may hold nothing that its own policy or a reader without script,
// sight or mouse would stumble over.
func TestEveryPageIsSoundHTML(t *testing.T) {
	for name, p := range pages(t) {
		t.Run(name, func(t *testing.T) {
			doc, err := html.Parse(strings.NewReader(string(p.HTML)))
			if err != nil {
				t.Fatal(err)
			}
			count, ids := map[string]int{}, map[string]bool{}
			for n := range doc.Descendants() {
				if n.Type != html.ElementNode {
					continue
				}
				count[n.Data]++
				checkAttributes(t, n, ids)
				if n.Data == "script" && n.FirstChild == nil && attribute(n, "integrity") != Keymaker().Integrity {
					t.Error("a script from elsewhere without its hash")
				}
				if text := n.FirstChild; (n.Data == "style" || n.Data == "script") && text != nil {
					sum := sha256.Sum256([]byte(text.Data))
					if !strings.Contains(p.CSP, n.Data+"-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'") {
						t.Errorf("the policy does not allow the page's own %s: %s", n.Data, p.CSP)
					}
				}
			}
			for _, once := range []string{"h1", "main", "header", "footer", "title"} {
				if count[once] != 1 {
					t.Errorf("%d <%s>, want one", count[once], once)
				}
			}
			if scripted := strings.HasPrefix(name, "join") || name == "renew" || name == "refusal-none" || name == "asked"; count["script"] > 0 != scripted {
				t.Error("a script where none is needed, or none where one is")
			}
			if !strings.HasPrefix(string(p.HTML), "<!doctype html>\n<html lang=\"en\">") {
				t.Error("no doctype or no language")
			}
		})
	}
}

func attribute(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

// A page comes quickly on a poor line, and so does the part that makes a key.
func TestPagesAreSmall(t *testing.T) {
	for name, p := range pages(t) {
		if len(p.HTML) > 60<<10 {
			t.Errorf("%s has %d bytes", name, len(p.HTML))
		}
	}
	if got := len(Keymaker().Gzip()); got > 150<<10 {
		t.Errorf("the key-maker has %d bytes compressed", got)
	}
}

func checkAttributes(t *testing.T, n *html.Node, ids map[string]bool) {
	for _, a := range n.Attr {
		switch {
		case strings.HasPrefix(a.Key, "on") || a.Key == "style":
			t.Errorf("<%s %s> is something the policy blocks", n.Data, a.Key)
		case a.Key == "id" && ids[a.Val]:
			t.Errorf("id %q twice", a.Val)
		case a.Key == "id":
			ids[a.Val] = true
		case a.Key == "src" && a.Val != Keymaker().In(JoinFolder).Path && a.Val != Keymaker().In(RenewFolder).Path || a.Key == "href" && strings.HasPrefix(a.Val, "javascript:"):
			t.Errorf("<%s %s=%q>", n.Data, a.Key, a.Val)
		}
	}
}

func TestPolicyAllowsNothingElse(t *testing.T) {
	for name, p := range pages(t) {
		action := "form-action 'none'"
		if name == "ask" || name == "ask-again" || name == "file" || name == "join-profile" {
			action = "form-action 'self'"
		}
		for _, part := range []string{"default-src 'none'", "base-uri 'none'", action, "frame-ancestors 'none'"} {
			if !strings.Contains(p.CSP, part) {
				t.Errorf("%s: the policy lacks %s: %s", name, part, p.CSP)
			}
		}
		if strings.Contains(p.CSP, "unsafe") || strings.Contains(p.CSP, "*") || strings.Contains(p.CSP, "http") {
			t.Errorf("%s: the policy is too wide: %s", name, p.CSP)
		}
	}
}

func TestWriteSetsTheHeaders(t *testing.T) {
	w := httptest.NewRecorder()
	p := NotFound("example.com")
	p.Write(w, http.StatusNotFound)
	want := map[string]string{
		"Content-Type": "text/html; charset=utf-8", "Content-Length": strconv.Itoa(len(p.HTML)),
		"Content-Security-Policy": p.CSP, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer",
		"X-Content-Type-Options": "nosniff", "Cross-Origin-Opener-Policy": "same-origin",
	}
	for key, value := range want {
		if got := w.Header().Get(key); got != value {
			t.Errorf("%s: got %q, want %q", key, got, value)
		}
	}
	if w.Code != http.StatusNotFound || w.Body.Len() != len(p.HTML) {
		t.Errorf("status %d, %d bytes", w.Code, w.Body.Len())
	}
}

func TestEveryRefusalHasAPage(t *testing.T) {
	for _, info := range refusal.All() {
		text := string(Refusal(RefusalView{Info: info, Reference: refusal.NewReference()}).HTML)
		for _, want := range []string{info.Title, info.VisitorRemedy, string(info.Code)} {
			if !strings.Contains(html.UnescapeString(text), want) {
				t.Errorf("%s: the page lacks %q", info.Code, want)
			}
		}
		if strings.Contains(html.UnescapeString(text), info.OperatorRemedy) {
			t.Errorf("%s: the page tells a stranger what the operator should do", info.Code)
		}
	}
}

func TestEveryTextIsThereAndUsed(t *testing.T) {
	templates := read("layout.html") + read("refusal.html") + read("join.html") + read("made.html") + read("renew.html") + read("ask.html") + read("asked.html") + read("file.html") + read("filemade.html") + read("message.html")
	source, err := os.ReadFile("views.go")
	if err != nil {
		t.Fatal(err)
	}
	v := reflect.ValueOf(english)
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		if v.Field(i).String() == "" {
			t.Errorf("text %s is empty", name)
		}
		if !strings.Contains(templates, "."+name+"}") && !strings.Contains(string(source), "."+name+",") {
			t.Errorf("text %s is used nowhere", name)
		}
	}
}

// The pairs of colours that stand on each other reach the contrast that WCAG
// 2.2 asks for: 4.5 for text, 3 for the edge of a control.
func TestContrast(t *testing.T) {
	light, dark, ok := strings.Cut(style(), "@media (prefers-color-scheme: dark)")
	if !ok {
		t.Fatal("no dark colours")
	}
	pairs := map[string]struct {
		front, back string
		least       float64
	}{
		"text":                  {"ink", "sheet", 7},
		"text on a slip":        {"ink", "slip", 7},
		"soft text":             {"soft", "sheet", 4.5},
		"soft text on a slip":   {"soft", "slip", 4.5},
		"link":                  {"accent", "sheet", 4.5},
		"button under a finger": {"on-accent", "accent", 4.5},
		"warning":               {"warn", "slip", 4.5},
	}
	for scheme, css := range map[string]string{"light": light, "dark": dark} {
		colours := coloursOf(t, css)
		for name, p := range pairs {
			if got := contrast(colours[p.front], colours[p.back]); got < p.least {
				t.Errorf("%s, %s: contrast %.2f, want %.1f", scheme, name, got, p.least)
			}
		}
	}
}

func coloursOf(t *testing.T, css string) map[string][3]float64 {
	colours := map[string][3]float64{}
	for _, m := range regexp.MustCompile(`--([a-z-]+): #([0-9a-f]{6});`).FindAllStringSubmatch(css, -1) {
		var r, g, b uint8
		if _, err := fmt.Sscanf(m[2], "%02x%02x%02x", &r, &g, &b); err != nil {
			t.Fatal(err)
		}
		colours[m[1]] = [3]float64{float64(r) / 255, float64(g) / 255, float64(b) / 255}
	}
	return colours
}

// contrast is WCAG's ratio of relative luminances.
func contrast(a, b [3]float64) float64 {
	la, lb := luminance(a), luminance(b)
	return (max(la, lb) + 0.05) / (min(la, lb) + 0.05)
}

func luminance(c [3]float64) float64 {
	for i, v := range c {
		if v <= 0.04045 {
			c[i] = v / 12.92
		} else {
			c[i] = math.Pow((v+0.055)/1.055, 2.4)
		}
	}
	return 0.2126*c[0] + 0.7152*c[1] + 0.0722*c[2]
}

func BenchmarkRefusal(b *testing.B) {
	v := RefusalView{Info: refusal.Lookup(refusal.NoCertificate), Reference: refusal.NewReference(), Site: "pw.example.com"}
	for b.Loop() {
		Refusal(v)
	}
}

// What a picture says fits into it.
func TestPicturesHoldTheirWords(t *testing.T) {
	for _, g := range append(slices.Clone(guides), profileGuides...) {
		for _, s := range g.Steps {
			for _, line := range s.Screen {
				if len([]rune(line)) > 31 {
					t.Errorf("%s: %q is too long", g.Title, line)
				}
			}
			if picture := string(s.Picture()); len(s.Screen) > 0 && (strings.Count(picture, "<text")+strings.Count(picture, "blank") != len(s.Screen) || strings.Count(picture, `<rect class="tap"`) != 1) {
				t.Errorf("%s: %q is drawn as %s", g.Title, s.Screen, picture)
			}
		}
	}
}
