package publish

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"golang.org/x/net/netutil"
)

// maxConnections bounds how many strangers the plain side serves at once.
const maxConnections = 512

// Redirecting answers by h what lies below the paths given, and sends every
// other visitor to the address that home returns for the host they asked for.
// "" is a host that is not ours: they are told nothing.
func Redirecting(h http.Handler, home func(host string) string, paths ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, path := range paths {
			if r.URL.Path == path || strings.HasPrefix(r.URL.Path, strings.TrimSuffix(path, "/")+"/") {
				h.ServeHTTP(w, r)
				return
			}
		}
		host := r.Host
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		target := r.URL.RequestURI()
		base := home(strings.TrimSuffix(strings.ToLower(strings.Trim(host, "[]")), "."))
		switch {
		case base == "", !strings.HasPrefix(target, "/"): // behind a host, "@evil.example/" would be another one
			http.NotFound(w, r)
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			// What was sent went in clear, and is not to be sent again unasked.
			http.Error(w, "use https", http.StatusForbidden)
		default:
			w.Header().Set("Cache-Control", "no-store")
			http.Redirect(w, r, base+target, http.StatusFound)
		}
	})
}

// Serve answers on l without TLS until ctx ends.
func Serve(ctx context.Context, l net.Listener, h http.Handler, log *slog.Logger) error {
	srv := &http.Server{
		Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second,
		IdleTimeout: 30 * time.Second, MaxHeaderBytes: 32 << 10,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		srv.Shutdown(grace)
	})
	err := srv.Serve(netutil.LimitListener(l, maxConnections))
	if !stop() {
		<-stopped
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
