package agent

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postern-project/postern/internal/confine"
)

// lookEvery is how often files are read again. They are small, and reading
// them finds every way in which programs replace files: written into, renamed
// over, or by a link that points elsewhere.
const lookEvery = 2 * time.Second

// maxFile bounds a file with a certificate or a key, in bytes.
const maxFile = 1 << 20

// FilesOptions is what Files may be told.
type FilesOptions struct {
	Log *slog.Logger     // nil discards
	Now func() time.Time // nil is time.Now
	// Fits says why a certificate is not what is wanted; nil takes any.
	Fits func(leaf *x509.Certificate) error
}

// Files is a certificate and a key that somebody else keeps fresh, in files.
// It is safe for concurrent use.
type Files struct {
	cert, key string
	log       *slog.Logger
	now       func() time.Time
	fits      func(*x509.Certificate) error
	current   atomic.Pointer[tls.Certificate]
	wrong     atomic.Pointer[string]

	looking sync.Mutex // guards what follows
	loaded  [sha256.Size]byte
	refused [sha256.Size]byte
}

// A dateError says that a certificate is out of its time.
type dateError struct{ msg string }

func (e *dateError) Error() string { return e.msg }

// OpenFiles reads the certificate, leaf first, and its key, both PEM. One that
// is out of its time is taken with a complaint: whoever sees it learns more
// than from silence. As a replacement it would not be.
func OpenFiles(cert, key string, o FilesOptions) (*Files, error) {
	f := &Files{cert: cert, key: key, log: o.Log, now: o.Now, fits: o.Fits}
	if f.log == nil {
		f.log = slog.New(slog.DiscardHandler)
	}
	if f.now == nil {
		f.now = time.Now
	}
	if f.fits == nil {
		f.fits = func(*x509.Certificate) error { return nil }
	}
	c, sum, err := f.read()
	if late, ok := errors.AsType[*dateError](err); ok {
		f.log.Error("certificate files out of their time", "path", f.cert, "err", late)
		f.wrong.Store(&late.msg)
		err = nil
	}
	if err != nil {
		return nil, err
	}
	f.current.Store(c)
	f.loaded = sum
	return f, nil
}

// Get returns the newest certificate that was right.
func (f *Files) Get() *tls.Certificate { return f.current.Load() }

// Wrong says why the files as they are now are not in use, or nothing.
func (f *Files) Wrong() string {
	if why := f.wrong.Load(); why != nil {
		return *why
	}
	return ""
}

// Run looks for new files until ctx ends.
func (f *Files) Run(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			f.look()
		}
	}
}

// look takes over new files that are right. Of wrong ones it tells once they
// have been the same twice: programs write one file after the other.
func (f *Files) look() {
	f.looking.Lock()
	defer f.looking.Unlock()
	c, sum, err := f.read()
	switch {
	case err == nil && sum == f.loaded:
		f.refused = [sha256.Size]byte{}
		f.wrong.Store(nil)
	case err == nil:
		f.current.Store(c)
		f.loaded, f.refused = sum, [sha256.Size]byte{}
		f.wrong.Store(nil)
		f.log.Info("certificate files read", "path", f.cert, "serial", fmt.Sprintf("%x", c.Leaf.SerialNumber), "until", c.Leaf.NotAfter)
	default:
		if sum == f.refused && f.Wrong() != err.Error() {
			f.log.Error("certificate files refused, the old ones stay in use", "path", f.cert, "err", err)
			f.wrong.Store(new(err.Error()))
		}
		f.refused = sum
	}
}

// read returns what the files hold, and a sum of it whether that is right or
// not.
func (f *Files) read() (c *tls.Certificate, sum [sha256.Size]byte, err error) {
	cert, err := readSmall(f.cert)
	if err != nil {
		return nil, sha256.Sum256([]byte(err.Error())), err
	}
	key, err := readSmall(f.key)
	if err != nil {
		return nil, sha256.Sum256([]byte(err.Error())), err
	}
	sum = sha256.Sum256(bytes.Join([][]byte{cert, key}, []byte{0}))
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, sum, fmt.Errorf("%s with %s: %w", f.cert, f.key, err)
	}
	for i, der := range pair.Certificate[1:] {
		if _, err := x509.ParseCertificate(der); err != nil {
			return nil, sum, fmt.Errorf("%s: certificate %d in it is none: %w", f.cert, i+2, err)
		}
	}
	if err := f.fits(pair.Leaf); err != nil {
		return nil, sum, fmt.Errorf("%s: %w", f.cert, err)
	}
	switch now := f.now(); {
	case now.After(pair.Leaf.NotAfter):
		return &pair, sum, &dateError{fmt.Sprintf("%s: it ended on %s: renew it", f.cert, pair.Leaf.NotAfter.UTC().Format(time.DateTime))}
	case now.Before(pair.Leaf.NotBefore):
		return &pair, sum, &dateError{fmt.Sprintf("%s: it begins on %s: compare this machine's clock", f.cert, pair.Leaf.NotBefore.UTC().Format(time.DateTime))}
	}
	return &pair, sum, nil
}

func readSmall(path string) ([]byte, error) {
	f, err := confine.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = errors.New(path + ": too large for a certificate or a key")
	}
	return data, err
}
