package http1

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
)

// Sizes of what an Answer keeps.
const (
	roomForAnswer = 4 << 10 // head and small body, in one write
	roomForBody   = 2 << 10 // waits until its length is known
)

// An Answer is the http.ResponseWriter of a plain request, as net/http's is:
// the same status line, framing and fields, Date and Content-Type included. It
// is used by one goroutine, for one request after the other. The zero Answer
// is of no use: see NewAnswer.
type Answer struct {
	conn net.Conn
	out  []byte // to be sent
	body []byte // of unknown length, while all of it fits in here

	header  http.Header // the handler's
	status  int         // 0 until WriteHeader
	snap    http.Header // header at that time, until the head is written
	began   bool        // the head is in out, or sent
	length  int64       // of the body; -1 when unknown
	written int64       // of the body
	chunked bool
	last    bool // the connection ends with this answer
	err     error
	taken   bool // by a handler

	closing func() bool
	behind  func() []byte
	follows func(more bool)
	bulk    []byte // room for a piece of a large file
}

// NewAnswer returns what writes answers. closing reports, when a head is
// written, whether the connection ends with it; behind returns what was already
// read behind the request, when a handler takes the connection; follows is told
// when more follows each write at once, and when that is over.
func NewAnswer(closing func() bool, behind func() []byte, follows func(more bool)) *Answer {
	return &Answer{closing: closing, behind: behind, follows: follows, out: make([]byte, 0, roomForAnswer)}
}

// Begin readies a for the next request, which came on conn. With nil it lets go
// of the one before.
func (a *Answer) Begin(conn net.Conn) {
	*a = Answer{conn: conn, closing: a.closing, behind: a.behind, follows: a.follows, bulk: a.bulk, out: a.out[:0], body: a.body[:0], length: -1}
	if conn == nil {
		a.bulk = nil
		return
	}
	a.header = make(http.Header, 8)
}

// Header returns the fields that WriteHeader sends, and trailers after that.
func (a *Answer) Header() http.Header { return a.header }

// WriteHeader begins the answer. What is changed in Header afterwards only
// counts for trailers. Interim answers are sent at once.
func (a *Answer) WriteHeader(status int) {
	switch {
	case a.status != 0 || a.taken:
		return // superfluous, as with net/http
	case status < 100 || status > 999:
		panic("http1: no status: " + strconv.Itoa(status))
	case status < 200:
		a.interim(status)
		return
	}
	a.status = status
	if v := a.header["Content-Length"]; len(v) > 0 {
		n, err := strconv.ParseInt(v[0], 10, 64)
		if err != nil || n < 0 {
			delete(a.header, "Content-Length")
		} else {
			a.length = n
		}
	}
	_, typed := a.header["Content-Type"]
	if !a.bodyAllowed() || a.length >= 0 && (typed || a.length == 0) {
		a.head(a.header, nil)
		return
	}
	a.snap = a.header.Clone()
}

// interim sends an answer that is not the last one, such as 103.
func (a *Answer) interim(status int) {
	a.out = appendStatus(a.out, status)
	for name, values := range a.header {
		if name != "Content-Length" && name != "Transfer-Encoding" {
			a.out = appendField(a.out, name, values)
		}
	}
	a.out = append(a.out, "\r\n"...)
	a.send()
}

// bodyAllowed is RFC 9110 section 6.4.1.
func (a *Answer) bodyAllowed() bool {
	return a.status >= 200 && a.status != http.StatusNoContent && a.status != http.StatusNotModified
}

// head writes the head with the fields in h. first is the beginning of the
// body, of which its type is guessed when it has none.
func (a *Answer) head(h http.Header, first []byte) {
	a.began = true
	a.snap = nil
	a.chunked = a.length < 0 && a.bodyAllowed()
	says := httpguts.HeaderValuesContainsToken(h["Connection"], "close")
	announced := h["Trailer"]
	a.last = says || a.closing()
	a.out = appendStatus(a.out, a.status)
	for name, values := range h {
		switch name {
		case "Transfer-Encoding", "Content-Length":
			continue // written below
		case "Connection":
			if a.last && !says {
				continue
			}
		case "Content-Type":
			if a.status == http.StatusNotModified {
				continue
			}
		default:
			if strings.HasPrefix(name, http.TrailerPrefix) || announced != nil && httpguts.HeaderValuesContainsToken(announced, name) {
				continue
			}
		}
		a.out = appendField(a.out, name, values)
	}
	a.supplement(h, first, says)
	a.out = append(a.out, "\r\n"...)
}

// supplement writes the fields that a handler may leave to the server.
func (a *Answer) supplement(h http.Header, first []byte, says bool) {
	if _, dated := h["Date"]; !dated {
		a.out = append(a.out, "Date: "...)
		a.out = time.Now().UTC().AppendFormat(a.out, http.TimeFormat)
		a.out = append(a.out, "\r\n"...)
	}
	if a.chunked {
		a.out = append(a.out, "Transfer-Encoding: chunked\r\n"...)
	} else if a.bodyAllowed() {
		a.out = append(a.out, "Content-Length: "...)
		a.out = strconv.AppendInt(a.out, a.length, 10)
		a.out = append(a.out, "\r\n"...)
	}
	if _, typed := h["Content-Type"]; !typed && len(first) > 0 && h.Get("Content-Encoding") == "" && h.Get("Transfer-Encoding") == "" {
		a.out = append(a.out, "Content-Type: "...)
		a.out = append(a.out, http.DetectContentType(first)...)
		a.out = append(a.out, "\r\n"...)
	}
	if a.last && !says {
		a.out = append(a.out, "Connection: close\r\n"...)
	}
}

// Write sends b as a part of the body.
func (a *Answer) Write(b []byte) (int, error) {
	if a.taken {
		return 0, http.ErrHijacked
	}
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	switch {
	case len(b) == 0:
		return 0, nil
	case !a.bodyAllowed():
		return 0, http.ErrBodyNotAllowed
	}
	if a.written += int64(len(b)); a.length >= 0 && a.written > a.length {
		return 0, http.ErrContentLength
	}
	if !a.began {
		if a.length < 0 && len(a.body)+len(b) <= roomForBody {
			a.body = append(a.body, b...)
			return len(b), nil
		}
		a.begin(b)
	}
	a.emit(b)
	return len(b), a.err
}

// begin writes the head and the body so far; first is what comes next, if
// there is none.
func (a *Answer) begin(first []byte) {
	waiting := a.body
	if len(waiting) > 0 {
		first = waiting
	}
	a.head(a.snap, first)
	a.body = a.body[:0]
	a.emit(waiting)
}

// emit sends a piece of the body in its framing, or has it wait for more if it
// is small.
func (a *Answer) emit(b []byte) {
	if len(b) == 0 {
		return
	}
	if a.chunked {
		a.out = strconv.AppendInt(a.out, int64(len(b)), 16)
		a.out = append(a.out, "\r\n"...)
	}
	if len(b) <= cap(a.out)-len(a.out)-len("\r\n") {
		a.out = append(a.out, b...)
	} else {
		a.send()
		if len(b) < roomForAnswer/2 {
			a.out = append(a.out, b...)
		} else {
			a.put(b)
		}
	}
	if a.chunked {
		a.out = append(a.out, "\r\n"...)
	}
}

// send sends what waits.
func (a *Answer) send() {
	if len(a.out) > 0 {
		a.put(a.out)
	}
	if cap(a.out) > 4*roomForAnswer { // a very large head
		a.out = make([]byte, 0, roomForAnswer)
	}
	a.out = a.out[:0]
}

func (a *Answer) put(b []byte) {
	if a.err == nil {
		_, a.err = a.conn.Write(b)
	}
}

// ReadFrom sends what r has to say as a part of the body.
func (a *Answer) ReadFrom(r io.Reader) (n int64, err error) {
	limited, ok := r.(*io.LimitedReader)
	if !ok || limited.N < bulk {
		return io.Copy(writerOnly{a}, r)
	}
	if a.bulk == nil {
		a.bulk = make([]byte, bulk)
	}
	defer a.follows(false)
	for {
		read, readErr := limited.Read(a.bulk)
		if read > 0 {
			a.follows(limited.N > 0 && readErr == nil)
			written, err := a.Write(a.bulk[:read])
			if n += int64(written); err != nil {
				return n, err
			}
		}
		switch {
		case readErr == io.EOF:
			return n, nil
		case readErr != nil:
			return n, readErr
		}
	}
}

// bulk is how much of a large file is sent at once.
const bulk = 64 << 10

type writerOnly struct{ io.Writer }

// Flush sends what was written so far.
func (a *Answer) Flush() { a.FlushError() }

// FlushError is Flush for http.ResponseController.
func (a *Answer) FlushError() error {
	if a.taken {
		return http.ErrHijacked
	}
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	if !a.began {
		a.begin(nil)
	}
	a.send()
	return a.err
}

// SetWriteDeadline is for http.ResponseController.
func (a *Answer) SetWriteDeadline(t time.Time) error { return a.conn.SetWriteDeadline(t) }

// Hijack hands the connection to the handler.
func (a *Answer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if a.taken {
		return nil, nil, http.ErrHijacked
	}
	a.send()
	a.taken = true
	left := a.behind()
	a.conn.SetDeadline(time.Time{})
	r := bufio.NewReader(io.MultiReader(strings.NewReader(string(left)), a.conn))
	if len(left) > 0 {
		r.Peek(len(left))
	}
	return a.conn, bufio.NewReadWriter(r, bufio.NewWriter(a.conn)), nil
}

// Taken reports whether a handler has taken the connection.
func (a *Answer) Taken() bool { return a.taken }

var errLength = errors.New("the handler wrote more or less than the Content-Length that it declared")

// End ends the answer, once the handler is done, and reports whether another
// request may follow on the connection. On an error the connection has to be
// ended at once.
func (a *Answer) End() (more bool, err error) {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	if !a.began {
		if a.length < 0 && len(a.snap["Trailer"]) == 0 && !a.hasTrailers() {
			a.length = int64(len(a.body))
		}
		a.begin(nil)
	}
	if a.chunked {
		a.out = append(a.out, "0\r\n"...)
		a.trailer()
		a.out = append(a.out, "\r\n"...)
	}
	a.send()
	if a.err == nil && a.length >= 0 && a.bodyAllowed() && a.written != a.length {
		a.err = errLength
	}
	return !a.last && a.err == nil, a.err
}

func (a *Answer) hasTrailers() bool {
	for name := range a.header {
		if strings.HasPrefix(name, http.TrailerPrefix) {
			return true
		}
	}
	return false
}

// trailer writes the fields behind a chunked body: those that were announced,
// and those that a handler marks as such.
func (a *Answer) trailer() {
	for name, values := range a.header {
		if marked, ok := strings.CutPrefix(name, http.TrailerPrefix); ok {
			a.out = appendField(a.out, marked, values)
		} else if httpguts.ValidTrailerHeader(name) && httpguts.HeaderValuesContainsToken(a.header["Trailer"], name) {
			a.out = appendField(a.out, name, values)
		}
	}
}

// appendStatus writes a status line.
func appendStatus(b []byte, status int) []byte {
	if status == http.StatusOK {
		return append(b, "HTTP/1.1 200 OK\r\n"...)
	}
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, ' ')
	if text := http.StatusText(status); text != "" {
		b = append(b, text...)
	} else {
		b = append(b, "status code "...)
		b = strconv.AppendInt(b, int64(status), 10)
	}
	return append(b, "\r\n"...)
}

// appendField writes a field once for each value. One whose name is none is
// left out, and in a value nothing ends the line, as with net/http.
func appendField(b []byte, name string, values []string) []byte {
	if !isName(name) {
		return b
	}
	for _, v := range values {
		b = append(b, name...)
		b = append(b, ": "...)
		if strings.IndexByte(v, '\n') >= 0 || strings.IndexByte(v, '\r') >= 0 {
			v = onOneLine.Replace(v)
		}
		b = append(b, textproto.TrimString(v)...)
		b = append(b, "\r\n"...)
	}
	return b
}

func isName(name string) bool {
	for i := range len(name) {
		if kinds[name[i]]&inName == 0 {
			return httpguts.ValidHeaderFieldName(name)
		}
	}
	return name != ""
}

var onOneLine = strings.NewReplacer("\n", " ", "\r", " ")
