package config

import (
	"errors"
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // so that time_zone means the same on every machine

	"github.com/goccy/go-yaml/ast"

	"github.com/postern-project/postern/internal/rule"
)

// condition reads the question that a rule asks besides its list.
func (r *reader) condition(n ast.Node, to **rule.Condition) {
	text, ok := r.scalar(n, "when")
	if !ok {
		return
	}
	c, err := rule.ParseCondition(text)
	if err == nil {
		*to = c
		return
	}
	// What cannot be asked has to close the route even if somebody went on.
	*to = nil
	where := at(n)
	if e, ok := errors.AsType[*rule.ConditionError](err); ok {
		where = r.within(n, text, e.Line, e.Column)
	}
	r.fail(where, "", "when: %v", err)
}

// within returns the place in the file of a line and column of the text that n
// holds, as far as it is written there letter by letter.
func (r *reader) within(n ast.Node, text string, line, column int) position {
	start := at(n)
	wanted := strings.Split(text, "\n")
	if line < 1 || line > len(wanted) {
		return start
	}
	want := strings.TrimRight(wanted[line-1], " ")
	for i := max(start.line-1, 0); i < len(r.lines) && i < start.line+len(wanted); i++ {
		from := 0
		if i == start.line-1 {
			from = min(byteColumn(r.lines[i], start.column), len(r.lines[i]))
		}
		if j := strings.Index(r.lines[i][from:], want); j >= 0 && want != "" {
			return position{i + 1, len([]rune(r.lines[i][:from+j])) + column}
		}
	}
	return start
}

// byteColumn returns where the column, from one and in letters, begins.
func byteColumn(line string, column int) int {
	letters := []rune(line)
	return len(string(letters[:min(max(column-1, 0), len(letters))]))
}

// parseZone returns the time zone named s, as in Europe/Berlin.
func parseZone(s string) (*time.Location, error) {
	if s == "" {
		return nil, errors.New("empty name: write one such as Europe/Berlin or UTC")
	}
	zone, err := time.LoadLocation(s)
	if err != nil {
		return nil, fmt.Errorf("%q is not known: write a name such as Europe/Berlin or UTC", s)
	}
	return zone, nil
}
