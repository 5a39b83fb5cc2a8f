package rule

import (
	"errors"
	"net/netip"
	"strings"
	"time"

	"cel.dev/cel-go/common/types"

	"github.com/postern-project/postern/internal/identity"
)

// Facts are what a condition can ask about: who asks, by which certificate,
// from where, for what and when.
type Facts struct {
	Subject
	// Address is the connection's verified address.
	Address netip.Addr
	// Certificate is zero for a stranger.
	Certificate Certificate
	// Host, Method and Path are the canonical ones.
	Host, Method, Path string
	// Headers holds the header fields that the condition names, by their names
	// in small letters; those that a request did not have are missing.
	Headers map[string]string
	// Time is the moment in the time zone of the configuration.
	Time time.Time
}

// A Certificate is what a condition can ask about a good certificate.
type Certificate struct {
	NotBefore, NotAfter time.Time
	// Key is the kind of key, such as ecdsa-p256.
	Key string
	// Hardware says that the ledger knows the key to live in hardware.
	Hardware bool
	Profile  string
}

// errStranger is why a question about a certificate has no answer.
var errStranger = errors.New("no certificate was shown")

// variables are the words of a condition, with their types.
var variables = map[string]*types.Type{
	"identity.name":        types.StringType,
	"identity.groups":      types.NewListType(types.StringType),
	"certificate.age":      types.DurationType,
	"certificate.left":     types.DurationType,
	"certificate.key":      types.StringType,
	"certificate.hardware": types.BoolType,
	"certificate.profile":  types.StringType,
	"client.address":       types.StringType,
	"client.partner":       types.StringType,
	"client.networks":      types.NewListType(types.StringType),
	"request.host":         types.StringType,
	"request.method":       types.StringType,
	"request.path":         types.StringType,
	"request.headers":      types.NewMapType(types.StringType, types.StringType),
	"request.time":         types.TimestampType,
	"request.date":         types.StringType,
	"request.hour":         types.IntType,
	"request.minute":       types.IntType,
	"request.weekday":      types.StringType,
}

// timed are the words whose values change by themselves.
var timed = []string{"certificate.age", "certificate.left", "request.time", "request.date", "request.hour", "request.minute", "request.weekday"}

// ofRequest are the words that have a value only where requests are made.
var ofRequest = []string{"request.method", "request.path", "request.headers"}

// ResolveName returns the value of a word, as the library asks for it.
func (f *Facts) ResolveName(name string) (any, bool) {
	topic, _, _ := strings.Cut(name, ".")
	switch topic {
	case "certificate":
		return f.ofCertificate(name)
	case "request":
		return f.ofRequest(name)
	}
	switch name {
	case "identity.name":
		return f.Name.String(), true
	case "identity.groups":
		return texts(f.Groups, identity.Group.String), true
	case "client.address":
		if !f.Address.IsValid() {
			return "", true
		}
		return f.Address.String(), true
	case "client.partner":
		return f.Partner.String(), true
	case "client.networks":
		return texts(f.Networks, Network.String), true
	}
	return nil, false
}

func (f *Facts) ofCertificate(name string) (any, bool) {
	c := f.Certificate
	if f.Name.IsZero() {
		return types.WrapErr(errStranger), variables[name] != nil
	}
	switch name {
	case "certificate.age":
		return f.Time.Sub(c.NotBefore), true
	case "certificate.left":
		return c.NotAfter.Sub(f.Time), true
	case "certificate.key":
		return c.Key, true
	case "certificate.hardware":
		return c.Hardware, true
	case "certificate.profile":
		return c.Profile, true
	}
	return nil, false
}

func (f *Facts) ofRequest(name string) (any, bool) {
	switch name {
	case "request.host":
		return f.Host, true
	case "request.method":
		return f.Method, true
	case "request.path":
		return f.Path, true
	case "request.headers":
		return f.Headers, true
	case "request.time":
		return f.Time, true
	case "request.date":
		return f.Time.Format(time.DateOnly), true
	case "request.hour":
		return int64(f.Time.Hour()), true
	case "request.minute":
		return int64(f.Time.Minute()), true
	case "request.weekday":
		return strings.ToLower(f.Time.Weekday().String()), true
	}
	return nil, false
}

func texts[T any](list []T, text func(T) string) []string {
	all := make([]string, len(list))
	for i, v := range list {
		all[i] = text(v)
	}
	return all
}
