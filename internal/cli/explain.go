package cli

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/postern-project/postern/internal/api"
	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/chain"
	"github.com/postern-project/postern/internal/explain"
	"github.com/postern-project/postern/internal/refusal"
)

type explaining struct {
	roots, certs []string
	host         string
	passwordFile string
	timeout      lifetime
	why          bool
}

func newExplain(a *app) *cobra.Command {
	var f explaining
	c := &cobra.Command{
		Use:   "explain FILE...|HOST[:PORT]|REFERENCE|ORDER",
		Short: "Why yes, why no, step by step",
		Long: `Tell why a certificate, a server or a refusal is as it is, step by step, and
what to do about it. FILE is a certificate, key, certificate request or PKCS#12
file, of Postern's making or not; - is standard input. HOST is asked live.
REFERENCE is the short code on a refusal page, ORDER an order of the ACME
server ('postern acme orders').`,
		Example: `  postern explain K7QM-2XPA
  postern explain pw.example.com --cert ./ben-laptop
  postern explain server.pem chain.pem --host orders.internal --root ca.pem`,
		Args: arguments(1, -1, "a file, host or reference", "postern explain FILE, HOST:PORT or REFERENCE"),
		RunE: func(c *cobra.Command, args []string) error {
			if f.why && len(args) == 1 {
				return a.whyTrusted(c.Context(), args[0])
			}
			return a.explain(c.Context(), args, f)
		},
	}
	c.Flags().StringSliceVar(&f.roots, "root", nil, "trust the certificates in `FILE`; may be repeated")
	c.Flags().StringVar(&f.host, "host", "", "the host `NAME` that the certificate should be for")
	c.Flags().StringSliceVar(&f.certs, "cert", nil, "show HOST the certificate in `DIR` (cert.pem, key.pem); may be repeated")
	c.Flags().StringVar(&f.passwordFile, "password-file", "", "read a PKCS#12 file's password from `FILE` (default its name with .password)")
	c.Flags().BoolVar(&f.why, "why-trusted", false, "say which file makes this machine believe HOST")
	c.Flags().Var(&f.timeout, "timeout", "how long HOST may take (default 5s)")
	return c
}

func (a *app) explain(ctx context.Context, args []string, f explaining) error {
	report, about, err := a.report(ctx, args, f)
	if err != nil {
		return err
	}
	if a.json {
		err = a.show(report, nil)
	} else {
		err = report.WriteText(a.Stdout, a.colour())
	}
	if err == nil && !report.OK && about != aRefusal {
		return errSilent
	}
	return err
}

// what a report is about. A refusal is wrong by nature: to tell of one, or of an
// order that failed, is a success.
type about int

const (
	files about = iota
	aHost
	aRefusal
)

// report tells from its looks what is to be explained. A file that exists is a
// file, whatever its name looks like.
func (a *app) report(ctx context.Context, args []string, f explaining) (explain.Report, about, error) {
	args = spoken(args)
	_, statErr := os.Stat(args[0])
	if len(args) > 1 || args[0] == "-" || statErr == nil {
		r, err := a.explainFiles(ctx, args, f)
		return r, files, err
	}
	if ref, err := refusal.ParseReference(args[0]); err == nil {
		r, err := a.explainRefusal(ctx, ref)
		return r, aRefusal, err
	}
	if looksLikeOrder(args[0]) {
		r, err := a.explainOrder(ctx, args[0])
		return r, aRefusal, err
	}
	if looksLikePath(args[0]) {
		return explain.Report{}, files, fmt.Errorf("there is no file %s", args[0])
	}
	r, err := a.explainHost(ctx, args[0], f)
	return r, aHost, err
}

// spoken joins a reference that was heard and typed as two words.
func spoken(args []string) []string {
	if len(args) != 2 || len(args[0]) != 4 || len(args[1]) != 4 {
		return args
	}
	for _, word := range args {
		if _, err := os.Stat(word); err == nil {
			return args
		}
	}
	ref, err := refusal.ParseReference(args[0] + args[1])
	if err != nil {
		return args
	}
	return []string{ref.String()}
}

func looksLikePath(s string) bool {
	switch filepath.Ext(s) {
	case ".pem", ".crt", ".cer", ".der", ".key", ".csr", ".p12", ".pfx":
		return true
	}
	return filepath.IsAbs(s) || len(s) > 1 && s[0] == '.' && (s[1] == '/' || s[1] == '.')
}

func (a *app) explainRefusal(ctx context.Context, ref refusal.Reference) (explain.Report, error) {
	r, err := a.refused(ctx, ref)
	if err != nil {
		return explain.Report{}, err
	}
	return explain.Refusal(recordOf(r)), nil
}

func recordOf(r api.Refused) explain.Record {
	return explain.Record{
		Reference: r.Reference, Time: r.Time, Code: r.Code, Detail: r.Detail, Site: r.Site, Host: r.Host,
		Method: r.Method, Path: r.Path, Address: r.Address, Audit: r.Audit, Name: r.Client.Name, Claims: r.Client.Claims, Serial: r.Client.Serial,
		Issuer: r.Client.Issuer, IssuerKeyID: r.Client.IssuerKeyID, Subject: r.Client.Subject, NotAfter: r.Client.NotAfter,
	}
}

func (a *app) explainFiles(ctx context.Context, paths []string, f explaining) (explain.Report, error) {
	all := make([]explain.File, len(paths))
	for i, path := range paths {
		file, err := a.readFile(path)
		if err != nil {
			return explain.Report{}, err
		}
		all[i] = file
	}
	roots, err := readRoots(f.roots)
	if err != nil {
		return explain.Report{}, err
	}
	o := explain.Options{Host: f.host, Roots: roots, Now: a.Now(), Anchors: a.ownAnchors}
	o.Password = func(file string) (string, error) { return a.passwordOf(file, f.passwordFile) }
	if a.haveData() == nil {
		desk := ledgerDesk{app: a}
		defer desk.close()
		o.Ledger = func(c *x509.Certificate) (explain.Standing, error) { return desk.standing(ctx, c) }
	}
	return explain.Files(all, o), nil
}

// passwordOf returns the password of a PKCS#12 file: from the file that was
// named, from the one that 'postern join' and 'postern issue' write beside it,
// or from a person, when one sits at both ends.
func (a *app) passwordOf(file, from string) (string, error) {
	if from == "" {
		from = file + ".password"
		if _, err := os.Stat(from); errors.Is(err, fs.ErrNotExist) {
			if a.ReadPassword == nil || !a.StdoutTerminal {
				return "", explain.ErrNoPassword
			}
			return a.ReadPassword("Password of " + clean(file) + ": ")
		}
	}
	data, err := explain.ReadFile(from)
	if err != nil {
		return "", err
	}
	return strings.TrimRight(string(data.Data), "\r\n"), nil
}

// ownAnchors returns the root and the issuers of the data folder when one of
// them signed what is in the files; other chains have nothing to do with them.
func (a *app) ownAnchors(certs []*x509.Certificate) (roots, issuers []*x509.Certificate) {
	own, err := readRootFile(a.data())
	if err != nil {
		return nil, nil
	}
	paths, err := filepath.Glob(filepath.Join(escapeGlob(a.data()), authority.IssuersFolder, "*.pem"))
	if err != nil {
		return nil, nil
	}
	for _, path := range paths {
		if certs, err := explain.ReadRoots(path); err == nil {
			issuers = append(issuers, certs...)
		}
	}
	known := slices.Concat(own, issuers)
	if slices.ContainsFunc(certs, func(c *x509.Certificate) bool { return signedByOne(c, known) }) {
		return own, issuers
	}
	return nil, nil
}

func signedByOne(c *x509.Certificate, own []*x509.Certificate) bool {
	return slices.ContainsFunc(own, func(by *x509.Certificate) bool { return bytes.Equal(c.RawIssuer, by.RawSubject) })
}

func (a *app) readFile(path string) (explain.File, error) {
	if path != "-" {
		f, err := explain.ReadFile(path)
		if p, ok := errors.AsType[*fs.PathError](err); ok {
			err = fmt.Errorf("%s: %w", path, p.Err)
		}
		return f, err
	}
	data, err := io.ReadAll(io.LimitReader(a.Stdin, chain.MaxPEM+1))
	if err == nil && len(data) > chain.MaxPEM {
		err = fmt.Errorf("standard input has more than %d bytes, which is no certificate", chain.MaxPEM)
	}
	return explain.File{Name: "standard input", Data: data}, err
}

func (a *app) explainHost(ctx context.Context, host string, f explaining) (explain.Report, error) {
	if _, err := explain.ParseAddress(host); err != nil {
		return explain.Report{}, &UsageError{err, "postern explain FILE, HOST:PORT or REFERENCE"}
	}
	clients, err := readCredentials(f.certs)
	if err != nil {
		return explain.Report{}, err
	}
	roots, err := readRoots(f.roots)
	if err != nil {
		return explain.Report{}, err
	}
	if own, err := readRootFile(a.data()); err == nil && len(roots) == 0 {
		roots = append(roots, own...)
	}
	return explain.Host(ctx, host, explain.HostOptions{
		ServerName: f.host, Roots: roots, Clients: clients, Timeout: f.timeout.d, Now: a.Now,
	})
}

func readCredentials(paths []string) ([]explain.Credential, error) {
	for _, path := range paths {
		if _, err := os.Stat(path); err != nil {
			return nil, withHint(fmt.Errorf("--cert: there is no %s", path), "name a folder as 'postern join' or 'postern issue' wrote it")
		}
	}
	return explain.ReadCredentials(paths...)
}

func readRoots(paths []string) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	for _, path := range paths {
		certs, err := explain.ReadRoots(path)
		if err != nil {
			return nil, fmt.Errorf("--root: %w", err)
		}
		all = append(all, certs...)
	}
	return all, nil
}
