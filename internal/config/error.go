package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// A position is a place in a file, counted from one; zero is no place.
type position struct{ line, column int }

// An Error is one thing wrong with a configuration, and where.
type Error struct {
	File         string // "" for a flag
	Line, Column int    // from one; zero when the place is not known
	Msg          string
	// Hint says what was probably meant or what to do; "" when there is no
	// guess.
	Hint string
	// Source is the line as it was written, "" when it is not known.
	Source string
}

// Error returns the place and what is wrong there.
func (e *Error) Error() string { return e.place() + e.Msg }

func (e *Error) place() string {
	switch {
	case e.File == "":
		return ""
	case e.Line == 0:
		return e.File + ": "
	}
	return fmt.Sprintf("%s:%d:%d: ", e.File, e.Line, e.Column)
}

// Excerpt returns the line with a caret under the place, for a terminal; ""
// when the line is not known.
func (e *Error) Excerpt() string {
	if e.Source == "" || e.Column < 1 {
		return ""
	}
	var pad strings.Builder
	for i, r := range []rune(e.Source) {
		if i >= e.Column-1 {
			break
		}
		if r == '\t' {
			pad.WriteRune('\t')
		} else {
			pad.WriteByte(' ')
		}
	}
	return e.Source + "\n" + pad.String() + "^"
}

// A Warning is something that is allowed and hardly meant, and where.
type Warning Error

// String returns the place and what is odd there.
func (w Warning) String() string { return (*Error)(&w).Error() }

// Errors returns the single errors that err holds, in the order of their
// places.
func Errors(err error) []*Error {
	if all, ok := errors.AsType[problems](err); ok {
		return all
	}
	if one, ok := errors.AsType[*Error](err); ok {
		return []*Error{one}
	}
	return nil
}

// problems gathers errors, so that one look at a file finds all of them.
type problems []*Error

// Error returns every problem on a line of its own.
func (p problems) Error() string {
	lines := make([]string, len(p))
	for i, e := range p {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives errors.AsType the single errors.
func (p problems) Unwrap() []error {
	all := make([]error, len(p))
	for i, e := range p {
		all[i] = e
	}
	return all
}

func (p *problems) add(file string, lines []string, at position, msg, hint string) {
	e := &Error{File: file, Line: at.line, Column: at.column, Msg: msg, Hint: hint}
	if at.line > 0 && at.line <= len(lines) && utf8.ValidString(lines[at.line-1]) {
		e.Source = lines[at.line-1]
	}
	*p = append(*p, e)
}

// err returns nil, the only problem, or all of them in order.
func (p problems) err() error {
	switch len(p) {
	case 0:
		return nil
	case 1:
		return p[0]
	}
	slices.SortStableFunc(p, func(a, b *Error) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	return p
}
