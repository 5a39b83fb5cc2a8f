// Package profile holds what a certificate may contain and for how long, and
// checks it: the public key at intake, the template before signing, and the
// certificate as it was encoded. It does no I/O and reads no clock.
package profile

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/postern-project/postern/internal/identity"
)

// A Usage is what a certificate's holder does with it.
type Usage string

// The usages. A certificate has exactly one.
const (
	Client Usage = "client" // clientAuth, and no other extended key usage
	Server Usage = "server" // serverAuth, and no other extended key usage
)

// Bounds on what profiles and requests ask for.
const (
	MinLifetime = time.Minute
	MaxLifetime = 825 * 24 * time.Hour // Apple's limit for private servers, and long enough
	MaxNames    = 100                  // host names and addresses together
	// Backdate is how long before its issuing a certificate begins to be
	// valid, for clocks that run behind, unless its profile says otherwise.
	Backdate = time.Minute
	// MaxBackdate is the most that a profile may say.
	MaxBackdate = time.Hour
)

// A Chooser decides which names a certificate holds.
type Chooser string

// The choosers. Only a profile for servers may leave the names to the
// requester, who proves to control them, as ACME does: a requester who names
// itself to a site would be whoever it likes.
const (
	ByAuthority Chooser = "authority"
	ByRequester Chooser = "requester"
)

// A Spec is a profile as an operator writes it. Set fills it in.
type Spec struct {
	Name string
	// Usage is Client when empty.
	Usage Usage
	// Keys are the kinds of public keys that are certified; none means all
	// that CheckKey lets in.
	Keys []KeyKind
	// Lifetime is from MinLifetime to MaxLifetime, MaxLifetime what a request
	// may ask for instead, at least Lifetime and the same when zero.
	Lifetime, MaxLifetime time.Duration
	// Backdate is from zero to MaxBackdate; nil means Backdate.
	Backdate *time.Duration
	// Names is ByAuthority when empty.
	Names Chooser
	// Identities are who the profile is for, each with all names below it; nil
	// means anybody, and an empty list is refused.
	Identities []Subject
	// Hosts are the host names and addresses that a server may have; nil means
	// any, and an empty list is refused.
	Hosts []HostPattern
	// Issuer is the name of an issuer, such as clients-2, or of a line of
	// issuers, such as clients, of which the newest signs; "" is the newest for
	// the usage.
	Issuer string
}

// A Profile says what one kind of certificate contains. Only New makes one
// that issues; the zero Profile issues nothing.
type Profile struct {
	name                          string
	usage                         Usage
	keys                          []KeyKind
	lifetime, maxLifetime, before time.Duration
	names                         Chooser
	identities                    []Subject
	hostPatterns                  []HostPattern
	issuer                        string
}

// New returns the profile that s describes.
func New(s Spec) (Profile, error) {
	p := Profile{
		name: s.Name, usage: s.Usage, keys: s.Keys, lifetime: s.Lifetime, maxLifetime: s.MaxLifetime, before: Backdate,
		names: s.Names, identities: s.Identities, hostPatterns: s.Hosts, issuer: s.Issuer,
	}
	if p.usage == "" {
		p.usage = Client
	}
	if p.names == "" {
		p.names = ByAuthority
	}
	if p.maxLifetime == 0 {
		p.maxLifetime = p.lifetime
	}
	if s.Backdate != nil {
		p.before = *s.Backdate
	}
	if p.identities == nil {
		p.identities = []Subject{{}}
	}
	if p.hostPatterns == nil && p.usage == Server {
		p.hostPatterns = []HostPattern{{}}
	}
	if len(p.keys) == 0 {
		p.keys = []KeyKind{ECDSAP256, ECDSAP384, ECDSAP521, RSA2048}
	}
	if err := p.check(s); err != nil {
		return Profile{}, err
	}
	return p, nil
}

func (p Profile) check(s Spec) error {
	if p.name == "" || len(p.name) > 32 || strings.ContainsFunc(p.name, notNameRune) {
		return fmt.Errorf("profile %q: a profile's name has 1 to 32 letters a-z, digits and dashes", p.name)
	}
	days := MaxLifetime / (24 * time.Hour)
	for _, wrong := range []struct {
		is   bool
		what string
	}{
		{p.usage != Client && p.usage != Server, fmt.Sprintf("usage %q is neither client nor server", p.usage)},
		{p.lifetime < MinLifetime || p.lifetime > MaxLifetime, fmt.Sprintf("a lifetime of %s is not between %s and %d days", p.lifetime, MinLifetime, days)},
		{p.maxLifetime < p.lifetime || p.maxLifetime > MaxLifetime, fmt.Sprintf("a max_lifetime of %s is not between the lifetime, %s, and %d days", p.maxLifetime, p.lifetime, days)},
		{p.before < 0 || p.before > MaxBackdate, fmt.Sprintf("a backdate of %s is not between 0s and %s", p.before, MaxBackdate)},
		{p.names != ByAuthority && p.names != ByRequester, fmt.Sprintf("names are chosen by the authority or by the requester, not by %q", p.names)},
		{p.names == ByRequester && p.usage == Client, "whoever asks would choose the name they are let in by: a client's names are chosen by the authority"},
		{s.Identities != nil && len(s.Identities) == 0, "identities names nobody: write names, or any"},
		{s.Hosts != nil && len(s.Hosts) == 0, "hosts is empty: write names, addresses or any"},
		{s.Hosts != nil && p.usage == Client, "a client's certificate holds no host names: leave hosts out"},
		{len(p.issuer) > 32 || strings.ContainsFunc(p.issuer, notNameRune), fmt.Sprintf("issuer %q is no name of an issuer, such as clients or clients-2", p.issuer)},
	} {
		if wrong.is {
			return fmt.Errorf("profile %s: %s", p.name, wrong.what)
		}
	}
	return nil
}

func notNameRune(r rune) bool {
	return !('a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '-')
}

// Default is the profile that is meant when none is named.
const Default = "device"

// ErrUnknown says that no profile has the name.
var ErrUnknown = errors.New("unknown profile")

// Name returns the profile's name.
func (p Profile) Name() string { return p.name }

// Usage returns what its certificates are for; it selects the issuer.
func (p Profile) Usage() Usage { return p.usage }

// Lifetime returns how long its certificates last when nothing is asked for.
func (p Profile) Lifetime() time.Duration { return p.lifetime }

// MaxLifetime returns the longest life that may be asked for.
func (p Profile) MaxLifetime() time.Duration { return p.maxLifetime }

// Names returns who decides which names a certificate holds. What a requester
// proves to control, as in ACME, is only certified by a profile that says
// ByRequester.
func (p Profile) Names() Chooser { return p.names }

// Issuer returns the name or the line of issuers that signs; "" is the newest
// for the usage.
func (p Profile) Issuer() string { return p.issuer }

// Signs reports whether the issuer of that name signs for the profile: it has
// exactly the name, or the name of the line with a number after it.
func (p Profile) Signs(issuer string) bool {
	if p.issuer == "" || p.issuer == issuer {
		return true
	}
	number, ok := strings.CutPrefix(issuer, p.issuer+"-")
	return ok && number != "" && strings.Trim(number, "0123456789") == ""
}

// admits reports whether the profile is for id.
func (p Profile) admits(id identity.ID) error {
	for _, s := range p.identities {
		if s.Covers(id.Name()) {
			return nil
		}
	}
	return fmt.Errorf("profile %s is not for %s: its identities are %s", p.name, id.Name(), join(p.identities))
}
