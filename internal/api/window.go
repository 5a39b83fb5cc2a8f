package api

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/permit"
	"github.com/postern-project/postern/internal/revocation"
	"github.com/postern-project/postern/internal/split"
)

// A Window is all that the gateway's process may ask of the authority's. Who
// asks may be somebody else's code by now, so every request for a certificate
// brings what speaks for it (a code, a proof, an order with its evidence), and
// the authority checks that again. *WindowClient is one.
type Window interface {
	// IssueServed certifies a key for a host that the configuration names,
	// to be shown to visitors.
	IssueServed(context.Context, OwnRequest) (authority.Issued, error)
	// IssueUpstream certifies a key for a site whose application is to know
	// the gateway by a certificate of its own: sites/HOST/upstream.
	IssueUpstream(context.Context, OwnRequest) (authority.Issued, error)
	// IssueRegistration certifies the key, SubjectPublicKeyInfo in DER, to
	// which SCEP's messages are encrypted.
	IssueRegistration(ctx context.Context, spki []byte) (authority.Issued, error)

	Redeem(context.Context, authority.RedeemRequest) (authority.Issued, error)
	RedeemSCEP(context.Context, authority.SCEPRequest) (authority.Issued, error)
	LookInvite(ctx context.Context, code string) (authority.Invite, error)
	Renew(context.Context, authority.RenewRequest) (authority.Issued, error)

	RevocationList(context.Context, authority.ListRequest) (authority.RevocationList, error)
	AnswerOCSP(request []byte) authority.OCSPAnswer
	Head(context.Context) (authority.Head, error)
	// ReadFile returns a file that the configuration names, for a gateway that
	// is kept from its folder. Its path is as config.Config.Reads has it.
	ReadFile(ctx context.Context, path string) ([]byte, error)
	// Due returns how many certificates are due for renewal, and the first to
	// end.
	Due(context.Context) (n int, first authority.Certificate, err error)

	ACMENonceKey(context.Context) ([]byte, error)
	BindACMEAccount(context.Context, authority.ACMEBinding) (authority.ACMEHolder, error)
	FindACMEAccount(ctx context.Context, profile string, thumbprint [32]byte) (authority.ACMEHolder, error)
	RekeyACMEAccount(context.Context, authority.ACMEProof) (json.RawMessage, error)
	CloseACMEAccount(context.Context, authority.ACMEProof) error
	ACMEPermits(context.Context, authority.ACMEAsk) ([]permit.Decision, error)
	IssueACME(context.Context, authority.ACMEIssueRequest) (authority.Issued, error)
	RevokeACME(context.Context, authority.ACMERevocation) error
	ACMEChain(ctx context.Context, order string) ([][]byte, error)
	ACMERenewal(ctx context.Context, aki []byte, serial ledger.Serial) (authority.ACMERenewal, error)
	ACMERecord(ctx context.Context, kind, id string) (authority.ACMERecord, error)
	ACMERecordBy(ctx context.Context, kind, lookup string) (authority.ACMERecord, error)
	ACMERecordsOf(ctx context.Context, kind, owner string, limit int) ([]authority.ACMERecord, error)
	WriteACMERecords(context.Context, ...authority.ACMERecord) error
	SweepACMERecords(context.Context) (int64, error)
}

// An OwnRequest asks for a certificate of the server itself.
type OwnRequest struct {
	Host      string `json:"host"`       // canonical
	PublicKey []byte `json:"public_key"` // SubjectPublicKeyInfo, DER
}

// The values of a window that have more than one part.
type (
	due struct {
		N     int                   `json:"n"`
		First authority.Certificate `json:"first"`
	}
	acmeKeyOf struct {
		Profile    string   `json:"profile"`
		Thumbprint [32]byte `json:"thumbprint"`
	}
	acmeCertificate struct {
		AKI    []byte        `json:"aki"`
		Serial ledger.Serial `json:"serial"`
	}
	acmeQuery struct {
		Kind  string `json:"kind"`
		By    string `json:"by"`
		Limit int    `json:"limit,omitempty"`
	}
	// issued is authority.Issued with what is no business of commands.
	issued struct {
		authority.Issued
		Ref    ledger.Ref  `json:"ref"`
		Invite ledger.Hash `json:"invite"`
	}
)

func wholly[Q any](f func(context.Context, Q) (authority.Issued, error)) func(context.Context, Q) (issued, error) {
	return func(ctx context.Context, q Q) (issued, error) {
		i, err := f(ctx, q)
		return issued{i, i.Ref, i.Invite}, err
	}
}

// The bounds of what the gateway's process may send at once, in bytes: keys,
// codes and names; and what ACME keeps or shows as evidence.
const (
	maxWord     = 64 << 10
	maxDocument = 1 << 20
)

// WindowHandler answers the gateway's process.
func WindowHandler(w Window, log *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	for pattern, h := range map[string]http.Handler{
		"POST /w1/issue/served":       callOf(maxWord, log, wholly(w.IssueServed)),
		"POST /w1/issue/upstream":     callOf(maxWord, log, wholly(w.IssueUpstream)),
		"POST /w1/issue/registration": callOf(maxWord, log, wholly(w.IssueRegistration)),
		"POST /w1/redeem":             callOf(maxWord, log, wholly(w.Redeem)),
		"POST /w1/redeem/scep":        callOf(maxWord, log, wholly(w.RedeemSCEP)),
		"POST /w1/invite":             callOf(maxWord, log, w.LookInvite),
		"POST /w1/renew":              callOf(maxWord, log, wholly(w.Renew)),
		"POST /w1/crl":                atOnce(4, callOf(maxWord, log, w.RevocationList)),
		"POST /w1/ocsp": callOf(maxWord, log, func(_ context.Context, q []byte) (authority.OCSPAnswer, error) {
			return w.AnswerOCSP(q), nil
		}),
		"GET /w1/head":  read(log, w.Head),
		"POST /w1/file": atOnce(1, callOf(maxWord, log, w.ReadFile)),
		"GET /w1/due": atOnce(1, read(log, func(ctx context.Context) (due, error) {
			n, first, err := w.Due(ctx)
			return due{n, first}, err
		})),
	} {
		mux.Handle(pattern, h)
	}
	addACME(mux, w, log)
	return mux
}

// addACME has a handler answer what the ACME server asks.
func addACME(mux *http.ServeMux, w Window, log *slog.Logger) {
	for pattern, h := range map[string]http.Handler{
		"GET /w1/acme/nonce-key": read(log, w.ACMENonceKey),
		"POST /w1/acme/bind":     callOf(maxDocument, log, w.BindACMEAccount),
		"POST /w1/acme/find": callOf(maxWord, log, func(ctx context.Context, q acmeKeyOf) (authority.ACMEHolder, error) {
			return w.FindACMEAccount(ctx, q.Profile, q.Thumbprint)
		}),
		"POST /w1/acme/rekey":   callOf(maxDocument, log, w.RekeyACMEAccount),
		"POST /w1/acme/close":   callOf(maxDocument, log, nothing(w.CloseACMEAccount)),
		"POST /w1/acme/permits": callOf(maxDocument, log, w.ACMEPermits),
		"POST /w1/acme/issue":   callOf(maxDocument, log, wholly(w.IssueACME)),
		"POST /w1/acme/revoke":  callOf(maxDocument, log, nothing(w.RevokeACME)),
		"POST /w1/acme/chain":   callOf(maxWord, log, w.ACMEChain),
		"POST /w1/acme/renewal": callOf(maxWord, log, func(ctx context.Context, q acmeCertificate) (authority.ACMERenewal, error) {
			return w.ACMERenewal(ctx, q.AKI, q.Serial)
		}),
		"POST /w1/acme/record": callOf(maxWord, log, func(ctx context.Context, q acmeQuery) (authority.ACMERecord, error) {
			return w.ACMERecord(ctx, q.Kind, q.By)
		}),
		"POST /w1/acme/record/by": callOf(maxWord, log, func(ctx context.Context, q acmeQuery) (authority.ACMERecord, error) {
			return w.ACMERecordBy(ctx, q.Kind, q.By)
		}),
		"POST /w1/acme/records": atOnce(4, callOf(maxWord, log, func(ctx context.Context, q acmeQuery) ([]authority.ACMERecord, error) {
			return w.ACMERecordsOf(ctx, q.Kind, q.By, q.Limit)
		})),
		"POST /w1/acme/write": callOf(maxDocument, log, nothing(func(ctx context.Context, q []authority.ACMERecord) error { return w.WriteACMERecords(ctx, q...) })),
		"POST /w1/acme/sweep": callOf(maxWord, log, func(ctx context.Context, _ struct{}) (int64, error) { return w.SweepACMERecords(ctx) }),
	} {
		mux.Handle(pattern, h)
	}
}

// atOnce has a handler answer so many calls at a time, down to the last byte of
// what it writes; the others wait.
func atOnce(most int, h http.Handler) http.Handler {
	turn := make(chan struct{}, most)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case turn <- struct{}{}:
			defer func() { <-turn }()
			h.ServeHTTP(w, r)
		case <-r.Context().Done():
		}
	})
}

// ServeWindow is Serve at the authority's end of a line, with h a
// WindowHandler. Who asks may not read the answers: one is done with in a
// minute, whatever becomes of it, and a bounded number of connections is open.
func ServeWindow(ctx context.Context, l *split.Line, h http.Handler, log *slog.Logger) error {
	return serveWindow(ctx, l, h, log, readWithin)
}

func serveWindow(ctx context.Context, l *split.Line, h http.Handler, log *slog.Logger, limit time.Duration) error {
	srv := newServer(h, log)
	srv.WriteTimeout = limit
	return serveUntil(ctx, srv, l.Clerk(maxCalls))
}

// readWithin is how long an answer to the gateway's process may take, from the
// end of the request's header until the last byte of it has been read.
const readWithin = time.Minute

// A WindowClient is the authority as the gateway's process sees it. It is safe
// for concurrent use. Close it when done.
type WindowClient struct{ caller }

// DialWindow returns the window at the other end of a line.
func DialWindow(l *split.Line) *WindowClient {
	return &WindowClient{newCaller(transportOver(l.Ask), func(err error) error {
		return fmt.Errorf("the authority's process does not answer: %w", err)
	})}
}

// maxCalls is how many calls each process makes of the other at a time.
const maxCalls = 64

// transportOver returns what carries calls over connections to the other
// process. Those that are idle end before the other side ends them.
func transportOver(dial func(context.Context, string, string) (net.Conn, error)) *http.Transport {
	return &http.Transport{
		DialContext: dial, MaxConnsPerHost: maxCalls, MaxIdleConns: maxCalls, MaxIdleConnsPerHost: maxCalls, IdleConnTimeout: 30 * time.Second,
		MaxResponseHeaderBytes: maxHeader, DisableCompression: true, WriteBufferSize: 16 << 10, ReadBufferSize: 16 << 10,
	}
}

func (c *WindowClient) issued(ctx context.Context, path string, q any) (authority.Issued, error) {
	i, err := post[issued](ctx, &c.caller, path, q)
	i.Issued.Ref, i.Issued.Invite = i.Ref, i.Invite
	return i.Issued, err
}

// IssueServed asks for the certificate that a host shows to visitors.
func (c *WindowClient) IssueServed(ctx context.Context, q OwnRequest) (authority.Issued, error) {
	return c.issued(ctx, "/w1/issue/served", q)
}

// IssueUpstream asks for the certificate by which a site's application knows
// the gateway.
func (c *WindowClient) IssueUpstream(ctx context.Context, q OwnRequest) (authority.Issued, error) {
	return c.issued(ctx, "/w1/issue/upstream", q)
}

// IssueRegistration asks for the certificate of SCEP's registration authority.
func (c *WindowClient) IssueRegistration(ctx context.Context, spki []byte) (authority.Issued, error) {
	return c.issued(ctx, "/w1/issue/registration", spki)
}

// Redeem spends an invite.
func (c *WindowClient) Redeem(ctx context.Context, q authority.RedeemRequest) (authority.Issued, error) {
	return c.issued(ctx, "/w1/redeem", q)
}

// RedeemSCEP spends an invite that a certificate request holds.
func (c *WindowClient) RedeemSCEP(ctx context.Context, q authority.SCEPRequest) (authority.Issued, error) {
	return c.issued(ctx, "/w1/redeem/scep", q)
}

// LookInvite returns the record of an invite and does not spend it.
func (c *WindowClient) LookInvite(ctx context.Context, code string) (authority.Invite, error) {
	return post[authority.Invite](ctx, &c.caller, "/w1/invite", code)
}

// Renew asks for the successor of a certificate.
func (c *WindowClient) Renew(ctx context.Context, q authority.RenewRequest) (authority.Issued, error) {
	return c.issued(ctx, "/w1/renew", q)
}

// RevocationList returns the newest revocation list of a shard.
func (c *WindowClient) RevocationList(ctx context.Context, q authority.ListRequest) (authority.RevocationList, error) {
	return post[authority.RevocationList](ctx, &c.caller, "/w1/crl", q)
}

// AnswerOCSP answers a request, DER; "try later" when the authority does not.
func (c *WindowClient) AnswerOCSP(request []byte) authority.OCSPAnswer {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	a, err := post[authority.OCSPAnswer](ctx, &c.caller, "/w1/ocsp", request)
	if err != nil {
		return authority.OCSPAnswer{DER: revocation.TryLater.DER()}
	}
	return a
}

// Head returns the ledger's newest checkpoint.
func (c *WindowClient) Head(ctx context.Context) (authority.Head, error) {
	return get[authority.Head](ctx, &c.caller, "/w1/head")
}

// ReadFile returns a file that the configuration names.
func (c *WindowClient) ReadFile(ctx context.Context, path string) ([]byte, error) {
	return post[[]byte](ctx, &c.caller, "/w1/file", path)
}

// Due returns how many certificates are due for renewal, and the first to end.
func (c *WindowClient) Due(ctx context.Context) (int, authority.Certificate, error) {
	d, err := get[due](ctx, &c.caller, "/w1/due")
	return d.N, d.First, err
}

// ACMENonceKey returns the secret that the ACME server makes its nonces with.
func (c *WindowClient) ACMENonceKey(ctx context.Context) ([]byte, error) {
	return get[[]byte](ctx, &c.caller, "/w1/acme/nonce-key")
}

// BindACMEAccount binds an account's key to a name.
func (c *WindowClient) BindACMEAccount(ctx context.Context, q authority.ACMEBinding) (authority.ACMEHolder, error) {
	return post[authority.ACMEHolder](ctx, &c.caller, "/w1/acme/bind", q)
}

// FindACMEAccount returns whom a key stands for.
func (c *WindowClient) FindACMEAccount(ctx context.Context, profile string, thumbprint [32]byte) (authority.ACMEHolder, error) {
	return post[authority.ACMEHolder](ctx, &c.caller, "/w1/acme/find", acmeKeyOf{profile, thumbprint})
}

// RekeyACMEAccount gives an account another key.
func (c *WindowClient) RekeyACMEAccount(ctx context.Context, q authority.ACMEProof) (json.RawMessage, error) {
	return post[json.RawMessage](ctx, &c.caller, "/w1/acme/rekey", q)
}

// CloseACMEAccount ends an account.
func (c *WindowClient) CloseACMEAccount(ctx context.Context, q authority.ACMEProof) error {
	_, err := post[struct{}](ctx, &c.caller, "/w1/acme/close", q)
	return err
}

// ACMEPermits says which hosts an account may have.
func (c *WindowClient) ACMEPermits(ctx context.Context, q authority.ACMEAsk) ([]permit.Decision, error) {
	return post[[]permit.Decision](ctx, &c.caller, "/w1/acme/permits", q)
}

// IssueACME asks for the certificate of an order.
func (c *WindowClient) IssueACME(ctx context.Context, q authority.ACMEIssueRequest) (authority.Issued, error) {
	return c.issued(ctx, "/w1/acme/issue", q)
}

// RevokeACME revokes a certificate for its account or the holder of its key.
func (c *WindowClient) RevokeACME(ctx context.Context, q authority.ACMERevocation) error {
	_, err := post[struct{}](ctx, &c.caller, "/w1/acme/revoke", q)
	return err
}

// ACMEChain returns the chain of an order's certificate.
func (c *WindowClient) ACMEChain(ctx context.Context, order string) ([][]byte, error) {
	return post[[][]byte](ctx, &c.caller, "/w1/acme/chain", order)
}

// ACMERenewal returns what is known of a certificate.
func (c *WindowClient) ACMERenewal(ctx context.Context, aki []byte, serial ledger.Serial) (authority.ACMERenewal, error) {
	return post[authority.ACMERenewal](ctx, &c.caller, "/w1/acme/renewal", acmeCertificate{aki, serial})
}

// ACMERecord returns a document.
func (c *WindowClient) ACMERecord(ctx context.Context, kind, id string) (authority.ACMERecord, error) {
	return post[authority.ACMERecord](ctx, &c.caller, "/w1/acme/record", acmeQuery{Kind: kind, By: id})
}

// ACMERecordBy returns the document that is found by lookup.
func (c *WindowClient) ACMERecordBy(ctx context.Context, kind, lookup string) (authority.ACMERecord, error) {
	return post[authority.ACMERecord](ctx, &c.caller, "/w1/acme/record/by", acmeQuery{Kind: kind, By: lookup})
}

// ACMERecordsOf returns the newest documents of an owner, at most limit.
func (c *WindowClient) ACMERecordsOf(ctx context.Context, kind, owner string, limit int) ([]authority.ACMERecord, error) {
	return post[[]authority.ACMERecord](ctx, &c.caller, "/w1/acme/records", acmeQuery{kind, owner, limit})
}

// WriteACMERecords writes documents, all of them or none.
func (c *WindowClient) WriteACMERecords(ctx context.Context, all ...authority.ACMERecord) error {
	_, err := post[struct{}](ctx, &c.caller, "/w1/acme/write", all)
	return err
}

// SweepACMERecords removes the documents that have expired.
func (c *WindowClient) SweepACMERecords(ctx context.Context) (int64, error) {
	return post[int64](ctx, &c.caller, "/w1/acme/sweep", struct{}{})
}

var _ Window = (*WindowClient)(nil)
