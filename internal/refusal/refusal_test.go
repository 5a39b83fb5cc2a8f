package refusal

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// constants returns the codes that refusal.go declares, in their order.
func constants(t *testing.T) (codes []Code) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "refusal.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if typ, ok := spec.Type.(*ast.Ident); ok && typ.Name == "Code" {
			text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			codes = append(codes, Code(text))
		}
		return true
	})
	return codes
}

func TestEveryCodeIsInTheCatalogueInItsOrder(t *testing.T) {
	want := constants(t)
	var got []Code
	for _, i := range All() {
		got = append(got, i.Code)
	}
	if len(want) < 20 || !slices.Equal(got, want) {
		t.Errorf("the catalogue has\n%q\nthe constants are\n%q", got, want)
	}
	slices.Sort(got)
	if len(slices.Compact(got)) != len(want) {
		t.Error("a code occurs twice")
	}
}

func TestEveryCodeHasAllItsTexts(t *testing.T) {
	word := regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`)
	titles, sentences := map[string]Code{}, map[string]Code{}
	for _, i := range All() {
		if !word.MatchString(string(i.Code)) {
			t.Errorf("%q is not written in lower-case words", i.Code)
		}
		if i.Status < 400 || i.Status > 599 || http.StatusText(i.Status) == "" {
			t.Errorf("%s: status %d does not refuse", i.Code, i.Status)
		}
		if len(i.Title) < 8 || len(i.Title) > 40 || strings.HasSuffix(i.Title, ".") {
			t.Errorf("%s: %q is no heading", i.Code, i.Title)
		}
		for part, text := range map[string]string{"sentence": i.Sentence, "visitor's remedy": i.VisitorRemedy, "operator's remedy": i.OperatorRemedy} {
			if len(text) < 20 || !strings.HasSuffix(text, ".") || strings.TrimSpace(text) != text || text[0] == strings.ToLower(text)[0] && text[0] != '\'' {
				t.Errorf("%s: the %s %q is no sentence", i.Code, part, text)
			}
		}
		if i.VisitorRemedy != askOperator && i.VisitorRemedy == i.OperatorRemedy {
			t.Errorf("%s: visitor and operator are told the same", i.Code)
		}
		if strings.Contains(i.Sentence+i.VisitorRemedy, "postern") {
			t.Errorf("%s: a visitor is told about commands", i.Code)
		}
		if other, twice := titles[i.Title]; twice {
			t.Errorf("%s and %s share a title", i.Code, other)
		}
		if other, twice := sentences[i.Sentence]; twice {
			t.Errorf("%s and %s share a sentence", i.Code, other)
		}
		titles[i.Title], sentences[i.Sentence] = i.Code, i.Code
	}
}

func TestOnlyTheftIsAnAlarm(t *testing.T) {
	for _, i := range All() {
		if theft := i.Code == NotInLedger || i.Code == IssuerDistrusted; i.Alarm != theft {
			t.Errorf("%s: alarm %v", i.Code, i.Alarm)
		}
	}
}

func TestLookupFindsEveryCode(t *testing.T) {
	for _, want := range All() {
		if got := Lookup(want.Code); got != want {
			t.Errorf("Lookup(%s) = %+v", want.Code, got)
		}
	}
}

func TestAnUnknownCodeStillRefuses(t *testing.T) {
	for _, code := range []Code{"", "from-the-future"} {
		i := Lookup(code)
		if i.Code != code || i.Status != http.StatusForbidden || i.Title == "" || i.Sentence == "" || i.VisitorRemedy == "" || i.OperatorRemedy == "" {
			t.Errorf("Lookup(%q) = %+v", code, i)
		}
	}
}

func TestAllIsACopy(t *testing.T) {
	All()[0].Status = http.StatusOK
	if Lookup(All()[0].Code).Status == http.StatusOK {
		t.Error("a caller changed the catalogue")
	}
}

func TestAReferenceReadsAsPeopleWriteIt(t *testing.T) {
	const want = "K7QM-2X01"
	for sentence, c := range map[string]struct{ in, want string }{
		"as shown":             {"K7QM-2X01", want},
		"in lower case":        {"k7qm-2x01", want},
		"without the dash":     {"K7QM2X01", want},
		"with a space":         {"k7qm 2x01", want},
		"O for 0 and I for 1":  {"K7QM-2XOI", want},
		"o for 0 and l for 1":  {"k7qm-2xol", want},
		"spaces around it":     {"  K7QM-2X01 ", want},
		"dashes everywhere":    {"K7-QM-2X-01", want},
		"nothing":              {"", ""},
		"a letter short":       {"K7QM-2X0", ""},
		"a letter long":        {"K7QM-2X011", ""},
		"a U":                  {"U7QM-2X01", ""},
		"a slash":              {"K7QM/2X0", ""},
		"letters beyond ASCII": {"ÄÖÜß", ""},
		"a path":               {"../../et", ""},
		"a file name":          {"cert.pem", ""},
		"a serial number":      {"0a0b0c0d0e0f", ""},
	} {
		t.Run(sentence, func(t *testing.T) {
			r, err := ParseReference(c.in)
			if (err == nil) != (c.want != "") || r.String() != c.want || r.IsZero() != (c.want == "") {
				t.Errorf("ParseReference(%q) = %q, %v, want %q", c.in, r, err, c.want)
			}
		})
	}
}

func TestNewReferencesDifferAndReadBack(t *testing.T) {
	seen := map[Reference]bool{}
	letters := map[rune]bool{}
	for range 1000 {
		r := NewReference()
		if again, err := ParseReference(r.String()); err != nil || again != r || seen[r] {
			t.Fatalf("%s is read as %s, %v, seen before: %v", r, again, err, seen[r])
		}
		seen[r] = true
		for _, l := range r.String() {
			letters[l] = true
		}
	}
	if len(letters) != len(referenceAlphabet)+1 {
		t.Errorf("8,000 letters use %d of the alphabet and the dash", len(letters))
	}
}

func TestReferencesSurviveJSON(t *testing.T) {
	for _, want := range []Reference{NewReference(), {}} {
		b, err := json.Marshal(want)
		got := NewReference()
		if err != nil || json.Unmarshal(b, &got) != nil || got != want {
			t.Errorf("%q is written %s and read as %q", want, b, got)
		}
	}
	var r Reference
	if json.Unmarshal([]byte(`"nonsense!"`), &r) == nil {
		t.Error("nonsense is a reference")
	}
}

// What ParseReference accepts prints in the one shape that reads back as the
// same reference.
func FuzzParseReference(f *testing.F) {
	for _, s := range []string{"K7QM-2X01", "k7qm 2xol", "", "ÄÖÜß", "UUUUUUUU"} {
		f.Add(s)
	}
	shape := regexp.MustCompile(`^[0-9A-HJKMNP-TV-Z]{4}-[0-9A-HJKMNP-TV-Z]{4}$`)
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseReference(s)
		if err != nil {
			return
		}
		if again, err := ParseReference(r.String()); err != nil || again != r || !shape.MatchString(r.String()) {
			t.Errorf("%q is read as %q, which is read as %q, %v", s, r, again, err)
		}
	})
}

// A roster is stale for two reasons, of which one passes and the other never
// does: nobody may be left waiting for what will not come.
func TestAStaleRosterIsToldInBothItsMeanings(t *testing.T) {
	i := Lookup(StaleRoster)
	for text, wants := range map[string][]string{
		i.Sentence:       {"put back to an earlier state and does not know this device any more", "still reading its ledger"},
		i.VisitorRemedy:  {"Ask the person who runs this site for a new invitation.", "try again in a minute"},
		i.OperatorRemedy: {"'postern invite NAME/DEVICE'", "wait"},
	} {
		for _, want := range wants {
			if !strings.Contains(text, want) {
				t.Errorf("%q is not in: %s", want, text)
			}
		}
	}
}
