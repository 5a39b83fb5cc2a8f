package upstream

import (
	"container/list"
	"net/http"
	"sync"

	"github.com/postern-project/postern/internal/refusal"
)

// The fields that say who asks, as the gateway wrote them.
const (
	headerIdentity = "X-Postern-Identity"
	headerSerial   = "X-Postern-Serial"
)

// maxSeparate bounds how many identities have a pool at one member; past it
// the one that has asked for nothing longest gives its up.
const maxSeparate = 1024

// separate is a pool of connections for each certificate, so that nobody is
// answered on a connection on which somebody else proved who they are. A
// stranger's connection is used once.
type separate struct {
	open     func(Options) (*Upstream, error)
	options  Options
	stranger *Upstream

	mu    sync.Mutex // guards what follows
	pools map[string]*list.Element
	order *list.List // of *own, the one used last in front
}

// own is the pool of one certificate.
type own struct {
	key string
	up  *Upstream
}

func newSeparate(open func(Options) (*Upstream, error), o Options) (*separate, error) {
	once := o
	once.MaxIdle = -1
	stranger, err := open(once)
	if err != nil {
		return nil, err
	}
	return &separate{open: open, options: o, stranger: stranger, pools: map[string]*list.Element{}, order: list.New()}, nil
}

// of returns the pool of whoever sent r.
func (s *separate) of(r *http.Request) (*Upstream, error) {
	name, serial := r.Header[headerIdentity], r.Header[headerSerial]
	if len(name) != 1 || len(serial) != 1 || name[0] == "" {
		return s.stranger, nil
	}
	key := serial[0] + " " + name[0]
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.pools[key]; e != nil {
		s.order.MoveToFront(e)
		return e.Value.(*own).up, nil
	}
	up, err := s.open(s.options)
	if err != nil {
		return nil, err
	}
	s.pools[key] = s.order.PushFront(&own{key, up})
	if s.order.Len() > maxSeparate {
		last := s.order.Remove(s.order.Back()).(*own)
		delete(s.pools, last.key)
		last.up.CloseIdle()
	}
	return up, nil
}

func (s *separate) handler(onError OnError) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		up, err := s.of(r)
		if err != nil {
			onError(w, r, refusal.NotConfigured, err.Error())
			return
		}
		up.Handler(onError).ServeHTTP(w, r)
	})
}

func (s *separate) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stranger.CloseIdle()
	for _, e := range s.pools {
		e.Value.(*own).up.CloseIdle()
	}
}
