package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/postern-project/postern/internal/config"
)

// A forwardSocket is where other servers on this machine ask whether a request
// may pass.
type forwardSocket struct {
	conf string // what it was made from
	path string
	stop func()
}

// forwardKey tells sockets apart.
func forwardKey(f config.ForwardAuth) string {
	return fmt.Sprintf("%q %o %q", f.Socket, f.Mode, f.Header)
}

// openForward opens the socket that conf asks for before the gateway is kept to
// its files, when it lies beside the data folder: its folder is then out of
// reach, since all that is in it would be within.
func (s *server) openForward(conf config.Config) (err error) {
	f := conf.ForwardAuth
	if f.Socket == "" || !holds(filepath.Dir(f.Socket), s.house.Dir) {
		return nil
	}
	if s.forward, err = listenForward(f, s.follows); err != nil {
		return fmt.Errorf("forward_auth: %w", err)
	}
	return nil
}

// fillForward opens the socket that conf asks for, or takes it over.
func (s *server) fillForward(conf config.Config, next, old *sites) error {
	f := conf.ForwardAuth
	if f.Socket == "" {
		return nil
	}
	if old.forward != nil && old.forward.conf == forwardKey(f) {
		next.forward = old.forward
		return nil
	}
	if old.forward != nil && old.forward.path == f.Socket {
		return errors.New("forward_auth: mode and header change with a restart, or with another socket")
	}
	ln, err := s.forward, error(nil)
	if s.forward = nil; ln == nil || ln.Addr().String() != f.Socket {
		ln, err = listenForward(f, s.follows)
	}
	if err != nil {
		return fmt.Errorf("forward_auth: %w", err)
	}
	server := &http.Server{
		Handler:           s.gateway.ForwardAuth(f.Header),
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 128 << 10, // a request's own header, and a certificate
	}
	s.tasks.Go(func() { server.Serve(ln) })
	ctx, cancel := context.WithCancel(s.alive)
	s.tasks.Go(func() {
		<-ctx.Done()
		grace, done := context.WithTimeout(context.Background(), 5*time.Second)
		defer done()
		server.Shutdown(grace)
		server.Close()
	})
	next.forward = &forwardSocket{conf: forwardKey(f), path: f.Socket, stop: cancel}
	return nil
}

// listenForward opens the socket. One that nobody answers at is left over and
// replaced, and so is that of the process that this one follows; anything else
// at its place is not ours to touch.
func listenForward(f config.ForwardAuth, follows bool) (net.Listener, error) {
	if info, err := os.Lstat(f.Socket); err == nil {
		if info.Mode().Type() != os.ModeSocket {
			return nil, errors.New(f.Socket + " is something else already: choose another path")
		}
		if c, err := net.DialTimeout("unix", f.Socket, time.Second); err == nil && !follows {
			c.Close()
			return nil, errors.New(f.Socket + " is in use by another program")
		}
		if err := os.Remove(f.Socket); err != nil {
			return nil, err
		}
	}
	ln, err := net.Listen("unix", f.Socket)
	if err != nil {
		return nil, err
	}
	ln.(*net.UnixListener).SetUnlinkOnClose(false) // it may be a successor's by then
	if err := os.Chmod(f.Socket, f.Mode); err != nil {
		ln.Close()
		return nil, err
	}
	return ln, nil
}
