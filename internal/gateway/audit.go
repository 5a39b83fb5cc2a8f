package gateway

import (
	"net/http"

	"github.com/postern-project/postern/internal/refusal"
)

// spares reports whether a way in audit mode lets somebody pass whom it would
// refuse for that cause. A forgery is theft and never passes.
func (w *way) spares(code refusal.Code) bool {
	return w.Audit && code != "" && !refusal.Lookup(code).Alarm
}

// wouldRefuse writes down what would have been refused.
func (x *exchange) wouldRefuse(r *http.Request, code refusal.Code, detail string) {
	x.would, x.detail, x.reference = code, detail, refusal.NewReference()
	x.g.metrics.wouldRefuse.WithLabelValues(string(code), x.conn.host).Inc()
	x.g.keep(Refused{
		Reference: x.reference, Time: x.start, Code: code, Detail: detail, Site: x.conn.host, Audit: true,
		Host: clip(r.Host), Method: clip(r.Method), Path: clip(x.path), Address: r.RemoteAddr, Client: x.conn.shown(),
	})
}
