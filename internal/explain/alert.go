package explain

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"reflect"
	"strings"
)

// An alertText is what one TLS alert (RFC 8446 section 6) means here.
type alertText struct{ means, remedy string }

const certificateRequired tls.AlertError = 116

const askServer = "The server's own log says more."

var alertTexts = map[tls.AlertError]alertText{
	10:  {"it got a message that it did not expect", askServer},
	20:  {"a record was damaged on its way", "A proxy between here and there may change the traffic."},
	40:  {"it found no version, cipher or certificate that both sides accept; old servers say this also when a client certificate is missing", "Send a client certificate if it asks for one; else compare the versions and ciphers of both sides."},
	42:  {"it does not accept the certificate that was sent, or its signature", "Compare the certificate with the issuers that the server names; Postern's server says the exact cause in its log."},
	43:  {"it does not support this kind of certificate", "Use a certificate with an ECDSA P-256 or RSA key and the usage clientAuth."},
	44:  {"the certificate has been revoked", "Have a new certificate issued."},
	45:  {"the certificate has expired, or has not begun by its clock", "Renew the certificate, and compare the clocks of both sides."},
	46:  {"it found something wrong with the certificate", "Compare the certificate's usage, dates and issuer with what the server wants. " + askServer},
	47:  {"a message had a value that it does not accept", askServer},
	48:  {"it does not know the authority that issued the certificate", "Send a certificate of one of the issuers that it names, with the intermediate after it; or add the authority to the server's CA file."},
	49:  {"the certificate is good, and its holder may not come in", "Ask the person who runs the server to let this name in."},
	50:  {"it could not read a message", askServer},
	51:  {"a signature does not fit, so the key may not belong to the certificate", "Check that key and certificate belong together: 'postern explain CERT KEY'."},
	70:  {"it speaks none of the offered versions of TLS", "Update the older side."},
	71:  {"it wants stronger ciphers than were offered", "Update the older side."},
	80:  {"something failed in the server itself", askServer},
	86:  {"it believes that somebody forced an older version", "A middlebox may interfere. " + askServer},
	109: {"it misses an extension", "Send the server's name (SNI)."},
	110: {"it got an extension that it does not support", askServer},
	112: {"it serves no site of this name", "Check the name; with an IP address give the name by --host."},
	115: {"it does not know the pre-shared key", askServer},
	116: {"it demands a client certificate, and none was sent", "Send one of an issuer that it names: 'postern join LINK' gets one for this machine."},
	120: {"it speaks none of the offered protocols", "It is no web server, or wants another protocol (ALPN)."},
}

func alertWords(a tls.AlertError) alertText {
	if w, ok := alertTexts[a]; ok {
		return w
	}
	return alertText{"a cause without a name here", askServer}
}

// alertName returns the alert's name in the words of the standard library,
// such as "bad certificate (42)".
func alertName(a tls.AlertError) string {
	return fmt.Sprintf("'%s' (%d)", strings.TrimPrefix(a.Error(), "tls: "), uint8(a))
}

// alertOf returns the alert that the peer sent. crypto/tls hands it out with a
// type of its own inside a *net.OpError, so its kind is looked at.
func alertOf(err error) (tls.AlertError, bool) {
	op, ok := errors.AsType[*net.OpError](err)
	if !ok || op.Op != "remote error" || op.Err == nil {
		return 0, false
	}
	if v := reflect.ValueOf(op.Err); v.Kind() == reflect.Uint8 {
		return tls.AlertError(v.Uint()), true
	}
	return 0, false
}
