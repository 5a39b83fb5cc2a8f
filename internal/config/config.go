// Package config reads postern.yaml and the flags that say the same things,
// and turns them into a Config whose every part was checked. What is wrong is
// reported with file, line and column, and with what was probably meant.
package config

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/postern-project/postern/internal/gateway"
	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/keys"
	"github.com/postern-project/postern/internal/partner"
	"github.com/postern-project/postern/internal/profile"
	"github.com/postern-project/postern/internal/rule"
	"github.com/postern-project/postern/internal/telemetry"
)

// MaxSize bounds a configuration file, in bytes.
const MaxSize = 1 << 20

// DefaultPort is where sites are served when nothing else was said.
const DefaultPort = 8443

// A Config is the declared part of a house: everything in it passed every
// check. The zero Config serves nothing; Parse and Default make useful ones.
// A Config is a value: the methods that add to it return a new one.
type Config struct {
	// File is where it was read from; "" when there is no file.
	File string
	// TrustDomain is zero when the file does not name one.
	TrustDomain identity.TrustDomain
	// Listen has at least one address.
	Listen  []Address
	Public  Public
	Sites   []Site  // sorted by Host
	Metrics Address // zero: none
	Log     Log
	// Profiles are the built-in ones with those of the file.
	Profiles profile.Set
	// BlockedKeys are those that nobody gets certified.
	BlockedKeys profile.Blocklist
	// Networks are the named ones that lists may ask for.
	Networks rule.Networks
	ACME     []ACME // the ACME servers, in the order of the file
	// Zone is the time zone of conditions: the machine's unless one is named.
	Zone *time.Location
	// Proxies are the load balancers whose connections begin with a PROXY
	// header.
	Proxies []netip.Prefix
	// StandardReader has Go's HTTP server read every request.
	StandardReader bool
	// ForwardAuth is where other servers ask whether a request may pass.
	ForwardAuth ForwardAuth
	// PublicCA certifies the hosts whose certificate is public.
	PublicCA PublicCA
	// RenewExpired is for how long after its end a certificate can be renewed
	// by proof of its key; zero is not at all.
	RenewExpired time.Duration
	// RenewUnproven are the profiles whose certificates a browser can renew,
	// which cannot prove it by the old key.
	RenewUnproven []string
	// IssuerKey is the kind of key that new issuers get.
	IssuerKey keys.Kind
	// IssuerTPM is the device of the TPM that they are made in; "" for files.
	IssuerTPM string
	// Reads are the files beside File that the server reads, also later: roots,
	// keys, revocation lists. They are absolute paths.
	Reads []string

	lines []string
}

// Public says where the side that never asks for a certificate is found:
// under a host of its own on the sites' listener, or on a port of its own.
type Public struct {
	Host   string  // canonical; "" for none
	Listen Address // zero when only Host is used
	// HTTP is where revocation lists, OCSP and issuers are served without TLS;
	// zero for nowhere.
	HTTP Address
	// URL is the address that others reach HTTP at, when it is not the host at
	// the port of HTTP; "" when it is.
	URL string
	// Certificate is what Host shows to clients.
	Certificate ServerCertificate
}

// PlainURL returns the address that is printed into certificates, for lists,
// OCSP and issuers: "" while nothing is served without TLS that has a name.
func (p Public) PlainURL() string {
	switch {
	case p.URL != "" || p.HTTP.IsZero() || p.Host == "":
		return p.URL
	case p.HTTP.Port == 80:
		return "http://" + p.Host
	}
	return "http://" + net.JoinHostPort(p.Host, strconv.Itoa(int(p.HTTP.Port)))
}

// Log says how the log is written.
type Log struct {
	Format telemetry.Format
	Level  slog.Level
}

// A Site is one host name with what stands behind it and who may enter. One
// of Static, Proxy, TCP and Elsewhere is set. The zero List lets nobody in. List is for
// what no route matches.
type Site struct {
	Host        string            // canonical: lower case, no trailing dot, IDN in ASCII, an IPv6 literal without brackets
	Static      string            // an absolute path to an existing folder
	Proxy       []string          // http(s)://HOST:PORT, h2c://HOST:PORT or unix:/PATH
	TCP         []string          // HOST:PORT or unix:/PATH
	Elsewhere   bool              // served by another server, which asks by forward_auth
	Upstream    Upstream          // how Proxy or TCP is reached
	Certificate ServerCertificate // what it shows to clients
	Identity    []gateway.Form    // how the application is told who asks, beside the usual fields
	StartTLS    string            // "postgres" or "", which has TLS come first
	List        rule.List
	Routes      []Route
	Trust       []partner.Trust // foreign authorities
	gateway.Policy
	// RefusalDetail is how much is told to those who are turned away.
	RefusalDetail gateway.Frankness
	// AccessRequests offers strangers to ask for access.
	AccessRequests bool
	// AppTokens say how apps that show no certificate send a token.
	AppTokens  gateway.AppTokens
	Stealth    bool
	NeverAsks  bool   // mode: off
	HTTP3      bool   // served over HTTP/3 too
	MinVersion uint16 // tls.VersionTLS13 unless the site says otherwise

	at    position
	order int // the first one written down lends the public side its name
	// hasRest says that List was written down, as the site's or as that of a
	// route without match.
	hasRest  bool
	mentions mentions
}

// Default returns the configuration of somebody who wrote none.
func Default() Config {
	c := Config{
		Zone:      time.Local,
		Listen:    []Address{{Port: DefaultPort}},
		Log:       Log{Format: telemetry.Text, Level: slog.LevelInfo},
		IssuerKey: keys.ECDSAP256,
		Profiles:  profile.Builtins(),

		RenewUnproven: []string{"device"},
	}
	c.Public.Listen = c.Listen[0].next()
	return c
}

// WithIssuerKey returns the configuration whose new issuers have keys of the
// kind written as s: one of those of keys.ParseKind, or tpm, also with the path of
// a device as in tpm:?path=/dev/tpm0.
func (c Config) WithIssuerKey(s string) (Config, error) {
	var err error
	if strings.HasPrefix(s, "tpm") {
		c.IssuerKey = keys.ECDSAP256
		c.IssuerTPM, err = keys.ParseTPM(s)
		return c, err
	}
	c.IssuerTPM = ""
	if c.IssuerKey, err = keys.ParseKind(s); err != nil {
		err = fmt.Errorf("%w, or tpm", err)
	}
	return c, err
}

// Site returns the site of a canonical host.
func (c Config) Site(host string) (Site, bool) {
	i, found := slices.BinarySearchFunc(c.Sites, host, compareHost)
	if !found {
		return Site{}, false
	}
	return c.Sites[i], true
}

// Target says in a few words what stands behind the site.
func (s Site) Target() string {
	if s.Elsewhere {
		return "another server"
	}
	return cmp.Or(strings.Join(s.Proxy, ", "), strings.Join(s.TCP, ", "), s.Static)
}

// CheckGroups returns an error with the place of every group that a list asks
// for and known does not have. Such a group has no members, so it lets nobody
// in: that is safe, and hardly what was meant. create says what to type for it.
func (c Config) CheckGroups(known func(identity.Group) bool, create func(identity.Group) string) error {
	var all problems
	for _, s := range c.Sites {
		for g, at := range s.mentions.groups {
			if !known(g) {
				all.add(c.File, c.lines, at, fmt.Sprintf("group %q does not exist", g), "create it with its first member: "+create(g))
			}
		}
	}
	return all.err()
}

// Groups returns the groups that lists ask for, sorted, each once.
func (c Config) Groups() []identity.Group {
	var all []identity.Group
	for _, s := range c.Sites {
		all = slices.AppendSeq(all, maps.Keys(s.mentions.groups))
	}
	slices.SortFunc(all, func(a, b identity.Group) int { return strings.Compare(a.String(), b.String()) })
	return slices.Compact(all)
}

// Warnings returns what is allowed and hardly meant.
func (c Config) Warnings() []Warning {
	var all problems
	if len(c.Sites) == 0 {
		all.add(c.File, nil, position{}, "no site: nothing is served", "add one under sites:, or start with --site HOST=DIR or --site HOST=http://ADDRESS:PORT")
	}
	for _, s := range c.Sites {
		switch {
		case len(s.List.Allow) == 0 && len(s.Routes) == 0:
			all.add(c.File, c.lines, s.at, fmt.Sprintf("site %s lets nobody in: its allow list is empty", s.Host), "name somebody, such as allow: [enrolled]")
		case s.List.AdmitsStrangers() && s.Stealth:
			all.add(c.File, c.lines, s.at, fmt.Sprintf("site %s allows strangers, but stealth turns them away in the handshake", s.Host), "drop one of the two")
		case s.List.AdmitsStrangers():
			all.add(c.File, c.lines, s.at, fmt.Sprintf("site %s is open to strangers: anybody on the network can read it", s.Host), "")
		}
		if why := s.modeWarning(); why != "" {
			all.add(c.File, c.lines, s.at, why, "write allow: [strangers], or mode: ask")
		}
		s.routeWarnings(&all, c)
		s.http3Warnings(&all, c)
	}
	c.acmeWarnings(&all)
	warnings := make([]Warning, len(all))
	for i, p := range all {
		warnings[i] = Warning(*p)
	}
	return warnings
}

// MinVersionName returns the TLS version as it is written: 1.2 or 1.3.
func (s Site) MinVersionName() string {
	if s.MinVersion == tls.VersionTLS12 {
		return "1.2"
	}
	return "1.3"
}

func compareHost(s Site, host string) int {
	switch {
	case s.Host < host:
		return -1
	case s.Host > host:
		return 1
	}
	return 0
}
