package house

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What the manual says a test holds, a test of that name holds; the beginning of
// a name stands for all tests that have it, as for go test -run.
func TestTheManualNamesTestsThatExist(t *testing.T) {
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)\w+)\(`)
	var there []string
	for _, root := range []string{"../../internal", "../../cmd"} {
		err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			for _, m := range declared.FindAllSubmatch(text, -1) {
				there = append(there, string(m[1]))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatal(pages, err)
	}
	named := regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z][A-Za-z0-9]+`)
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range slices.Compact(slices.Sorted(slices.Values(named.FindAllString(string(text), -1)))) {
			if !slices.ContainsFunc(there, func(test string) bool { return strings.HasPrefix(test, name) }) {
				t.Errorf("%s names %s, and there is no such test", page, name)
			}
		}
	}
}

// A double with a fixed answer, or a reader of XML with its entities, is no part
// of what people run.
func TestNothingOfTheTestsIsInTheProgram(t *testing.T) {
	unwanted := []string{"testing", "testing/", "net/http/httptest", "encoding/xml", "encoding/gob", "net/rpc"}
	for dir, p := range parse(t) {
		if strings.HasPrefix(dir, "bench") {
			continue
		}
		for name, file := range p.files {
			for _, imp := range file.Imports {
				path := strings.Trim(imp.Path.Value, `"`)
				if slices.ContainsFunc(unwanted, func(u string) bool { return path == u || strings.HasSuffix(u, "/") && strings.HasPrefix(path, u) }) {
					t.Errorf("%s/%s imports %s", dir, name, path)
				}
			}
		}
	}
}
