package permit

import (
	"net/netip"
	"strings"
	"testing"
)

func networks(t *testing.T, all ...string) Networks {
	t.Helper()
	var n Networks
	for _, s := range all {
		p, err := ParsePrefix(s)
		if err != nil {
			t.Fatal(err)
		}
		n = append(n, p)
	}
	return n
}

func TestWhereAValidationMayConnectTo(t *testing.T) {
	for sentence, c := range map[string]struct {
		networks []string
		address  string
		want     bool
	}{
		"nothing is listed":                        {nil, "10.0.0.1", false},
		"it is listed":                             {[]string{"10.0.0.0/8"}, "10.0.0.1", true},
		"it is listed alone":                       {[]string{"10.0.0.1"}, "10.0.0.1", true},
		"its neighbour is listed":                  {[]string{"10.0.0.1"}, "10.0.0.2", false},
		"IPv6 is listed":                           {[]string{"fd00::/8"}, "fd00::1", true},
		"an IPv4 address in IPv6 form":             {[]string{"10.0.0.0/8"}, "::ffff:10.0.0.1", true},
		"the same where only IPv6 is listed":       {[]string{"::/0"}, "::ffff:10.0.0.1", false},
		"loopback where everything is listed":      {[]string{"0.0.0.0/0", "::/0"}, "127.0.0.1", false},
		"IPv6 loopback where everything is listed": {[]string{"0.0.0.0/0", "::/0"}, "::1", false},
		"metadata where everything is listed":      {[]string{"0.0.0.0/0"}, "169.254.169.254", false},
		"this host where everything is listed":     {[]string{"0.0.0.0/0"}, "0.0.0.0", false},
		"a group where everything is listed":       {[]string{"0.0.0.0/0"}, "224.0.0.1", false},
		"a public address where all is listed":     {[]string{"0.0.0.0/0"}, "192.0.2.1", true},
		"loopback that is named":                   {[]string{"127.0.0.0/8"}, "127.0.0.1", true},
		"a part of loopback that is named":         {[]string{"127.0.0.2"}, "127.0.0.2", true},
		"IPv6 loopback that is named":              {[]string{"::1"}, "::1", true},
		"NAT64 where all of IPv6 is listed":        {[]string{"::/0"}, "64:ff9b::7f00:1", false},
		"6to4 where global unicast is listed":      {[]string{"2000::/3"}, "2002:7f00:1::1", false},
		"Teredo where global unicast is listed":    {[]string{"2000::/3"}, "2001:0:7f00:1::1", false},
		"global unicast":                           {[]string{"2000::/3"}, "2001:db8::1", true},
		"an IPv4-compatible address":               {[]string{"::/0"}, "::10.0.0.1", false},
		"a link-local address where all is listed": {[]string{"::/0"}, "fe80::1", false},
		"an address with a zone":                   {[]string{"fe80::/10"}, "fe80::1%eth0", false},
	} {
		t.Run(sentence, func(t *testing.T) {
			if got := networks(t, c.networks...).Allows(netip.MustParseAddr(c.address)); got != c.want {
				t.Errorf("%s in %s: %t", c.address, c.networks, got)
			}
		})
	}
	if networks(t, "0.0.0.0/0").Allows(netip.Addr{}) {
		t.Error("no address is allowed")
	}
}

func TestPatternsStandForWhatTheySay(t *testing.T) {
	for _, c := range []struct {
		pattern, host string
		want          bool
	}{
		{"db.internal", "db.internal", true},
		{"db.internal", "a.db.internal", false},
		{"db.internal", "xdb.internal", false},
		{"db.internal", "*.db.internal", false},
		{"*.web.internal", "a.web.internal", true},
		{"*.web.internal", "a.b.web.internal", true},
		{"*.web.internal", "web.internal", false},
		{"*.web.internal", "evilweb.internal", false},
		{"*.web.internal", "*.web.internal", true},
		{"*.web.internal", "*.a.web.internal", true},
		{"*.web.internal", "*.other.internal", false},
		{"WEB.internal", "web.internal", true},
		{"10.0.0.0/8", "10.1.2.3", true},
		{"10.0.0.0/8", "11.1.2.3", false},
		{"10.0.0.1", "10.0.0.1", true},
		{"*.internal", "10.0.0.1", false},
		{"fd00::/8", "fd00::7", true},
	} {
		p, err := ParsePattern(c.pattern)
		if err != nil {
			t.Fatal(err)
		}
		kind := "dns"
		if _, err := netip.ParseAddr(c.host); err == nil {
			kind = "ip"
		}
		h, err := ParseHost(kind, c.host)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.matches(h); got != c.want {
			t.Errorf("%s for %s: %t", c.pattern, c.host, got)
		}
	}
	if (Pattern{}).matches(Host{}) || (Policy{}).Decide(Requester{}, Host{DNS: "a.internal"}).Allow {
		t.Error("the zero value lets something through")
	}
}

// What is accepted prints back as a pattern that is the same, and stands for
// no host outside of what it says.
func FuzzPattern(f *testing.F) {
	for _, s := range []string{"db.internal", "*.web.internal", "10.0.0.0/8", "::1", "*", "*.", "a b", "xn--bcher-kva.example", "bücher.example"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePattern(s)
		if err != nil {
			return
		}
		again, err := ParsePattern(p.String())
		if err != nil || again != p {
			t.Errorf("%q prints as %q, which is %+v, %v", s, p, again, err)
		}
		if strings.ContainsAny(p.String(), " \n\t") {
			t.Errorf("%q prints with a space", s)
		}
		if p.matches(Host{DNS: "somebody.else.example"}) && !strings.HasSuffix("somebody.else.example", p.host) {
			t.Errorf("%q stands for somebody else's name", s)
		}
	})
}

// A host that is accepted is in its only form.
func FuzzHost(f *testing.F) {
	for _, s := range []string{"db.internal", "*.web.internal", "10.0.0.1", "::1", "DB.internal", "a..b", "127.1"} {
		f.Add("dns", s)
		f.Add("ip", s)
	}
	f.Fuzz(func(t *testing.T, kind, s string) {
		h, err := ParseHost(kind, s)
		if err != nil {
			return
		}
		again, err := ParseHost(kind, h.String())
		if err != nil || again != h || !strings.EqualFold(h.String(), s) {
			t.Errorf("%s %q is %q, then %q, %v", kind, s, h, again, err)
		}
		if (h.DNS == "") == !h.IP.IsValid() {
			t.Errorf("%+v is both or neither", h)
		}
	})
}
