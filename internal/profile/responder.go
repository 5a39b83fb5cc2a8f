package profile

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"time"
)

// responder is the usage of the certificates that answer for an issuer in
// OCSP. No profile of an operator has it.
const responder Usage = "ocsp"

// ResponderName is the name of the profile that Responder returns.
const ResponderName = "ocsp-responder"

// Responder returns the profile of the certificates with which OCSP answers
// are signed in place of an issuer's key (RFC 6960 section 4.2.2.2): a week, and
// with id-pkix-ocsp-nocheck, since nobody can ask them about themselves. They
// end soon and their key never leaves the server, so they need no list.
func Responder() Profile {
	return Profile{
		name: ResponderName, usage: responder, keys: []KeyKind{ECDSAP256}, lifetime: 7 * 24 * time.Hour,
		maxLifetime: 7 * 24 * time.Hour, before: Backdate, names: ByAuthority, identities: []Subject{{}},
	}
}

var oidNoCheck = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 5}

// noCheck is id-pkix-ocsp-nocheck (RFC 6960 section 4.2.2.2.1).
var noCheck = pkix.Extension{Id: oidNoCheck, Value: []byte{5, 0}}
