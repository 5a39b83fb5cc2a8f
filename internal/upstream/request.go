package upstream

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// appendHead appends r's head to b as it goes to the application: the target
// in its plain encoding with the query byte for byte, and no field that is
// between the client and us.
func (x *leanExchange) appendHead(b []byte, r *http.Request) ([]byte, error) {
	b = append(b, r.Method...)
	b = append(b, ' ')
	target := len(b)
	b = append(b, r.URL.EscapedPath()...)
	if r.URL.ForceQuery || r.URL.RawQuery != "" {
		b = append(b, '?')
		b = append(b, r.URL.RawQuery...)
	}
	if !httpguts.ValidHeaderFieldName(r.Method) || len(b) == target || b[target] != '/' || !visible(b[target:]) {
		return nil, fmt.Errorf("request line %.80q", b)
	}
	b = append(b, " HTTP/1.1\r\n"...)
	host := r.Host
	if host == "" {
		host = x.upstream.host
	}
	b = appendField(b, "Host", host)
	if !validValue(host) {
		return nil, fmt.Errorf("host %.80q", host)
	}
	connection := r.Header["Connection"]
	for name, values := range r.Header {
		if hopByHop(name) || connection != nil && !slices.Contains(owned[:], name) && listed(connection, name) {
			continue
		}
		if !httpguts.ValidHeaderFieldName(name) {
			return nil, fmt.Errorf("header field %.80q", name)
		}
		for _, v := range values {
			if !validValue(v) {
				return nil, fmt.Errorf("the value of header field %.80q", name)
			}
			b = appendField(b, name, v)
		}
	}
	if te := r.Header["Te"]; te != nil && listed(te, "trailers") {
		b = append(b, "Te: trailers\r\n"...)
	}
	if x.upgrade {
		b = append(b, "Connection: Upgrade\r\nUpgrade: websocket\r\n"...)
	}
	b, err := x.appendFraming(b, r)
	return append(b, '\r', '\n'), err
}

// appendFraming says how the body is told (RFC 9112 section 6).
func (x *leanExchange) appendFraming(b []byte, r *http.Request) ([]byte, error) {
	switch {
	case x.noBody():
		switch r.Method {
		case http.MethodPost, http.MethodPut, http.MethodPatch: // RFC 9110 section 8.6
			b = append(b, "Content-Length: 0\r\n"...)
		}
		return b, nil
	case r.ContentLength > 0:
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, r.ContentLength, 10)
		return append(b, '\r', '\n'), nil
	}
	b = append(b, "Transfer-Encoding: chunked\r\n"...)
	if len(r.Trailer) > 0 {
		names := make([]string, 0, len(r.Trailer))
		for name := range r.Trailer {
			if !httpguts.ValidTrailerHeader(name) || !httpguts.ValidHeaderFieldName(name) {
				return nil, fmt.Errorf("%.80q announced as a trailer", name)
			}
			names = append(names, name)
		}
		slices.Sort(names)
		x.announced = names
		b = appendField(b, "Trailer", strings.Join(names, ", "))
	}
	return b, nil
}

func (x *leanExchange) noBody() bool {
	return x.in.Body == nil || x.in.Body == http.NoBody || x.in.ContentLength == 0
}

func appendField(b []byte, name, value string) []byte {
	b = append(b, name...)
	b = append(b, ": "...)
	b = append(b, value...)
	return append(b, '\r', '\n')
}

// visible reports whether b has only letters that a request line may hold.
func visible(b []byte) bool {
	for _, c := range b {
		if c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return true
}

// hopByHop reports whether a field is between the client and us only, or is
// written by us (RFC 9110 section 7.6.1).
func hopByHop(name string) bool {
	switch name {
	case "Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer",
		"Transfer-Encoding", "Upgrade", "Content-Length", "Host":
		return true
	}
	return false
}

// listed reports whether a list of names has the one given.
func listed(values []string, name string) bool {
	for _, v := range values {
		for item := range strings.SplitSeq(v, ",") {
			item, _, _ = strings.Cut(item, ";")
			if strings.EqualFold(textproto.TrimString(item), name) {
				return true
			}
		}
	}
	return false
}

// maxInline is the size up to which a body is read before the application is
// asked: it then goes in one piece with the head, needs no goroutine, and the
// application never waits for a slow client.
const maxInline = 16 << 10

// inline reads a small body to the end of b, and reports false for one that
// has to be sent as it comes.
func (x *leanExchange) inline(b []byte) (whole []byte, complete bool, err error) {
	n := x.in.ContentLength
	switch {
	case x.noBody():
		return b, true, nil
	case n < 0 || n > maxInline || x.expects():
		return b, false, nil
	}
	start := len(b)
	b = slices.Grow(b, int(n))[:start+int(n)]
	if _, err := io.ReadFull(x.in.Body, b[start:]); err != nil {
		return b, false, &bodyError{unexpected(err)}
	}
	return b, true, nil
}

// expects reports whether the client waits with its body until it is asked for
// it.
func (x *leanExchange) expects() bool {
	return listed(x.in.Header["Expect"], "100-continue")
}

// A bodyError is a client's body that could not be read.
type bodyError struct{ err error }

func (e *bodyError) Error() string { return "request body: " + e.err.Error() }
func (e *bodyError) Unwrap() error { return e.err }

// copyBody sends the client's body as it comes, no faster than the application
// takes it.
func (x *leanExchange) copyBody(l *link) error {
	buffer := x.upstream.buffers.Get()
	defer x.upstream.buffers.Put(buffer)
	chunks := x.in.ContentLength < 0
	const room = 16 // for a chunk's size
	for left := x.in.ContentLength; chunks || left > 0; {
		piece := buffer[room : len(buffer)-2]
		if !chunks {
			piece = piece[:min(int64(len(piece)), left)]
		}
		n, err := x.in.Body.Read(piece)
		left -= int64(n)
		if n > 0 {
			if sendErr := writePiece(l, buffer, room, n, chunks); sendErr != nil {
				return sendErr
			}
		}
		switch {
		case err == io.EOF && chunks:
			return x.endChunks(l)
		case err == io.EOF && left > 0:
			return &bodyError{io.ErrUnexpectedEOF}
		case err != nil && err != io.EOF:
			return &bodyError{err}
		}
	}
	// what is read past the end makes the trailer of a request known to the
	// server and costs nothing
	return nil
}

// writePiece sends buffer[at:at+n], as a chunk or as it is.
func writePiece(l *link, buffer []byte, at, n int, chunk bool) error {
	if !chunk {
		_, err := l.Write(buffer[at : at+n])
		return err
	}
	size := strconv.AppendInt(make([]byte, 0, 16), int64(n), 16)
	start := at - len(size) - 2
	copy(buffer[start:], size)
	copy(buffer[at-2:], "\r\n")
	copy(buffer[at+n:], "\r\n")
	_, err := l.Write(buffer[start : at+n+2])
	return err
}

// endChunks sends the last chunk and those trailers that were announced and
// that the caller left.
func (x *leanExchange) endChunks(l *link) error {
	var b bytes.Buffer
	b.WriteString("0\r\n")
	for _, name := range x.announced {
		for _, v := range x.in.Trailer[name] {
			if !validValue(v) {
				return &bodyError{fmt.Errorf("the value of trailer %.80q", name)}
			}
			b.Write(appendField(nil, name, v))
		}
	}
	b.WriteString("\r\n")
	_, err := l.Write(b.Bytes())
	return err
}
