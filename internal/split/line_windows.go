package split

import (
	"context"
	"net"
	"os"
	"syscall"
	"time"
)

// A Line would be one end of a socket pair over which open files travel.
type Line struct{}

// New returns ErrUnsupported.
func New() (a, b *Line, err error) { return nil, nil, ErrUnsupported }

// Of returns ErrUnsupported.
func Of(*os.File) (*Line, error) { return nil, ErrUnsupported }

// File returns ErrUnsupported.
func (l *Line) File() (*os.File, error) { return nil, ErrUnsupported }

// Copy returns ErrUnsupported.
func Copy(syscall.Conn) (*os.File, error) { return nil, ErrUnsupported }

// Send returns ErrUnsupported.
func (l *Line) Send(...*os.File) error { return ErrUnsupported }

// Receive returns ErrUnsupported.
func (l *Line) Receive() ([]*os.File, error) { return nil, ErrUnsupported }

// ReceiveWithin returns ErrUnsupported.
func (l *Line) ReceiveWithin(time.Duration) ([]*os.File, error) { return nil, ErrUnsupported }

// Ask returns ErrUnsupported.
func (l *Line) Ask(context.Context, string, string) (net.Conn, error) { return nil, ErrUnsupported }

// Clerk returns the line itself, which gives nothing.
func (l *Line) Clerk(int) *Line { return l }

// DialContext returns ErrUnsupported.
func (l *Line) DialContext(context.Context, string, string) (net.Conn, error) {
	return nil, ErrUnsupported
}

// Accept returns ErrUnsupported.
func (l *Line) Accept() (net.Conn, error) { return nil, ErrUnsupported }

// Addr returns nil.
func (l *Line) Addr() net.Addr { return nil }

// Close does nothing.
func (l *Line) Close() error { return nil }
