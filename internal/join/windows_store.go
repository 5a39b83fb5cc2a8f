package join

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha1"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/postern-project/postern/internal/chain"
	"github.com/postern-project/postern/internal/invite"
)

// storeName stands in postern.json for the store of Windows.
const storeName = "windows"

// A windows is the certificate store of a user of Windows, which Edge, Chrome
// and Windows' own curl read. Its keys are made there and do not leave it.
type windows struct {
	run runner
}

// providers are where the key may live, best first: the TPM, then a file that
// Windows keeps.
var providers = [...]string{"Microsoft Platform Crypto Provider", "Microsoft Software Key Storage Provider"}

// makeKey has certreq make a key and a request for its certificate; what it
// reads and writes lies in dir.
func (w *windows) makeKey(ctx context.Context, dir string) (born, error) {
	var all []error
	for _, provider := range providers {
		b, err := w.makeKeyIn(ctx, dir, provider)
		if err == nil {
			return b, nil
		}
		all = append(all, fmt.Errorf("%s: %w", provider, err))
	}
	return born{}, errors.Join(all...)
}

func (w *windows) makeKeyIn(ctx context.Context, dir, provider string) (born, error) {
	policy, request := filepath.Join(dir, "request.inf"), filepath.Join(dir, "request.csr")
	defer removeAll(policy, request)
	// The authority takes the name from the invitation; certreq wants one here.
	err := os.WriteFile(policy, []byte(strings.Join([]string{
		"[Version]", `Signature="$Windows NT$"`,
		"[NewRequest]", `Subject="CN=Postern"`, "RequestType=PKCS10", "KeyAlgorithm=ECDSA_P256", "KeyLength=256", "HashAlgorithm=SHA256",
		fmt.Sprintf(`ProviderName="%s"`, provider), "Exportable=FALSE", "MachineKeySet=FALSE", "KeyUsage=0x80", "SuppressDefaults=TRUE", "Silent=TRUE", "",
	}, "\r\n")), 0o600)
	if err != nil {
		return born{}, err
	}
	if _, err := w.run.do(ctx, "certreq", "-new", "-q", "-user", policy, request); err != nil {
		return born{}, err
	}
	data, err := readSmall(request)
	if err != nil {
		return born{}, err
	}
	// certreq writes NEW CERTIFICATE REQUEST, as Windows always has.
	block, _ := pem.Decode(data)
	if block == nil {
		return born{}, errors.New("certreq made a request that cannot be read")
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: block.Bytes})
	csr, err := chain.ParseCSR(text)
	if err != nil {
		return born{}, err
	}
	return born{pub: csr.PublicKey, csr: string(text)}, nil
}

// accept puts the certificate beside its key, and its issuers where Windows
// finds them.
func (w *windows) accept(ctx context.Context, dir string, c *certificate) error {
	for i, cert := range append([]*x509.Certificate{c.leaf}, c.above...) {
		file := filepath.Join(dir, fmt.Sprintf("accept-%d.cer", i))
		if err := os.WriteFile(file, pemOf(cert), 0o600); err != nil {
			return err
		}
		defer os.Remove(file)
		if i > 0 {
			if _, err := w.run.do(ctx, "certutil", "-user", "-addstore", "CA", file); err != nil {
				return err
			}
			continue
		}
		if _, err := w.run.do(ctx, "certreq", "-accept", "-q", "-user", file); err == nil {
			continue
		}
		// certreq refuses what leads to a root that this user does not trust,
		// which is none of its business here.
		if _, err := w.run.do(ctx, "certutil", "-user", "-addstore", "My", file); err != nil {
			return err
		}
		if _, err := w.run.do(ctx, "certutil", "-user", "-repairstore", "My", thumbprint(cert)); err != nil {
			return err
		}
	}
	return nil
}

// remove deletes a certificate with its key.
func (w *windows) remove(ctx context.Context, c *x509.Certificate) error {
	return w.removeNamed(ctx, thumbprint(c))
}

func (w *windows) removeNamed(ctx context.Context, thumbprint string) error {
	if _, err := hex.DecodeString(thumbprint); err != nil {
		return fmt.Errorf("%q is no thumbprint", thumbprint)
	}
	_, err := w.run.do(ctx, "powershell", "-NoProfile", "-NonInteractive", "-Command",
		`Remove-Item -LiteralPath 'Cert:\CurrentUser\My\`+thumbprint+`' -DeleteKey`)
	return err
}

// ask posts a request over the certificate, by the curl that belongs to
// Windows: another one does not know the store. The server's certificate has to
// lead to a root in rootFile or, since a site may show a public one, to one that
// Windows trusts. What it reads lies in dir.
func (w *windows) ask(ctx context.Context, dir, rootFile string, c *certificate, address string, request invite.Request) (invite.Answer, error) {
	body, err := json.Marshal(request)
	if err != nil {
		return invite.Answer{}, err
	}
	file := filepath.Join(dir, "request.json")
	if err := os.WriteFile(file, body, 0o600); err != nil {
		return invite.Answer{}, err
	}
	defer os.Remove(file)
	args := []string{
		"--silent", "--show-error", "--max-time", strconv.Itoa(int(timeout.Seconds())), "--ssl-no-revoke", "--cert", `CurrentUser\MY\` + thumbprint(c.leaf),
		"--header", "Content-Type: application/json", "--header", "Accept: application/json, " + invite.ProblemType,
		"--data-binary", "@" + file, "--write-out", "\n%{http_code} %{content_type}", address,
	}
	out, err := w.run.do(ctx, systemCurl(), append([]string{"--cacert", rootFile}, args...)...)
	if err != nil {
		var again error
		if out, again = w.run.do(ctx, systemCurl(), args...); again != nil {
			return invite.Answer{}, errors.Join(err, again)
		}
	}
	return readWritten(out)
}

// readWritten reads the answer that curl wrote, and below it its status and type.
func readWritten(out []byte) (invite.Answer, error) {
	end := bytes.LastIndexByte(out, '\n')
	code, kind, _ := strings.Cut(string(out[end+1:]), " ")
	status, err := strconv.Atoi(code)
	if end < 0 || err != nil || len(out) > maxAnswer {
		return invite.Answer{}, errors.New("curl's answer cannot be read")
	}
	return readAnswer(status, kind, out[:end])
}

// thumbprint is how Windows names a certificate.
func thumbprint(c *x509.Certificate) string {
	sum := sha1.Sum(c.Raw)
	return strings.ToUpper(hex.EncodeToString(sum[:]))
}

func systemCurl() string {
	return filepath.Join(cmp.Or(os.Getenv("SystemRoot"), `C:\Windows`), "System32", "curl.exe")
}

// A runner runs one of the system's programs and returns what it prints; nil
// does, and others stand in for it in tests.
type runner func(ctx context.Context, name string, args ...string) ([]byte, error)

func (run runner) do(ctx context.Context, name string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*timeout)
	defer cancel()
	if run != nil {
		return run(ctx, name, args...)
	}
	cmd := exec.CommandContext(ctx, name, args...)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		text := strings.TrimSpace(said.String() + " " + out.String())
		if errors.Is(err, exec.ErrNotFound) || text == "" {
			return nil, fmt.Errorf("%s: %w", filepath.Base(name), err)
		}
		return nil, fmt.Errorf("%s says %q (%w)", filepath.Base(name), printable(text), err)
	}
	return out.Bytes(), nil
}
