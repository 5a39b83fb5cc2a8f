package acme

import (
	"crypto/rand"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func testNonces(t testing.TB, key []byte) *nonces {
	t.Helper()
	return must(newNonces(key, time.Now))(t)
}

func TestANonceIsGoodOnce(t *testing.T) {
	key := make([]byte, 32)
	n := testNonces(t, key)
	all := make([]string, 1000)
	for i := range all {
		all[i] = n.new()
	}
	var good atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for _, nonce := range all {
				if n.take(nonce) {
					good.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if good.Load() != 1000 {
		t.Errorf("%d of 1000 nonces were taken, each eight times asked for", good.Load())
	}
}

// A nonce by another process with the same key is good here, once: before a
// restart and after it, or on two nodes.
func TestANonceIsGoodAcrossProcesses(t *testing.T) {
	key := make([]byte, 32)
	rand.Read(key)
	before, after := testNonces(t, key), testNonces(t, key)
	nonce := before.new()
	if !after.take(nonce) || after.take(nonce) {
		t.Error("a nonce of the process before is not good once")
	}
	other := make([]byte, 32)
	rand.Read(other)
	if testNonces(t, other).take(before.new()) {
		t.Error("a nonce under another key is good")
	}
}

func TestNoncesThatNobodyGaveOut(t *testing.T) {
	n := testNonces(t, make([]byte, 32))
	nonce := n.new()
	for i := range len(nonce) {
		for _, c := range "Ab9_" {
			forged := nonce[:i] + string(c) + nonce[i+1:]
			if forged != nonce && n.take(forged) {
				t.Errorf("%s is good, and %s was given out", forged, nonce)
			}
		}
	}
	for _, s := range []string{"", "x", nonce + "A", nonce[1:], nonce[:31] + "="} {
		if n.take(s) {
			t.Errorf("%q is good", s)
		}
	}
	if len(n.others) != 0 {
		t.Errorf("forged nonces left %d processes in memory", len(n.others))
	}
	if !n.take(nonce) {
		t.Error("after all of that the nonce is not good any more")
	}
}

func TestTheWindowOfNonces(t *testing.T) {
	i := must(testNonces(t, make([]byte, 32)).issuer([8]byte{1}, 128))(t)
	for _, c := range []struct {
		counter uint64
		want    bool
	}{{0, true}, {0, false}, {5, true}, {200, true}, {5, false}, {72, false}, {73, true}, {73, false}, {199, true}, {10_000, true}, {9_999, true}, {200, false}, {1<<64 - 1, false}} {
		if got := i.spend(c.counter); got != c.want {
			t.Errorf("counter %d: %t", c.counter, got)
		}
	}
}

// The memory of other processes' nonces is bounded.
func TestManyProcesses(t *testing.T) {
	key := make([]byte, 32)
	n := testNonces(t, key)
	for range 3 * maxStrangers {
		if !n.take(testNonces(t, key).new()) {
			t.Error("a nonce is not good")
		}
	}
	if len(n.others) > maxStrangers {
		t.Errorf("%d processes are remembered", len(n.others))
	}
}

// What is accepted as a certificate's identifier has both parts, in their only
// form; whatever else is an error and no panic.
func TestIdentifiersOfCertificates(t *testing.T) {
	const good = "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE" // RFC 9773 section 4.1
	aki, serial, err := parseCertID(good)
	if err != nil || serial.String() != "87654321" || len(aki) != 20 {
		t.Errorf("%x, %s, %v", aki, serial, err)
	}
	for _, bad := range []string{"", ".", "a.b.c", "aYhba4dGQEHhs3uEe6CuLN4ByNQ.", ".AIdlQyE", good + ".", good + "=", "aYhba4dGQEHhs3uEe6CuLN4ByNQ.h2VDIQ", "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AA", "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AAE"} {
		if _, serial, err := parseCertID(bad); err == nil {
			t.Errorf("%q is taken for %s", bad, serial)
		}
	}
	for range 2000 {
		b := []byte(good)
		var r [3]byte
		rand.Read(r[:])
		b[int(r[0])%len(b)], b[int(r[1])%len(b)] = r[2], r[0]
		if aki, serial, err := parseCertID(string(b)); err == nil && (len(aki) == 0 || serial.IsZero()) {
			t.Errorf("%q is taken and has no key or serial number", b)
		}
	}
}
