// Package profile holds what a certificate may contain and for how long, and
// checks it: the public key at intake, the template before signing, and the
// certificate as it was encoded. It does no I/O and reads no clock.
package profile

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
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
	// valid, for clocks that run behind.
	Backdate = time.Minute
)

// A Spec is a profile as an operator writes it.
type Spec struct {
	Name string
	// Usage is Client when empty.
	Usage Usage
	// Lifetime is from MinLifetime to MaxLifetime.
	Lifetime time.Duration
}

// A Profile says what one kind of certificate contains. Only New and Builtin
// make one that issues; the zero Profile issues nothing.
type Profile struct {
	name     string
	usage    Usage
	lifetime time.Duration
}

// New returns the profile that s describes.
func New(s Spec) (Profile, error) {
	if s.Usage == "" {
		s.Usage = Client
	}
	switch {
	case s.Name == "" || len(s.Name) > 32 || strings.ContainsFunc(s.Name, notNameRune):
		return Profile{}, fmt.Errorf("profile %q: a profile's name has 1 to 32 letters a-z, digits and dashes", s.Name)
	case s.Usage != Client && s.Usage != Server:
		return Profile{}, fmt.Errorf("profile %s: usage %q is neither client nor server", s.Name, s.Usage)
	case s.Lifetime < MinLifetime || s.Lifetime > MaxLifetime:
		return Profile{}, fmt.Errorf("profile %s: a lifetime of %s is not between %s and %d days", s.Name, s.Lifetime, MinLifetime, MaxLifetime/(24*time.Hour))
	}
	return Profile{name: s.Name, usage: s.Usage, lifetime: s.Lifetime}, nil
}

func notNameRune(r rune) bool {
	return !('a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '-')
}

// builtins are the profiles of DESIGN.md section 2.
var builtins = [...]Profile{
	{"device", Client, 365 * 24 * time.Hour},
	{"service", Client, 24 * time.Hour},
	{"server", Server, 90 * 24 * time.Hour},
	{"admin", Client, 90 * 24 * time.Hour},
}

// Default is the profile that is meant when none is named.
const Default = "device"

// ErrUnknown says that no profile has the name.
var ErrUnknown = errors.New("unknown profile")

// Builtin returns the profile of that name; "" is Default. The error for any
// other name is ErrUnknown and lists those there are.
func Builtin(name string) (Profile, error) {
	if name == "" {
		name = Default
	}
	i := slices.IndexFunc(builtins[:], func(p Profile) bool { return p.name == name })
	if i < 0 {
		return Profile{}, fmt.Errorf("%w %q: use %s", ErrUnknown, name, strings.Join(Names(), ", "))
	}
	return builtins[i], nil
}

// Names returns the names of the built-in profiles.
func Names() []string {
	var names []string
	for _, p := range builtins {
		names = append(names, p.name)
	}
	return names
}

// Name returns the profile's name.
func (p Profile) Name() string { return p.name }

// Usage returns what its certificates are for; it selects the issuer.
func (p Profile) Usage() Usage { return p.usage }

// Lifetime returns how long its certificates last when nothing shorter is
// asked for.
func (p Profile) Lifetime() time.Duration { return p.lifetime }
