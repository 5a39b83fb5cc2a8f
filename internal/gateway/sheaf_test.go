package gateway

import (
	"bytes"
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// frames returns frames as they are written, each a header and a payload.
func framesOf(t *testing.T, write func(*http2.Framer)) []byte {
	t.Helper()
	var b bytes.Buffer
	write(http2.NewFramer(&b, nil))
	return b.Bytes()
}

// A head is kept back when something of its stream follows, however the frames
// are cut into writes; nothing else ever is.
func TestASheafKnowsAHeadThatIsNotTheEnd(t *testing.T) {
	head := func(end, whole bool) func(*http2.Framer) {
		return func(f *http2.Framer) {
			f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte("block"), EndStream: end, EndHeaders: whole})
		}
	}
	data := func(f *http2.Framer) { f.WriteData(1, false, []byte("\x00\x00\x05\x01\x04\x00\x00\x00\x01hello")) }
	for name, c := range map[string]struct {
		frames []func(*http2.Framer)
		waits  bool
	}{
		"a head":                          {[]func(*http2.Framer){head(false, true)}, true},
		"a head that is all":              {[]func(*http2.Framer){head(true, true)}, false},
		"a head that goes on":             {[]func(*http2.Framer){head(false, false)}, false},
		"a body":                          {[]func(*http2.Framer){data}, false},
		"a body and a head":               {[]func(*http2.Framer){data, head(false, true)}, true},
		"a head and its body":             {[]func(*http2.Framer){head(false, true), data}, false},
		"settings":                        {[]func(*http2.Framer){func(f *http2.Framer) { f.WriteSettings() }}, false},
		"an empty body, then a head":      {[]func(*http2.Framer){func(f *http2.Framer) { f.WriteData(1, true, nil) }, head(false, true)}, true},
		"a head, then the end of another": {[]func(*http2.Framer){head(false, true), func(f *http2.Framer) { f.WriteRSTStream(3, http2.ErrCodeNo) }}, false},
	} {
		b := framesOf(t, func(f *http2.Framer) {
			for _, write := range c.frames {
				write(f)
			}
		})
		for cut := range len(b) {
			s := new(sheaf)
			s.follow(b[:cut])
			if got := s.follow(b[cut:]); got != c.waits && cut <= len(b)-frameHeader-len("block") {
				t.Errorf("%s, cut at %d of %d: waits is %v", name, cut, len(b), got)
			} else if got && !c.waits {
				t.Errorf("%s, cut at %d of %d, is kept back", name, cut, len(b))
			}
			if s.left != 0 || len(s.head) != 0 {
				t.Errorf("%s, cut at %d: %d bytes are left of a frame", name, cut, s.left)
			}
		}
	}
}

// A rawH2 speaks HTTP/2 frame by frame.
type rawH2 struct {
	*testing.T
	conn   *tls.Conn
	framer *http2.Framer
}

func openRawH2(t *testing.T, h *house, settings ...http2.Setting) *rawH2 {
	config := h.w.clientTLS(h.w.enrol("ben"), "a.example.com")
	config.NextProtos = []string{"h2"}
	conn := h.mustDial(config)
	conn.SetDeadline(time.Now().Add(60 * time.Second))
	_, err := io.WriteString(conn, http2.ClientPreface)
	must(t, err)
	c := &rawH2{t, conn, http2.NewFramer(conn, conn)}
	must(t, c.framer.WriteSettings(settings...))
	return c
}

func (c *rawH2) ask(id uint32) {
	c.Helper()
	var block strings.Builder
	enc := hpack.NewEncoder(&block)
	for _, f := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":path", "/"}, {":authority", "a.example.com"}} {
		must(c.T, enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}))
	}
	must(c.T, c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: []byte(block.String()), EndStream: true, EndHeaders: true}))
}

// await reads frames until one of the kind comes.
func (c *rawH2) await(kind http2.FrameType) {
	c.Helper()
	for {
		f, err := c.framer.ReadFrame()
		must(c.T, err)
		if f.Header().Type == kind {
			return
		}
	}
}

// A small answer is one TLS record. On a busy machine a body may come too late
// for that, now and then.
func TestASmallAnswerIsOneRecord(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.open(Options{}, Site{Host: "a.example.com", Handler: whoami, List: allow(t, "ben")})
	c := openRawH2(t, h)
	b := make([]byte, 32<<10)
	for id := uint32(1); id < 200; id += 2 {
		c.ask(id)
		for ended := false; !ended; {
			n, err := c.conn.Read(b) // one record
			must(t, err)
			record := bytes.NewReader(b[:n])
			framer, head := http2.NewFramer(nil, record), false
			for record.Len() > 0 {
				f, err := framer.ReadFrame()
				must(t, err)
				head = head || f.Header().Type == http2.FrameHeaders
				if ended = f.Header().Type == http2.FrameData; ended && head {
					return
				}
			}
		}
	}
	t.Error("head and body never came in one record")
}

// A head that is sent at once does not wait for the body, and neither does one
// whose body cannot be sent.
func TestAHeadAloneArrives(t *testing.T) {
	for sentence, c := range map[string]struct {
		settings []http2.Setting
		handler  http.HandlerFunc
	}{
		"that was flushed": {nil, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusOK)
			http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}},
		"an interim one": {nil, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusEarlyHints)
			<-r.Context().Done()
		}},
		"whose body finds no window": {[]http2.Setting{{ID: http2.SettingInitialWindowSize, Val: 0}}, func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "hello")
		}},
	} {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			h := newWorld(t).open(Options{}, Site{Host: "a.example.com", Handler: c.handler, List: allow(t, "ben")})
			conn := openRawH2(t, h, c.settings...)
			conn.ask(1)
			conn.await(http2.FrameHeaders)
		})
	}
}

// What is no HTTP/2 after all ends the connection.
func TestABogusOpeningIsTheEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.open(Options{}, Site{Host: "a.example.com", Handler: whoami, List: allow(t, "ben")})
	config := w.clientTLS(w.enrol("ben"), "a.example.com")
	config.NextProtos = []string{"h2"}
	conn := h.mustDial(config)
	conn.SetDeadline(time.Now().Add(60 * time.Second))
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a.example.com\r\n\r\n")
	if b, err := io.ReadAll(conn); err != nil || len(b) > 0 {
		t.Errorf("%q, %v", b, err)
	}
}
