package staple

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ocsp"
)

// How long a responder may take; how long after a failure it is asked again, at
// first and at most; how often at most it is asked when answers are short-lived;
// and how often we look whether it is time.
const (
	askTime    = 10 * time.Second
	retryFirst = 30 * time.Second
	retryMost  = time.Hour
	askLeast   = time.Minute
	lookEvery  = time.Second
)

// Options is what a Keeper may be told.
type Options struct {
	Log *slog.Logger     // nil discards
	Now func() time.Time // nil is time.Now
	// Count, which may be nil, is called after each question with how it ended:
	// good, revoked or failed.
	Count func(result string)
}

// A Keeper keeps an answer for whatever certificate a source has. It is safe
// for concurrent use.
type Keeper struct {
	source func() *tls.Certificate
	log    *slog.Logger
	now    func() time.Time
	count  func(string)
	client *http.Client
	state  atomic.Pointer[state]

	mu sync.Mutex // held while a responder is asked
}

// state is what is known of one certificate; it never changes.
type state struct {
	of      *tls.Certificate // as the source has it
	subject *subject         // nil when nobody can be asked
	answer  *answer          // nil before the first
	stapled *tls.Certificate // of with answer
	next    time.Time        // when to ask again
	failed  int              // times in a row
	wrong   string           // why there is no newer answer
	mute    string           // why nobody is asked, for a certificate that demands an answer
}

// A subject is a certificate that a responder can be asked about.
type subject struct {
	leaf, issuer *x509.Certificate
	responder    string
}

// New returns the keeper of source's certificate, which asks nobody before Run
// or Look.
func New(source func() *tls.Certificate, o Options) *Keeper {
	k := &Keeper{source: source, log: o.Log, now: o.Now, count: o.Count}
	if k.log == nil {
		k.log = slog.New(slog.DiscardHandler)
	}
	if k.now == nil {
		k.now = time.Now
	}
	if k.count == nil {
		k.count = func(string) {}
	}
	k.client = &http.Client{Timeout: askTime, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		if len(via) > 3 || r.URL.Scheme != "http" && r.URL.Scheme != "https" {
			return errors.New("too many redirects")
		}
		return nil
	}}
	return k
}

// Get returns the source's certificate, with the answer about it when there is
// one that holds. It never waits.
func (k *Keeper) Get() *tls.Certificate {
	c := k.source()
	if s := k.state.Load(); s != nil && s.of == c && s.answer.holds(k.now()) {
		return s.stapled
	}
	return c
}

// Wrong says why a certificate that demands an answer has none, or nothing.
func (k *Keeper) Wrong() string {
	c := k.source()
	s := k.state.Load()
	if c == nil || c.Leaf == nil || !demands(c.Leaf) || s == nil || s.of != c || s.answer.holds(k.now()) {
		return ""
	}
	why := s.mute
	if why == "" {
		why = s.wrong
	}
	return "the certificate demands an OCSP answer beside it, and there is none, so many browsers refuse it: " + why
}

// Run keeps the answer fresh until ctx ends.
func (k *Keeper) Run(ctx context.Context) {
	defer k.client.CloseIdleConnections()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		k.Look(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Look asks the responder if it is time to. A failure leaves the answer that
// there is.
func (k *Keeper) Look(ctx context.Context) {
	k.mu.Lock()
	defer k.mu.Unlock()
	c, now := k.source(), k.now()
	s := k.state.Load()
	if s == nil || s.of != c {
		s = k.begin(c)
		k.state.Store(s)
	}
	if s.subject == nil || now.Before(s.next) {
		return
	}
	a, err := k.ask(ctx, s.subject)
	if ctx.Err() != nil {
		return
	}
	if err == nil && s.answer != nil && a.from.Before(s.answer.from) {
		err = errors.New("the answer is older than the one that is known")
	}
	k.state.Store(k.after(s, a, err))
}

// Demands reports whether the source's certificate wants an answer beside it,
// and somebody can be asked for one.
func (k *Keeper) Demands() bool {
	c := k.source()
	return c != nil && c.Leaf != nil && demands(c.Leaf) && len(c.Leaf.OCSPServer) > 0
}

// begin finds out whom to ask about c.
func (k *Keeper) begin(c *tls.Certificate) *state {
	s := &state{of: c}
	if c == nil || c.Leaf == nil {
		return s
	}
	sub, why := subjectOf(c)
	if s.subject = sub; sub != nil {
		return s
	}
	s.mute = why
	switch serial := serialOf(c.Leaf); {
	case demands(c.Leaf):
		k.log.Error("certificate demands an OCSP answer and there will be none", "serial", serial, "err", why)
	case len(c.Leaf.OCSPServer) > 0:
		k.log.Warn("OCSP answer not stapled", "serial", serial, "err", why)
	}
	return s
}

func subjectOf(c *tls.Certificate) (*subject, string) {
	i := slices.IndexFunc(c.Leaf.OCSPServer, func(s string) bool {
		u, err := url.Parse(s)
		return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
	})
	if i < 0 {
		return nil, "it names no responder that can be asked over HTTP"
	}
	for _, der := range c.Certificate[1:] {
		issuer, err := x509.ParseCertificate(der)
		if err == nil && bytes.Equal(issuer.RawSubject, c.Leaf.RawIssuer) && c.Leaf.CheckSignatureFrom(issuer) == nil {
			return &subject{c.Leaf, issuer, c.Leaf.OCSPServer[i]}, ""
		}
	}
	return nil, "the file does not hold the certificate of its issuer: append it after the first one"
}

// after returns the state after a question.
func (k *Keeper) after(s *state, a *answer, err error) *state {
	now, next := k.now(), *s
	serial := serialOf(s.subject.leaf)
	if err != nil {
		k.count("failed")
		next.failed++
		next.next = now.Add(min(retryFirst<<min(next.failed-1, 10), retryMost))
		next.wrong = err.Error()
		if next.wrong != s.wrong {
			k.log.Warn("OCSP answer not obtained, asking again", "serial", serial, "source", s.subject.responder, "err", err)
		}
		return &next
	}
	next.answer, next.failed, next.wrong = a, 0, ""
	next.next = later(a.due(), now.Add(askLeast))
	stapled := *s.of
	stapled.OCSPStaple = a.der
	next.stapled = &stapled
	if a.revoked {
		k.count("revoked")
		if s.answer == nil || !s.answer.revoked {
			k.log.Error("server certificate revoked by its authority: put another one into its files", "serial", serial, "reason", a.reason)
		}
		return &next
	}
	k.count("good")
	if s.answer == nil {
		k.log.Info("OCSP answer stapled", "serial", serial, "until", a.until)
	}
	return &next
}

func serialOf(c *x509.Certificate) string { return fmt.Sprintf("%x", c.SerialNumber) }

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// ask asks a responder (RFC 6960 appendix A).
func (k *Keeper) ask(ctx context.Context, s *subject) (*answer, error) {
	question, err := ocsp.CreateRequest(s.leaf, s.issuer, nil)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.responder, bytes.NewReader(question))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/ocsp-request")
	r.Header.Set("Accept", "application/ocsp-response")
	resp, err := k.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the responder says %s", resp.Status)
	}
	if kind := resp.Header.Get("Content-Type"); kind != "" && !strings.HasPrefix(kind, "application/ocsp-response") {
		return nil, fmt.Errorf("the responder says something of the type %.40q", kind)
	}
	der, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, err
	}
	return parse(der, s.leaf, s.issuer, k.now())
}
