package gateway

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// An HTTP/2 client is told that its connection ends (GOAWAY) before it is cut,
// and that its streams are broken off and not complete.
func TestHTTP2ClientsAreToldBeforeTheCut(t *testing.T) {
	for sentence, streams := range map[string]int{"at rest": 0, "with a stream": 1, "with many streams": 20} {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			w, s := newWorld(t), newStage()
			s.held, s.ended = make(chan struct{}, 64), make(chan error, 64)
			h := w.open(Options{}, Site{Host: "pw.example.com", Handler: s, List: allow(t, "ben")})
			ben := w.enrol("ben")
			config := w.clientTLS(ben, "pw.example.com")
			config.NextProtos = []string{"h2"}
			conn := h.mustDial(config)
			conn.SetDeadline(time.Now().Add(20 * time.Second))
			_, err := io.WriteString(conn, http2.ClientPreface)
			must(t, err)
			framer := http2.NewFramer(conn, conn)
			must(t, framer.WriteSettings())
			ask := func(id uint32, path string) {
				var block strings.Builder
				enc := hpack.NewEncoder(&block)
				for _, f := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":path", path}, {":authority", "pw.example.com"}} {
					must(t, enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}))
				}
				must(t, framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: []byte(block.String()), EndStream: true, EndHeaders: true}))
			}
			ask(1, "/")
			for ended := false; !ended; {
				f, err := framer.ReadFrame()
				must(t, err)
				ended = f.Header().StreamID == 1 && f.Header().Flags.Has(http2.FlagDataEndStream) && f.Header().Type == http2.FrameData
			}
			for i := range streams {
				ask(uint32(2*i+3), "/hold")
				<-s.held
			}
			w.revoke(ben)
			told := false
			for {
				f, err := framer.ReadFrame()
				if err != nil {
					break // it is cut
				}
				switch f := f.(type) {
				case *http2.GoAwayFrame:
					told = true
					if f.ErrCode != http2.ErrCodeNo {
						t.Errorf("GOAWAY says %v", f.ErrCode)
					}
				case *http2.DataFrame:
					if f.StreamEnded() {
						t.Error("a stream that was broken off looks complete")
					}
				}
			}
			if !told {
				t.Error("no GOAWAY before the end")
			}
		})
	}
}

// A stream in both directions, as gRPC has, ends with its certificate: the
// client's error says so, and the trailers of a good end never come.
func TestAStreamInBothDirectionsIsCut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ended := make(chan error, 1)
	h := w.open(Options{}, Site{Host: "grpc.example.com", List: allow(t, "ben"), Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Trailer", "Grpc-Status")
		rw.WriteHeader(http.StatusOK)
		rc := http.NewResponseController(rw)
		rc.Flush()
		b := make([]byte, 64)
		for {
			n, err := r.Body.Read(b)
			if err != nil {
				ended <- err
				rw.Header().Set("Grpc-Status", "0")
				return
			}
			rw.Write(b[:n])
			rc.Flush()
		}
	})})
	ben := w.enrol("ben")
	config := w.clientTLS(ben, "grpc.example.com")
	config.NextProtos = []string{"h2"}
	c := client(t, h.addr, config)
	c.Timeout = 0
	body, say := io.Pipe()
	defer say.Close()
	req, err := http.NewRequest("POST", "https://grpc.example.com/chat.Chat/Talk", body)
	must(t, err)
	req.Header.Set("Content-Type", "application/grpc")
	resp, err := c.Do(req)
	must(t, err)
	defer resp.Body.Close()
	for i := range 3 {
		line := fmt.Sprintf("message %d", i)
		io.WriteString(say, line)
		readPast(t, resp.Body, line)
	}
	w.revoke(ben)
	if _, err := io.ReadAll(resp.Body); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("the stream ended well: %v", err)
	}
	if got := resp.Trailer.Get("Grpc-Status"); got != "" {
		t.Errorf("a status was sent: %q", got)
	}
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Error("the handler goes on")
	}
}
