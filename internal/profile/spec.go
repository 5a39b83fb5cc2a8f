package profile

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/postern-project/postern/internal/identity"
)

// Keys returns the keys of the language that profiles are written in, in the
// order in which they are printed.
func Keys() []string {
	return []string{"usage", "keys", "lifetime", "max_lifetime", "backdate", "names", "identities", "hosts", "issuer"}
}

// listKeys are the keys whose value is a list.
var listKeys = map[string]bool{"keys": true, "identities": true, "hosts": true}

// Set reads one key of a profile as it is written. Only a list has another
// number of values than one. An unknown key is an error.
func (s *Spec) Set(key string, values []string) (err error) {
	if listKeys[key] {
		return s.setList(key, values)
	}
	if len(values) != 1 {
		return fmt.Errorf("%s has one value", key)
	}
	switch value := values[0]; key {
	case "usage":
		s.Usage = Usage(value)
	case "lifetime":
		s.Lifetime, err = ParseLifetime(value)
	case "max_lifetime":
		s.MaxLifetime, err = ParseLifetime(value)
	case "backdate":
		var d time.Duration
		d, err = ParseLifetime(value)
		s.Backdate = &d
	case "names":
		s.Names = Chooser(value)
	case "issuer":
		s.Issuer = value
	default:
		return fmt.Errorf("unknown key %q in a profile: use %s", key, strings.Join(Keys(), ", "))
	}
	return err
}

func (s *Spec) setList(key string, values []string) (err error) {
	switch key {
	case "keys":
		s.Keys, err = parseAll(values, ParseKeyKind)
	case "identities":
		s.Identities, err = parseAll(values, ParseSubject)
	case "hosts":
		s.Hosts, err = parseAll(values, ParseHostPattern)
	}
	return err
}

func parseAll[T any](values []string, parse func(string) (T, error)) ([]T, error) {
	all := make([]T, 0, len(values))
	for _, value := range values {
		v, err := parse(value)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, nil
}

func join[T fmt.Stringer](all []T) string {
	words := make([]string, len(all))
	for i, v := range all {
		words[i] = v.String()
	}
	return strings.Join(words, ", ")
}

// ParseLifetime reads a duration such as 365d, 2w, 24h or 1m.
func ParseLifetime(s string) (time.Duration, error) {
	for unit, length := range map[string]time.Duration{"d": 24 * time.Hour, "w": 7 * 24 * time.Hour} {
		if number, ok := strings.CutSuffix(s, unit); ok {
			n, err := strconv.ParseUint(number, 10, 16)
			if err == nil {
				return time.Duration(n) * length, nil
			}
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 || d%time.Second != 0 {
		return 0, fmt.Errorf("%q is no duration in whole seconds: write it as 365d, 2w, 24h or 1m", s)
	}
	return d, nil
}

// lifetime writes what ParseLifetime reads.
func lifetime(d time.Duration) string {
	if day := 24 * time.Hour; d >= 2*day && d%day == 0 {
		return strconv.Itoa(int(d/day)) + "d"
	}
	s := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(s, zero) {
			s = s[:len(s)-2]
		}
	}
	return s
}

// anything is the word for a list without a limit.
const anything = "any"

// A Subject is a name, with all names below it, or anybody: the zero Subject.
type Subject struct{ name identity.Name }

// ParseSubject reads a name or any.
func ParseSubject(s string) (Subject, error) {
	if s == anything {
		return Subject{}, nil
	}
	n, err := identity.ParseName(s)
	return Subject{n}, err
}

// Covers reports whether n is meant.
func (s Subject) Covers(n identity.Name) bool { return s.name.IsZero() || s.name.Covers(n) }

// String returns what ParseSubject reads.
func (s Subject) String() string {
	if s.name.IsZero() {
		return anything
	}
	return s.name.String()
}

// A HostPattern is a host name, all names below one, or a range of addresses.
// The zero HostPattern is any host.
type HostPattern struct {
	name  string // canonical; with "*." before it for all names below
	space netip.Prefix
}

// ParseHostPattern reads a host name, *.NAME for every name below it, an
// address, a range of addresses such as 10.0.0.0/8, or any.
func ParseHostPattern(s string) (HostPattern, error) {
	if s == anything {
		return HostPattern{}, nil
	}
	if prefix, err := netip.ParsePrefix(s); err == nil {
		return HostPattern{space: prefix.Masked()}, nil
	}
	if ip, err := netip.ParseAddr(s); err == nil && ip.Zone() == "" {
		ip = ip.Unmap()
		return HostPattern{space: netip.PrefixFrom(ip, ip.BitLen())}, nil
	}
	name, err := parseHost(s)
	return HostPattern{name: name}, err
}

// String returns what ParseHostPattern reads.
func (h HostPattern) String() string {
	switch {
	case h.space.IsValid():
		return h.space.String()
	case h.name == "":
		return anything
	}
	return h.name
}

func (h HostPattern) coversName(dns string) bool {
	zone, below := strings.CutPrefix(h.name, "*.")
	switch {
	case h.space.IsValid():
		return false
	case below:
		return strings.HasSuffix(dns, "."+zone)
	}
	return h.name == "" || h.name == dns
}

func (h HostPattern) coversAddress(ip netip.Addr) bool {
	return h == HostPattern{} || h.space.IsValid() && h.space.Contains(ip)
}

// covers reports whether the profile may certify every one of the hosts.
func (p Profile) covers(h Hosts) error {
	for _, dns := range h.DNSNames {
		if !some(p.hostPatterns, func(pattern HostPattern) bool { return pattern.coversName(dns) }) {
			return fmt.Errorf("profile %s is not for %s: its hosts are %s", p.name, dns, join(p.hostPatterns))
		}
	}
	for _, ip := range h.IPs {
		if !some(p.hostPatterns, func(pattern HostPattern) bool { return pattern.coversAddress(ip) }) {
			return fmt.Errorf("profile %s is not for %s: its hosts are %s", p.name, ip, join(p.hostPatterns))
		}
	}
	return nil
}

func some[T any](all []T, is func(T) bool) bool {
	for _, v := range all {
		if is(v) {
			return true
		}
	}
	return false
}
