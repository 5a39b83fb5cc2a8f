package join

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"time"
)

// unspent ends the errors that come before the code was sent.
const unspent = "the invitation was not sent and is still good"

// An ExistsError says that a folder holds a certificate that has not expired.
type ExistsError struct {
	Dir      string
	Name     string    // empty when the files cannot be read
	NotAfter time.Time // zero when the files cannot be read
}

// Error returns the error with the way to go on.
func (e *ExistsError) Error() string {
	if e.Name == "" {
		return fmt.Sprintf("%s holds a key or certificate that cannot be read: give another folder with --out, or --force to replace it", e.Dir)
	}
	return fmt.Sprintf("%s holds a certificate of %s that is good until %s: give another folder with --out, or --force to replace it",
		e.Dir, e.Name, e.NotAfter.UTC().Format(time.DateOnly))
}

// An UnreachableError says that nobody answered at the link's address.
type UnreachableError struct {
	Host string
	Why  string
	Err  error
}

// Error returns the error with what to look at.
func (e *UnreachableError) Error() string { return fmt.Sprintf("%s: %s; %s", e.Host, e.Why, unspent) }

// Unwrap returns the network's error.
func (e *UnreachableError) Unwrap() error { return e.Err }

// A PinError says that the server is not the one that the link was made for.
type PinError struct {
	Host   string
	Issuer string // who issued the certificate that it showed
}

// Error returns the error with what to make of it.
func (e *PinError) Error() string {
	return fmt.Sprintf("%s is not the server that made this invitation: its certificate comes from %q, not from the authority that the link names. "+
		"Either somebody stands in between, or the address leads elsewhere: compare the link with the one you were sent, and try another network; %s",
		e.Host, e.Issuer, unspent)
}

// A SiteError says that a gateway's site answers instead of its public side.
type SiteError struct{ Host string }

// Error returns the error with where the invitation is to be spent.
func (e *SiteError) Error() string {
	return fmt.Sprintf("%s is a site, and invitations are spent on the public side: use the link as it was sent (its port is often the next one); %s", e.Host, unspent)
}

// A ClockError says that the server's certificate is out of date by this
// machine's clock.
type ClockError struct {
	Host      string
	Here      time.Time
	There     time.Time // by the server's Date header; zero if it said none
	NotBefore time.Time // of the server's certificate
	NotAfter  time.Time
}

// Error says which clocks disagree.
func (e *ClockError) Error() string {
	const day = "2 January 2006 15:04"
	here, there := e.Here.UTC().Format(day), e.There.UTC().Format(day)
	apart := e.Here.Sub(e.There).Abs()
	if e.There.IsZero() || apart < 10*time.Minute {
		return fmt.Sprintf("the certificate of %s is good from %s to %s, and it is %s (UTC) now: the person who runs it has to renew it; %s",
			e.Host, e.NotBefore.UTC().Format(day), e.NotAfter.UTC().Format(day), here, unspent)
	}
	return fmt.Sprintf("the clocks disagree by %s: this computer says %s and %s says %s (UTC). Set the wrong one right and try again; %s",
		roughly(apart), here, e.Host, there, unspent)
}

// roughly returns a duration as people say it.
func roughly(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d >= 2*day:
		return fmt.Sprintf("%d days", d.Round(day)/day)
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d hours", d.Round(time.Hour)/time.Hour)
	}
	return fmt.Sprintf("%d minutes", d/time.Minute)
}

// A RefusedError is the authority's no.
type RefusedError struct {
	Code   string // such as expired, spent or mistyped; empty if it gave none
	Status int    // of HTTP
	Detail string
}

// Error returns the authority's own words.
func (e *RefusedError) Error() string {
	if e.Detail == "" {
		return fmt.Sprintf("the server answers with status %d and no reason: check that the address is the authority's public side", e.Status)
	}
	if e.Code == "" {
		return e.Detail
	}
	return fmt.Sprintf("%s (%s)", e.Detail, e.Code)
}

// folderError says in plain words why files cannot be written.
func folderError(dir string, err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("the disk that holds %s is full: make room, or give another folder with --out: %w", dir, err)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("the folder %s cannot be written to: make it yours, or give another folder with --out: %w", dir, err)
	case errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("%s is not a folder: give another one with --out: %w", dir, err)
	}
	return fmt.Errorf("folder %s: %w", dir, err)
}
