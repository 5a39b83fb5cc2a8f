package store

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// A Fault is the first thing that Verify found to be other than the signed
// ledger says.
type Fault struct {
	Table  string `json:"table,omitempty"`
	Key    string `json:"key,omitempty"`    // of the row, such as seq=17
	Column string `json:"column,omitempty"` // empty when the whole row is at fault
	Want   string `json:"want,omitempty"`   // what the ledger says
	Have   string `json:"have,omitempty"`   // what is stored
	What   string `json:"what"`
}

// Error names the place and what is wrong there.
func (f *Fault) Error() string {
	var b strings.Builder
	if f.Table != "" {
		fmt.Fprintf(&b, "table %s, ", f.Table)
	}
	if f.Key != "" {
		fmt.Fprintf(&b, "row %s, ", f.Key)
	}
	if f.Column != "" {
		fmt.Fprintf(&b, "column %s, ", f.Column)
	}
	where := strings.TrimSuffix(b.String(), ", ")
	if where != "" {
		where += ": "
	}
	if f.Column != "" {
		return fmt.Sprintf("%s%s: it is %s, the ledger says %s", where, f.What, f.Have, f.Want)
	}
	return where + f.What
}

// Unwrap makes a Fault an ErrDamaged.
func (f *Fault) Unwrap() error { return ErrDamaged }

func entryFault(seq uint64, format string, args ...any) *Fault {
	return &Fault{Table: "ledger_entry", Key: fmt.Sprintf("seq=%d", seq), What: fmt.Sprintf(format, args...)}
}

func nodeFault(index int64, format string, args ...any) *Fault {
	return &Fault{Table: "ledger_node", Key: fmt.Sprintf("idx=%d", index), What: fmt.Sprintf(format, args...)}
}

func headFault(column, want, have, what string) *Fault {
	return &Fault{Table: "ledger_head", Key: "id=1", Column: column, Want: want, Have: have, What: what}
}

// show prints a column's value.
func show(value any) string {
	switch v := value.(type) {
	case nil:
		return "null"
	case []byte:
		return hex.EncodeToString(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case string:
		return strconv.Quote(v)
	}
	return fmt.Sprint(value)
}
