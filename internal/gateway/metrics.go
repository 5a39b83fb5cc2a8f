package gateway

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	connections     prometheus.Counter
	quicConnections prometheus.Counter
	open            prometheus.GaugeFunc
	handshakes      *prometheus.CounterVec
	requests        *prometheus.CounterVec
	refusals        *prometheus.CounterVec
	wouldRefuse     *prometheus.CounterVec
	alarms          *prometheus.CounterVec
	cuts            *prometheus.CounterVec
	tunnels         *prometheus.CounterVec
	tunnelBytes     *prometheus.CounterVec
	leftOut         *prometheus.CounterVec
	// shakes are the children of handshakes, made once.
	shakes map[string]prometheus.Counter
}

func newMetrics(r prometheus.Registerer, open func() float64) (*metrics, error) {
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &metrics{
		connections:     prometheus.NewCounter(prometheus.CounterOpts{Name: "postern_connections_total", Help: "TCP connections accepted."}),
		quicConnections: prometheus.NewCounter(prometheus.CounterOpts{Name: "postern_quic_connections_total", Help: "QUIC connections whose client has proved to be at its address, for HTTP/3."}),
		open:            prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "postern_connections", Help: "Connections open after their handshake."}, open),
		handshakes:      counters("postern_handshakes_total", "TLS handshakes by how they ended.", "result"),
		requests:        counters("postern_requests_total", "Requests answered, refused ones included.", "site", "status"),
		refusals:        counters("postern_refusals_total", "Requests and handshakes refused.", "code", "site"),
		wouldRefuse:     counters("postern_would_refuse_total", "Requests let pass in audit mode that would have been refused.", "code", "site"),
		alarms:          counters("postern_alarms_total", "Refusals that mean that an issuer's key was stolen.", "code", "site"),
		cuts:            counters("postern_cut_connections_total", "Live connections cut because their right to be there ended.", "code"),
		tunnels:         counters("postern_tcp_connections_total", "Connections to tcp sites that were carried and have ended.", "site"),
		tunnelBytes:     counters("postern_tcp_bytes_total", "Bytes carried for tcp sites, from and to the client.", "site", "direction"),
		leftOut:         counters("postern_log_lines_left_out_total", "Log lines about visitors that were not written because there were too many alike.", "code"),
		shakes:          make(map[string]prometheus.Counter),
	}
	for _, result := range []string{shakeFull, shakeResumed, shakeRefused, shakeUnknown, shakeAbandoned, shakeTimeout, shakeCrowded, shakeFailed} {
		m.shakes[result] = m.handshakes.WithLabelValues(result)
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.connections, m.quicConnections, m.open, m.handshakes, m.requests, m.refusals, m.wouldRefuse, m.alarms, m.cuts, m.tunnels, m.tunnelBytes, m.leftOut} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// carried counts a connection to a tcp site that has ended.
func (m *metrics) carried(site string, in, out int64) {
	m.tunnels.WithLabelValues(site).Inc()
	m.tunnelBytes.WithLabelValues(site, "in").Add(float64(in))
	m.tunnelBytes.WithLabelValues(site, "out").Add(float64(out))
}

// requestsOf returns the counters of one site's requests by the hundreds of
// their status; the first one is for requests that got no answer.
func (m *metrics) requestsOf(site string) (served [6]prometheus.Counter) {
	served[0] = m.requests.WithLabelValues(site, "none")
	for i := 1; i < len(served); i++ {
		served[i] = m.requests.WithLabelValues(site, strconv.Itoa(i)+"xx")
	}
	return served
}
