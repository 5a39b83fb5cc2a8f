package rule

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	celast "cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/interpreter"

	"github.com/postern-project/postern/internal/identity"
)

// Bounds of a condition: its length in bytes, and what one answer may cost in
// the units of CEL's cost model, about one for each step or ten bytes looked at.
const (
	MaxCondition = 4096
	maxCost      = 20_000
)

// A Condition is a question about a request, in CEL, that has to be answered
// with yes. It is safe for concurrent use.
type Condition struct {
	text    string
	program cel.Program
	words   []string // that it uses
	headers []string // that it names, in small letters, sorted
}

// A ConditionError is something wrong with a condition, and where in its text.
type ConditionError struct {
	Line, Column int // from one
	Msg          string
}

// Error says what is wrong.
func (e *ConditionError) Error() string { return e.Msg }

// ParseCondition returns the condition written as s. What cannot be
// understood, is no question of yes or no, or could cost too much to answer is
// an error: a ConditionError where the place is known.
func ParseCondition(s string) (*Condition, error) {
	if strings.TrimSpace(s) == "" {
		return nil, errors.New("the condition is empty: leave when out, or write one such as request.hour < 18")
	}
	if len(s) > MaxCondition {
		return nil, fmt.Errorf("a condition has at most %d characters", MaxCondition)
	}
	env, err := environment()
	if err != nil {
		return nil, err
	}
	ast, issues := env.Compile(s)
	if err := firstIssue(issues); err != nil {
		return nil, err
	}
	if t := ast.OutputType(); t != cel.BoolType {
		return nil, &ConditionError{1, 1, fmt.Sprintf("a condition answers yes or no, and this is of type %s", t)}
	}
	c := &Condition{text: s}
	if err := c.study(ast); err != nil {
		return nil, err
	}
	c.program, err = env.Program(ast, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(maxCost))
	if err != nil {
		return nil, err
	}
	return c, nil
}

func environment() (*cel.Env, error) {
	options := []cel.EnvOption{
		cel.ParserRecursionLimit(50),
		cel.ParserExpressionSizeLimit(MaxCondition),
		// 'ben/phone'.under('ben') is true, 'benno'.under('ben') is not.
		cel.Function("under", cel.MemberOverload("string_under_string", []*cel.Type{cel.StringType, cel.StringType}, cel.BoolType,
			cel.BinaryBinding(under))),
	}
	for name, t := range variables {
		options = append(options, cel.Variable(name, t))
	}
	return cel.NewEnv(options...)
}

// under says whether the first name is the second one or below it.
func under(lhs, rhs ref.Val) ref.Val {
	name, _ := lhs.Value().(string)
	above, _ := rhs.Value().(string)
	parsed, err := identity.ParseName(above)
	if err != nil {
		return types.WrapErr(err)
	}
	n, err := identity.ParseName(name)
	return types.Bool(err == nil && parsed.Covers(n))
}

func firstIssue(issues *cel.Issues) error {
	if issues == nil || issues.Err() == nil {
		return nil
	}
	for _, e := range issues.Errors() {
		msg, _, _ := strings.Cut(e.Message, "\n")
		msg = strings.TrimSuffix(strings.ReplaceAll(msg, " (in container '')", ""), ".")
		return &ConditionError{e.Location.Line(), e.Location.Column() + 1, msg}
	}
	return issues.Err()
}

// study notes which words and header fields the condition asks for. A field is
// named in the text, so that nothing else needs to be kept of a request.
func (c *Condition) study(ast *cel.Ast) error {
	native := ast.NativeRep()
	for _, r := range native.ReferenceMap() {
		if _, ok := variables[r.Name]; ok && !slices.Contains(c.words, r.Name) {
			c.words = append(c.words, r.Name)
		}
	}
	slices.Sort(c.words)
	mentioned, named := 0, 0
	var wrong string
	celast.PreOrderVisit(native.Expr(), celast.NewExprVisitor(func(e celast.Expr) {
		if r, ok := native.ReferenceMap()[e.ID()]; ok && r.Name == "request.headers" {
			mentioned++
		}
		name, ok := headerNamed(native, e)
		if !ok {
			return
		}
		named++
		if name != strings.ToLower(name) {
			wrong = name
		}
		c.headers = append(c.headers, name)
	}))
	slices.Sort(c.headers)
	c.headers = slices.Compact(c.headers)
	switch {
	case wrong != "":
		return fmt.Errorf("header names are in small letters here: write %q", strings.ToLower(wrong))
	case mentioned != named:
		return errors.New(`name each header field, as in request.headers["x-version"] or "x-version" in request.headers`)
	}
	return nil
}

// headerNamed returns the field that e, an index into request.headers or a
// question whether it has one, names.
func headerNamed(native *celast.AST, e celast.Expr) (string, bool) {
	if e.Kind() != celast.CallKind || len(e.AsCall().Args()) != 2 {
		return "", false
	}
	args := e.AsCall().Args()
	container, key := args[0], args[1]
	switch e.AsCall().FunctionName() {
	case "_[_]":
	case "@in":
		container, key = key, container
	default:
		return "", false
	}
	if r, ok := native.ReferenceMap()[container.ID()]; !ok || r.Name != "request.headers" || key.Kind() != celast.LiteralKind {
		return "", false
	}
	s, ok := key.AsLiteral().Value().(string)
	return s, ok
}

// String returns the condition as it was written.
func (c *Condition) String() string { return c.text }

// Asks reports whether the condition uses a word, such as client.networks.
func (c *Condition) Asks(word string) bool { return c != nil && slices.Contains(c.words, word) }

// Timed reports whether the answer can change by itself as time goes by.
func (c *Condition) Timed() bool {
	return c != nil && slices.ContainsFunc(c.words, func(w string) bool { return slices.Contains(timed, w) })
}

// OfCertificates reports whether the condition asks about a certificate.
func (c *Condition) OfCertificates() bool {
	return c != nil && slices.ContainsFunc(c.words, func(w string) bool { return strings.HasPrefix(w, "certificate.") })
}

// OfRequests reports whether the condition asks about a request, and not only
// about whoever makes it.
func (c *Condition) OfRequests() bool {
	return c != nil && slices.ContainsFunc(c.words, func(w string) bool { return slices.Contains(ofRequest, w) })
}

// Headers returns the names, in small letters, of the header fields that the
// condition asks for. The slice is shared: do not change it.
func (c *Condition) Headers() []string {
	if c == nil {
		return nil
	}
	return c.headers
}

// Holds answers the condition. Whatever keeps it from being answered, such as
// a header field that is not there, is an error, and never a yes.
func (c *Condition) Holds(f *Facts) (bool, error) {
	for name, value := range f.Headers {
		if !utf8.ValidString(value) {
			return false, fmt.Errorf("header field %s is no UTF-8 text", name)
		}
	}
	out, _, err := c.program.Eval(activation{f})
	if err != nil {
		return false, err
	}
	yes, ok := out.Value().(bool)
	return ok && yes, nil
}

// An activation gives the library the facts.
type activation struct{ *Facts }

// Parent returns nil: there is nothing behind the facts.
func (activation) Parent() interpreter.Activation { return nil }
