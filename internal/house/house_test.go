package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/postern-project/postern/"

// storeys holds the packages from the ground up. A package may import those on
// the storeys below its own, and none beside or above it.
var storeys = [][]string{
	{"identity", "refusal"},
	{"rule", "profile", "chain", "ledger", "page", "invite", "apptoken", "jws"}, // domain: values and decisions, no I/O
	{"roster", "permit", "access", "ceremony"},
	{"revocation", "confine"},
	{"store", "keys", "upstream", "http1", "trust", "partner", "staple", "telemetry", "split"}, // what is kept, and where
	{"follow", "assertion"},
	{"authority", "gateway", "agent", "explain"}, // gateway: neither store nor authority
	{"enroll", "publish", "backup", "join", "api", "config", "acme", "scep"},
	{"demo"},
	{"cli"},
}

// domain lists the packages that do no I/O and read no clock.
var domain = []string{"identity", "refusal", "rule", "profile", "chain", "ledger", "page", "invite", "apptoken", "roster", "jws", "permit", "access", "revocation", "ceremony"}

// source is one package's files outside its tests.
type source struct {
	files map[string]*ast.File
	fset  *token.FileSet
}

func parse(t *testing.T) map[string]source {
	t.Helper()
	packages := map[string]source{}
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") && len(d.Name()) > 2) {
			return filepath.SkipDir
		}
		if d.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		dir, err := filepath.Rel("../..", filepath.Dir(path))
		if err != nil {
			return err
		}
		dir = filepath.ToSlash(dir)
		p, ok := packages[dir]
		if !ok {
			p = source{files: map[string]*ast.File{}, fset: token.NewFileSet()}
		}
		file, err := parser.ParseFile(p.fset, path, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		p.files[filepath.Base(path)] = file
		packages[dir] = p
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return packages
}

func storeyOf(t *testing.T, name string) int {
	t.Helper()
	for i, rooms := range storeys {
		if slices.Contains(rooms, name) {
			return i
		}
	}
	t.Errorf("package internal/%s stands on no storey: add it to the table", name)
	return -1
}

func TestImportsPointInward(t *testing.T) {
	for dir, p := range parse(t) {
		room, ok := strings.CutPrefix(dir, "internal/")
		if !ok || room == "house" {
			continue
		}
		own := storeyOf(t, room)
		for name, file := range p.files {
			for _, spec := range file.Imports {
				path, _ := strconv.Unquote(spec.Path.Value)
				other, ok := strings.CutPrefix(path, module+"internal/")
				if !ok {
					continue
				}
				if storeyOf(t, other) >= own {
					t.Errorf("internal/%s/%s imports internal/%s, which does not stand below it", room, name, other)
				}
				if room == "gateway" && (other == "store" || other == "authority") {
					t.Errorf("internal/gateway/%s imports internal/%s: the gateway is given a roster and handlers", name, other)
				}
			}
		}
	}
}

func TestTheDomainDoesNoIO(t *testing.T) {
	forbidden := map[string]bool{
		"os": true, "net": true, "net/http": true, "log": true, "log/slog": true, "database/sql": true, "os/exec": true, "io/ioutil": true,
	}
	// what a domain package may take from a forbidden one: values, no action
	allowed := map[string][]string{
		"net":      {"IP", "IPNet", "ParseIP", "ParseCIDR", "CIDRMask", "SplitHostPort", "JoinHostPort"},
		"net/http": {"ResponseWriter", "Request", "Header"},
		"log/slog": {"Value", "StringValue", "LogValuer"},
	}
	packages := parse(t)
	for _, room := range domain {
		for name, file := range packages["internal/"+room].files {
			imports := map[string]string{}
			for _, spec := range file.Imports {
				path, _ := strconv.Unquote(spec.Path.Value)
				imports[path[strings.LastIndex(path, "/")+1:]] = path
			}
			ast.Inspect(file, func(n ast.Node) bool {
				sel, ok := n.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				ident, ok := sel.X.(*ast.Ident)
				if !ok {
					return true
				}
				path := imports[ident.Name]
				if path == "time" && (sel.Sel.Name == "Now" || sel.Sel.Name == "Since" || sel.Sel.Name == "Until") {
					t.Errorf("internal/%s/%s calls time.%s: the time is an argument there", room, name, sel.Sel.Name)
				}
				status := path == "net/http" && (strings.HasPrefix(sel.Sel.Name, "Status") || strings.HasPrefix(sel.Sel.Name, "Method"))
				if forbidden[path] && !status && !slices.Contains(allowed[path], sel.Sel.Name) {
					t.Errorf("internal/%s/%s uses %s.%s: the domain does no I/O", room, name, path, sel.Sel.Name)
				}
				return true
			})
		}
	}
}

func TestEachPackageHasOneDocComment(t *testing.T) {
	for dir, p := range parse(t) {
		var docs []string
		for name, file := range p.files {
			if file.Doc != nil {
				docs = append(docs, name)
			}
		}
		if len(docs) != 1 {
			t.Errorf("%s has %d package doc comments %v, want one", dir, len(docs), docs)
		}
	}
}

func TestNoGlobalStateAndNoInit(t *testing.T) {
	for dir, p := range parse(t) {
		for name, file := range p.files {
			for _, decl := range file.Decls {
				if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
					t.Errorf("%s/%s has an init function", dir, name)
				}
			}
		}
	}
}

// VerifyPeerCertificate does not run when a session is resumed, which is how
// most gateways were bypassed.
func TestVerifyPeerCertificateIsNeverUsed(t *testing.T) {
	for dir, p := range parse(t) {
		for name, file := range p.files {
			ast.Inspect(file, func(n ast.Node) bool {
				if id, ok := n.(*ast.Ident); ok && id.Name == "VerifyPeer"+"Certificate" {
					t.Errorf("%s/%s names it: judge every request instead", dir, name)
				}
				return true
			})
		}
	}
}

// Each direct dependency has a line in docs/dependencies.md that says why, and
// each line there is a direct dependency.
func TestDependenciesAreListedWithAReason(t *testing.T) {
	mod, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	required := map[string]bool{}
	for line := range strings.Lines(string(mod)) {
		line = strings.TrimSpace(line)
		fields := strings.Fields(strings.TrimPrefix(line, "require "))
		if len(fields) == 2 && strings.HasPrefix(fields[1], "v") {
			required[fields[0]] = true
		}
	}
	// a tool line is a direct dependency too, under the module that holds it
	for _, m := range regexp.MustCompile(`(?m)^\t?(?:tool )?(\S+/cmd/\S+)$`).FindAllStringSubmatch(string(mod), -1) {
		for dir := m[1]; dir != "."; dir = path.Dir(dir) {
			if strings.Contains(string(mod), "\t"+dir+" v") {
				required[dir] = true
				break
			}
		}
	}
	doc, err := os.ReadFile("../../docs/dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| ([^|]{10,})\\|$").FindAllStringSubmatch(string(doc), -1) {
		listed[m[1]] = true
	}
	if len(required) == 0 || len(listed) == 0 {
		t.Fatalf("found %d requirements and %d reasons", len(required), len(listed))
	}
	for _, m := range slices.Sorted(maps.Keys(required)) {
		if !listed[m] {
			t.Errorf("docs/dependencies.md does not say why we depend on %s", m)
		}
	}
	for _, m := range slices.Sorted(maps.Keys(listed)) {
		if !required[m] {
			t.Errorf("docs/dependencies.md lists %s, which is no direct dependency", m)
		}
	}
}

// modernc.org/sqlite works only with exactly the libc that its own go.mod
// names; a newer one crashed other projects.
func TestTheLibcOfSQLiteIsTheOneItWasMadeFor(t *testing.T) {
	mod, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	version := func(module string, text []byte) string {
		m := regexp.MustCompile(`(?m)\s` + regexp.QuoteMeta(module) + ` (v\S+)`).FindSubmatch(text)
		if m == nil {
			t.Fatalf("%s is not in the go.mod", module)
		}
		return string(m[1])
	}
	cache := os.Getenv("GOMODCACHE")
	if cache == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			t.Fatal(err)
		}
		cache = filepath.Join(home, "go", "pkg", "mod")
		if p := os.Getenv("GOPATH"); p != "" {
			cache = filepath.Join(p, "pkg", "mod")
		}
	}
	theirs, err := os.ReadFile(filepath.Join(cache, "modernc.org", "sqlite@"+version("modernc.org/sqlite", mod), "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := version("modernc.org/libc", mod), version("modernc.org/libc", theirs); got != want {
		t.Errorf("modernc.org/libc is %s, sqlite was made for %s", got, want)
	}
}

// Comments that promise work are work that is not done.
func TestNothingIsLeftForLater(t *testing.T) {
	later := regexp.MustCompile(`TO` + `DO|FIX` + `ME|XX` + `X|(?i)not imple` + `mented`)
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !slices.Contains([]string{".go", ".html", ".js", ".css", ".sql"}, filepath.Ext(path)) {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for i, line := range strings.Split(string(data), "\n") {
			if later.MatchString(line) {
				t.Errorf("%s:%d: %s", path, i+1, strings.TrimSpace(line))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
