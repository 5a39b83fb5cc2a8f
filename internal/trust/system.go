package trust

import (
	"crypto/x509"
	"errors"
	"fmt"
	"os/exec"

	"github.com/smallstep/truststore"
)

// prefix begins the names of files that we put into the system's store.
const prefix = "postern_"

// InstallSystem has all programs that use the system's store believe a root.
// It asks for the administrator's password through sudo where there is one.
func InstallSystem(root *x509.Certificate) error {
	return system("put into", truststore.Install(root, truststore.WithPrefix(prefix)))
}

// UninstallSystem undoes InstallSystem.
func UninstallSystem(root *x509.Certificate) error {
	return system("taken out of", truststore.Uninstall(root, truststore.WithPrefix(prefix)))
}

func system(did string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, truststore.ErrNotSupported) || errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("the root cannot be %s the system's store, which is of a kind that is not known (%w)", did, err)
	}
	return fmt.Errorf("the root was not %s the system's store (%w): run this as an administrator, such as with sudo", did, err)
}
