//go:build !unix

package upstream

type asking struct{}

// ask is never called, since no link is.
func (l *link) ask([]byte) (sent int, err error) { return 0, errStale }

// quiet reports whether l is open and nothing has come on it since it came to
// rest. Where that cannot be seen, no connection is used twice.
func (l *link) quiet() bool { return false }
