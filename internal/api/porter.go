package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"time"

	"github.com/postern-project/postern/internal/invite"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/refusal"
	"github.com/postern-project/postern/internal/split"
)

// A Porter is the gateway's process as that of the authority sees it: it opens
// the doors when it is told to, and knows what only a gateway can tell.
// *PorterClient is one.
type Porter interface {
	// Begin reads the roster, as roster.Snapshot writes it. It comes first.
	Begin(context.Context, io.Reader) error
	// Apply gives the roster what the ledger took in, and returns once every
	// request is judged by it.
	Apply(context.Context, Commit) error
	// Condemn says that what the roster was made of is damaged.
	Condemn(context.Context) error

	// Open serves a configuration, and returns once it does.
	Open(context.Context, Opening) error
	// Reload puts another in its place, or says why the old one stays.
	Reload(context.Context, Text) error
	// Doors returns what the listening sockets are for; the sockets
	// themselves come over a line of their own, once for each call.
	Doors(context.Context) ([]Socket, error)
	// End stops serving and ends the process. With handover it is in a
	// hurry, since another waits for its place.
	End(ctx context.Context, handover bool) error

	Standing(context.Context) (Standing, error)
	Believes(context.Context, ledger.KeyID) (bool, error)
	Refusals(ctx context.Context, limit int) ([]Refused, error)
	Refusal(context.Context, refusal.Reference) (Refused, error)
	Steps(context.Context, ledger.Hash) ([]invite.Step, error)
	Requests(context.Context) ([]invite.Waiting, error)
	AccessRequests(context.Context) ([]invite.AccessRequest, error)
	// AnswerAccess says yes to the request for access with these words.
	AnswerAccess(context.Context, AccessAnswer) error
	DenyAccess(ctx context.Context, words string) error
}

// A Commit is what the ledger took in at once.
type Commit struct {
	First   uint64   `json:"first"`   // the number of the first entry
	Entries [][]byte `json:"entries"` // as the ledger stores them
}

// A Text is a configuration as it was read, so that both processes have the
// same one.
type Text struct {
	Path string `json:"path"` // "" when there is no file
	Data []byte `json:"data,omitempty"`
	// Wrong says why there is no new configuration to be read; it is not put
	// in force, and counted.
	Wrong string `json:"wrong,omitempty"`
}

// An Opening is what a gateway begins with.
type Opening struct {
	Text
	// Follows says that this server takes the place of another one.
	Follows bool `json:"follows,omitempty"`
}

// A Socket says what one listening socket is for.
type Socket struct {
	Side  string `json:"side"`
	Host  string `json:"host,omitzero"`
	Port  uint16 `json:"port,omitzero"`
	Given bool   `json:"given,omitzero"` // by the service manager
}

// A Standing is the gateway's part of a Status, the part that is an Alarm
// apart.
type Standing struct {
	Status
	Alarm []string `json:"alarm,omitempty"`
}

// An AccessAnswer is the invitation for somebody who asked for access: the part
// of its link after '#'. "" only asks whether somebody waits for one.
type AccessAnswer struct {
	Words    string `json:"words"`
	Fragment string `json:"fragment,omitempty"`
}

// maxCommit bounds what a gateway takes in at once, in bytes: one entry can
// revoke very many certificates.
const maxCommit = 512 << 20

// PorterHandler answers the authority's process.
func PorterHandler(p Porter, log *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	for pattern, h := range map[string]http.Handler{
		"POST /p1/begin": answer(math.MaxInt64, log, func(r *http.Request) (any, error) { // a roster has no bound of its own
			return struct{}{}, p.Begin(r.Context(), r.Body)
		}),
		"POST /p1/apply":         callOf(maxCommit, log, nothing(p.Apply)),
		"POST /p1/condemn":       call(log, func(ctx context.Context, _ struct{}) (struct{}, error) { return struct{}{}, p.Condemn(ctx) }),
		"POST /p1/open":          call(log, nothing(p.Open)),
		"POST /p1/reload":        call(log, nothing(p.Reload)),
		"GET /p1/doors":          read(log, p.Doors),
		"POST /p1/end":           call(log, nothing(p.End)),
		"GET /p1/standing":       read(log, p.Standing),
		"POST /p1/believes":      call(log, p.Believes),
		"GET /p1/refusals":       answer(maxBody, log, func(r *http.Request) (any, error) { return p.Refusals(r.Context(), limitOf(r)) }),
		"POST /p1/refusal":       call(log, p.Refusal),
		"POST /p1/steps":         call(log, p.Steps),
		"GET /p1/requests":       read(log, p.Requests),
		"GET /p1/access":         read(log, p.AccessRequests),
		"POST /p1/access/answer": call(log, nothing(p.AnswerAccess)),
		"POST /p1/access/deny":   call(log, nothing(p.DenyAccess)),
	} {
		mux.Handle(pattern, h)
	}
	return mux
}

// A PorterClient is the gateway's process. It is safe for concurrent use. Close
// it when done.
type PorterClient struct{ caller }

// DialPorter returns the porter at the other end of a line.
func DialPorter(l *split.Line) *PorterClient {
	c := newCaller(transportOver(l.DialContext), func(err error) error {
		return fmt.Errorf("the gateway's process does not answer: %w", err)
	})
	c.most = maxWord
	return &PorterClient{c}
}

// How long the gateway may take: to follow the ledger, since one that does not
// would let in who was revoked; to take in a roster; to serve a configuration;
// and to say something. It may be somebody else's by now, and never answer.
const (
	applyWithin  = 10 * time.Second
	beginWithin  = 10 * time.Minute
	serveWithin  = time.Minute
	answerWithin = 10 * time.Second
)

// ErrNoAnswer says that the gateway has not answered in time: what it does now
// nobody knows.
var ErrNoAnswer = errors.New("the gateway's process does not answer")

func within(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, limit, fmt.Errorf("%w within %s", ErrNoAnswer, limit))
}

// askPorter is ask with a bound on the time and on the answer, in bytes.
func askPorter[A any](ctx context.Context, c *PorterClient, limit time.Duration, most int64, method, path string, q any) (A, error) {
	ctx, cancel := within(ctx, limit)
	defer cancel()
	bounded := c.caller
	bounded.most = most
	return ask[A](ctx, &bounded, method, path, q)
}

// maxTold bounds what the gateway tells of itself or of those whom it met, in
// bytes: the longest is the list of 10,000 refusals.
const maxTold = 32 << 20

func told[A any](ctx context.Context, c *PorterClient, path string) (A, error) {
	return askPorter[A](ctx, c, answerWithin, maxTold, http.MethodGet, path, nil)
}

func toldOf[A any](ctx context.Context, c *PorterClient, path string, q any) (A, error) {
	return askPorter[A](ctx, c, answerWithin, maxTold, http.MethodPost, path, q)
}

// Begin gives the gateway its roster.
func (c *PorterClient) Begin(ctx context.Context, snapshot io.Reader) error {
	ctx, cancel := within(ctx, beginWithin)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://postern/p1/begin", snapshot)
	if err != nil {
		return err
	}
	_, err = answered[struct{}](ctx, &c.caller, req)
	return err
}

// Apply gives the gateway what the ledger took in. An error means that it does
// not follow any more.
func (c *PorterClient) Apply(ctx context.Context, q Commit) error {
	ctx, cancel := context.WithTimeoutCause(ctx, applyWithin, errors.New("the gateway's process does not follow the ledger"))
	defer cancel()
	if err := c.do(ctx, applyWithin, "/p1/apply", q); err != nil {
		return fmt.Errorf("it does not follow the ledger: %w", err)
	}
	return nil
}

func (c *PorterClient) do(ctx context.Context, limit time.Duration, path string, q any) error {
	_, err := askPorter[struct{}](ctx, c, limit, maxWord, http.MethodPost, path, q)
	return err
}

// Condemn has the gateway let nobody in.
func (c *PorterClient) Condemn(ctx context.Context) error {
	return c.do(ctx, answerWithin, "/p1/condemn", struct{}{})
}

// Open has the gateway serve.
func (c *PorterClient) Open(ctx context.Context, q Opening) error {
	return c.do(ctx, serveWithin, "/p1/open", q)
}

// Reload has the gateway serve something else.
func (c *PorterClient) Reload(ctx context.Context, q Text) error {
	return c.do(ctx, serveWithin, "/p1/reload", q)
}

// Doors returns what the listening sockets are for, which arrive elsewhere.
func (c *PorterClient) Doors(ctx context.Context) ([]Socket, error) {
	return told[[]Socket](ctx, c, "/p1/doors")
}

// End has the gateway finish.
func (c *PorterClient) End(ctx context.Context, handover bool) error {
	return c.do(ctx, answerWithin, "/p1/end", handover)
}

// Standing returns the gateway's part of a status.
func (c *PorterClient) Standing(ctx context.Context) (Standing, error) {
	return told[Standing](ctx, c, "/p1/standing")
}

// Believes reports whether the gateway has taken in an issuer.
func (c *PorterClient) Believes(ctx context.Context, q ledger.KeyID) (bool, error) {
	return toldOf[bool](ctx, c, "/p1/believes", q)
}

// Refusals returns the newest refusals, newest first.
func (c *PorterClient) Refusals(ctx context.Context, limit int) ([]Refused, error) {
	return told[[]Refused](ctx, c, fmt.Sprint("/p1/refusals?limit=", limit))
}

// Refusal returns one refusal.
func (c *PorterClient) Refusal(ctx context.Context, q refusal.Reference) (Refused, error) {
	return toldOf[Refused](ctx, c, "/p1/refusal", q)
}

// Steps returns what happened to an invitation.
func (c *PorterClient) Steps(ctx context.Context, q ledger.Hash) ([]invite.Step, error) {
	return toldOf[[]invite.Step](ctx, c, "/p1/steps", q)
}

// Requests returns the keys that wait for a yes.
func (c *PorterClient) Requests(ctx context.Context) ([]invite.Waiting, error) {
	return told[[]invite.Waiting](ctx, c, "/p1/requests")
}

// AccessRequests returns the requests for access that wait for an answer.
func (c *PorterClient) AccessRequests(ctx context.Context) ([]invite.AccessRequest, error) {
	return told[[]invite.AccessRequest](ctx, c, "/p1/access")
}

// AnswerAccess says yes to a request for access.
func (c *PorterClient) AnswerAccess(ctx context.Context, q AccessAnswer) error {
	return c.do(ctx, answerWithin, "/p1/access/answer", q)
}

// DenyAccess says no to one.
func (c *PorterClient) DenyAccess(ctx context.Context, words string) error {
	return c.do(ctx, answerWithin, "/p1/access/deny", words)
}

var _ Porter = (*PorterClient)(nil)
