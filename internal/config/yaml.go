package config

import (
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// A reader walks the YAML tree of one file. It knows where each thing stands,
// so every complaint has a place, and it goes on after one to find the rest.
type reader struct {
	file  string
	base  string // the folder that relative paths are relative to
	lines []string
	reads []string // the files that path was asked for
	// unproven are the profiles that renew_unproven names.
	unproven []item
	problems
}

func newReader(file, base string, data []byte) *reader {
	return &reader{file: file, base: base, lines: strings.Split(string(data), "\n")}
}

func (r *reader) fail(at position, hint, format string, args ...any) {
	r.add(r.file, r.lines, at, fmt.Sprintf(format, args...), hint)
}

// tree parses data into its only document; nil when there is none or when it
// is no YAML.
func (r *reader) tree(data []byte) ast.Node {
	f, err := parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		r.syntax(err)
		return nil
	}
	var body ast.Node
	for _, doc := range f.Docs {
		switch {
		case doc.Body == nil:
		case body != nil:
			r.fail(at(doc.Body), "", "a second document: a configuration is one")
		default:
			body = doc.Body
		}
	}
	return body
}

func (r *reader) syntax(err error) {
	y, ok := err.(yaml.Error)
	if !ok {
		r.fail(position{}, "", "no YAML: %v", err)
		return
	}
	var where position
	if t := y.GetToken(); t != nil && t.Position != nil {
		where = position{t.Position.Line, t.Position.Column}
	}
	hint := ""
	if strings.Contains(y.GetMessage(), "tab") || strings.Contains(y.GetMessage(), "found character '\t'") {
		hint = "indent with spaces"
	}
	r.fail(where, hint, "%s", y.GetMessage())
}

func at(n ast.Node) position {
	var t *token.Token
	switch n := n.(type) {
	case *ast.MappingNode:
		if len(n.Values) > 0 && !n.IsFlowStyle {
			return at(n.Values[0])
		}
		t = n.Start
	case *ast.MappingValueNode:
		return at(n.Key)
	default:
		t = n.GetToken()
	}
	if t == nil || t.Position == nil {
		return position{}
	}
	return position{t.Position.Line, t.Position.Column}
}

// pair is one key of a mapping with its value.
type pair struct {
	key   string
	at    position
	value ast.Node
}

// pairs returns what the mapping n holds; a missing value is a mapping
// without keys.
func (r *reader) pairs(n ast.Node, what string) []pair {
	var values []*ast.MappingValueNode
	switch n := n.(type) {
	case nil, *ast.NullNode:
		return nil
	case *ast.MappingNode:
		values = n.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{n}
	default:
		r.fail(at(n), "", "%s: keys with values are wanted here", what)
		return nil
	}
	all := make([]pair, 0, len(values))
	for _, v := range values {
		key, ok := r.scalar(v.Key, what)
		if ok {
			all = append(all, pair{key, at(v.Key), v.Value})
		}
	}
	return all
}

// section walks the mapping n, whose keys are those of known.
func (r *reader) section(n ast.Node, what string, known map[string]func(ast.Node)) {
	words := make([]string, 0, len(known))
	for k := range known {
		words = append(words, k)
	}
	seen := map[string]position{}
	for _, p := range r.pairs(n, what) {
		read, ok := known[p.key]
		first, twice := seen[p.key]
		switch {
		case !ok:
			r.fail(p.at, unknownHint(p.key, words), "unknown key %q in %s", p.key, what)
		case twice:
			r.fail(p.at, "", "%q stands here and on line %d", p.key, first.line)
		default:
			seen[p.key] = p.at
			read(p.value)
		}
	}
}

func unknownHint(key string, words []string) string {
	if near := Nearest(key, words); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return "known here: " + strings.Join(sorted(words), ", ")
}

// scalar returns n as it was written, quotes and escapes resolved. Numbers
// and booleans are their own text: a version 1.2 needs no quotes.
func (r *reader) scalar(n ast.Node, what string) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value, true
	case nil:
		r.fail(position{}, "", "%s: a value is missing", what)
	case *ast.NullNode:
		r.fail(at(n), "", "%s: a value is missing", what)
	case *ast.AliasNode, *ast.AnchorNode, *ast.MergeKeyNode, *ast.TagNode:
		r.fail(at(n), "write the value out", "%s: anchors, aliases and tags are not read here", what)
	default:
		if s, ok := glued(n); ok {
			return s, true
		}
		r.fail(at(n), "", "%s: a single value is wanted here", what)
	}
	return "", false
}

// glued returns a word such as group:ops that the parser takes for a key with
// its value when it stands in a list inside braces. YAML 1.2 section 7.3.3
// makes it one word, for no space follows the colon.
func glued(n ast.Node) (string, bool) {
	pair, ok := n.(*ast.MappingValueNode)
	if m, isMap := n.(*ast.MappingNode); isMap && len(m.Values) == 1 && !m.IsFlowStyle {
		pair, ok = m.Values[0], true
	}
	if !ok || pair.Value == nil {
		return "", false
	}
	key, isWord := pair.Key.(*ast.StringNode)
	colon, value := pair.Start, pair.Value.GetToken()
	if !isWord || key.Token.Type != token.StringType || colon == nil || value == nil ||
		colon.Position.Line != value.Position.Line || colon.Position.Column+1 != value.Position.Column {
		return "", false
	}
	switch v := pair.Value.(type) {
	case *ast.StringNode:
		return key.Value + ":" + v.Value, v.Token.Type == token.StringType
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return key.Value + ":" + value.Value, true
	}
	return "", false
}

// word reads a scalar that check accepts.
func (r *reader) word(what string, check func(string) error) func(ast.Node) {
	return func(n ast.Node) {
		s, ok := r.scalar(n, what)
		if !ok {
			return
		}
		if err := check(s); err != nil {
			r.fail(at(n), "", "%s: %v", what, err)
		}
	}
}

// item is one entry of a list with its place.
type item struct {
	text string
	at   position
}

// list reads a list of scalars; a single scalar is a list of one.
func (r *reader) list(n ast.Node, what string) []item {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		if _, null := n.(*ast.NullNode); null || n == nil {
			return nil
		}
		if s, ok := r.scalar(n, what); ok {
			return []item{{s, at(n)}}
		}
		return nil
	}
	items := make([]item, 0, len(seq.Values))
	for i, v := range seq.Values {
		if s, ok := r.scalar(v, fmt.Sprintf("%s, entry %d", what, i+1)); ok {
			items = append(items, item{s, at(v)})
		}
	}
	return items
}

// boolean reads true or false.
func (r *reader) boolean(what string, to *bool) func(ast.Node) {
	return func(n ast.Node) {
		b, ok := n.(*ast.BoolNode)
		if !ok {
			r.fail(at(n), "write true or false", "%s: neither true nor false", what)
			return
		}
		*to = b.Value
	}
}
