package house

import (
	"go/ast"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// fields are all that a log line may say beside its message: who, which, where,
// when and why. None of them ever holds a key, a code, a token, a header field
// or a body. Another one fails the test until somebody has thought of that.
var fields = strings.Fields(`account added address addresses authorization bytes ceremony challenge claims code detail entry err
	expires file from group headers host hosts id issuer issuer_key_id key left_out listen lists method mode most name next not_after order
	panic partner partner_serial partner_subject path pause process profile program protocol reason received reference removed renewal revoked
	root route schema serial shard shown_serial site sites source stack state status took trust_domain uid until upstream via
	warning why would_refuse`)

// passers hand on fields that were made elsewhere, or name them by a variable:
// each was looked at.
var passers = map[string]string{
	"internal/gateway.loggable":    "headers that a condition in postern.yaml reads, but none that may hold a secret",
	"internal/gateway.attrs":       "claims, shown_serial, issuer and issuer_key_id",
	"internal/gateway.record":      "what was put together before",
	"internal/gateway.tell":        "what was put together before",
	"internal/gateway.tellCarried": "what was put together before",
	"internal/telemetry.printable": "the same field, with letters in place of controls",
	"internal/cli.toldByCA":        "the host whose public certificate came or did not",
}

func TestLogsSayNothingElse(t *testing.T) {
	used := map[string]bool{}
	for dir, p := range parse(t) {
		if !strings.HasPrefix(dir, "internal/") {
			continue
		}
		for _, file := range p.files {
			for _, d := range file.Decls {
				f, ok := d.(*ast.FuncDecl)
				if !ok || f.Body == nil {
					continue
				}
				ast.Inspect(f.Body, func(n ast.Node) bool {
					for _, key := range logged(p.fset, n) {
						name, err := strconv.Unquote(key)
						switch {
						case err != nil && passers[dir+"."+f.Name.Name] == "":
							t.Errorf("%s.%s logs a field with the name %s: write the name out", dir, f.Name.Name, key)
						case err == nil && !slices.Contains(fields, name):
							t.Errorf("%s.%s logs the field %q, which is not in the list", dir, f.Name.Name, name)
						}
						used[name] = true
					}
					return true
				})
			}
		}
	}
	for _, name := range fields {
		if !used[name] && !slices.Contains([]string{"claims", "shown_serial", "issuer_key_id"}, name) {
			t.Errorf("no log has the field %q any more: take it out", name)
		}
	}
}

// logged returns the names of fields that n logs, as they are written.
func logged(fset *token.FileSet, n ast.Node) []string {
	call, ok := n.(*ast.CallExpr)
	if !ok {
		return nil
	}
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return nil
	}
	on := strings.ToLower(render(fset, sel.X))
	if on == "slog" {
		if kinds := "String Int Int64 Uint64 Any Duration Bool Time Float64 Group"; slices.Contains(strings.Fields(kinds), sel.Sel.Name) && len(call.Args) > 1 {
			return []string{render(fset, call.Args[0])}
		}
	} else if !strings.HasSuffix(on, "log") && !strings.HasSuffix(on, "logger") {
		return nil
	}
	first, ok := map[string]int{
		"Debug": 1, "Info": 1, "Warn": 1, "Error": 1, "DebugContext": 2, "InfoContext": 2, "WarnContext": 2, "ErrorContext": 2,
		"Log": 3, "LogAttrs": 3, "With": 0, "WithGroup": 0,
	}[sel.Sel.Name]
	if !ok {
		return nil
	}
	var names []string
	for i := first; i < len(call.Args); i += 2 {
		inner, isCall := call.Args[i].(*ast.CallExpr)
		if !isCall || logged(fset, inner) == nil { // else it is a whole field, seen by itself
			names = append(names, render(fset, call.Args[i]))
		}
		if _, literal := call.Args[i].(*ast.BasicLit); !literal {
			i-- // a whole field has no value behind it
		}
	}
	return names
}
