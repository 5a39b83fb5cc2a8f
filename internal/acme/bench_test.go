package acme

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// cpuTime is what the process has used of all processors.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// hurry is obtain with little work for the client. An order that fails ends the
// benchmark.
func (c *client) hurry(key *ecdsa.PrivateKey, host string) {
	o := c.order(host)
	c.respond(o, "http-01")
	a := c.finalize(o, c.csr(key, host))
	if a.status != http.StatusOK {
		c.t.Errorf("finalize: %d %s", a.status, a.body)
		return
	}
	a = c.post(decodeJSON[orderView](c.t, a.body).Certificate, nil)
	block, _ := pem.Decode(a.body)
	if a.status != http.StatusOK || block == nil {
		c.t.Errorf("certificate: %d %s", a.status, a.body)
		return
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil || leaf.DNSNames[0] != host || !key.PublicKey.Equal(leaf.PublicKey) {
		c.t.Errorf("%v: the certificate is for %v", err, leaf)
	}
}

// BenchmarkOrders64 takes orders from 64 clients at once to their certificates:
// each is five signed requests over TLS, a validation by http-01 over TCP and
// by DNS, and an entry in the ledger on the disk. The clients, the DNS server
// and the web server share the machine with the ACME server.
func BenchmarkOrders64(b *testing.B) {
	w := newWorld(b, func(w *world) { w.profile.OrdersPerHour = 1 << 20 })
	clients := make([]*client, 64)
	for i := range clients {
		clients[i] = w.account(b, fmt.Sprintf("services/s%d", i))
		shared := w.Client().Transport.(*http.Transport)
		clients[i].http = &http.Client{Transport: shared.Clone()} // a connection of its own, kept open
	}
	keys := make([]*ecdsa.PrivateKey, len(clients))
	for i := range keys {
		keys[i] = newKey(b)
	}
	cpu := cpuTime(b)
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	for i, c := range clients {
		wg.Go(func() {
			for {
				n := next.Add(1)
				if n > int64(b.N) {
					return
				}
				c.hurry(keys[i], fmt.Sprintf("h%d-%d.test.internal", i, n))
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "orders/s")
	b.ReportMetric(float64((cpuTime(b)-cpu).Microseconds())/float64(b.N), "cpu-µs/order")
	if got := w.issued(); got < min(b.N, 1000) {
		b.Errorf("%d certificates for %d orders", got, b.N)
	}
}
