package store

import (
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"slices"
	"testing"

	"github.com/postern-project/postern/internal/ledger"
)

func tbsOf(t testing.TB, der []byte) ledger.Hash {
	t.Helper()
	c, err := x509.ParseCertificate(der)
	must(t, err)
	return sha256.Sum256(c.RawTBSCertificate)
}

func TestALostAnswerCanBeSignedAgain(t *testing.T) {
	w, s := started(t)
	c, err := x509.ParseCertificate(w.issuer.Certificate)
	must(t, err)
	tbs := tbsOf(t, c.Raw)
	must(t, s.Update(t.Context(), func(tx *Tx) error { return tx.KeepTBS(tbs, c.RawTBSCertificate) }))
	if raw, err := s.TBS(t.Context(), tbs); err != nil || !slices.Equal(raw, c.RawTBSCertificate) {
		t.Errorf("to-be-signed part: %v", err)
	}
	if _, err := s.KeptCertificate(t.Context(), tbs); !errors.Is(err, ErrNotFound) {
		t.Errorf("before the signature: %v, want ErrNotFound", err)
	}
	must(t, s.KeepCertificate(t.Context(), tbs, c.Raw))
	if der, err := s.KeptCertificate(t.Context(), tbs); err != nil || !slices.Equal(der, c.Raw) {
		t.Errorf("right after it was kept: %v", err)
	}
	update(t, s, ledger.IdentityCreated{Name: name("anna")}) // takes the copy along
	if s.copies.waiting() {
		t.Error("the copy still waits after a commit")
	}
	if raw, err := s.TBS(t.Context(), tbs); err != nil || !slices.Equal(raw, c.RawTBSCertificate) {
		t.Errorf("to-be-signed part of a kept certificate: %v", err)
	}
	sound(t, s)
}

func TestACopyIsBelievedOnlyWithItsHash(t *testing.T) {
	w, s := started(t)
	tbs := tbsOf(t, w.issuer.Certificate)
	if err := s.KeepCertificate(t.Context(), hashOf("other", 1), w.issuer.Certificate); err == nil {
		t.Error("a certificate was kept under another hash")
	}
	err := s.Update(t.Context(), func(tx *Tx) error { return tx.KeepTBS(tbs, []byte("other")) })
	if err == nil {
		t.Error("a to-be-signed part was kept under another hash")
	}
	tamper(t, s, "INSERT INTO certificate_copy (tbs, raw, der) VALUES ($1, $2, $3)", tbs[:], []byte("other"), w.genesis.Root)
	if _, err := s.KeptCertificate(t.Context(), tbs); !errors.Is(err, ErrNotFound) {
		t.Errorf("planted certificate: %v, want ErrNotFound", err)
	}
	if _, err := s.TBS(t.Context(), tbs); !errors.Is(err, ErrNotFound) {
		t.Errorf("planted to-be-signed part: %v, want ErrNotFound", err)
	}
}

func TestACopyOfAFailedUpdateIsNotKept(t *testing.T) {
	w, s := started(t)
	c, err := x509.ParseCertificate(w.issuer.Certificate)
	must(t, err)
	no := errors.New("no")
	err = s.Update(t.Context(), func(tx *Tx) error {
		must(t, tx.KeepTBS(tbsOf(t, c.Raw), c.RawTBSCertificate))
		return no
	})
	if !errors.Is(err, no) {
		t.Fatal(err)
	}
	if _, err := s.TBS(t.Context(), tbsOf(t, c.Raw)); !errors.Is(err, ErrNotFound) {
		t.Errorf("after a failed update: %v, want ErrNotFound", err)
	}
}
