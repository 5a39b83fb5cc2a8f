package agent

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io/fs"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

const life = 24 * time.Hour

// A mint issues certificates with its own key.
type mint struct {
	key *ecdsa.PrivateKey

	mu     sync.Mutex // guards what follows
	issued int
	err    error
}

// fail has the mint answer with err from now on.
func (m *mint) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = err
}

func newMint(t *testing.T) *mint {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &mint{key: key}
}

func (m *mint) issue(_ context.Context, spki []byte) ([][]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return nil, m.err
	}
	m.issued++
	pub, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		return nil, err
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(int64(m.issued)), Subject: pkix.Name{CommonName: "server"},
		NotBefore: time.Now(), NotAfter: time.Now().Add(life), DNSNames: []string{"localhost"},
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, pub, m.key)
	return [][]byte{der}, err
}

func keeper(t *testing.T, dir string, issue Issue, o Options) *Keeper {
	t.Helper()
	k, err := NewKeeper(dir, issue, o)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func run(t *testing.T, k *Keeper) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { k.Run(ctx) })
	return func() { cancel(); wg.Wait() }
}

func TestKeeperRenewsAtHalfLife(t *testing.T) {
	dir, m := t.TempDir(), newMint(t)
	synctest.Test(t, func(t *testing.T) {
		k := keeper(t, dir, m.issue, Options{})
		if k.Get() != nil {
			t.Fatal("a certificate before any was issued")
		}
		defer run(t, k)()
		synctest.Wait()
		first := k.Get()
		if first == nil {
			t.Fatal("no certificate at once")
		}
		time.Sleep(life/2 - life/20 - time.Minute)
		if k.Get() != first {
			t.Fatal("renewed before half life less a twentieth")
		}
		time.Sleep(life/20 + 3*time.Minute)
		second := k.Get()
		if second == first {
			t.Fatal("not renewed at half life")
		}
		if first.PrivateKey.(*ecdsa.PrivateKey).Equal(second.PrivateKey) {
			t.Error("renewed with the same key")
		}
		time.Sleep(30 * life)
		if c := k.Get(); !time.Now().Before(c.Leaf.NotAfter) {
			t.Error("expired in the course of a month")
		}
	})
}

func TestKeeperRenewsAfterTheMachineSleptPastExpiry(t *testing.T) {
	dir, m := t.TempDir(), newMint(t)
	synctest.Test(t, func(t *testing.T) {
		// The wall clock leaps, timers see nothing of it.
		var leap time.Duration
		var mu sync.Mutex
		now := func() time.Time { mu.Lock(); defer mu.Unlock(); return time.Now().Add(leap) }
		k := keeper(t, dir, m.issue, Options{Now: now})
		defer run(t, k)()
		synctest.Wait()
		first := k.Get()
		mu.Lock()
		leap = 3 * life
		mu.Unlock()
		time.Sleep(CheckEvery + time.Second)
		synctest.Wait()
		if k.Get() == first {
			t.Error("a minute after waking the expired certificate is still in use")
		}
	})
}

// A certificate in use that was revoked is replaced within a minute.
func TestKeeperReplacesWhatDoesNotFitAnyMore(t *testing.T) {
	dir, m := t.TempDir(), newMint(t)
	synctest.Test(t, func(t *testing.T) {
		var revoked sync.Map // serial numbers
		fits := func(leaf *x509.Certificate) bool { _, is := revoked.Load(leaf.SerialNumber.Int64()); return !is }
		k := keeper(t, dir, m.issue, Options{Fits: fits})
		defer run(t, k)()
		synctest.Wait()
		first := k.Get()
		time.Sleep(time.Hour)
		if k.Get() != first {
			t.Fatal("replaced although it fits")
		}
		revoked.Store(first.Leaf.SerialNumber.Int64(), true)
		time.Sleep(CheckEvery + time.Second)
		synctest.Wait()
		if k.Get() == first {
			t.Error("a minute later the revoked certificate is still in use")
		}
	})
}

func TestKeeperTriesAgainEveryMinute(t *testing.T) {
	dir, m := t.TempDir(), newMint(t)
	synctest.Test(t, func(t *testing.T) {
		m.fail(errors.New("authority is down"))
		k := keeper(t, dir, m.issue, Options{})
		if err := k.Ensure(t.Context()); err == nil {
			t.Fatal("Ensure without a certificate is no error")
		}
		defer run(t, k)()
		time.Sleep(10*time.Minute + time.Second)
		synctest.Wait()
		m.fail(nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		if k.Get() == nil {
			t.Error("no certificate a minute after the authority came back")
		}
	})
}

func TestKeeperKeepsTheOldCertificateWhileRenewalFails(t *testing.T) {
	dir, m := t.TempDir(), newMint(t)
	synctest.Test(t, func(t *testing.T) {
		k := keeper(t, dir, m.issue, Options{})
		if err := k.Ensure(t.Context()); err != nil {
			t.Fatal(err)
		}
		first := k.Get()
		m.fail(errors.New("authority is down"))
		time.Sleep(life * 3 / 4)
		if err := k.Ensure(t.Context()); err != nil {
			t.Errorf("a valid certificate, and yet: %v", err)
		}
		if k.Get() != first {
			t.Error("the old certificate is gone")
		}
		time.Sleep(life)
		if err := k.Ensure(t.Context()); err == nil {
			t.Error("an expired certificate, and no error")
		}
	})
}

func TestRestart(t *testing.T) {
	cases := map[string]struct {
		wait  time.Duration
		spoil func(t *testing.T, dir string)
		fits  func(*x509.Certificate) bool
		reuse bool
	}{
		"soon after issuing the certificate is used again":      {wait: time.Hour, reuse: true},
		"after half life it is renewed":                         {wait: life/2 + time.Hour},
		"after expiry it is renewed":                            {wait: 2 * life},
		"one that does not fit any more is renewed":             {fits: func(*x509.Certificate) bool { return false }},
		"one for the same hosts fits":                           {fits: func(c *x509.Certificate) bool { return c.VerifyHostname("localhost") == nil }, reuse: true},
		"a damaged file is replaced":                            {spoil: func(t *testing.T, dir string) { write(t, dir, []byte("junk"), 0o600) }},
		"a certificate of another key is replaced":              {spoil: otherKey},
		"a file that others can read is not trusted":            {spoil: func(t *testing.T, dir string) { chmod(t, dir, 0o644) }},
		"half a file that a crash left beside it does no harm":  {spoil: leftover, reuse: true},
		"a removed file is made again":                          {spoil: func(t *testing.T, dir string) { os.Remove(filepath.Join(dir, keptFile)) }},
		"a key without a certificate is replaced":               {spoil: keyOnly},
		"something else after the key is refused, and replaced": {spoil: func(t *testing.T, dir string) { twice(t, dir) }},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			dir, m := t.TempDir(), newMint(t)
			synctest.Test(t, func(t *testing.T) {
				k := keeper(t, dir, m.issue, Options{})
				if err := k.Ensure(t.Context()); err != nil {
					t.Fatal(err)
				}
				first := k.Get().Leaf
				time.Sleep(c.wait)
				if c.spoil != nil {
					c.spoil(t, dir)
				}
				again := keeper(t, dir, m.issue, Options{Fits: c.fits})
				if err := again.Ensure(t.Context()); err != nil {
					t.Fatal(err)
				}
				got := again.Get()
				if reused := got.Leaf.Equal(first); reused != c.reuse {
					t.Errorf("reused %t, want %t", reused, c.reuse)
				}
				if !got.PrivateKey.(*ecdsa.PrivateKey).PublicKey.Equal(got.Leaf.PublicKey) {
					t.Error("key and certificate do not belong together")
				}
				if third := keeper(t, dir, m.issue, Options{}); !third.Get().Leaf.Equal(got.Leaf) {
					t.Error("what is in use is not what is kept")
				}
			})
		})
	}
}

func TestKeptFileIsPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tls")
	k := keeper(t, dir, newMint(t).issue, Options{})
	if err := k.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]fs.FileMode{dir: 0o700, filepath.Join(dir, keptFile): 0o600} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %#o, want %#o", path, got, want)
		}
	}
}

func TestKeeperGoesOnWhenItsFolderCannotBeWritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tls")
	var logged bytes.Buffer
	k := keeper(t, dir, newMint(t).issue, Options{Log: slog.New(slog.NewTextHandler(&logged, nil))})
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := k.Ensure(t.Context()); err != nil || k.Get() == nil {
		t.Fatalf("no certificate: %v", err)
	}
	if !bytes.Contains(logged.Bytes(), []byte("renewed certificate not kept")) {
		t.Errorf("nobody is told: %s", &logged)
	}
}

// The log tells the first certificate from those that follow.
func TestTheFirstCertificateIsObtained(t *testing.T) {
	var logged bytes.Buffer
	now := time.Now()
	k := keeper(t, t.TempDir(), newMint(t).issue, Options{
		Log: slog.New(slog.NewTextHandler(&logged, nil)), Now: func() time.Time { return now },
	})
	for _, want := range []string{"certificate obtained", "certificate renewed"} {
		logged.Reset()
		if err := k.Ensure(t.Context()); err != nil || !strings.Contains(logged.String(), want) {
			t.Errorf("%q, want %q, %v", logged.String(), want, err)
		}
		now = now.Add(life/2 + time.Second)
	}
}

func TestWrongAnswersAreRefused(t *testing.T) {
	m := newMint(t)
	other, err := m.issue(t.Context(), spki(t))
	if err != nil {
		t.Fatal(err)
	}
	for name, chain := range map[string][][]byte{
		"an empty chain": nil, "junk": {[]byte("junk")}, "a certificate for another key": other,
	} {
		k := keeper(t, t.TempDir(), func(context.Context, []byte) ([][]byte, error) { return chain, nil }, Options{})
		if err := k.Ensure(t.Context()); err == nil || k.Get() != nil {
			t.Errorf("%s was taken", name)
		}
	}
	if _, err := NewKeeper(t.TempDir(), nil, Options{}); err == nil {
		t.Error("a keeper without anybody who issues")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		// What is accepted is a certificate and its own key.
		if c, err := parse(bytes.Clone(data)); err == nil {
			if _, err := tls.X509KeyPair(data, data); err != nil || c.Leaf == nil {
				t.Errorf("accepted what is no pair: %v", err)
			}
		}
	})
}

func spki(t *testing.T) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(newMint(t).key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func write(t *testing.T, dir string, data []byte, mode fs.FileMode) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, keptFile), data, mode); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, dir string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, keptFile))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func chmod(t *testing.T, dir string, mode fs.FileMode) {
	t.Helper()
	if err := os.Chmod(filepath.Join(dir, keptFile), mode); err != nil {
		t.Fatal(err)
	}
}

func leftover(t *testing.T, dir string) {
	if err := os.WriteFile(filepath.Join(dir, keptFile+".new"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func otherKey(t *testing.T, dir string) {
	other := t.TempDir()
	if err := keeper(t, other, newMint(t).issue, Options{}).Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	const end = "-----END PRIVATE KEY-----\n"
	_, certificate, _ := bytes.Cut(read(t, dir), []byte(end))
	key, _, _ := bytes.Cut(read(t, other), []byte(end))
	write(t, dir, append(append(key, end...), certificate...), 0o600)
}

func keyOnly(t *testing.T, dir string) {
	key, _, _ := bytes.Cut(read(t, dir), []byte("-----BEGIN CERTIFICATE"))
	write(t, dir, key, 0o600)
}

func twice(t *testing.T, dir string) {
	data := read(t, dir)
	write(t, dir, append(bytes.Clone(data), data...), 0o600)
}

// One of many keepers does nothing until somebody asks for its certificate, and
// is asked by ten at once for one.
func TestALazyKeeperObtainsWhenAsked(t *testing.T) {
	dir, m := filepath.Join(t.TempDir(), "kept"), newMint(t)
	k, err := NewLazyKeeper(dir, m.issue, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); err == nil || k.Get() != nil {
		t.Fatal("not lazy")
	}
	var asking sync.WaitGroup
	for range 10 {
		asking.Go(func() {
			if c, err := k.Await(t.Context()); err != nil || c == nil {
				t.Errorf("%v, %v", c, err)
			}
		})
	}
	asking.Wait()
	again, err := NewLazyKeeper(dir, m.issue, Options{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := again.Await(t.Context())
	if err != nil || !c.Leaf.Equal(k.Get().Leaf) || m.issued != 1 {
		t.Errorf("after a restart %v; %d issued, want 1", err, m.issued)
	}
}

// Visitors to a host whose certificate cannot be had do not keep the authority
// busy, and none of them waits for longer than they want to.
func TestALazyKeeperThatFailsIsNotAskedAgainAtOnce(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		stuck := func(ctx context.Context, _ []byte) ([][]byte, error) {
			asked++
			<-ctx.Done()
			return nil, ctx.Err()
		}
		k, err := NewLazyKeeper(dir, stuck, Options{})
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		for range 100 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if c, err := k.Await(ctx); err == nil {
				t.Fatalf("got %v", c)
			}
			cancel()
		}
		if asked != 1 || time.Since(begun) != time.Second {
			t.Errorf("asked %d times in %v", asked, time.Since(begun))
		}
		time.Sleep(pause)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if k.Await(ctx); asked != 2 {
			t.Errorf("asked %d times after a pause, want 2", asked)
		}
	})
}
