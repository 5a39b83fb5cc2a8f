package gateway

import "time"

// What a visitor is told whose certificate ends soon, with every answer.
const (
	headerEnds  = "Postern-Certificate-Ends" // when, as RFC 3339 has it, in UTC
	headerRenew = "Postern-Renew"            // where its successor is to be had
)

// endsSoon is how long before its end a certificate is talked about: the last
// third of its life, and 30 days at most, so that one of a day is not for all
// of its life.
const endsSoon = 30 * 24 * time.Hour

// remind tells a visitor whose certificate ends soon.
func (x *exchange) remind() {
	leaf := x.client.Certificate
	if leaf == nil {
		return
	}
	soon := min(endsSoon, leaf.NotAfter.Sub(leaf.NotBefore)/3)
	if leaf.NotAfter.Sub(x.start) > soon {
		return
	}
	x.Header()[headerEnds] = []string{leaf.NotAfter.UTC().Format(time.RFC3339)}
	if x.g.options.Renew != nil {
		x.Header()[headerRenew] = []string{reservedPath + "/renew"}
	}
}
