package cli

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"testing"

	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/identity"
)

// However many certificates the sites have had since, a device is remembered:
// the first invitation is not made again, which would revoke the first device.
func TestTheFirstDeviceIsRemembered(t *testing.T) {
	inFolder(t, true)
	h, err := openHouse(t, defaultData)
	if err != nil {
		t.Fatal(err)
	}
	o := &office{house: h}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	issue := func(who, profile, via string, hosts ...string) {
		t.Helper()
		name, err := identity.ParseName(who)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.Authority.Issue(t.Context(), authority.IssueRequest{Name: name, Profile: profile, DNSNames: hosts, Via: via, PublicKey: spki}); err != nil {
			t.Fatal(err)
		}
	}
	alone := func(want bool) {
		t.Helper()
		if got, err := o.nobodyEnrolled(t.Context()); err != nil || got != want {
			t.Errorf("nobody is enrolled: %v, %v", got, err)
		}
	}
	issue("sites/a", "server", "self", "a.postern.internal")
	alone(true)
	issue(firstDevice, "device", "issue")
	for i := range 1000 { // a page of a list
		issue(fmt.Sprintf("sites/a%d", i/50), "server", "self", "a.postern.internal")
	}
	alone(false)
}
