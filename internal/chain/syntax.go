package chain

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
	"unicode/utf8"
)

// A SyntaxError says where a file cannot be read. Line counts from 1; zero
// means the file as a whole.
type SyntaxError struct {
	Line int
	Msg  string
	// CutOff says that the end of a block is missing, so nothing in the file
	// can be mended.
	CutOff bool
}

func (e *SyntaxError) Error() string {
	if e.Line == 0 {
		return e.Msg
	}
	return fmt.Sprintf("line %d: %s", e.Line, e.Msg)
}

func syntaxf(line int, format string, args ...any) *SyntaxError {
	return &SyntaxError{Line: line, Msg: fmt.Sprintf(format, args...)}
}

func cutOff(line int, format string, args ...any) *SyntaxError {
	e := syntaxf(line, format, args...)
	e.CutOff = true
	return e
}

// A Block is one PEM block.
type Block struct {
	Type string
	// Line is where the block begins, counting from 1.
	Line int
	// Headers are the lines before the body, such as Proc-Type of a key that
	// is encrypted in the old way.
	Headers map[string]string
	Bytes   []byte
}

const (
	pemBegin = "-----BEGIN "
	pemEnd   = "-----END "
	pemDash  = "-----"
)

// Blocks returns the PEM blocks of data as RFC 7468 writes them. Between
// blocks only empty lines may stand: other text is an error that names the
// line, because a damaged block looks just like it.
func Blocks(data []byte) ([]Block, error) {
	if err := checkText(data); err != nil {
		return nil, err
	}
	s := &scanner{rest: data}
	var blocks []Block
	for s.next() {
		if s.text == "" {
			continue
		}
		b, err := s.block()
		if err != nil {
			return nil, err
		}
		blocks = append(blocks, b)
	}
	return blocks, nil
}

// checkText explains the encodings that are not PEM at all.
func checkText(data []byte) error {
	switch {
	case len(data) > MaxPEM:
		return syntaxf(0, "%d bytes: at most %d are read, so split the file", len(data), MaxPEM)
	case bytes.HasPrefix(data, []byte{0xff, 0xfe}), bytes.HasPrefix(data, []byte{0xfe, 0xff}):
		return syntaxf(1, "the file is UTF-16, as Windows writes it: save it as UTF-8")
	case bytes.HasPrefix(data, []byte{0xef, 0xbb, 0xbf}):
		return syntaxf(1, "the file begins with a byte order mark: save it as UTF-8 without one")
	}
	return nil
}

// A scanner walks over lines.
type scanner struct {
	rest []byte
	line int
	text string // the line without white space at its ends
}

func (s *scanner) next() bool {
	if len(s.rest) == 0 {
		return false
	}
	line, rest, _ := bytes.Cut(s.rest, []byte("\n"))
	s.rest = rest
	s.line++
	s.text = string(bytes.TrimRight(line, " \t\r"))
	return true
}

// block reads the block that begins on the present line.
func (s *scanner) block() (Block, error) {
	kind, ok := pemLine(s.text, pemBegin)
	if !ok {
		return Block{}, s.junk()
	}
	b := Block{Type: kind, Line: s.line}
	var body strings.Builder
	for s.next() {
		if end, ok := pemLine(s.text, pemEnd); ok {
			return b.decode(end, body.String(), s.line)
		}
		if strings.HasPrefix(s.text, pemDash) {
			return Block{}, cutOff(s.line, "the %s that begins on line %d has no END line before this one", kind, b.Line)
		}
		if key, value, ok := strings.Cut(s.text, ":"); ok && body.Len() == 0 {
			b.header(key, value)
			continue
		}
		if i := strings.IndexFunc(s.text, notBase64); i >= 0 {
			return Block{}, syntaxf(s.line, "%q does not occur in base64: the %s is damaged", firstRune(s.text[i:]), kind)
		}
		body.WriteString(s.text)
	}
	return Block{}, cutOff(b.Line, "the %s that begins here has no END line: the file was cut off, copy the whole file again", kind)
}

func (s *scanner) junk() error {
	if strings.HasPrefix(s.text, pemEnd) {
		return syntaxf(s.line, "an END line without a BEGIN line before it")
	}
	return syntaxf(s.line, "text outside of a PEM block: %s: delete the line, or mend the block it belonged to", Quote(s.text))
}

// pemLine returns the label of a BEGIN or END line.
func pemLine(text, prefix string) (string, bool) {
	label, ok := strings.CutPrefix(text, prefix)
	if !ok {
		return "", false
	}
	label, ok = strings.CutSuffix(label, pemDash)
	if !ok || label == "" || len(label) > 64 || strings.ContainsFunc(label, notLabel) {
		return "", false
	}
	return label, true
}

func (b *Block) header(key, value string) {
	if b.Headers == nil {
		b.Headers = map[string]string{}
	}
	b.Headers[key] = strings.TrimSpace(value)
}

func (b Block) decode(end, body string, line int) (Block, error) {
	if end != b.Type {
		return Block{}, syntaxf(line, "END %s does not fit the BEGIN %s of line %d", end, b.Type, b.Line)
	}
	der, err := base64.StdEncoding.Strict().DecodeString(body)
	if err != nil {
		return Block{}, syntaxf(b.Line, "the base64 of the %s that begins here is damaged: copy it again", b.Type)
	}
	if len(der) == 0 {
		return Block{}, syntaxf(b.Line, "the %s that begins here is empty", b.Type)
	}
	b.Bytes = der
	return b, nil
}

func notLabel(r rune) bool { return (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != ' ' }

func notBase64(r rune) bool {
	return (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '+' && r != '/' && r != '='
}

func firstRune(s string) rune {
	r, _ := utf8.DecodeRuneInString(s)
	return r
}
