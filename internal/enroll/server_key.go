package enroll

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/invite"
	"github.com/postern-project/postern/internal/page"
)

// fileForm shows the form on which an invitation of 'postern invite
// --server-key' becomes a file without any script.
func (d *desk) fileForm(w http.ResponseWriter, _ *http.Request) error {
	page.File(page.FileView{Site: d.site(), Path: invite.FilePath}).Write(w, http.StatusOK)
	return nil
}

// file makes a key for a device that cannot make one, and hands it out in a
// file together with its certificate. The key and the password are in this
// answer and nowhere else: not on the disk, not in a log, and not to be had a
// second time.
func (d *desk) file(w http.ResponseWriter, r *http.Request) error {
	wrong := func(status int, why string) error {
		page.File(page.FileView{Site: d.site(), Path: invite.FilePath, Wrong: why}).Write(w, status)
		return nil
	}
	address := prefixOf(r.RemoteAddr)
	if wait, ok := d.limit.take(address); !ok {
		w.Header().Set("Retry-After", strconv.Itoa(seconds(wait)))
		return wrong(http.StatusTooManyRequests, fmt.Sprintf("too many attempts from this network: wait %d seconds", seconds(wait)))
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		w.Header().Set("Connection", "close")
		return wrong(http.StatusBadRequest, "the form could not be read")
	}
	code, err := pastedCode(r.PostForm.Get("code"))
	if err != nil {
		return wrong(http.StatusBadRequest, err.Error())
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	issued, err := d.options.Authority.Redeem(r.Context(), authority.RedeemRequest{Code: code.String(), PublicKey: spki, ServerKey: true})
	if err != nil {
		p, ok := errors.AsType[*problemError](d.failed(err, address.String()))
		if !ok {
			return err
		}
		return wrong(p.Status, p.Detail)
	}
	d.limit.giveBack(address)
	d.options.Course.issued(code.Hash(), issued, d.options.Now())
	password := newPassword()
	file, err := packed(key, issued.Chain, password)
	if err != nil {
		return err
	}
	d.options.Log.Info("invite used", "name", issued.Name, "serial", issued.Serial, "address", address.String(), "via", "server-key")
	page.FileMade(page.FileMadeView{Site: d.site(), Name: issued.Name.String(), Password: password, File: file}).Write(w, http.StatusOK)
	return nil
}

// pastedCode reads an invitation as a person pastes it: the link or the code.
func pastedCode(s string) (invite.Code, error) {
	if strings.Contains(s, "#") {
		link, err := invite.ParseLink(s)
		return link.Code, err
	}
	return invite.Parse(strings.TrimSpace(s))
}

// newPassword draws 80 bits, in letters that are read out easily.
func newPassword() string {
	s := strings.ToLower(rand.Text())
	return s[:4] + "-" + s[4:8] + "-" + s[8:12] + "-" + s[12:16]
}

// packed returns the key and its certificates in the encoding that every
// system opens.
func packed(key *ecdsa.PrivateKey, chain [][]byte, password string) ([]byte, error) {
	var certs []*x509.Certificate
	for _, der := range chain {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		certs = append(certs, c)
	}
	return pkcs12.LegacyDES.Encode(key, certs[0], certs[1:], password)
}
