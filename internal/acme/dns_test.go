package acme

import (
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// A dnsServer answers on loopback, by UDP and TCP: every host has the address
// 127.0.0.1 unless a test says otherwise.
type dnsServer struct {
	conn net.PacketConn

	mu        sync.Mutex // guards what follows
	addresses map[string][]string
	texts     map[string][]string
	aliases   map[string]string
	silent    map[string]bool
	asked     map[string]int
}

func newDNS(t testing.TB) *dnsServer {
	t.Helper()
	conn := must(net.ListenPacket("udp", "127.0.0.1:0"))(t)
	s := &dnsServer{
		conn: conn, addresses: map[string][]string{}, texts: map[string][]string{}, aliases: map[string]string{},
		silent: map[string]bool{}, asked: map[string]int{},
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.serve()
	}()
	t.Cleanup(func() { conn.Close(); <-done })
	return s
}

func (s *dnsServer) addr() netip.AddrPort {
	return netip.MustParseAddrPort(s.conn.LocalAddr().String())
}

func (s *dnsServer) set(f func(*dnsServer)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s)
}

func (s *dnsServer) addText(host, text string) {
	s.set(func(s *dnsServer) { s.texts[host] = append(s.texts[host], text) })
}

func (s *dnsServer) serve() {
	buf := make([]byte, 1500)
	for {
		n, from, err := s.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		if answer, ok := s.answer(buf[:n]); ok {
			s.conn.WriteTo(answer, from)
		}
	}
}

func (s *dnsServer) answer(query []byte) ([]byte, bool) {
	var p dnsmessage.Parser
	h, err := p.Start(query)
	if err != nil {
		return nil, false
	}
	q, err := p.Question()
	if err != nil {
		return nil, false
	}
	host := strings.ToLower(strings.TrimSuffix(q.Name.String(), "."))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked[host]++
	if s.silent[host] {
		return nil, false
	}
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: h.ID, Response: true, RecursionAvailable: true}, Questions: []dnsmessage.Question{q}}
	add := func(owner string, body dnsmessage.ResourceBody) {
		m.Answers = append(m.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(owner + "."), Class: q.Class, TTL: 1}, Body: body,
		})
	}
	for n := 0; n < 20; n++ { // a resolver follows aliases, and gives up in a loop
		to, ok := s.aliases[host]
		if !ok {
			break
		}
		add(host, &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName(to + ".")})
		host = to
		if n == 19 {
			m.RCode = dnsmessage.RCodeServerFailure
		}
	}
	s.records(host, q.Type, add, &m)
	answer, err := m.Pack()
	return answer, err == nil
}

func (s *dnsServer) records(host string, kind dnsmessage.Type, add func(string, dnsmessage.ResourceBody), m *dnsmessage.Message) {
	addresses, known := s.addresses[host]
	if !known && !strings.HasPrefix(host, "_acme-challenge.") {
		addresses = []string{"127.0.0.1"}
	}
	for _, text := range addresses {
		a := netip.MustParseAddr(text)
		switch {
		case kind == dnsmessage.TypeA && a.Is4():
			add(host, &dnsmessage.AResource{A: a.As4()})
		case kind == dnsmessage.TypeAAAA && a.Is6():
			add(host, &dnsmessage.AAAAResource{AAAA: a.As16()})
		}
	}
	if kind == dnsmessage.TypeTXT {
		for _, text := range s.texts[host] {
			add(host, &dnsmessage.TXTResource{TXT: []string{text}})
		}
		if len(s.texts[host]) == 0 {
			m.RCode = dnsmessage.RCodeNameError
		}
	}
}
