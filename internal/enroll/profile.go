package enroll

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/smallstep/pkcs7"
	"howett.net/plist"

	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/invite"
	"github.com/postern-project/postern/internal/page"
)

// profileType is the media type of a configuration profile.
const profileType = "application/x-apple-aspen-config"

// The bits of Key Usage: TLS asks the key to sign, and SCEP encrypts its answer
// to it.
const (
	signing    = 1
	encryption = 4
)

// appleProfile returns the configuration profile with which an Apple device
// makes the key of an invitation itself and gets its certificate by SCEP. The
// words in it are those of Apple's schema.
func (d *desk) appleProfile(code invite.Code, inv authority.Invite) ([]byte, error) {
	site, name := d.site(), inv.Name.String()
	part := func(kind, suffix, title string, rest map[string]any) map[string]any {
		maps.Copy(rest, map[string]any{
			"PayloadType": kind, "PayloadVersion": 1, "PayloadDisplayName": title, "PayloadUUID": uuid.NewString(),
			// A later profile with the same identifier takes this one's place.
			"PayloadIdentifier": "postern." + site + "." + strings.ReplaceAll(name, "/", ".") + suffix,
		})
		return rest
	}
	content := []any{part("com.apple.security.scep", ".key", "Key of "+name, map[string]any{"PayloadContent": map[string]any{
		"URL": d.options.PublicURL() + d.options.SCEPPath, "Name": site, "Subject": [][][]string{{{"CN", name}}},
		"Challenge": code.String(), "Key Type": "RSA", "Keysize": 2048, "Key Usage": signing | encryption,
		"KeyIsExtractable": false, "Retries": 3, "RetryDelay": 5,
	}})}
	if d.options.NeedsRoot != nil && d.options.NeedsRoot(inv.Name) {
		for i, root := range d.options.Roots() {
			content = append(content, part("com.apple.security.root", ".root"+strconv.Itoa(i), root.Subject.CommonName, map[string]any{
				"PayloadCertificateFileName": "root.cer", "PayloadContent": root.Raw,
			}))
		}
	}
	return plist.MarshalIndent(part("Configuration", "", name+" at "+site, map[string]any{
		"PayloadOrganization": site,
		"PayloadDescription":  fmt.Sprintf("Lets this device in at %s as %s. Its key is made here and never leaves the device. To give up the access, remove this profile.", site, name),
		"PayloadContent":      content,
	}), plist.XMLFormat, "\t")
}

// signed returns data as CMS SignedData (RFC 5652) by a certificate of the
// site, with what leads from it to its root.
func signed(data []byte, by *tls.Certificate) ([]byte, error) {
	var chain []*x509.Certificate
	for _, der := range by.Certificate {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		chain = append(chain, c)
	}
	if len(chain) == 0 {
		return nil, errors.New("the site's certificate is empty")
	}
	sd, err := pkcs7.NewSignedData(data)
	if err != nil {
		return nil, err
	}
	sd.SetDigestAlgorithm(pkcs7.OIDDigestAlgorithmSHA256)
	if err := sd.AddSignerChain(chain[0], by.PrivateKey, chain[1:], pkcs7.SignerInfoConfig{}); err != nil {
		return nil, err
	}
	return sd.Finish()
}

// profile hands out the configuration profile of an invitation, signed by the
// site. It spends nothing: the device does, when it asks for its certificate.
func (d *desk) profile(w http.ResponseWriter, r *http.Request) error {
	wrong := func(status int, why string) error {
		page.NoProfile(d.site(), why, invite.Path).Write(w, status)
		return nil
	}
	by := d.publicCertificate()
	if by == nil {
		return wrong(http.StatusNotFound, "this server has no certificate of a public authority, which a profile needs: make the key on the page of the invitation")
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		w.Header().Set("Connection", "close")
		return wrong(http.StatusBadRequest, "the form could not be read")
	}
	code, inv, err := d.look(w, r, r.PostForm.Get("code"))
	if err != nil {
		p, ok := errors.AsType[*problemError](err)
		if !ok {
			return err
		}
		return wrong(p.Status, p.Detail)
	}
	text, err := d.appleProfile(code, inv)
	if err != nil {
		return err
	}
	if text, err = signed(text, by); err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", profileType)
	h.Set("Content-Disposition", `attachment; filename="`+strings.ReplaceAll(inv.Name.String(), "/", "-")+`.mobileconfig"`)
	h.Set("Content-Length", strconv.Itoa(len(text)))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	_, err = w.Write(text)
	return err
}

// state tells the page of an invitation whom it is for and where that opens a
// door, as long as it can be used.
func (d *desk) state(w http.ResponseWriter, r *http.Request) error {
	request, err := readRequest(w, r)
	if err != nil {
		return err
	}
	_, inv, err := d.look(w, r, request.Code)
	if err != nil {
		return err
	}
	answer := invite.State{Name: inv.Name.String()}
	if d.options.Sites != nil {
		answer.Sites = d.options.Sites(inv.Name)
	}
	return writeJSON(w, http.StatusOK, "application/json", answer)
}

// look returns what an open invitation is for. A wrong code counts as an
// attempt.
func (d *desk) look(w http.ResponseWriter, r *http.Request, text string) (invite.Code, authority.Invite, error) {
	address := prefixOf(r.RemoteAddr)
	if wait, ok := d.limit.take(address); !ok {
		w.Header().Set("Retry-After", strconv.Itoa(seconds(wait)))
		return invite.Code{}, authority.Invite{}, refuse(http.StatusTooManyRequests, authority.CodeRateLimited, "too many attempts from this network: wait %d seconds", seconds(wait))
	}
	code, err := invite.Parse(text)
	if err != nil {
		return code, authority.Invite{}, refuse(http.StatusBadRequest, authority.CodeMistyped, "%v", err)
	}
	inv, err := d.options.Authority.LookInvite(r.Context(), code.String())
	if err != nil {
		return code, inv, d.failed(err, address.String())
	}
	d.limit.giveBack(address)
	return code, inv, nil
}

func (d *desk) publicCertificate() *tls.Certificate {
	if d.options.PublicCertificate == nil {
		return nil
	}
	return d.options.PublicCertificate()
}
