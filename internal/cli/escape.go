package cli

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// clean returns s with everything that a terminal would not print as a letter
// written out, so that a name or an answer from outside cannot move the
// cursor, change colours or forge a line.
func clean(s string) string {
	plain := func(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }
	if !strings.ContainsFunc(s, plain) {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD"):
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			quoted := strconv.QuoteRuneToASCII(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
	}
	return b.String()
}

// cleaned returns the arguments of a format with every text cleaned.
func cleaned(args []any) []any {
	safe := make([]any, len(args))
	for i, a := range args {
		switch a := a.(type) {
		case string:
			safe[i] = clean(a)
		case error:
			safe[i] = clean(a.Error())
		case fmt.Stringer:
			safe[i] = clean(a.String())
		default:
			safe[i] = a
		}
	}
	return safe
}

// say writes one line of a result, its arguments cleaned.
func say(w io.Writer, format string, args ...any) {
	fmt.Fprintf(w, format+"\n", cleaned(args)...)
}

// An escaper passes JSON on with the letters written out that a terminal
// would obey. They can only stand inside strings, so the JSON stays the same.
type escaper struct{ w io.Writer }

func (e escaper) Write(p []byte) (int, error) {
	var b strings.Builder
	for _, r := range string(p) {
		switch {
		case r == '\n' || unicode.IsPrint(r):
			b.WriteRune(r)
		case r > 0xffff:
			hi, lo := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, hi, lo)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	if _, err := io.WriteString(e.w, b.String()); err != nil {
		return 0, err
	}
	return len(p), nil
}

// A screen is what stands before a terminal: whatever is written, it shows
// letters, ends of lines and the colours that our own texts have. What comes
// from outside is cleaned before; this is for the place where somebody forgot.
type screen struct{ w io.Writer }

func (s screen) Write(p []byte) (int, error) {
	var b strings.Builder
	text := string(p)
	for len(text) > 0 {
		if n := colourAt(text); n > 0 {
			b.WriteString(text[:n])
			text = text[n:]
			continue
		}
		_, n := utf8.DecodeRuneInString(text)
		if text[0] == '\n' || text[0] == '\t' {
			b.WriteByte(text[0])
		} else {
			b.WriteString(clean(text[:n]))
		}
		text = text[n:]
	}
	if _, err := io.WriteString(s.w, b.String()); err != nil {
		return 0, err
	}
	return len(p), nil
}

// colourAt returns how long the sequence is with which text begins, if all it
// does is to set a colour; otherwise 0.
func colourAt(text string) int {
	rest, ok := strings.CutPrefix(text, "\x1b[")
	if !ok {
		return 0
	}
	n := strings.IndexFunc(rest, func(r rune) bool { return r != ';' && (r < '0' || r > '9') })
	if n < 0 || n > 16 || rest[n] != 'm' {
		return 0
	}
	return len("\x1b[") + n + 1
}
