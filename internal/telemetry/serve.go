package telemetry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// ListenMetrics opens addr, HOST:PORT, for ServeMetrics. Metrics tell who is
// turned away and how often, so addr has to be on this machine's loopback
// unless anywhere is set.
func ListenMetrics(addr string, anywhere bool) (net.Listener, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("metrics address %q: write HOST:PORT, as in 127.0.0.1:9464", addr)
	}
	if !anywhere && !loopback(host) {
		return nil, fmt.Errorf("metrics address %s is not on this machine's loopback, and metrics are for nobody else: use 127.0.0.1 or [::1]", addr)
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for metrics: %w", err)
	}
	if here, ok := ln.Addr().(*net.TCPAddr); !anywhere && (!ok || !here.IP.IsLoopback()) {
		ln.Close() // localhost resolved to something else
		return nil, fmt.Errorf("metrics address %s resolves to %s, which is not loopback: use 127.0.0.1 or [::1]", addr, ln.Addr())
	}
	return ln, nil
}

// loopback reports whether host names this machine for this machine only.
func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}

// ServeMetrics answers GET /metrics on ln with what r gathers, until ctx ends.
// It closes ln and returns nil when ctx ended.
func ServeMetrics(ctx context.Context, ln net.Listener, r *prometheus.Registry) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(r, promhttp.HandlerOpts{Registry: r, MaxRequestsInFlight: 4}))
	srv := &http.Server{
		Handler:           local(ln.Addr(), mux),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	wg.Go(func() {
		<-ctx.Done()
		srv.Close()
	})
	if err := srv.Serve(ln); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve metrics: %w", err)
	}
	return nil
}

// local refuses, on a loopback address, requests for another host's name: a
// page of that name, open in a browser here, could otherwise read the metrics
// by pointing its name at this address.
func local(addr net.Addr, next http.Handler) http.Handler {
	if here, ok := addr.(*net.TCPAddr); !ok || !here.IP.IsLoopback() {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		if n := len(host); n > 2 && host[0] == '[' && host[n-1] == ']' {
			host = host[1 : n-1]
		}
		if !loopback(host) {
			http.Error(w, "ask for localhost", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}
