package enroll

import (
	"hash/maphash"
	"net/netip"
	"testing"
	"time"
)

func TestPrefixOf(t *testing.T) {
	cases := map[string]struct{ remote, want string }{
		"an IPv4 address":            {"192.0.2.77:1234", "192.0.2.0/24"},
		"an IPv4 address in IPv6":    {"[::ffff:192.0.2.77]:1234", "192.0.2.0/24"},
		"an IPv6 address":            {"[2001:db8:1:2ff::1]:1", "2001:db8:1:200::/56"},
		"a link-local one with zone": {"[fe80::1%eth0]:1", "fe80::/56"},
		"something else":             {"@", netip.Prefix{}.String()},
	}
	for name, c := range cases {
		if got := prefixOf(c.remote).String(); got != c.want {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
}

func TestOneNetworkDoesNotSpendAnothersAttempts(t *testing.T) {
	now := time.Now()
	l := newLimiter(Limits{Burst: 2, Every: time.Minute}, func() time.Time { return now })
	noisy, quiet := prefixOf("192.0.2.1:1"), prefixOf("198.51.100.1:1")
	for l.bucket(noisy) == l.bucket(quiet) { // one seed in 4096 makes them share
		l.seed = maphash.MakeSeed()
	}
	for range 100 {
		l.take(noisy)
	}
	if wait, ok := l.take(noisy); ok || wait != time.Minute {
		t.Errorf("the noisy one: %v, %v", wait, ok)
	}
	if _, ok := l.take(quiet); !ok {
		t.Error("the quiet one was turned away")
	}
	now = now.Add(time.Hour)
	for range 2 {
		if _, ok := l.take(noisy); !ok {
			t.Error("turned away an hour later")
		}
	}
	if _, ok := l.take(noisy); ok {
		t.Error("an hour of rest saved up more than the burst")
	}
}
