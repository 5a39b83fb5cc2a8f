package acme

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/postern-project/postern/internal/authority"
)

// The statuses of accounts, orders, authorizations and challenges (RFC 8555
// section 7.1.6).
const (
	statusPending     = "pending"
	statusProcessing  = "processing"
	statusReady       = "ready"
	statusValid       = "valid"
	statusInvalid     = "invalid"
	statusDeactivated = "deactivated"
	statusExpired     = "expired"
)

// How long things are kept.
const (
	orderLife      = 24 * time.Hour       // for a client to finish
	authorizedLife = 24 * time.Hour       // a validation is good for its order
	keepOrders     = 7 * 24 * time.Hour   // to look at, and to fetch the certificate
	keepStrangers  = 24 * time.Hour       // an account of an open profile that got nothing
	keepOpen       = 400 * 24 * time.Hour // one that got something, since the last time
)

// forever is when an invited account's record expires.
var forever = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// A kept is a document together with the record that it was read from.
type kept[T any] struct {
	Doc    T
	record authority.ACMERecord
}

func load[T any](ctx context.Context, s *Server, kind, id string) (kept[T], error) {
	r, err := s.authority.ACMERecord(ctx, kind, id)
	return decode[T](r, err)
}

func find[T any](ctx context.Context, s *Server, kind, lookup string) (kept[T], error) {
	r, err := s.authority.ACMERecordBy(ctx, kind, lookup)
	return decode[T](r, err)
}

func decode[T any](r authority.ACMERecord, err error) (kept[T], error) {
	if err != nil {
		return kept[T]{}, err
	}
	k := kept[T]{record: r}
	if err := json.Unmarshal(r.Body, &k.Doc); err != nil {
		return kept[T]{}, fmt.Errorf("ACME %s %s: %w", r.Kind, r.ID, err)
	}
	return k, nil
}

// encode returns the record to write.
func (k kept[T]) encode() (authority.ACMERecord, error) {
	r := k.record
	var err error
	r.Body, err = json.Marshal(k.Doc)
	return r, err
}

func isNotFound(err error) bool { return authority.CodeOf(err) == authority.CodeNotFound }

// conflicted reports whether a write failed because somebody else was first.
func conflicted(err error) bool {
	p, ok := errors.AsType[*problemError](err)
	return ok && isConflict(p.cause)
}

func isConflict(err error) bool { return authority.CodeOf(err) == authority.CodeConflict }

// newID returns an identifier that nobody can guess.
func newID(prefix string) string {
	var b [10]byte
	rand.Read(b[:])
	return prefix + hex.EncodeToString(b[:])
}

// A recordable is a document that can be written.
type recordable interface {
	encode() (authority.ACMERecord, error)
}

// write writes one document and some of another kind, all or none.
func (s *Server) write(ctx context.Context, first recordable, more ...kept[authority.ACMEAuthorization]) error {
	all := []recordable{first}
	for _, k := range more {
		all = append(all, k)
	}
	return s.writeAll(ctx, all...)
}

// writeAll writes the documents, all or none. The error is a problem.
func (s *Server) writeAll(ctx context.Context, all ...recordable) error {
	records := make([]authority.ACMERecord, len(all))
	for i, k := range all {
		r, err := k.encode()
		if err != nil {
			return fault(err)
		}
		records[i] = r
		if r.Kind == authority.ACMEKindAccount {
			defer s.known.drop(r.ID) // whatever comes of it
		}
	}
	if err := s.authority.WriteACMERecords(ctx, records...); err != nil {
		return fault(err)
	}
	return nil
}
