package rule

import (
	"errors"
	"strings"
)

// Routes finds the most specific of some patterns for a request, as Go's
// net/http ServeMux does. It never changes and is safe for concurrent use.
type Routes struct {
	root  node
	parts []int // how many parts each pattern has
	open  []bool
}

// A node is reached by the tokens of a path so far.
type node struct {
	literals map[string]*node
	wild     *node
	ends     []leaf // patterns that end here
	rests    []leaf // patterns that match whatever follows
}

type leaf struct {
	method string
	index  int
}

// NewRoutes returns the routes of patterns. An error is a ConflictError.
func NewRoutes(patterns []Pattern) (*Routes, error) {
	if c := Conflicts(patterns); len(c) > 0 {
		return nil, c[0]
	}
	r := &Routes{}
	for i, p := range patterns {
		if p.IsZero() {
			return nil, errors.New("a route without a pattern")
		}
		r.root.add(p, i)
		r.parts = append(r.parts, len(p.parts))
		r.open = append(r.open, p.parts[len(p.parts)-1].kind == rest)
	}
	return r, nil
}

func (n *node) add(p Pattern, index int) {
	for _, t := range p.parts {
		switch t.kind {
		case rest:
			n.rests = append(n.rests, leaf{p.method, index})
			return
		case wild:
			if n.wild == nil {
				n.wild = &node{}
			}
			n = n.wild
		default:
			if n.literals == nil {
				n.literals = map[string]*node{}
			}
			next := n.literals[t.literal]
			if next == nil {
				next = &node{}
				n.literals[t.literal] = next
			}
			n = next
		}
	}
	n.ends = append(n.ends, leaf{p.method, index})
}

// Find returns the index of the most specific pattern that matches, and false
// when none does. The path is decoded and begins with a slash. Where ServeMux
// would send a client from /tree to /tree/, /tree is found as /tree/: whoever
// guards a tree guards its root in both spellings.
func (r *Routes) Find(method, path string) (int, bool) {
	found, ok := r.root.find(method, path)
	if (ok && r.exact(found, path)) || strings.HasSuffix(path, "/") {
		return found, ok
	}
	slashed := path + "/"
	if tree, ok := r.root.find(method, slashed); ok && r.exact(tree, slashed) {
		return tree, true
	}
	return found, ok
}

// exact reports whether the pattern matched path without anything left for its
// wildcard for the rest.
func (r *Routes) exact(index int, path string) bool {
	if !r.open[index] {
		return true
	}
	return strings.HasSuffix(path, "/") && strings.Count(path, "/") == r.parts[index]
}

// find looks at literals first, then at one-segment wildcards, then at those
// for the rest: without conflicts that is from the most specific on.
func (n *node) find(method, path string) (int, bool) {
	if path == "" {
		return choose(n.ends, method)
	}
	token, after := "/", ""
	if path != "/" {
		token = path[1:]
		if i := strings.IndexByte(token, '/'); i >= 0 {
			token, after = token[:i], token[i:]
		}
	}
	if next := n.literals[token]; next != nil {
		if i, ok := next.find(method, after); ok {
			return i, true
		}
	}
	if n.wild != nil && token != "/" {
		if i, ok := n.wild.find(method, after); ok {
			return i, true
		}
	}
	return choose(n.rests, method)
}

// choose prefers the method itself, then GET for HEAD, then any.
func choose(leaves []leaf, method string) (int, bool) {
	best, rank := 0, 0
	for _, l := range leaves {
		r := 0
		switch {
		case l.method == method && method != "":
			r = 3
		case l.method == "GET" && method == "HEAD":
			r = 2
		case l.method == "":
			r = 1
		}
		if r > rank {
			best, rank = l.index, r
		}
	}
	return best, rank > 0
}
