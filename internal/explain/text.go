package explain

import (
	"bufio"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/postern-project/postern/internal/chain"
)

const columns = 80

// The marks of a step.
const (
	markGood = "✓"
	markBad  = "✗"
	markNote = "!"
)

// WriteText writes the report as a tree, at most 80 columns wide. With color
// it uses the terminal's colours. Nothing in it can steer the terminal.
func (r Report) WriteText(w io.Writer, color bool) error {
	b := bufio.NewWriter(w)
	t := &tree{w: b, color: color}
	t.wrap("", "", chain.Escape(r.Subject))
	for _, s := range r.Steps {
		t.step("", "", s)
	}
	if !r.OK && r.Advice != "" && r.Advice == lastRemedy(r.Steps) {
		return b.Flush() // it has just been said
	}
	t.wrap("", "", "")
	switch {
	case r.OK && r.inFile:
		t.wrap(t.paint(green, markGood)+" ", "  ", "Nothing is wrong in the file.")
	case r.OK:
		t.wrap(t.paint(green, markGood)+" ", "  ", "Nothing is wrong.")
	case r.Advice != "":
		t.wrap(t.paint(red, markBad)+" ", "  ", "To do: "+chain.Escape(r.Advice))
	default:
		t.wrap(t.paint(red, markBad)+" ", "  ", "Something is wrong, see above.")
	}
	return b.Flush()
}

// lastRemedy returns what the tree of steps ends with, if that is a remedy.
func lastRemedy(steps []chain.Step) string {
	if len(steps) == 0 {
		return ""
	}
	last := steps[len(steps)-1]
	if len(last.Children) > 0 {
		return lastRemedy(last.Children)
	}
	return last.Remedy
}

// A tree writes steps with their branches.
type tree struct {
	w     *bufio.Writer
	color bool
}

// The colours, as SGR parameters.
const (
	red    = "31"
	green  = "32"
	yellow = "33"
)

func (t *tree) paint(color, s string) string {
	if !t.color {
		return s
	}
	return "\x1b[" + color + "m" + s + "\x1b[0m"
}

func (t *tree) mark(s chain.Step) string {
	switch {
	case !s.OK:
		return t.paint(red, markBad)
	case s.Warning:
		return t.paint(yellow, markNote)
	default:
		return t.paint(green, markGood)
	}
}

// step writes s behind branch; what belongs to it goes behind stem.
func (t *tree) step(branch, stem string, s chain.Step) {
	text := chain.Escape(s.Title)
	if s.Detail != "" {
		text += ": " + chain.Escape(s.Detail)
	}
	inner := stem + "  "
	if len(s.Children) > 0 {
		inner = stem + "│ "
	}
	t.wrap(branch+t.mark(s)+" ", inner, text)
	if s.Remedy != "" && len(s.Children) == 0 {
		t.wrap(inner+"→ ", inner+"  ", chain.Escape(s.Remedy))
	}
	for i, c := range s.Children {
		if i == len(s.Children)-1 {
			t.step(stem+"└ ", stem+"  ", c)
		} else {
			t.step(stem+"├ ", stem+"│ ", c)
		}
	}
}

// wrap writes text in lines that fit, the first behind first and the others
// behind rest.
func (t *tree) wrap(first, rest, text string) {
	prefix, room := first, columns-width(first)
	line, used := "", 0
	flush := func() {
		t.w.WriteString(strings.TrimRight(prefix+line, " ") + "\n")
		prefix, room, line, used = rest, columns-width(rest), "", 0
	}
	for word := range strings.FieldsSeq(text) {
		for _, piece := range pieces(word, columns-width(rest)) {
			n := utf8.RuneCountInString(piece)
			if used > 0 && used+1+n > room {
				flush()
			}
			if used > 0 {
				line, used = line+" ", used+1
			}
			line, used = line+piece, used+n
		}
	}
	flush()
}

// pieces cuts a word that fits no line.
func pieces(word string, room int) []string {
	room = max(room, 8)
	var out []string
	for utf8.RuneCountInString(word) > room {
		runes := []rune(word)
		out, word = append(out, string(runes[:room])), string(runes[room:])
	}
	return append(out, word)
}

// width counts the columns of a prefix of ours, without its colours.
func width(prefix string) int {
	n, inside := 0, false
	for _, r := range prefix {
		switch {
		case r == '\x1b':
			inside = true
		case inside:
			inside = r != 'm'
		default:
			n++
		}
	}
	return n
}
