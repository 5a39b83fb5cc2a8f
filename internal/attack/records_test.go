package attack

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/chacha20poly1305"
)

// Types of records and messages of TLS 1.3 (RFC 8446, sections 4 and 5.1).
const (
	recordAlert       = 21
	recordHandshake   = 22
	recordApplication = 23
	newSessionTicket  = 4
	keyUpdate         = 24
)

// A scribe writes the records of a TLS 1.3 connection by hand, once the
// standard library has made the handshake.
type scribe struct {
	conn  net.Conn
	suite uint16
	// of the client's side (RFC 8446 section 7.2)
	secret, iv []byte
	aead       cipher.AEAD
	n          uint64
	out        bytes.Buffer
	heard      chan struct{} // closed when the server says no more
}

// scribe makes a connection of which nothing is read when it is deaf.
func (h *house) scribe(n int, who *tls.Certificate, host string, deaf bool) (*scribe, error) {
	c := h.tls(who, host)
	var log bytes.Buffer
	c.KeyLogWriter, c.MinVersion = &log, tls.VersionTLS13
	conn, err := h.enter(n, c, 3*time.Minute)
	if err != nil {
		return nil, err
	}
	s := &scribe{conn: conn.NetConn(), suite: conn.ConnectionState().CipherSuite, heard: make(chan struct{})}
	for line := range strings.Lines(log.String()) {
		if fields := strings.Fields(line); fields[0] == "CLIENT_TRAFFIC_SECRET_0" {
			s.secret, err = hex.DecodeString(fields[2])
		}
	}
	if err == nil {
		err = s.turn()
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	if !deaf {
		go func() { io.Copy(io.Discard, s.conn); close(s.heard) }()
	}
	return s, nil
}

// derive is HKDF-Expand-Label without a context.
func (s *scribe) derive(label string, length int) ([]byte, error) {
	label = "tls13 " + label
	info := append([]byte{0, byte(length), byte(len(label))}, label...)
	return hkdf.Expand(sha256.New, s.secret, string(append(info, 0)), length)
}

// turn begins to write with the keys of the secret.
func (s *scribe) turn() error {
	size := map[uint16]int{tls.TLS_AES_128_GCM_SHA256: 16, tls.TLS_CHACHA20_POLY1305_SHA256: 32}[s.suite]
	if size == 0 || s.secret == nil {
		return fmt.Errorf("no keys for %s", tls.CipherSuiteName(s.suite))
	}
	key, err := s.derive("key", size)
	if err != nil {
		return err
	}
	if s.iv, err = s.derive("iv", 12); err != nil {
		return err
	}
	s.n = 0
	if size == 32 {
		s.aead, err = chacha20poly1305.New(key)
		return err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return err
	}
	s.aead, err = cipher.NewGCM(block)
	return err
}

// record adds a record of some type to what is sent next.
func (s *scribe) record(kind byte, content []byte) {
	nonce := bytes.Clone(s.iv)
	for i, b := range binary.BigEndian.AppendUint64(nil, s.n) {
		nonce[4+i] ^= b
	}
	s.n++
	plain := append(bytes.Clone(content), kind)
	head := binary.BigEndian.AppendUint16([]byte{recordApplication, 3, 3}, uint16(len(plain)+s.aead.Overhead()))
	s.out.Write(head)
	s.out.Write(s.aead.Seal(nil, nonce, plain, head))
}

// update adds so many demands for new keys in one record, and turns its own.
func (s *scribe) update(times int) (err error) {
	s.record(recordHandshake, bytes.Repeat([]byte{keyUpdate, 0, 0, 1, 1}, times))
	for i := 0; i < times && err == nil; i++ {
		err = s.follow()
	}
	return err
}

// follow turns the keys once, after a demand.
func (s *scribe) follow() (err error) {
	if s.secret, err = s.derive("traffic upd", sha256.Size); err != nil {
		return err
	}
	return s.turn()
}

// end sends the rest, and waits for a while until the server has taken all of
// it and ended the connection.
func (s *scribe) end() {
	s.send(true)
	s.conn.(*net.TCPConn).CloseWrite()
	select {
	case <-s.heard:
	case <-time.After(2 * time.Second):
	}
	s.conn.Close()
}

// send sends what was added, once it is worth it or now.
func (s *scribe) send(now bool) error {
	if s.out.Len() < 16<<10 && !now {
		return nil
	}
	defer s.out.Reset()
	_, err := s.conn.Write(s.out.Bytes())
	return err
}

// A recordFlood is one kind of flood by records.
type recordFlood struct {
	begin string // what the client says first
	again func(s *scribe, i int) error
	deaf  bool
	ends  bool // the server breaks off before a thousand of them
}

func alert(kind byte) func(*scribe, int) error {
	return func(s *scribe, _ int) error { s.record(recordAlert, []byte{1, kind}); return nil }
}

const (
	halfAHead = "GET / HTTP/1.1\r\nHost: open.attack.test\r\nX-A: "
	halfABody = "POST / HTTP/1.1\r\nHost: open.attack.test\r\nContent-Length: 1000000000\r\n\r\n"
)

// withALetter turns the keys and goes on with the request by a letter.
func withALetter(s *scribe, _ int) error {
	err := s.update(1)
	s.record(recordApplication, []byte("a"))
	return err
}

var recordFloods = map[string]recordFlood{
	"new keys":                               {ends: true, again: func(s *scribe, _ int) error { return s.update(1) }},
	"new keys whose answers are not read":    {ends: true, deaf: true, again: func(s *scribe, _ int) error { return s.update(1) }},
	"new keys within a request":              {ends: true, begin: halfAHead, again: func(s *scribe, _ int) error { return s.update(1) }},
	"new keys many to a record":              {ends: true, again: func(s *scribe, _ int) error { return s.update(1000) }},
	"new keys for each letter of a head":     {begin: halfAHead, again: withALetter},
	"new keys for each letter of a body":     {begin: halfABody, again: withALetter},
	"the same, and the answers are not read": {begin: halfABody, again: withALetter, deaf: true},
	"a demand in five pieces": {ends: true, again: func(s *scribe, i int) error {
		s.record(recordHandshake, []byte{keyUpdate, 0, 0, 1, 1}[i%5:][:1])
		if i%5 < 4 {
			return nil
		}
		return s.follow()
	}},
	"a demand for neither yes nor no": {ends: true, again: func(s *scribe, _ int) error { s.record(recordHandshake, []byte{keyUpdate, 0, 0, 1, 2}); return nil }},
	"a message of which there is too much": {ends: true, again: func(s *scribe, _ int) error {
		s.record(recordHandshake, append([]byte{keyUpdate, 0xff, 0xff, 0xff}, make([]byte, 16<<10-8)...))
		return nil
	}},
	"tickets from the client":             {ends: true, again: func(s *scribe, _ int) error { s.record(recordHandshake, []byte{newSessionTicket, 0, 0, 0}); return nil }},
	"records of nothing":                  {ends: true, again: func(s *scribe, _ int) error { s.record(recordApplication, nil); return nil }},
	"records of nothing, within a body":   {ends: true, begin: halfABody, again: func(s *scribe, _ int) error { s.record(recordApplication, nil); return nil }},
	"warnings":                            {ends: true, again: alert(90)},
	"warnings within a body":              {ends: true, begin: halfABody, again: alert(90)},
	"letters of a body, in a record each": {begin: halfABody, again: func(s *scribe, _ int) error { s.record(recordApplication, []byte("a")); return nil }},
	"records that are too large":          {ends: true, again: func(s *scribe, _ int) error { s.record(recordApplication, make([]byte, 16<<10+1)); return nil }},
}

// Whoever asks for new keys without end, or sends records of nothing, is cut
// off or costs little; the server goes on, and afterwards is as it was.
//
// Go CVE-2026-32283, CVE-2026-56862; the kin of CVE-2016-8610 (alerts).
func TestFloodsOfRecords(t *testing.T) {
	h := ownHouse(t, "")
	app := newWitness(t, 0)
	h.write(t, strings.ReplaceAll("%LISTEN%%METRICS%log: {level: error}\nsites:\n  ben.attack.test: {proxy: \"%WITNESS%\", allow: [ben]}\n  open.attack.test: {proxy: \"%WITNESS%\", allow: [strangers]}\n", "%WITNESS%", app.URL))
	h.mustOpen(t)
	ben := h.identity(t, "ben/laptop")
	r, err := h.scribe(0, nil, "open.attack.test", false)
	must(t, err)
	r.record(recordApplication, []byte(halfAHead)) // what is written by hand is understood
	for i := range 100 {
		must(t, withALetter(r, i))
	}
	r.record(recordApplication, []byte("\r\n\r\n"))
	must(t, r.send(true))
	until(t, "the application is asked", func() bool { return app.served.Load() == 1 })
	r.conn.Close()
	before := h.calm(t)
	for sentence, flood := range recordFloods {
		t.Run(sentence, func(t *testing.T) {
			s := &storm{h: h, ben: ben}
			s.blow(t, either(2, 16), lasting(150*time.Millisecond), func(n int, over <-chan struct{}) {
				for first := true; !ended(over) && (first || long); first = false {
					r, err := h.scribe(n, nil, "open.attack.test", flood.deaf)
					if err != nil {
						time.Sleep(50 * time.Millisecond)
						continue
					}
					s.connected.Add(1)
					if flood.begin != "" {
						r.record(recordApplication, []byte(flood.begin))
					}
					for i := 0; err == nil && (long || i < 5_000) && !(flood.ends && i == 1000) && (i%64 != 0 || !long || !ended(over)); i++ {
						if err = flood.again(r, i); err == nil {
							err = r.send(false)
							s.sent.Add(1)
						}
					}
					r.send(true)
					if flood.ends && !flood.deaf {
						select {
						case <-r.heard:
						case <-time.After(5 * time.Second): // less than any deadline
							t.Error("it still has its connection")
						}
					}
					r.end()
				}
			})
			if s.cost() > time.Duration(s.sent.Load())*100*time.Microsecond+2*time.Second {
				t.Errorf("%d records cost %v", s.sent.Load(), s.cost())
			}
			if s.peak > 400<<20 {
				t.Errorf("the server held %d MiB", s.peak>>20)
			}
		})
	}
	h.isCalmAgain(t, before, 150<<20)
}
