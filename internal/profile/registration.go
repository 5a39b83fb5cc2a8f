package profile

import (
	"encoding/asn1"
	"time"
)

// registration is the usage of the certificates to which SCEP clients encrypt
// their requests. No profile of an operator has it.
const registration Usage = "registration"

// RegistrationName is the name of the profile that Registration returns.
const RegistrationName = "scep-registration"

// Registration returns the profile of a registration authority's certificates
// (RFC 8894 section 2.1.2). The key is RSA, since SCEP clients encrypt to it; it
// opens requests and signs answers, and opens no site: its extended key usage,
// id-kp-cmcRA (RFC 6402 section 2.10), is none of a client's. They end soon and
// their key never leaves the server, so they need no list.
func Registration() Profile {
	return Profile{
		name: RegistrationName, usage: registration, keys: []KeyKind{RSA2048}, lifetime: 60 * 24 * time.Hour,
		maxLifetime: 60 * 24 * time.Hour, before: Backdate, names: ByAuthority, identities: []Subject{{}},
	}
}

var oidRegistration = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 28}
