package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/smallstep/pkcs7"
	"github.com/smallstep/scep"
	"github.com/smallstep/scep/x509util"

	"github.com/postern-project/postern/internal/invite"
)

// A settings is the Settings app of an Apple device: it gets certificates by
// SCEP.
type settings struct {
	t      testing.TB
	url    string // of the SCEP server
	client *http.Client
}

func newSettings(t testing.TB, url string, config *tls.Config) *settings {
	t.Helper()
	pkcs7.ContentEncryptionAlgorithm = pkcs7.EncryptionAlgorithmAES128CBC
	if err := pkcs7.SetDefaultDigestAlgorithm(pkcs7.OIDDigestAlgorithmSHA256); err != nil {
		t.Fatal(err)
	}
	return &settings{t, url, &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		TLSClientConfig: config,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			_, port, err := net.SplitHostPort(addr)
			if err != nil {
				return nil, err
			}
			return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
		},
	}}}
}

func (s *settings) fetch(resp *http.Response, err error) []byte {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		s.t.Fatalf("%s %v: %s", resp.Status, err, body)
	}
	return body
}

// registration returns the answer to GetCACert.
func (s *settings) registration() []byte {
	s.t.Helper()
	return s.fetch(s.client.Get(s.url + "?operation=GetCACert"))
}

// enrol makes a key and asks for a certificate.
func (s *settings) enrol(challenge string) *scep.PKIMessage {
	t := s.t
	t.Helper()
	certificates, err := scep.CACerts(s.registration())
	if err != nil {
		t.Fatal(err)
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	self := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "owner"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, self, self, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if self, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	raw, err := x509util.CreateCertificateRequest(rand.Reader, &x509util.CertificateRequest{ChallengePassword: challenge}, key)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.ParseCertificateRequest(raw)
	if err != nil {
		t.Fatal(err)
	}
	m, err := scep.NewCSRRequest(csr, &scep.PKIMessage{MessageType: scep.PKCSReq, Recipients: certificates[:1], SignerKey: key, SignerCert: self})
	if err != nil {
		t.Fatal(err)
	}
	reply, err := scep.ParsePKIMessage(s.fetch(s.client.Post(s.url+"?operation=PKIOperation", "application/x-pki-message", bytes.NewReader(m.Raw))))
	if err != nil {
		t.Fatal(err)
	}
	if reply.PKIStatus == scep.SUCCESS {
		if err := reply.DecryptPKIEnvelope(self, key); err != nil {
			t.Fatal(err)
		}
	}
	return reply
}

// A device enrols at the running server by SCEP; who comes after it with
// another key is refused, and 'explain' says why. The registration authority
// is the same after a restart.
func TestSCEP(t *testing.T) {
	t.Parallel()
	d := newDoor(t, "pw.postern.test="+site(t, "the page behind the door"))
	d.open()
	link, err := invite.ParseLink(d.invitation("anna/iphone"))
	if err != nil {
		t.Fatal(err)
	}
	host, _ := link.Host()
	// SCEP protects itself; this client has not got the root yet, as a phone.
	phone := newSettings(t, link.Base+"/scep", &tls.Config{InsecureSkipVerify: true, ServerName: host})
	code, registration := link.Code.String(), phone.registration()
	if got := phone.enrol(code); got.PKIStatus != scep.SUCCESS || got.Certificate.Subject.CommonName != "anna/iphone" {
		t.Fatalf("the device was answered with %q; the server said:\n%s", got.PKIStatus, d.output)
	}
	if got := phone.enrol(code); got.PKIStatus != scep.FAILURE {
		t.Errorf("another key with the same code was answered with %q", got.PKIStatus)
	}
	if listed := d.run("list", "certificates", "--name", "anna/iphone", "--json"); !strings.Contains(listed, `"via": "scep"`) {
		t.Errorf("the ledger has %s", listed)
	}
	refused := d.run("list", "refusals")
	ref := regexp.MustCompile(`[0-9A-Z]{4}-[0-9A-Z]{4}`).FindString(refused)
	if story := d.run("explain", ref); !strings.Contains(story, "spent: ") || !strings.Contains(story, "not-enrolled") {
		t.Errorf("the refusal %q is told as:\n%s", ref, story)
	}
	kept := filepath.Join(d.data, "registration", "scep", "kept.pem")
	if info, err := os.Stat(kept); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the registration authority's key: %v, %v", info, err)
	}
	said := d.output.String()
	d.kill()
	d.open()
	if again := phone.registration(); !bytes.Equal(again, registration) {
		t.Error("the registration authority is another one after a restart")
	}
	if strings.Contains(said+d.output.String(), link.Code.String()) {
		t.Error("the server's output holds the code")
	}
}
