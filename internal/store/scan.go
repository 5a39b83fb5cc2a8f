package store

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/ledger"
)

// A scanner reads the columns of one row, as sql.Row's Scan does.
type scanner = func(dest ...any) error

// column makes a column's value into a checked one. It is a sql.Scanner.
type column func(value any) error

// Scan hands the value on.
func (c column) Scan(value any) error { return c(value) }

func hashColumn(h *ledger.Hash) column {
	return func(value any) error {
		b, ok := value.([]byte)
		switch {
		case value == nil:
			*h = ledger.Hash{}
			return nil
		case !ok || len(b) != len(h):
			return fmt.Errorf("a hash of %d bytes is stored, want %d", len(b), len(h))
		}
		*h = ledger.Hash(b)
		return nil
	}
}

func serialColumn(s *ledger.Serial) column {
	return func(value any) error {
		b, ok := value.([]byte)
		if value == nil {
			*s = ledger.Serial{}
			return nil
		}
		if !ok {
			return fmt.Errorf("a serial number is stored as %T", value)
		}
		parsed, err := ledger.SerialFromBytes(b)
		*s = parsed
		return err
	}
}

// timeColumn reads milliseconds since 1970; null is the zero time.
func timeColumn(t *time.Time) column {
	return func(value any) error {
		switch v := value.(type) {
		case nil:
			*t = time.Time{}
		case int64:
			*t = time.UnixMilli(v).UTC()
		default:
			return fmt.Errorf("a time is stored as %T", value)
		}
		return nil
	}
}

// textColumn reads what parse makes of a text; ” stays zero.
func textColumn[T any](dst *T, parse func(string) (T, error)) column {
	return func(value any) error {
		s, ok := value.(string)
		if !ok {
			return fmt.Errorf("a text is stored as %T", value)
		}
		var err error
		if *dst = *new(T); s != "" {
			*dst, err = parse(s)
		}
		return err
	}
}

func nameColumn(n *identity.Name) column { return textColumn(n, identity.ParseName) }

func groupColumn(g *identity.Group) column { return textColumn(g, identity.ParseGroup) }

func reasonColumn(r *ledger.Reason) column {
	return func(value any) error {
		v, _ := value.(int64)
		*r = ledger.Reason(v)
		return nil
	}
}

func listColumn[T any](dst *[]T, parse func(string) (T, error)) column {
	return textColumn(dst, func(s string) (all []T, err error) {
		for item := range strings.SplitSeq(s, " ") {
			v, err := parse(item)
			if err != nil {
				return nil, err
			}
			all = append(all, v)
		}
		return all, nil
	})
}

func parseAddr(s string) (netip.Addr, error) { return netip.ParseAddr(s) }

func asIs(s string) (string, error) { return s, nil }

func joinAddresses(addresses []netip.Addr) string {
	texts := make([]string, len(addresses))
	for i, a := range addresses {
		texts[i] = a.String()
	}
	return strings.Join(texts, " ")
}

// millis returns milliseconds since 1970.
func millis(t time.Time) int64 { return t.UnixMilli() }

// span returns the bounds between which all names below n sort, bytewise.
func span(n identity.Name) (from, to string) { return n.String() + "/", n.String() + "0" }
