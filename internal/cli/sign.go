package cli

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/postern-project/postern/internal/chain"
)

// maxCSR bounds what is read of a certificate request, in bytes.
const maxCSR = 64 << 10

func newSign(a *app) *cobra.Command {
	var q certificateFlags
	var out string
	c := &cobra.Command{
		Use:   "sign NAME CSR",
		Short: "A certificate for a key made elsewhere",
		Long: `Sign the public key of a certificate request, in a file or - for standard
input. The request contributes its key and nothing else: names in it are
ignored, NAME and the flags say what the certificate holds. The certificate
and its issuer are printed as PEM, or written to the file that --out names.`,
		Example: `  postern sign services/checkout checkout.csr --profile service
  postern sign web server.csr --profile server --dns orders.internal`,
		Args: arguments(2, 2, "the name or the certificate request", "postern sign NAME CSR"),
		RunE: func(c *cobra.Command, args []string) error {
			return a.sign(c.Context(), args[0], args[1], q, out)
		},
	}
	q.register(a, c)
	c.Flags().StringVar(&out, "out", "", "write the certificate to `FILE`")
	return c
}

func (a *app) sign(ctx context.Context, name, path string, flags certificateFlags, out string) error {
	q, err := flags.request(name, "sign")
	if err != nil {
		return err
	}
	csr, err := a.readCSR(path)
	if err != nil {
		return err
	}
	q.PublicKey = csr.RawSubjectPublicKeyInfo
	auth, done, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer done()
	if err := fitsProfile(ctx, auth, q); err != nil {
		return err
	}
	issued, err := auth.Issue(ctx, q)
	if err != nil {
		return err
	}
	if names := namesIn(csr); len(names) > 0 {
		a.note("ignored the names in the request: %s", strings.Join(names, ", "))
	}
	var files []string
	if out != "" {
		if err := writeNew(out, pemChain(issued.Chain)); err != nil {
			return err
		}
		files = []string{out}
	}
	v := signed{issuedView: viewOf(issued, files)}
	if out == "" {
		v.Certificate = string(pemChain(issued.Chain))
	}
	return a.show(v, func(w io.Writer) {
		if out == "" {
			io.WriteString(w, v.Certificate)
			return
		}
		say(w, "Certificate %s for %s, good until %s, is in %s.", issued.Serial, issued.Name, moment(issued.NotAfter), out)
	})
}

// signed is what 'sign --json' prints.
type signed struct {
	issuedView
	Certificate string `json:"certificate,omitempty"` // PEM, unless it is in a file
}

func (a *app) readCSR(path string) (*x509.CertificateRequest, error) {
	var in io.Reader = a.Stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("certificate request: %w", err)
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, maxCSR+1))
	if err != nil {
		return nil, fmt.Errorf("certificate request: %w", err)
	}
	if len(data) > maxCSR {
		return nil, fmt.Errorf("certificate request %s: more than %d bytes, which is none", path, maxCSR)
	}
	csr, err := chain.ParseCSR(data)
	if err != nil {
		return nil, fmt.Errorf("certificate request %s: %w", path, err)
	}
	return csr, nil
}

// namesIn lists the names that a request asks for and does not get.
func namesIn(csr *x509.CertificateRequest) []string {
	var names []string
	if s := csr.Subject.String(); s != "" {
		names = append(names, s)
	}
	names = append(names, csr.DNSNames...)
	names = append(names, csr.EmailAddresses...)
	for _, ip := range csr.IPAddresses {
		names = append(names, ip.String())
	}
	for _, u := range csr.URIs {
		names = append(names, u.String())
	}
	return names
}

func pemChain(chain [][]byte) []byte {
	var all []byte
	for _, der := range chain {
		all = append(all, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return all
}

// writeNew writes a file that must not exist.
func writeNew(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, os.ErrExist) {
		return withHint(fmt.Errorf("%s exists already", path), "name another file, or move that one away")
	}
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}
