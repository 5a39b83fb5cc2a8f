package identity

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// Of every text in the tests of go-spiffe, the reference implementation, and of
// each character in every place, we say what it says.
func TestGoSPIFFESaysTheSame(t *testing.T) {
	texts := goSPIFFETexts(t)
	for i := range 0x180 {
		for _, form := range []string{
			"spiffe://trustdomain%s/path", "spiffe://trustdomain/path%s", "spiffe://%sdomain/path",
			"spiffe://trustdomain/%spath", "spiffe://trustdomain/a%sb/path", "spiffe://trust%sdomain/path",
		} {
			texts = append(texts, fmt.Sprintf(form, string(rune(i))))
			if i < 0x100 {
				texts = append(texts, fmt.Sprintf(form, string([]byte{byte(i)})))
			}
		}
	}
	alike, apart := 0, map[string]int{}
	for _, text := range texts {
		if why := asGoSPIFFE(t, text); why == "" {
			alike++
		} else {
			apart[why]++
		}
	}
	t.Logf("%d texts: %d judged alike; taken by go-spiffe only: %v", len(texts), alike, apart)
	if len(texts) < 3800 || alike < 3600 {
		t.Errorf("%d texts, %d alike: where are go-spiffe's?", len(texts), alike)
	}
}

// FuzzGoSPIFFE looks for texts about which the two disagree.
func FuzzGoSPIFFE(f *testing.F) {
	for _, seed := range []string{"spiffe://example.com/ben/phone", "spiffe://a", "spiffe://a/../b", "spiffe://a..b/c", "example.com", "SPIFFE://a/b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) { asGoSPIFFE(t, text) })
}

// asGoSPIFFE fails unless text is judged as go-spiffe judges it, as an ID and
// as a trust domain. It returns why we take less, for an ID that only go-spiffe
// takes.
func asGoSPIFFE(t *testing.T, text string) (why string) {
	t.Helper()
	theirs, theirErr := spiffeid.FromString(text)
	ours, err := ParseID(text)
	switch {
	case err == nil && theirErr != nil:
		t.Errorf("%q is an ID here; go-spiffe: %v", text, theirErr)
	case err == nil && (ours.Domain().String() != theirs.TrustDomain().Name() || "/"+ours.Name().String() != theirs.Path() || ours.String() != theirs.String()):
		t.Errorf("%q: %v in %v here, %v in %v there", text, ours.Name(), ours.Domain(), theirs.Path(), theirs.TrustDomain())
	case err != nil && theirErr == nil:
		if why = cmp.Or(narrowerDomain(theirs.TrustDomain().Name()), narrowerName(theirs.Path())); why == "" {
			t.Errorf("%q is an ID for go-spiffe; here: %v", text, err)
		}
	}
	if u, err := url.Parse(text); err == nil {
		// as it is read from a certificate
		fromURI, uriErr := FromURIs([]*url.URL{u})
		if _, err := spiffeid.FromURI(u); uriErr == nil && (err != nil || fromURI.String() != u.String()) {
			t.Errorf("%q as a URI is %v here; go-spiffe: %v", text, fromURI, err)
		}
	}
	domain, err := ParseTrustDomain(text)
	if strings.Contains(text, ":/") {
		if err == nil { // go-spiffe takes an ID for its domain
			t.Errorf("%q is a trust domain here", text)
		}
		return why
	}
	theirDomain, theirErr := spiffeid.TrustDomainFromString(text)
	if agreed := (err == nil) == (theirErr == nil) && domain.String() == theirDomain.Name(); !agreed && (theirErr != nil || narrowerDomain(text) == "") {
		t.Errorf("the trust domain %q: %v here, %v there", text, err, theirErr)
	}
	return why
}

// narrowerDomain says why we refuse a trust domain that the standard's grammar
// allows: section 2.1 has it be a host, which has no empty labels.
func narrowerDomain(domain string) string {
	switch {
	case len(domain) > MaxDomain:
		return "a long trust domain"
	case slices.Contains(strings.Split(domain, "."), ""):
		return "an empty label in the trust domain"
	}
	return ""
}

// narrowerName says why we refuse a path that the standard allows.
func narrowerName(path string) string {
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	switch {
	case path == "":
		return "a trust domain and nobody in it"
	case len(path) > MaxName+1:
		return "a long path"
	case slices.Contains(reserved[:], strings.ToLower(first)):
		return "a word of the rule language"
	}
	return ""
}

// goSPIFFETexts returns every text in the sources of go-spiffe's tests of IDs.
func goSPIFFETexts(t *testing.T) []string {
	t.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/spiffe/go-spiffe/v2").Output()
	if err != nil {
		t.Fatalf("find go-spiffe: %v", err)
	}
	paths, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(dir)), "spiffeid", "*_test.go"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no tests of go-spiffe: %v", err)
	}
	var texts []string
	for _, path := range paths {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
				text := must(strconv.Unquote(l.Value))
				texts = append(texts, text, "spiffe://trustdomain"+text, "spiffe://trustdomain/"+text, "spiffe://"+text+"/path")
			}
			return true
		})
	}
	return texts
}
