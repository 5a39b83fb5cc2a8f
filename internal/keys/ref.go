package keys

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

const (
	pkcs11Scheme = "pkcs11:"
	tpmScheme    = "tpm:"
)

// A pkcs11Ref names a key in a token (RFC 7512).
type pkcs11Ref struct{ token, object, module string }

// parsePKCS11 reads the parts of the URI that say where a key is. A PIN in it is
// refused: whoever lists the processes would read it.
func parsePKCS11(ref string) (pkcs11Ref, error) {
	var u pkcs11Ref
	path, query, _ := strings.Cut(strings.TrimPrefix(ref, pkcs11Scheme), "?")
	parts := append(strings.Split(path, ";"), strings.Split(query, "&")...)
	for _, part := range parts {
		if part == "" {
			continue
		}
		name, text, _ := strings.Cut(part, "=")
		value, err := url.PathUnescape(text)
		if err != nil || strings.ContainsRune(value, 0) {
			return u, fmt.Errorf("%s cannot be read: write letters that mean something in a URI as %%XX", part)
		}
		switch name {
		case "token":
			u.token = value
		case "object":
			u.object = value
		case "module-path":
			u.module = value
		case "type":
			if value != "private" {
				return u, fmt.Errorf("a root is a private key, not an object of type %q", value)
			}
		case "pin-value", "pin-source":
			return u, errors.New("the PIN does not belong into the URI, where every process list shows it: it is asked for")
		default:
			return u, fmt.Errorf("%q means nothing here: a key is named as pkcs11:token=NAME;object=LABEL?module-path=FILE", name)
		}
	}
	if u.token == "" || u.object == "" || u.module == "" {
		return u, errors.New("the token, the object or the module is missing: a key is named as pkcs11:token=NAME;object=LABEL?module-path=FILE")
	}
	return u, nil
}

// A tpmRef names a key in a TPM: a persistent handle, and how to reach the TPM.
type tpmRef struct {
	handle uint32
	path   string // a device, or a socket
}

// The persistent handles of the owner (TCG registry of reserved handles).
const (
	firstHandle = 0x81000000
	lastHandle  = 0x817fffff
)

const defaultTPM = "/dev/tpmrm0"

// parseTPM reads tpm:0x81000001, with ?path=FILE for another device or for the
// socket of a TPM in software.
func parseTPM(ref string) (tpmRef, error) {
	handle, query, _ := strings.Cut(strings.TrimPrefix(ref, tpmScheme), "?")
	var u tpmRef
	n, err := strconv.ParseUint(handle, 0, 32)
	if err != nil || n < firstHandle || n > lastHandle {
		return u, fmt.Errorf("%q is no persistent handle of a TPM: one is from %#x to %#x, such as tpm:0x81000001", handle, firstHandle, lastHandle)
	}
	u.handle = uint32(n)
	u.path, err = devicePath(query)
	return u, err
}

// devicePath reads path=FILE, which may be left out.
func devicePath(query string) (string, error) {
	if query == "" {
		return defaultTPM, nil
	}
	text, ok := strings.CutPrefix(query, "path=")
	path, err := url.PathUnescape(text)
	if !ok || err != nil || path == "" || strings.ContainsRune(path, 0) {
		return "", fmt.Errorf("%q means nothing here: only ?path=FILE, the device or the socket of the TPM", query)
	}
	return path, nil
}
