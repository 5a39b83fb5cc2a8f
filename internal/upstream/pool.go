package upstream

import (
	"context"
	"sync"
	"time"
)

// A pool keeps the links of one application that rest. The one used last is
// used next, so that those not needed end by themselves. It is safe for
// concurrent use.
type pool struct {
	dial func(context.Context) (*link, error)
	idle time.Duration // how long a link may rest
	most int           // how many may

	mu      sync.Mutex // guards what follows
	resting []*link    // the one used last at the end
	sweeper *time.Timer
}

// maxAge is how long a link is used, so that an application behind a name that
// moves is followed, and nothing that an application leaks for a connection
// grows for ever.
const maxAge = 10 * time.Minute

// get returns a link, and whether it was used before. Such a one may have ended
// while it rested.
func (p *pool) get(ctx context.Context, now time.Time) (l *link, again bool, err error) {
	for {
		l := p.take()
		if l == nil {
			break
		}
		if now.Sub(l.rested) < p.idle && now.Sub(l.born) < maxAge {
			l.begin()
			return l, true, nil
		}
		l.close()
	}
	l, err = p.dial(ctx)
	return l, false, err
}

func (p *pool) take() *link {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.resting)
	if n == 0 {
		return nil
	}
	l := p.resting[n-1]
	p.resting[n-1] = nil
	p.resting = p.resting[:n-1]
	return l
}

// put takes back a link whose exchange has ended well.
func (p *pool) put(l *link, now time.Time) {
	if !l.rest(now) {
		l.close()
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.resting) >= p.most {
		l.close()
		return
	}
	p.resting = append(p.resting, l)
	if p.sweeper == nil {
		p.sweeper = time.AfterFunc(p.pause(), p.sweep)
	}
}

// pause is how long the pool waits before it looks at its links again.
func (p *pool) pause() time.Duration { return max(min(p.idle/2, 5*time.Second), 10*time.Millisecond) }

// sweep ends the links that have rested too long or that the application has
// ended, and comes back while any are left.
func (p *pool) sweep() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	kept := p.resting[:0]
	for _, l := range p.resting {
		if now.Sub(l.rested) < p.idle && now.Sub(l.born) < maxAge && l.quiet() {
			kept = append(kept, l)
		} else {
			l.close()
		}
	}
	clear(p.resting[len(kept):])
	p.resting, p.sweeper = kept, nil
	if len(kept) > 0 {
		p.sweeper = time.AfterFunc(p.pause(), p.sweep)
	}
}

// clear ends every link that rests.
func (p *pool) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.resting {
		l.close()
	}
	clear(p.resting)
	p.resting = p.resting[:0]
	if p.sweeper != nil {
		p.sweeper.Stop()
		p.sweeper = nil
	}
}
