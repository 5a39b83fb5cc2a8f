package attack

import (
	"crypto/tls"
	"net"
	"slices"
	"sync"
	"testing"
	"time"
)

// A flood of handshakes by strangers leaves the door open to those who are
// known.
func TestAFloodOfHandshakes(t *testing.T) {
	h := ownHouse(t, "")
	h.app = theHouse(t).app
	h.write(t, h.fill("%LISTEN%\nsites:\n  ben.attack.test: {proxy: \"%APP%\", allow: [ben]}\n"))
	h.mustOpen(t)
	ben := h.identity(t, "ben/laptop")
	measure := func(n int) time.Duration {
		var took []time.Duration
		for range n {
			began := time.Now()
			if got := h.get(t, ben, "ben.attack.test", "/"); got.String() != "200" {
				t.Errorf("Ben gets %s", got)
			}
			took = append(took, time.Since(began))
		}
		slices.Sort(took)
		return took[len(took)*99/100]
	}
	n := either(60, 1000)
	calm := measure(n)
	stop := make(chan struct{})
	var flood sync.WaitGroup
	for i := range either(2, 64) {
		flood.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				raw, err := net.DialTimeout("tcp", h.addr, 5*time.Second)
				if err != nil {
					continue
				}
				raw.SetDeadline(time.Now().Add(5 * time.Second))
				if i%2 == 0 { // begins, and goes no further
					raw.Write([]byte{22, 3, 1, 2, 0, 1})
				} else {
					tls.Client(raw, &tls.Config{InsecureSkipVerify: true, ServerName: "ben.attack.test"}).Handshake()
				}
				raw.Close()
			}
		})
	}
	stormy := measure(n)
	close(stop)
	flood.Wait()
	t.Logf("p99 of a known device, full handshake and request: %v in calm, %v in the flood", calm, stormy)
	if limit := either(20*calm+5*time.Second, 20*calm+5*time.Second); stormy > limit {
		t.Errorf("p99 %v in the flood, %v without", stormy, calm)
	}
}
