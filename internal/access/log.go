package access

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/refusal"
)

// maxLine bounds a line of a log, in bytes; longer ones are no requests.
const maxLine = 64 << 10

// A Request is one line of an access log.
type Request struct {
	Time    time.Time
	Site    string
	Name    identity.Name // zero for a stranger
	Serial  string
	Address netip.Addr
	Method  string
	Path    string
	Code    refusal.Code // "" when it was let in
	Headers map[string]string
	// LeftOut is how many lines about strangers the log left out before.
	LeftOut int
}

// ReadLog returns the requests of a log that 'postern up' wrote, as text or
// JSON. Lines that tell of something else are passed over.
func ReadLog(r io.Reader) iter.Seq2[Request, error] {
	return func(yield func(Request, error) bool) {
		in := bufio.NewReaderSize(r, maxLine)
		for {
			line, err := in.ReadSlice('\n')
			switch {
			case errors.Is(err, bufio.ErrBufferFull):
				for errors.Is(err, bufio.ErrBufferFull) {
					_, err = in.ReadSlice('\n')
				}
				line = nil
			case err != nil && err != io.EOF:
				yield(Request{}, err)
				return
			}
			if q, ok := parseLine(strings.TrimSpace(string(line))); ok && !yield(q, nil) {
				return
			}
			if err != nil {
				if err != io.EOF {
					yield(Request{}, err)
				}
				return
			}
		}
	}
}

// parseLine reads one line; false for what is no request.
func parseLine(line string) (Request, bool) {
	fields := map[string]string{}
	if strings.HasPrefix(line, "{") {
		if !parseJSON(line, fields) {
			return Request{}, false
		}
	} else if !parseText(line, fields) {
		return Request{}, false
	}
	return requestOf(fields)
}

func requestOf(f map[string]string) (Request, bool) {
	q := Request{Site: f["site"], Serial: f["serial"], Method: f["method"], Path: f["path"], Code: refusal.Code(f["code"])}
	if q.Site == "" || q.Method == "" || q.Path == "" {
		return Request{}, false
	}
	var err error
	if q.Time, err = time.Parse(time.RFC3339Nano, f["time"]); err != nil {
		return Request{}, false
	}
	if n := f["id"]; n != "" {
		if q.Name, err = identity.ParseName(n); err != nil {
			return Request{}, false
		}
	}
	if ap, err := netip.ParseAddrPort(f["address"]); err == nil {
		q.Address = ap.Addr().Unmap()
	}
	q.LeftOut, _ = strconv.Atoi(f["left_out"])
	for key, value := range f {
		if name, ok := strings.CutPrefix(key, "headers."); ok {
			if q.Headers == nil {
				q.Headers = map[string]string{}
			}
			q.Headers[name] = value
		}
	}
	return q, true
}

func parseJSON(line string, to map[string]string) bool {
	var all map[string]any
	if json.Unmarshal([]byte(line), &all) != nil {
		return false
	}
	for key, value := range all {
		switch v := value.(type) {
		case string:
			to[key] = v
		case float64:
			to[key] = strconv.FormatInt(int64(v), 10)
		case map[string]any:
			for inner, text := range v {
				to[key+"."+inner] = fmt.Sprint(text)
			}
		}
	}
	return true
}

// parseText reads key=value pairs, where a value or key may be quoted as Go
// quotes strings.
func parseText(line string, to map[string]string) bool {
	for line != "" {
		key, rest, ok := token(line, '=')
		if !ok || !strings.HasPrefix(rest, "=") {
			return false
		}
		value, rest, ok := token(rest[1:], ' ')
		if !ok {
			return false
		}
		to[key] = value
		line = strings.TrimLeft(rest, " ")
	}
	return true
}

// token returns the word that s begins with, up to the end or the byte given.
func token(s string, until byte) (word, rest string, ok bool) {
	if strings.HasPrefix(s, `"`) {
		quoted, err := strconv.QuotedPrefix(s)
		if err != nil {
			return "", "", false
		}
		word, err = strconv.Unquote(quoted)
		return word, s[len(quoted):], err == nil
	}
	i := strings.IndexByte(s, until)
	if i < 0 {
		return s, "", true
	}
	return s[:i], s[i:], true
}
