package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/refusal"
)

// maxBody bounds a request, in bytes: the longest is a root's answer.
const maxBody = 2 << 20

// Codes of answers that are no refusal by the authority.
const (
	codeFault     = "fault"
	codeForbidden = "forbidden"
)

// Handler answers for the authority and for the running server. It trusts
// whoever reaches it: Listen decides who does.
func Handler(a Authority, live Live, log *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	for pattern, h := range map[string]http.Handler{
		"POST /v1/issue":           call(log, a.Issue),
		"POST /v1/invite":          call(log, a.Invite),
		"POST /v1/approve":         call(log, a.Approve),
		"POST /v1/cancel-invite":   call(log, nothing(a.CancelInvite)),
		"POST /v1/steps":           call(log, live.Steps),
		"GET /v1/requests":         read(log, live.Requests),
		"GET /v1/access":           read(log, live.AccessRequests),
		"POST /v1/access/grant":    call(log, live.GrantAccess),
		"POST /v1/access/deny":     call(log, nothing(live.DenyAccess)),
		"POST /v1/revoke":          call(log, a.Revoke),
		"POST /v1/suspend":         call(log, nothing(a.Suspend)),
		"POST /v1/reinstate":       call(log, nothing(a.Reinstate)),
		"POST /v1/group":           call(log, nothing(a.ChangeGroup)),
		"POST /v1/identities":      call(log, a.Identities),
		"POST /v1/identity":        call(log, a.Identity),
		"POST /v1/certificates":    call(log, a.Certificates),
		"GET /v1/invites":          read(log, a.Invites),
		"POST /v1/token/create":    call(log, a.CreateToken),
		"GET /v1/tokens":           read(log, a.Tokens),
		"POST /v1/token/revoke":    call(log, a.RevokeToken),
		"GET /v1/groups":           read(log, a.Groups),
		"GET /v1/issuers":          read(log, a.Issuers),
		"GET /v1/hierarchy":        read(log, a.Hierarchy),
		"POST /v1/root/ask":        call(log, a.AskRoot),
		"POST /v1/root/apply":      call(log, a.ApplyRoot),
		"POST /v1/issuer/rotate":   call(log, a.Rotate),
		"POST /v1/issuer/distrust": call(log, a.Distrust),
		"POST /v1/crl":             call(log, a.RevocationList),
		"POST /v1/shards":          call(log, a.Shards),
		"GET /v1/profiles":         read(log, a.Profiles),
		"GET /v1/head":             read(log, a.Head),
		"POST /v1/verify":          call(log, func(ctx context.Context, _ struct{}) (authority.Verification, error) { return a.Verify(ctx) }),
		"POST /v1/acme/key":        call(log, a.CreateACMEKey),
		"GET /v1/acme/accounts":    read(log, a.ACMEAccounts),
		"POST /v1/acme/orders":     call(log, a.ACMEOrders),
		"POST /v1/acme/order":      call(log, a.ACMEOrder),
		"GET /v1/status":           read(log, live.Status),
		"GET /v1/refusals":         answer(maxBody, log, func(r *http.Request) (any, error) { return live.Refusals(r.Context(), limitOf(r)) }),
		"GET /v1/refusals/{ref}":   answer(maxBody, log, func(r *http.Request) (any, error) { return findRefusal(live, r) }),
	} {
		mux.Handle(pattern, h)
	}
	return mux
}

// Serve answers on ln until ctx ends, and then lets running calls finish.
func Serve(ctx context.Context, ln net.Listener, h http.Handler, log *slog.Logger) error {
	return serveUntil(ctx, newServer(h, log), ln)
}

// maxHeader bounds the header of a request and of an answer, in bytes.
const maxHeader = 16 << 10

func newServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

func serveUntil(ctx context.Context, srv *http.Server, ln net.Listener) error {
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		srv.Shutdown(grace)
	})
	err := srv.Serve(ln)
	if !stop() {
		<-stopped
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// call answers a method that takes a value.
func call[Q, A any](log *slog.Logger, f func(context.Context, Q) (A, error)) http.Handler {
	return callOf(maxBody, log, f)
}

// callOf is call for a request of at most so many bytes.
func callOf[Q, A any](most int64, log *slog.Logger, f func(context.Context, Q) (A, error)) http.Handler {
	return answer(most, log, func(r *http.Request) (any, error) {
		var q Q
		d := json.NewDecoder(r.Body)
		d.DisallowUnknownFields()
		if err := d.Decode(&q); err != nil {
			return nil, &authority.Error{Code: authority.CodeBadRequest, Msg: "the request cannot be read: " + err.Error(), Hint: "use the postern command of the server's version"}
		}
		if _, err := d.Token(); err != io.EOF {
			return nil, &authority.Error{Code: authority.CodeBadRequest, Msg: "the request goes on behind its end"}
		}
		return f(r.Context(), q)
	})
}

// read answers a method that takes nothing.
func read[A any](log *slog.Logger, f func(context.Context) (A, error)) http.Handler {
	return answer(maxBody, log, func(r *http.Request) (any, error) { return f(r.Context()) })
}

// nothing gives a method without a result an empty one.
func nothing[Q any](f func(context.Context, Q) error) func(context.Context, Q) (struct{}, error) {
	return func(ctx context.Context, q Q) (struct{}, error) { return struct{}{}, f(ctx, q) }
}

// answer writes what f returns as JSON; its errors become statuses here and
// nowhere else.
func answer(most int64, log *slog.Logger, f func(*http.Request) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, most)
		v, err := f(r)
		if err != nil {
			status, e := problem(err)
			if status == http.StatusInternalServerError {
				log.Error("command failed", "path", r.URL.Path, "err", err)
			}
			write(w, status, e)
			return
		}
		write(w, http.StatusOK, v)
	})
}

func write(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}

func problem(err error) (int, *authority.Error) {
	e, ok := errors.AsType[*authority.Error](err)
	if !ok {
		return http.StatusInternalServerError, &authority.Error{Code: codeFault, Msg: err.Error()}
	}
	switch e.Code {
	case authority.CodeNotFound:
		return http.StatusNotFound, e
	case authority.CodeExists, authority.CodeSpent, authority.CodeCancelled, authority.CodeRevoked, authority.CodeSuspended, authority.CodeNotYet, authority.CodeDistrusted:
		return http.StatusConflict, e
	case authority.CodeReadOnly, authority.CodeKeyUnavailable:
		return http.StatusServiceUnavailable, e
	}
	return http.StatusBadRequest, e
}

func limitOf(r *http.Request) int {
	n, err := strconv.Atoi(r.URL.Query().Get("limit"))
	if err != nil || n < 1 {
		return 100
	}
	return min(n, 10_000)
}

func findRefusal(live Live, r *http.Request) (any, error) {
	ref, err := refusal.ParseReference(r.PathValue("ref"))
	if err != nil {
		return nil, &authority.Error{Code: authority.CodeBadRequest, Msg: err.Error()}
	}
	return live.Refusal(r.Context(), ref)
}

var _ Authority = (*authority.Service)(nil)
