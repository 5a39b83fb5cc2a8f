package main

import (
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// A dnsServer answers for the hosts that a test gives it, on loopback by UDP.
type dnsServer struct {
	conn net.PacketConn

	mu        sync.Mutex // guards what follows
	addresses map[string]netip.Addr
	texts     map[string][]string
}

func newDNS(t testing.TB) *dnsServer {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &dnsServer{conn: conn, addresses: map[string]netip.Addr{}, texts: map[string][]string{}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.serve()
	}()
	t.Cleanup(func() { conn.Close(); <-done })
	return s
}

func (s *dnsServer) addr() string { return s.conn.LocalAddr().String() }

func (s *dnsServer) setAddress(host, address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addresses[host] = netip.MustParseAddr(address)
}

func (s *dnsServer) addText(host, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.texts[host] = append(s.texts[host], text)
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
	address, known := s.addresses[host]
	texts := s.texts[host]
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: h.ID, Response: true, RecursionAvailable: true},
		Questions: []dnsmessage.Question{q},
	}
	record := dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 1}
	switch {
	case q.Type == dnsmessage.TypeA && known && address.Is4():
		m.Answers = []dnsmessage.Resource{{Header: record, Body: &dnsmessage.AResource{A: address.As4()}}}
	case q.Type == dnsmessage.TypeTXT && len(texts) > 0:
		for _, text := range texts {
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: record, Body: &dnsmessage.TXTResource{TXT: []string{text}}})
		}
	case !known && len(texts) == 0:
		m.RCode = dnsmessage.RCodeNameError
	}
	answer, err := m.Pack()
	return answer, err == nil
}
