package ledger

import "fmt"

// A Use says which certificates an issuer signs.
type Use uint8

// The uses of issuers.
const (
	UseClients Use = iota + 1 // certificates with clientAuth only
	UseServers                // certificates with serverAuth only
)

// String returns "clients" or "servers".
func (u Use) String() string {
	switch u {
	case UseClients:
		return "clients"
	case UseServers:
		return "servers"
	}
	return fmt.Sprintf("use %d", uint8(u))
}

// MarshalText returns what String does.
func (u Use) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// UnmarshalText reads "clients" or "servers".
func (u *Use) UnmarshalText(text []byte) error {
	switch string(text) {
	case "clients":
		*u = UseClients
	case "servers":
		*u = UseServers
	default:
		return fmt.Errorf("%q is not a use of an issuer: it is for clients or for servers", text)
	}
	return nil
}

// A Reason is why a certificate was revoked, as RFC 5280 section 5.3.1 numbers
// it.
type Reason uint8

// The reasons that are given; the numbers are those of RFC 5280.
const (
	ReasonUnspecified        Reason = 0
	ReasonKeyCompromise      Reason = 1
	ReasonAffiliationChanged Reason = 3
	ReasonSuperseded         Reason = 4
	ReasonCessation          Reason = 5
	ReasonPrivilegeWithdrawn Reason = 9
)

var reasonNames = map[Reason]string{
	ReasonUnspecified:        "unspecified",
	ReasonKeyCompromise:      "key-compromise",
	ReasonAffiliationChanged: "affiliation-changed",
	ReasonSuperseded:         "superseded",
	ReasonCessation:          "cessation-of-operation",
	ReasonPrivilegeWithdrawn: "privilege-withdrawn",
}

// ParseReason reads a reason by its name, such as key-compromise.
func ParseReason(s string) (Reason, error) {
	for r, name := range reasonNames {
		if s == name {
			return r, nil
		}
	}
	return 0, fmt.Errorf("%q is not a reason: use unspecified, key-compromise, affiliation-changed, superseded, cessation-of-operation or privilege-withdrawn", s)
}

// String returns the reason's name.
func (r Reason) String() string {
	if name, ok := reasonNames[r]; ok {
		return name
	}
	return fmt.Sprintf("reason %d", uint8(r))
}
