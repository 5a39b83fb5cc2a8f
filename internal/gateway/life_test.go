package gateway

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"
)

var errOver = errors.New("over")

// A life is a context like any other to the context package, and to whoever
// derives others of it.
func TestALifeIsAContext(t *testing.T) {
	base, over := context.WithCancelCause(context.WithValue(context.Background(), connKey{}, "conn"))
	x := new(exchange)
	l := &life{Context: base, exchange: x}
	if exchangeOf(l) != x || l.Value(connKey{}) != "conn" {
		t.Error("values are lost")
	}
	child, cancel := context.WithCancel(context.WithValue(l, tokenKey{}, 1))
	defer cancel()
	called := make(chan string, 4)
	context.AfterFunc(l, func() { called <- "by the package" })
	l.AfterFunc(func() { called <- "by the life" })
	stopped := l.AfterFunc(func() { called <- "though it was stopped" })
	if !stopped() || stopped() {
		t.Error("stop does not tell whether it did")
	}
	done := l.Done()
	select {
	case <-done:
		t.Fatal("it ends before its end")
	default:
	}
	if l.Err() != nil || child.Err() != nil || context.Cause(l) != nil {
		t.Error("an error before the end")
	}
	over(errOver)
	l.end()
	l.end()
	<-done
	<-child.Done()
	if !errors.Is(l.Err(), context.Canceled) || context.Cause(l) != errOver || context.Cause(child) != errOver {
		t.Errorf("it ended by %v, because of %v and %v", l.Err(), context.Cause(l), context.Cause(child))
	}
	for range 2 {
		if by := <-called; by == "though it was stopped" {
			t.Error("called", by)
		}
	}
	late := make(chan struct{})
	if stop := l.AfterFunc(func() { close(late) }); stop() {
		t.Error("stopped what had begun")
	}
	<-late
	<-(&life{Context: base, err: context.Canceled}).Done()
}

type tokenKey struct{}

// Whoever is first, the end or what waits for it, each is called exactly once
// or told that it was stopped.
func TestALifeEndsOnce(t *testing.T) {
	for range 200 {
		l := &life{Context: context.Background()}
		var wg sync.WaitGroup
		calls := make(chan int, 8)
		for i := range 8 {
			wg.Go(func() {
				called := make(chan struct{})
				stop := l.AfterFunc(func() { close(called) })
				if i%2 == 0 && stop() {
					calls <- i
					return
				}
				select {
				case <-called:
					calls <- i
				case <-time.After(60 * time.Second):
				}
			})
		}
		wg.Go(l.end)
		wg.Wait()
		if len(calls) != 8 {
			t.Fatalf("%d of 8 ended", len(calls))
		}
	}
}
