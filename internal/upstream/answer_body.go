package upstream

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// Bounds of what goes along with a chunked body.
const (
	maxChunkLine = 256
	maxTrailer   = 64 << 10
)

// An answerBody is the body of one answer on its way to the client.
type answerBody struct {
	link    *link
	framing framing
	left    int64 // of the body, or of the chunk
	inChunk bool
	trailer []field // after a chunked body
}

// relay hands the body to w as it comes; it borrows a buffer from lend when the
// link's own is too small. In prompt answers nothing that is there waits for
// what is not.
func (b *answerBody) relay(w http.ResponseWriter, prompt bool, lend *buffers) error {
	var big []byte
	defer func() {
		if big != nil {
			lend.Put(big)
		}
	}()
	for fresh := false; ; fresh = true { // fresh: something may wait for a flush
		if fresh && prompt && !b.ready() {
			if err := http.NewResponseController(w).Flush(); err != nil {
				return &clientError{err}
			}
		}
		piece, done, err := b.next()
		if err != nil || done {
			return err
		}
		if len(piece) > 0 {
			if _, err := w.Write(piece); err != nil {
				return &clientError{err}
			}
			b.take(len(piece))
			continue
		}
		if big == nil {
			big = lend.Get()
		}
		n, err := b.more(big)
		if n > 0 {
			if _, err := w.Write(big[:n]); err != nil {
				return &clientError{err}
			}
		}
		switch {
		case err == io.EOF && b.framing == byEnd:
			return nil
		case err != nil:
			return unexpected(err)
		}
	}
}

// ready reports whether what comes next was read already.
func (b *answerBody) ready() bool {
	have := b.link.buffered(1 << 30)
	if b.framing != byChunks || b.left > 0 {
		return len(have) > 0 || b.framing == empty || b.framing == byLength && b.left == 0
	}
	if b.inChunk {
		have = have[min(2, len(have)):] // the end of the chunk before
	}
	return bytes.IndexByte(have, '\n') >= 0
}

// A clientError is a client that does not take the answer.
type clientError struct{ err error }

func (e *clientError) Error() string { return "write to the client: " + e.err.Error() }
func (e *clientError) Unwrap() error { return e.err }

// next returns what is there of the body already, or that there is no more.
func (b *answerBody) next() (piece []byte, done bool, err error) {
	switch b.framing {
	case empty:
		return nil, true, nil
	case byLength:
		return b.link.buffered(b.left), b.left == 0, nil
	case byEnd:
		return b.link.buffered(1 << 30), false, nil
	}
	if b.left == 0 {
		if err := b.nextChunk(); err != nil {
			return nil, false, err
		}
		if b.framing == empty {
			return nil, true, nil
		}
	}
	return b.link.buffered(b.left), false, nil
}

// take says that n bytes of the link's buffer were used.
func (b *answerBody) take(n int) {
	b.link.skip(n)
	if b.framing != byEnd {
		b.left -= int64(n)
	}
}

// more reads past the link's buffer, which is empty.
func (b *answerBody) more(into []byte) (int, error) {
	if b.framing == byEnd {
		return b.link.conn.Read(into)
	}
	n, err := b.link.conn.Read(into[:min(int64(len(into)), b.left)])
	b.left -= int64(n)
	if n > 0 && err == io.EOF {
		err = nil // found again, if it matters
	}
	return n, err
}

// nextChunk reads the size of the next chunk, and after the last one the
// trailer (RFC 9112 section 7.1).
func (b *answerBody) nextChunk() error {
	if b.inChunk {
		end, err := b.link.line(2)
		if err != nil {
			return err
		}
		if len(end) != 0 {
			return errors.New("malformed HTTP: a chunk is longer than its size")
		}
	}
	line, err := b.link.line(maxChunkLine)
	if err != nil {
		return err
	}
	size, ok := chunkSize(line)
	if !ok {
		return fmt.Errorf("malformed HTTP: chunk size %.40q", line)
	}
	b.left, b.inChunk = size, true
	if size == 0 {
		b.framing = empty
		return b.readTrailer()
	}
	return nil
}

// chunkSize reads hexadecimal digits, behind which an extension may stand.
func chunkSize(line []byte) (n int64, ok bool) {
	digits := 0
	for ; digits < len(line); digits++ {
		d, ok := hexDigit(line[digits])
		if !ok {
			break
		}
		if digits == 15 {
			return 0, false
		}
		n = n<<4 | int64(d)
	}
	rest := line[digits:]
	return n, digits > 0 && (len(rest) == 0 || rest[0] == ';' && validValue(string(rest)))
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10, true
	}
	return 0, false
}

func (b *answerBody) readTrailer() error {
	for size := 0; ; {
		line, err := b.link.line(maxTrailer)
		if err != nil {
			return err
		}
		if len(line) == 0 {
			return nil
		}
		if size += len(line); size > maxTrailer {
			return fmt.Errorf("malformed HTTP: the trailer exceeded %d bytes", maxTrailer)
		}
		f, err := parseField(string(line))
		if err != nil {
			return fmt.Errorf("malformed HTTP: trailer: %w", err)
		}
		b.trailer = append(b.trailer, f)
	}
}

// announced returns the names that the head's Trailer fields list, canonical.
func announced(h *answerHead) (names []string, err error) {
	for _, v := range h.all("Trailer") {
		for name := range strings.SplitSeq(v, ",") {
			name = http.CanonicalHeaderKey(strings.TrimSpace(name))
			switch {
			case name == "":
			case !httpguts.ValidTrailerHeader(name):
				return nil, fmt.Errorf("malformed HTTP: %s announced as a trailer", name)
			case !slices.Contains(names, name):
				names = append(names, name)
			}
		}
	}
	return names, nil
}

// passTrailer writes the trailer behind the body. Fields that would change
// what the message is are left out (RFC 9110 section 6.5.1).
func (b *answerBody) passTrailer(w http.ResponseWriter, announced []string) {
	if len(b.trailer) == 0 {
		return
	}
	http.NewResponseController(w).Flush() // so that the body is chunked, and can have one
	for _, f := range b.trailer {
		if !httpguts.ValidTrailerHeader(f.name) {
			continue
		}
		name := f.name
		if !slices.Contains(announced, name) {
			name = http.TrailerPrefix + name
		}
		w.Header()[name] = append(w.Header()[name], f.value)
	}
}
