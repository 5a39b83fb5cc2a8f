package invite

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// Path is where an authority's public side answers invitations.
const Path = "/join"

// MaxLink is the longest link that ParseLink reads, in bytes.
const MaxLink = 512

// A Link is an invitation as it is handed over: where to enrol, the code, and
// the pin of the root that has to answer there. The code and the pin stand in
// the fragment, which browsers do not send. The zero Link invites nobody.
// Formatting one with %v shows the code; a log and %#v do not.
type Link struct {
	// Base is the public side's address, such as https://join.example.com
	// or https://[2001:db8::1]:8444, without a path.
	Base string
	Code Code
	Pin  Pin
}

// ParseLink returns the link written as s, which may stand in spaces, quotes
// or angle brackets. A typing error in the fragment is a *TypoError. No error
// repeats the code.
func ParseLink(s string) (Link, error) {
	s = strings.Trim(s, " \t\r\n\"'<>")
	if len(s) > MaxLink {
		return Link{}, fmt.Errorf("link of %d bytes: an invitation has at most %d", len(s), MaxLink)
	}
	address, fragment, ok := strings.Cut(s, "#")
	if !ok {
		return Link{}, errors.New("the link has no '#' with a code after it: copy the whole link, and put it in quotes on a command line")
	}
	base, err := ParseBase(strings.TrimSuffix(address, Path))
	if err != nil {
		return Link{}, err
	}
	if !strings.HasSuffix(address, Path) {
		return Link{}, fmt.Errorf("the link is no invitation: one looks like %s%s#CODE.FINGERPRINT", base, Path)
	}
	return parseFragment(base, fragment)
}

func parseFragment(base, fragment string) (Link, error) {
	code, pin, ok := strings.Cut(fragment, ".")
	if !ok {
		return Link{}, &TypoError{"link", "the part after '#' lacks the dot and the fingerprint after it"}
	}
	l := Link{Base: base}
	var err error
	if l.Code, err = Parse(code); err != nil {
		return Link{}, err
	}
	if l.Pin, err = ParsePin(pin); err != nil {
		return Link{}, err
	}
	return l, nil
}

// ParseBase returns the address of a public side in its one spelling: https,
// a host in lower case, the port unless it is 443, and nothing after it.
func ParseBase(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme == "" || u.Host == "" {
		return "", errors.New("the link does not begin with an address such as https://join.example.com")
	}
	switch {
	case u.Scheme != "https":
		return "", fmt.Errorf("the link begins with %q: an invitation begins with https://", u.Scheme+"://")
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || strings.Trim(u.Path, "/") != "" || u.Fragment != "":
		return "", fmt.Errorf("the link is no invitation: one looks like https://%s%s#CODE.FINGERPRINT", u.Host, Path)
	}
	host, err := baseHost(u)
	if err != nil {
		return "", err
	}
	return "https://" + host, nil
}

func baseHost(u *url.URL) (string, error) {
	host := strings.ToLower(u.Hostname())
	if strings.Contains(host, ":") {
		addr, err := netip.ParseAddr(host)
		if err != nil || addr.Zone() != "" {
			return "", fmt.Errorf("%q is not an IPv6 address that another machine could use", host)
		}
		host = "[" + addr.String() + "]"
	} else if i := strings.IndexFunc(host, notHostRune); i >= 0 || host == "" {
		return "", errors.New("the link's host may hold only letters, digits, dots and dashes")
	}
	port := u.Port()
	if port == "" {
		return host, nil
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return "", fmt.Errorf("port %q is not between 1 and 65535", port)
	}
	if n == 443 {
		return host, nil
	}
	return host + ":" + strconv.FormatUint(n, 10), nil
}

// notHostRune also turns away what a shell would read as more than a word,
// since the link is shown as part of a command.
func notHostRune(r rune) bool {
	return !('a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '.' || r == '-' || r == '_')
}

// Host returns the base's host and port, the port as 443 where none is given.
func (l Link) Host() (host, port string) {
	hostport := strings.TrimPrefix(l.Base, "https://")
	if h, p, err := net.SplitHostPort(hostport); err == nil {
		return h, p
	}
	return strings.Trim(hostport, "[]"), "443"
}

// String returns the whole link, with the secret.
func (l Link) String() string { return l.Base + Path + "#" + l.Code.String() + "." + l.Pin.String() }

// LogValue hides the code.
func (l Link) LogValue() slog.Value { return slog.StringValue(l.GoString()) }

// GoString hides the code.
func (l Link) GoString() string { return l.Base + Path + "#" + hidden }
