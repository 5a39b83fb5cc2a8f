package rule

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode"
)

// A Pattern says which requests a route is for: a method, or any, and a path
// with the wildcards of Go's net/http ServeMux. The zero Pattern matches
// nothing.
type Pattern struct {
	text   string
	method string // "" for any
	parts  []part
}

// A part matches tokens of a path. The tokens of /a/b are "a" and "b", those
// of /a/ are "a" and "/".
type part struct {
	kind    partKind
	literal string
}

type partKind uint8

const (
	literal partKind = iota // one token, this one; "/" for a path that ends there
	wild                    // one token that is not "/": {name}
	rest                    // one token or more, to the end: / or {name...}
)

// MaxPattern is the length of the longest pattern, in bytes.
const MaxPattern = 1024

var everything = Pattern{text: "/", parts: []part{{kind: rest}}}

// Everything returns the pattern "/", which matches every request.
func Everything() Pattern { return everything }

// ParsePattern returns the pattern written as s: "[METHOD ]/PATH", where the
// path may hold {name} for one segment, {name...} for all that follow, {$} for
// an end after a slash, and where a slash at the end stands for everything
// below.
func ParsePattern(s string) (Pattern, error) {
	if len(s) > MaxPattern {
		return Pattern{}, fmt.Errorf("a pattern has at most %d characters", MaxPattern)
	}
	p := Pattern{text: s}
	path := s
	if i := strings.IndexAny(s, " \t"); i >= 0 {
		p.method, path = s[:i], strings.TrimLeft(s[i:], " \t")
		if err := checkMethod(p.method); err != nil {
			return Pattern{}, err
		}
	}
	switch {
	case path == "":
		return Pattern{}, errors.New(`the path is missing: write "GET /path" or "/path/"`)
	case path[0] != '/' && strings.Contains(path, "/"):
		return Pattern{}, fmt.Errorf("%q: a path begins with '/', and the host is the site's", path)
	case path[0] != '/':
		return Pattern{}, fmt.Errorf("%q: a path begins with '/'", path)
	}
	if err := p.readPath(path[1:]); err != nil {
		return Pattern{}, err
	}
	return p, nil
}

// checkMethod knows only methods that can arrive here.
func checkMethod(m string) error {
	for _, r := range m {
		if !('A' <= r && r <= 'Z' || r == '-') {
			return fmt.Errorf("method %q: methods are in capitals, such as GET or POST", m)
		}
	}
	switch m {
	case "":
		return errors.New("the pattern begins with a space")
	case "CONNECT", "TRACE":
		return fmt.Errorf("%s is never served", m)
	}
	return nil
}

func (p *Pattern) readPath(path string) error {
	names := map[string]bool{}
	for {
		segment, after, more := strings.Cut(path, "/")
		switch {
		case segment == "" && !more: // the path ends in a slash
			p.parts = append(p.parts, part{kind: rest})
			return nil
		case segment == "{$}" && !more:
			p.parts = append(p.parts, part{literal: "/"})
			return nil
		}
		t, err := readSegment(segment, more, names)
		if err != nil {
			return err
		}
		p.parts = append(p.parts, t)
		if !more {
			return nil
		}
		path = after
	}
}

func readSegment(s string, more bool, names map[string]bool) (part, error) {
	if !strings.ContainsAny(s, "{}") {
		return readLiteral(s)
	}
	name, ok := strings.CutPrefix(s, "{")
	name, closed := strings.CutSuffix(name, "}")
	if !ok || !closed {
		return part{}, fmt.Errorf("%q: a wildcard is a whole segment, such as {name}", s)
	}
	name, multi := strings.CutSuffix(name, "...")
	switch {
	case name == "$":
		return part{}, errors.New("{$} stands at the end only")
	case multi && more:
		return part{}, fmt.Errorf("{%s...} stands at the end only", name)
	case !isIdentifier(name):
		return part{}, fmt.Errorf("%q: a wildcard's name is of letters, digits and '_'", s)
	case names[name]:
		return part{}, fmt.Errorf("wildcard {%s} stands here twice", name)
	}
	names[name] = true
	if multi {
		return part{kind: rest}, nil
	}
	return part{kind: wild}, nil
}

// readLiteral refuses what no request can have: the gateway turns ambiguous
// paths away before routes are asked.
func readLiteral(s string) (part, error) {
	text, err := url.PathUnescape(s)
	switch {
	case err != nil:
		return part{}, fmt.Errorf("%q: a '%%' without two hexadecimal digits", s)
	case text == "":
		return part{}, errors.New("an empty segment '//' matches no request")
	case text == "." || text == "..":
		return part{}, fmt.Errorf("a segment %q matches no request", text)
	case strings.ContainsFunc(text, func(r rune) bool {
		return r == '/' || r == '\\' || r == ';' || r == '%' || r == unicode.ReplacementChar || unicode.IsControl(r)
	}):
		return part{}, fmt.Errorf("%q holds a character of ambiguous paths, which are never served", s)
	case strings.ContainsAny(s, "?#"):
		return part{}, fmt.Errorf("%q: patterns match paths, not what follows '?' or '#'", s)
	}
	return part{literal: text}, nil
}

func isIdentifier(s string) bool {
	for i, r := range s {
		if r != '_' && !unicode.IsLetter(r) && (i == 0 || !unicode.IsDigit(r)) {
			return false
		}
	}
	return s != ""
}

// String returns the pattern as it was written; the zero Pattern is "".
func (p Pattern) String() string { return p.text }

// IsZero reports whether p matches nothing.
func (p Pattern) IsZero() bool { return len(p.parts) == 0 }

// IsEverything reports whether p matches every request.
func (p Pattern) IsEverything() bool {
	return p.method == "" && len(p.parts) == 1 && p.parts[0].kind == rest
}

// Within reports whether p can match nothing but paths in or at the root of
// the tree that begins with the literal segment named, such as "/.postern/".
func (p Pattern) Within(tree string) bool {
	return len(p.parts) > 0 && p.parts[0].kind == literal && "/"+p.parts[0].literal+"/" == tree
}

// Method returns the method that p asks for, "" for any. GET stands for HEAD
// as well.
func (p Pattern) Method() string { return p.method }

// A relation says how the requests of one pattern lie to those of another.
type relation uint8

const (
	equal relation = iota
	within
	around
	overlap
	disjoint
)

// compare says how p lies to q.
func (p Pattern) compare(q Pattern) relation {
	m, s := compareMethods(p.method, q.method), compareParts(p.parts, q.parts)
	switch {
	case m == disjoint || s == disjoint:
		return disjoint
	case m == equal:
		return s
	case s == equal || s == m:
		return m
	}
	return overlap
}

func compareMethods(p, q string) relation {
	switch {
	case p == q:
		return equal
	case p == "" || p == "GET" && q == "HEAD":
		return around
	case q == "" || q == "GET" && p == "HEAD":
		return within
	}
	return disjoint
}

func compareParts(p, q []part) relation {
	pIn, qIn := true, true
	for i := 0; ; i++ {
		switch {
		case i == len(p) && i == len(q):
			return relationOf(pIn, qIn)
		case i == len(p) || i == len(q):
			return disjoint
		case p[i].kind == rest || q[i].kind == rest:
			return relationOf(pIn && q[i].kind == rest, qIn && p[i].kind == rest)
		}
		a, b := p[i], q[i]
		switch {
		case a == b:
		case a.kind == literal && b.kind == literal, a.literal == "/", b.literal == "/":
			return disjoint
		case a.kind == literal:
			qIn = false
		default:
			pIn = false
		}
	}
}

func relationOf(pIn, qIn bool) relation {
	switch {
	case pIn && qIn:
		return equal
	case pIn:
		return within
	case qIn:
		return around
	}
	return overlap
}

// A ConflictError says that two patterns match a request and neither is the
// more specific one.
type ConflictError struct {
	// First and Second are indexes into the patterns given.
	First, Second int
	Patterns      [2]Pattern
	Same          bool // they match the same requests
}

// Error says which patterns, and an example would not fit a line.
func (e *ConflictError) Error() string {
	if e.Same {
		return fmt.Sprintf("%q matches the same requests as %q", e.Patterns[1], e.Patterns[0])
	}
	return fmt.Sprintf("%q and %q match some requests in common, and neither is more specific", e.Patterns[1], e.Patterns[0])
}

// Conflicts returns every pair of patterns between which nothing can choose.
func Conflicts(patterns []Pattern) []*ConflictError {
	var found []*ConflictError
	for j, q := range patterns {
		i := slices.IndexFunc(patterns[:j], func(p Pattern) bool {
			r := p.compare(q)
			return r == equal || r == overlap
		})
		if i >= 0 {
			found = append(found, &ConflictError{First: i, Second: j, Patterns: [2]Pattern{patterns[i], q}, Same: patterns[i].compare(q) == equal})
		}
	}
	return found
}
