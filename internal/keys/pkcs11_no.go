//go:build !pkcs11

package keys

import "errors"

// ErrNoPKCS11 says that this program was built without PKCS#11, which needs cgo.
var ErrNoPKCS11 = errors.New("this postern was built without PKCS#11, which needs cgo: build it with 'CGO_ENABLED=1 go build -tags pkcs11 ./cmd/postern'; keys in a TPM (tpm:…) and sealed files work in every build")

func openPKCS11(pkcs11Ref, Ask, bool) (Held, error) { return nil, ErrNoPKCS11 }
