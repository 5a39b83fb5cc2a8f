// Package identity holds the names that certificates speak for: trust
// domains, hierarchical names such as ben/phone, the SPIFFE IDs that carry
// them in a certificate, and groups. All of them are values that were checked
// when they were parsed; their zero values name nobody.
package identity

import (
	"errors"
	"fmt"
	"iter"
	"net/url"
	"strings"
)

// Bounds on what is accepted, in bytes.
const (
	MaxDomain = 253  // SPIFFE-ID section 2.1 allows 255, DNS 253
	MaxName   = 255  // keeps names readable and every view's key short
	MaxURI    = 2048 // SPIFFE-ID section 2.3
)

// reserved are the words a rule uses for something other than an identity, so
// that no identity can be taken for one of them.
var reserved = [...]string{"enrolled", "strangers", "group", "network"}

// A TrustDomain is the namespace that names live in, such as example.com.
// TrustDomains compare with ==. The zero TrustDomain holds nobody.
type TrustDomain struct{ name string }

// ParseTrustDomain returns the trust domain written as s: at most MaxDomain
// bytes of lower-case letters, digits, dots, dashes and underscores, as the
// SPIFFE-ID standard, section 2.1, has it, in labels that are not empty.
func ParseTrustDomain(s string) (TrustDomain, error) {
	if s == "" {
		return TrustDomain{}, errors.New("empty trust domain")
	}
	if len(s) > MaxDomain {
		return TrustDomain{}, fmt.Errorf("trust domain of %d bytes: at most %d are allowed", len(s), MaxDomain)
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" {
			return TrustDomain{}, fmt.Errorf("trust domain %q: empty label", s)
		}
		for _, r := range label {
			if !isDomainRune(r) {
				return TrustDomain{}, fmt.Errorf("trust domain %q: %q is not allowed, only a-z, 0-9, '-', '_' and '.'", s, r)
			}
		}
	}
	return TrustDomain{s}, nil
}

func isDomainRune(r rune) bool {
	return 'a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '-' || r == '_'
}

// String returns the domain as it was parsed; the zero domain is "".
func (d TrustDomain) String() string { return d.name }

// ID returns the SPIFFE ID of n in d. It is zero when d or n is.
func (d TrustDomain) ID(n Name) ID {
	if d.name == "" || n.path == "" {
		return ID{}
	}
	return ID{d, n}
}

// A Name is an identity within its trust domain, such as ben/phone. It stands
// for itself and, in rules and revocations, for everything below it. Names
// compare with ==. The zero Name names nobody.
type Name struct{ path string }

// ParseName returns the name written as s: at most MaxName bytes, segments of
// letters, digits, '.', '-' and '_' with single slashes between them
// (SPIFFE-ID section 2.2), no segment "." or "..", and a first segment that is
// not a word of the rule language.
func ParseName(s string) (Name, error) {
	if s == "" {
		return Name{}, errors.New("empty name")
	}
	if len(s) > MaxName {
		return Name{}, fmt.Errorf("name of %d bytes: at most %d are allowed", len(s), MaxName)
	}
	first := true
	for segment := range strings.SplitSeq(s, "/") {
		switch {
		case segment == "":
			return Name{}, fmt.Errorf("name %q: empty segment, a name has single slashes between its parts and none at its ends", s)
		case segment == "." || segment == "..":
			return Name{}, fmt.Errorf("name %q: %q cannot be a part of a name", s, segment)
		}
		for _, r := range segment {
			if !isNameRune(r) {
				return Name{}, fmt.Errorf("name %q: %q is not allowed, only letters a-z and A-Z, digits, '.', '-', '_' and '/'", s, r)
			}
		}
		if first {
			for _, word := range reserved {
				if strings.EqualFold(segment, word) {
					return Name{}, fmt.Errorf("name %q: %q is a word of the rule language and cannot start a name", s, segment)
				}
			}
			first = false
		}
	}
	return Name{s}, nil
}

func isNameRune(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '.' || r == '-' || r == '_'
}

// String returns the name as it was parsed; the zero Name is "".
func (n Name) String() string { return n.path }

// IsZero reports whether n names nobody.
func (n Name) IsZero() bool { return n.path == "" }

// Covers reports whether n is o or stands above it: ben covers ben and
// ben/phone, not benno. The zero Name covers nothing and nothing covers it.
func (n Name) Covers(o Name) bool {
	if n.path == "" || o.path == "" {
		return false
	}
	rest, ok := strings.CutPrefix(o.path, n.path)
	return ok && (rest == "" || rest[0] == '/')
}

// Lineage returns n and then every name above it, nearest first: ben/phone,
// ben. The zero Name has none.
func (n Name) Lineage() iter.Seq[Name] {
	return func(yield func(Name) bool) {
		for s := n.path; s != ""; {
			if !yield(Name{s}) {
				return
			}
			i := strings.LastIndexByte(s, '/')
			if i < 0 {
				return
			}
			s = s[:i]
		}
	}
}

// MarshalText returns the name as ParseName reads it; the zero Name is empty.
func (n Name) MarshalText() ([]byte, error) { return []byte(n.path), nil }

// UnmarshalText parses text as ParseName does; empty text is the zero Name.
func (n *Name) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*n = Name{}
		return nil
	}
	parsed, err := ParseName(string(text))
	if err != nil {
		return err
	}
	*n = parsed
	return nil
}

// An ID is a SPIFFE ID, such as spiffe://example.com/ben/phone: what a
// certificate says about its holder. IDs compare with ==. The zero ID is
// nobody's.
type ID struct {
	domain TrustDomain
	name   Name
}

const scheme = "spiffe://"

// ParseID returns the SPIFFE ID written as s, at most MaxURI bytes, with a
// path that ParseName accepts. What it accepts prints back as it was written.
func ParseID(s string) (ID, error) {
	if len(s) > MaxURI {
		return ID{}, fmt.Errorf("SPIFFE ID of %d bytes: at most %d are allowed", len(s), MaxURI)
	}
	rest, ok := strings.CutPrefix(s, scheme)
	if !ok {
		return ID{}, fmt.Errorf("%q is not a SPIFFE ID: it has to begin with %s", s, scheme)
	}
	authority, path, ok := strings.Cut(rest, "/")
	if !ok {
		return ID{}, fmt.Errorf("SPIFFE ID %q has no path, so it names a trust domain and nobody in it", s)
	}
	domain, err := ParseTrustDomain(authority)
	if err != nil {
		return ID{}, fmt.Errorf("SPIFFE ID %q: %w", s, err)
	}
	name, err := ParseName(path)
	if err != nil {
		return ID{}, fmt.Errorf("SPIFFE ID %q: %w", s, err)
	}
	return ID{domain, name}, nil
}

// String returns the ID as a URI; the zero ID is "".
func (id ID) String() string {
	if id.IsZero() {
		return ""
	}
	return scheme + id.domain.name + "/" + id.name.path
}

// URL returns the ID as the URI subject alternative name of a certificate, or
// nil for the zero ID.
func (id ID) URL() *url.URL {
	if id.IsZero() {
		return nil
	}
	return &url.URL{Scheme: "spiffe", Host: id.domain.name, Path: "/" + id.name.path}
}

// Domain returns the trust domain.
func (id ID) Domain() TrustDomain { return id.domain }

// Name returns the name in the trust domain.
func (id ID) Name() Name { return id.name }

// IsZero reports whether the ID is nobody's.
func (id ID) IsZero() bool { return id == ID{} }

// FromURIs returns the ID among a certificate's URI subject alternative
// names. X509-SVID section 2 allows exactly one URI; none and several are
// errors, as is anything but a SPIFFE ID with a name.
func FromURIs(uris []*url.URL) (ID, error) {
	switch len(uris) {
	case 0:
		return ID{}, errors.New("the certificate holds no URI name, so it names nobody")
	case 1:
		u := uris[0]
		id, err := ParseID(u.String())
		if err != nil {
			return ID{}, err
		}
		return id, nil
	default:
		return ID{}, fmt.Errorf("the certificate holds %d URI names, exactly one is allowed", len(uris))
	}
}

// A Group is the name of a set of identities kept in the ledger, such as
// family. Groups compare with ==. The zero Group has no members.
type Group struct{ name string }

// ParseGroup returns the group written as s: what ParseName accepts, in a
// single segment.
func ParseGroup(s string) (Group, error) {
	if strings.Contains(s, "/") {
		return Group{}, fmt.Errorf("group %q: a group has no parts, so '/' is not allowed", s)
	}
	n, err := ParseName(s)
	if err != nil {
		return Group{}, fmt.Errorf("group: %w", err)
	}
	return Group{n.path}, nil
}

// String returns the group's name; the zero Group is "".
func (g Group) String() string { return g.name }

// IsZero reports whether g is no group.
func (g Group) IsZero() bool { return g.name == "" }

// MarshalText returns the group as ParseGroup reads it; the zero Group is
// empty.
func (g Group) MarshalText() ([]byte, error) { return []byte(g.name), nil }

// UnmarshalText parses text as ParseGroup does; empty text is the zero Group.
func (g *Group) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*g = Group{}
		return nil
	}
	parsed, err := ParseGroup(string(text))
	if err != nil {
		return err
	}
	*g = parsed
	return nil
}
