package authority

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/postern-project/postern/internal/ceremony"
	"github.com/postern-project/postern/internal/profile"
)

// Complete makes the authority that Init left waiting, with the answer of its
// root. A run that was interrupted is gone on with by the next one.
func Complete(ctx context.Context, o InitOptions, answer []byte) (InitResult, error) {
	m := maker{InitOptions: o, stage: filepath.Join(o.Dir, askedFolder)}
	if m.Now == nil {
		m.Now = time.Now
	}
	if m.Log == nil {
		m.Log = slog.New(slog.DiscardHandler)
	}
	file, err := os.ReadFile(filepath.Join(m.stage, requestFile))
	if errors.Is(err, fs.ErrNotExist) {
		return InitResult{}, refuse(CodeNotFound, "'postern init --without-root' begins one", "no authority in %s waits for an answer", o.Dir)
	}
	if err != nil {
		return InitResult{}, err
	}
	a, err := ceremony.ParseAnswer(answer)
	if err != nil {
		return InitResult{}, badRequest(err)
	}
	// What an interrupted run wrote of the ledger is nobody's.
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(filepath.Join(m.stage, DatabaseFile+suffix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return InitResult{}, err
		}
	}
	if err := m.adopt(ctx, file, a); err != nil {
		return InitResult{}, badRequest(fmt.Errorf("nothing was taken over: %w", err))
	}
	return m.conclude(nothing)
}

// answered returns an issuer's certificate after making sure that it is for the
// key and the use that were asked for, and that the lints find no fault in it.
// The root's signature is the ledger's to check.
func answered(asked ceremony.Issuer, der []byte) (*x509.Certificate, error) {
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("answer: issuer %s: %w", asked.Name, err)
	}
	if !bytes.Equal(c.RawSubjectPublicKeyInfo, asked.Key) {
		return nil, fmt.Errorf("answer: issuer %s is for another key than the one that was asked for", asked.Name)
	}
	if err := profile.Lint(der); err != nil {
		return nil, fmt.Errorf("answer: issuer %s: %w", asked.Name, err)
	}
	return c, nil
}
