package attack

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// shakeFloods are the ways to begin a connection and cost the server something.
var shakeFloods = map[string]func(raw *net.TCPConn, c *tls.Config){
	"nothing is said": func(raw *net.TCPConn, _ *tls.Config) { hangAbout(raw) },
	"half a hello":    func(raw *net.TCPConn, _ *tls.Config) { raw.Write([]byte{22, 3, 1, 2, 0, 1, 0}); hangAbout(raw) },
	"a hello in bytes": func(raw *net.TCPConn, c *tls.Config) {
		tls.Client(&divided{Conn: raw, record: 1, segment: 64}, c).Handshake()
	},
	"a hello, and no more": func(raw *net.TCPConn, c *tls.Config) {
		tls.Client(&mute{Conn: raw}, c).Handshake()
		hangAbout(raw)
	},
	"a hello, and away": func(raw *net.TCPConn, c *tls.Config) { tls.Client(&mute{Conn: raw, away: true}, c).Handshake() },
	"a whole handshake": func(raw *net.TCPConn, c *tls.Config) { tls.Client(raw, c).Handshake() },
	"a hello to nowhere": func(raw *net.TCPConn, c *tls.Config) {
		c.ServerName = "nowhere.attack.test"
		tls.Client(raw, c).Handshake()
	},
	"a key that is not spoken first": func(raw *net.TCPConn, c *tls.Config) {
		c.CurvePreferences = []tls.CurveID{tls.CurveP521}
		tls.Client(raw, c).Handshake()
	},
	"another's certificate without its key": func(raw *net.TCPConn, c *tls.Config) {
		shown, _ := c.GetClientCertificate(nil)
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &tls.Certificate{Certificate: shown.Certificate, PrivateKey: strangersKey}, nil
		}
		conn := tls.Client(raw, c)
		conn.Handshake()
		io.Copy(io.Discard, conn)
	},
	"a stealthy site": func(raw *net.TCPConn, c *tls.Config) {
		c.ServerName, c.GetClientCertificate = "hidden.attack.test", nil
		conn := tls.Client(raw, c)
		conn.Handshake()
		io.Copy(io.Discard, conn)
	},
	"an old TLS": func(raw *net.TCPConn, c *tls.Config) { c.MaxVersion = tls.VersionTLS12; tls.Client(raw, c).Handshake() },
	"HTTP in clear": func(raw *net.TCPConn, _ *tls.Config) {
		io.WriteString(raw, "GET / HTTP/1.1\r\nHost: ben.attack.test\r\n\r\n")
		io.Copy(io.Discard, raw)
	},
	"letters":               func(raw *net.TCPConn, _ *tls.Config) { raw.Write(make([]byte, 16<<10)); io.Copy(io.Discard, raw) },
	"a connection is reset": func(raw *net.TCPConn, _ *tls.Config) { raw.Write([]byte{22, 3, 1}); raw.SetLinger(0) },
}

var strangersKey = func() any {
	c := httptest.NewUnstartedServer(nil)
	c.StartTLS()
	defer c.Close()
	return c.TLS.Certificates[0].PrivateKey
}()

// hangAbout waits for the server to lose its patience, for a while.
func hangAbout(raw net.Conn) {
	raw.SetReadDeadline(time.Now().Add(either(200*time.Millisecond, 12*time.Second)))
	io.Copy(io.Discard, raw)
}

// A mute client says its hello and nothing more.
type mute struct {
	net.Conn
	said, away bool
}

func (m *mute) Write(b []byte) (int, error) {
	if m.said {
		return 0, net.ErrClosed
	}
	m.said = true
	return m.Conn.Write(b)
}

func (m *mute) Read(b []byte) (int, error) {
	if m.away {
		return 0, io.EOF
	}
	return m.Conn.Read(b)
}

// Whatever strangers do to a handshake, from many connections at once, those
// who are known are let in meanwhile, and afterwards the server is as it was.
//
// How long those who are known wait is TestAFloodOfHandshakes's to say.
func TestFloodsOfHandshakes(t *testing.T) {
	h := ownHouse(t, "")
	app := newWitness(t, 0)
	h.write(t, strings.ReplaceAll("%LISTEN%%METRICS%log: {level: error}\nsites:\n  ben.attack.test: {proxy: \"%WITNESS%\", allow: [ben]}\n  hidden.attack.test: {proxy: \"%WITNESS%\", allow: [ben], stealth: true}\n", "%WITNESS%", app.URL))
	h.mustOpen(t)
	ben, anna := h.identity(t, "ben/laptop"), h.identity(t, "anna/phone")
	before := h.calm(t)
	for sentence, flood := range shakeFloods {
		t.Run(sentence, func(t *testing.T) {
			s := &storm{h: h, ben: ben}
			s.blow(t, either(8, 64), lasting(300*time.Millisecond), func(n int, over <-chan struct{}) {
				for i := n; !ended(over); i += 64 {
					raw, err := h.from(i)
					if err != nil {
						time.Sleep(10 * time.Millisecond)
						continue
					}
					s.connected.Add(1)
					s.sent.Add(1)
					raw.SetDeadline(time.Now().Add(time.Minute))
					flood(raw, h.tls(anna, "ben.attack.test"))
					raw.Close()
				}
			})
			if s.cost() > time.Duration(s.sent.Load())*5*time.Millisecond+2*time.Second {
				t.Errorf("%d handshakes cost %v", s.sent.Load(), s.cost())
			}
			if s.peak > 400<<20 {
				t.Errorf("the server held %d MiB", s.peak>>20)
			}
		})
	}
	if n := app.served.Load(); n == 0 {
		t.Error("nobody was let in")
	}
	h.isCalmAgain(t, before, 150<<20)
}

// Bodies that the application does not take are held in bounds, however many
// streams they come over.
//
// HTTP/2 internal data buffering CVE-2019-9517, in the other direction.
func TestBodiesThatNobodyTakes(t *testing.T) {
	h := ownHouse(t, "")
	over := make(chan struct{})
	slow := serve(t, func(net.Conn) { <-over })
	app := newWitness(t, 0)
	h.write(t, strings.NewReplacer("%WITNESS%", app.URL, "%SLOW%", "http://"+slow).Replace("%LISTEN%%METRICS%log: {level: error}\nsites:\n  ben.attack.test: {proxy: \"%WITNESS%\", allow: [ben]}\n  open.attack.test: {proxy: \"%SLOW%\", allow: [strangers]}\n"))
	h.mustOpen(t)
	s := &storm{h: h, ben: h.identity(t, "ben/laptop")}
	before := h.calm(t)
	s.blow(t, either(4, 200), 4*time.Second, func(n int, enough <-chan struct{}) {
		conn, sent, err := h.upload(n, 8, 32<<20)
		if err != nil {
			t.Error(err)
			return
		}
		s.connected.Add(1)
		s.sent.Add(sent)
		<-enough
		conn.Close()
	})
	if s.peak > before.resident+either(150, 500)<<20 {
		t.Errorf("the server held %d MiB, and %d before", s.peak>>20, before.resident>>20)
	}
	close(over)
	h.isCalmAgain(t, before, 150<<20)
}

// upload begins so many requests with a body on one connection of HTTP/2, and
// sends as much of each as the server's windows let it, and no more than most.
// It returns how many bytes that were.
func (h *house) upload(n, streams int, most int64) (net.Conn, int64, error) {
	f, err := h.flooder(n, nil, "open.attack.test", true)
	if err != nil {
		return nil, 0, err
	}
	in := http2.NewFramer(io.Discard, f.raw)
	window, whole := int64(65535), int64(65535)
	f.raw.SetReadDeadline(time.Now().Add(time.Second))
	for { // what the server says first
		frame, err := in.ReadFrame()
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			break
		}
		if err != nil {
			return nil, 0, err
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if v, ok := frame.Value(http2.SettingInitialWindowSize); ok {
				window = int64(v)
			}
		case *http2.WindowUpdateFrame:
			whole += int64(frame.Increment)
		}
	}
	var sent int64
	for range streams {
		if err := f.head(f.fields(), false, true); err != nil {
			return nil, sent, err
		}
		for left := min(window, whole-sent, most); left > 0; {
			chunk := min(left, 16<<10)
			if err := f.WriteData(f.stream, false, make([]byte, chunk)); err != nil {
				return nil, sent, err
			}
			left, sent = left-chunk, sent+chunk
		}
	}
	return f.raw.NetConn(), sent, f.out.Flush()
}
