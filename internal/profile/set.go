package profile

import (
	_ "embed" // for the built-in profiles
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/goccy/go-yaml"
)

// A Set is the profiles that an authority issues by. The zero Set has none.
// Sets are values: nothing changes one.
type Set struct {
	all []Profile
	err error
}

//go:embed builtin.yaml
var builtinText []byte

// Builtins returns the profiles that are there from the start.
func Builtins() Set { return builtins() }

// builtins are the built-in profiles, once read.
var builtins = sync.OnceValue(func() Set {
	set, err := readBuiltins()
	if err != nil {
		return Refusing(fmt.Errorf("built-in profiles: %w", err))
	}
	return set
})

func readBuiltins() (Set, error) {
	var written yaml.MapSlice
	if err := yaml.Unmarshal(builtinText, &written); err != nil {
		return Set{}, err
	}
	var set Set
	for _, item := range written {
		s := Spec{Name: fmt.Sprint(item.Key)}
		keys, _ := item.Value.(map[string]any)
		for key, value := range keys {
			if err := s.Set(key, values(value)); err != nil {
				return Set{}, err
			}
		}
		p, err := New(s)
		if err != nil {
			return Set{}, err
		}
		set.all = append(set.all, p)
	}
	return set, nil
}

func values(v any) []string {
	list, ok := v.([]any)
	if !ok {
		return []string{fmt.Sprint(v)}
	}
	words := make([]string, len(list))
	for i, v := range list {
		words[i] = fmt.Sprint(v)
	}
	return words
}

// Refusing returns a set that issues nothing and says why, for a configuration
// that cannot be read: what does not issue goes on.
func Refusing(why error) Set { return Set{err: why} }

// With returns the set with profiles added, each in place of the one of its
// name.
func (s Set) With(more ...Profile) Set {
	all := slices.Clone(s.all)
	for _, p := range more {
		if i := slices.IndexFunc(all, func(o Profile) bool { return o.name == p.name }); i >= 0 {
			all[i] = p
		} else {
			all = append(all, p)
		}
	}
	return Set{all: all, err: s.err}
}

// Find returns the profile of that name; "" is Default. The error for a name
// that no profile has is ErrUnknown and lists those there are.
func (s Set) Find(name string) (Profile, error) {
	if s.err != nil {
		return Profile{}, s.err
	}
	if name == "" {
		name = Default
	}
	for _, p := range s.all {
		if p.name == name {
			return p, nil
		}
	}
	return Profile{}, fmt.Errorf("%w %q: use %s", ErrUnknown, name, strings.Join(s.Names(), ", "))
}

// Names returns the names of the profiles, the built-in ones first.
func (s Set) Names() []string {
	var names []string
	for _, p := range s.all {
		names = append(names, p.name)
	}
	return names
}

// All returns the profiles, the built-in ones first.
func (s Set) All() []Profile { return slices.Clone(s.all) }

// Builtin returns the built-in profile of that name; "" is Default.
func Builtin(name string) (Profile, error) { return Builtins().Find(name) }

// Names returns the names of the built-in profiles.
func Names() []string { return Builtins().Names() }

// String returns the profile as it is written under profiles: in postern.yaml,
// every key with its value.
func (p Profile) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:\n", p.name)
	for _, key := range Keys() {
		value := map[string]string{
			"usage": string(p.usage), "keys": "[" + join(p.keys) + "]", "lifetime": lifetime(p.lifetime),
			"max_lifetime": lifetime(p.maxLifetime), "backdate": lifetime(p.before), "names": string(p.names),
			"identities": "[" + quoted(p.identities) + "]", "hosts": "[" + quoted(p.hostPatterns) + "]", "issuer": p.issuer,
		}[key]
		if value != "" && value != "[]" {
			fmt.Fprintf(&b, "  %s: %s\n", key, value)
		}
	}
	return b.String()
}

// quoted joins words as a YAML list in brackets wants them.
func quoted[T fmt.Stringer](all []T) string {
	words := make([]string, len(all))
	for i, v := range all {
		if words[i] = v.String(); strings.ContainsAny(words[i], "*:/") {
			words[i] = `"` + words[i] + `"`
		}
	}
	return strings.Join(words, ", ")
}
