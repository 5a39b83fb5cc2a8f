package store

import (
	"errors"
	"fmt"
)

// What callers branch on. The errors that hold them say more.
var (
	// ErrNotFound is the error for what the ledger does not hold.
	ErrNotFound = errors.New("not found")
	// ErrExists is the error for what the ledger holds already.
	ErrExists = errors.New("exists already")
	// ErrSpent is the error for a one-time thing that had its time: an invite
	// used or cancelled, a certificate revoked.
	ErrSpent = errors.New("spent already")

	// ErrReadOnly is the error of a store or folder that cannot be written.
	ErrReadOnly = errors.New("read-only")
	// ErrFull is the error of a disk without room. Nothing is half written.
	ErrFull = errors.New("no space left")
	// ErrLocked is the error when another process holds the database.
	ErrLocked = errors.New("database locked")
	// ErrDamaged is the error of a database that is not as it was written.
	ErrDamaged = errors.New("database damaged")
	// ErrClosed is the error of a store after Close.
	ErrClosed = errors.New("store closed")
)

// A SchemaError is a database that this Postern does not know how to read:
// a newer one wrote it, or an older one and the store is opened to read only.
type SchemaError struct {
	Path  string
	Have  int64 // the version of the database
	Known int64 // the newest version that this Postern knows
}

// Error says which Postern to use.
func (e *SchemaError) Error() string {
	if e.Have > e.Known {
		return fmt.Sprintf("%s has schema version %d and this postern knows up to %d: a newer postern wrote it, use that one or a later one",
			e.Path, e.Have, e.Known)
	}
	return fmt.Sprintf("%s has schema version %d, this postern works with %d: start 'postern up' once, which backs the file up and upgrades it",
		e.Path, e.Have, e.Known)
}

// A PanicError is an Update whose function panicked; nothing of it was kept.
type PanicError struct{ Value any }

// Error names the value of the panic.
func (e *PanicError) Error() string {
	return fmt.Sprintf("panic inside a transaction: %v: this is a bug in postern, nothing was changed", e.Value)
}

// located is an error whose text is already fit for an operator, with the
// sentinel that callers branch on and the cause.
type located struct {
	kind  error
	text  string
	cause error
}

func (e *located) Error() string   { return e.text }
func (e *located) Unwrap() []error { return []error{e.kind, e.cause} }
