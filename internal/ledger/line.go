package ledger

import "strings"

// LineOf returns the line of an issuer by its name: clients-1 and clients-2
// are of the line clients. One issuer of each line issues at a time.
func LineOf(name string) string {
	line, number, found := cutLast(name, "-")
	if !found || number == "" || strings.Trim(number, "0123456789") != "" {
		return name
	}
	return line
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i > 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
