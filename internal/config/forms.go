package config

import (
	"slices"

	"github.com/goccy/go-yaml/ast"

	"github.com/postern-project/postern/internal/gateway"
)

// forms reads in which ways an application is told who asks.
func (r *reader) forms(n ast.Node) []gateway.Form {
	var all []gateway.Form
	for _, it := range r.list(n, "identity") {
		f, err := gateway.ParseForm(it.text)
		switch {
		case err != nil:
			r.fail(it.at, "", "identity: %v", err)
		case slices.Contains(all, f):
			r.fail(it.at, "", "identity: %s stands here twice", f)
		default:
			all = append(all, f)
		}
	}
	return all
}
