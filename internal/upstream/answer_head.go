package upstream

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
)

// Bounds of an answer's header.
const (
	maxAnswerHeader = 1 << 20
	maxAnswerFields = 1000
	maxInterim      = 8 // interim answers before the final one
)

// A field is one line of a header, its value without the space around it.
type field struct{ name, value string }

// How the end of an answer's body is told (RFC 9112 section 6.3).
type framing uint8

const (
	empty    framing = iota // there is none
	byLength                // by Content-Length
	byChunks                // by the last chunk
	byEnd                   // by the end of the connection
)

// An answerHead is an answer's status line and header, read strictly: what two
// programs might read differently is an error.
type answerHead struct {
	status  int
	framing framing
	length  int64    // when byLength
	fields  []field  // as they came, the link's until its next head
	remove  []string // names that Connection lists, besides those that never pass
	last    bool     // the connection ends with this answer
	prompt  bool     // unknown length or events: each piece goes on at once
}

// readHead reads the next head, which has to be there by the deadline of l.
// method is that of the request.
func (l *link) readHead(method string) (h answerHead, err error) {
	end, err := l.headEnd()
	if err != nil {
		return h, err
	}
	text := string(l.in[l.r:end]) // one string, of which all names and values are parts
	l.r = end
	if err := h.parse(l, text, method); err != nil {
		return h, fmt.Errorf("malformed HTTP: %w", err)
	}
	return h, nil
}

// headEnd reads until there is a whole head and returns where it ends. What
// cannot become one is an error at once.
func (l *link) headEnd() (int, error) {
	const opening = "HTTP/1."
	for seen := 0; ; {
		have := l.in[l.r:l.w]
		if n := min(len(have), len(opening)); string(have[:n]) != opening[:n] {
			return 0, fmt.Errorf("malformed HTTP: the answer begins with %.20q", have)
		}
		for {
			at := bytes.IndexByte(have[seen:], '\n')
			if at < 0 {
				break
			}
			at += seen
			if at == 0 || have[at-1] != '\r' {
				return 0, errBareLF
			}
			if at >= 3 && have[at-2] == '\n' {
				return l.r + at + 1, nil
			}
			seen = at + 1
		}
		if err := l.fill(maxAnswerHeader); err != nil {
			if len(have) > 0 {
				err = unexpected(err)
			}
			return 0, err
		}
	}
}

func (h *answerHead) parse(l *link, text, method string) error {
	line, rest, _ := strings.Cut(text, "\r\n")
	minor, err := h.statusLine(line)
	if err != nil {
		return err
	}
	l.fields = l.fields[:0]
	for n := 0; ; n++ {
		line, rest, _ = strings.Cut(rest, "\r\n")
		if line == "" {
			break
		}
		if n == maxAnswerFields {
			return fmt.Errorf("more than %d header fields", maxAnswerFields)
		}
		f, err := parseField(line)
		if err != nil {
			return err
		}
		l.fields = append(l.fields, f)
	}
	h.fields = l.fields
	return h.frame(minor, method)
}

// statusLine reads "HTTP/1.1 200 OK" (RFC 9112 section 4).
func (h *answerHead) statusLine(s string) (minor byte, err error) {
	const form = "HTTP/1.x 123"
	if len(s) < len(form) || s[8] != ' ' || s[7] != '0' && s[7] != '1' || len(s) > len(form) && s[len(form)] != ' ' {
		return 0, fmt.Errorf("status line %.40q", s)
	}
	for _, c := range []byte(s[9:12]) {
		if c < '0' || c > '9' {
			return 0, fmt.Errorf("status line %.40q", s)
		}
		h.status = 10*h.status + int(c-'0')
	}
	if h.status < 100 || !validValue(s[len(form):]) {
		return 0, fmt.Errorf("status line %.40q", s)
	}
	return s[7], nil
}

// parseField reads "Name: value" (RFC 9112 section 5). A line that goes on
// with the one before (obs-fold) begins with a space, which is in no name.
func parseField(line string) (field, error) {
	name, value, ok := strings.Cut(line, ":")
	if !ok || !httpguts.ValidHeaderFieldName(name) {
		return field{}, fmt.Errorf("header line %.40q", line)
	}
	value = strings.Trim(value, " \t") // no CR: a trailing one is a byte too many
	if !validValue(value) {
		return field{}, fmt.Errorf("the value of header field %.40q", name)
	}
	return field{canonicalField(name), value}, nil
}

// validValue reports whether s holds no control character but tabs (RFC 9110
// section 5.5).
func validValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// canonicalField is http.CanonicalHeaderKey without a look at what is right
// already.
func canonicalField(name string) string {
	upper := true
	for i := range len(name) {
		c := name[i]
		if upper && 'a' <= c && c <= 'z' || !upper && 'A' <= c && c <= 'Z' {
			return textproto.CanonicalMIMEHeaderKey(name)
		}
		upper = c == '-'
	}
	return name
}

var errTwoLengths = errors.New("more than one Content-Length, or one beside Transfer-Encoding")

// frame learns where the body ends, or that nobody can tell for sure.
func (h *answerHead) frame(minor byte, method string) error {
	lengths, codings, keep := 0, 0, false
	h.last = minor == '0'
	for _, f := range h.fields {
		switch f.name {
		case "Content-Length":
			n, ok := decimal(f.value)
			if !ok {
				return fmt.Errorf("Content-Length %.40q", f.value)
			}
			h.length = n
			lengths++
		case "Transfer-Encoding":
			if !strings.EqualFold(f.value, "chunked") || minor == '0' {
				return fmt.Errorf("Transfer-Encoding %.40q", f.value)
			}
			codings++
		case "Connection":
			for option := range strings.SplitSeq(f.value, ",") {
				option = textproto.TrimString(option)
				switch {
				case strings.EqualFold(option, "close"):
					h.last = true
				case strings.EqualFold(option, "keep-alive"):
					keep = true
				case option != "":
					h.remove = append(h.remove, http.CanonicalHeaderKey(option))
				}
			}
		case "Content-Type":
			h.prompt = h.prompt || strings.HasPrefix(f.value, "text/event-stream")
		}
	}
	if minor == '0' && keep {
		h.last = false
	}
	if lengths+codings > 1 {
		return errTwoLengths
	}
	switch {
	case h.status < 200 || h.status == http.StatusNoContent: // RFC 9110 section 8.6, RFC 9112 section 6.1
		if codings > 0 || h.length > 0 {
			return fmt.Errorf("a body in an answer with status %d", h.status)
		}
	case method == http.MethodHead || h.status == http.StatusNotModified:
	case codings > 0:
		h.framing, h.prompt = byChunks, true
	case lengths > 0:
		if h.length > 0 {
			h.framing = byLength
		}
	default:
		h.framing, h.last, h.prompt = byEnd, true, true
	}
	return nil
}

// decimal reads digits and nothing else, up to 2⁶³-1.
func decimal(s string) (n int64, ok bool) {
	if s == "" || len(s) > 19 {
		return 0, false
	}
	for i := range len(s) {
		c := s[i]
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int64(c-'0')
		if n < 0 {
			return 0, false
		}
	}
	return n, true
}

// passes reports whether a field of an answer goes on to the client: what is
// between us and the application does not (RFC 9110 section 7.6.1).
func (h *answerHead) passes(f field) bool {
	switch f.name {
	case "Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer",
		"Transfer-Encoding", "Upgrade":
		return false
	case "Content-Length":
		return h.status >= 200 && h.status != http.StatusNoContent
	}
	for _, name := range h.remove {
		if name == f.name {
			return false
		}
	}
	return true
}

// copyTo adds the fields that pass to out.
func (h *answerHead) copyTo(out http.Header) {
	values := make([]string, 0, len(h.fields)) // one allocation for all
	for _, f := range h.fields {
		if !h.passes(f) {
			continue
		}
		values = append(values, f.value)
		n := len(values)
		if before, ok := out[f.name]; ok {
			out[f.name] = append(before[:len(before):len(before)], f.value)
		} else {
			out[f.name] = values[n-1 : n : n]
		}
	}
}

// all returns the values of a field.
func (h *answerHead) all(name string) (values []string) {
	for _, f := range h.fields {
		if f.name == name {
			values = append(values, f.value)
		}
	}
	return values
}

// slackOf is by how much a deadline may be late to spare setting one anew.
func slackOf(limit time.Duration) time.Duration { return limit / 4 }
