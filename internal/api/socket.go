package api

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/postern-project/postern/internal/authority"
)

// SocketName is the socket in a data folder; where the path of one would be
// too long it is a symbolic link to the socket.
const SocketName = "postern.sock"

// SecretName is a file in the data folder that only those can read who may
// command its server. The gateway's process runs as the same user and can reach
// the socket; what it cannot do is read this file.
const SecretName = "postern.secret"

// maxSocketPath is what fits into a sockaddr_un on every system, in bytes.
const maxSocketPath = 100

// ErrNoServer says that no server answers for a data folder.
var ErrNoServer = errors.New("no server is running on this data folder")

// Listen opens the socket of the data folder that l holds. A socket that a
// killed server left behind is removed: whoever holds the lock is the only
// one who may listen. Connections of other users than the folder's owner and
// root are turned away.
func Listen(l *Lock, log *slog.Logger) (*Commands, error) {
	owner, err := ownerOf(l.dir)
	if err != nil {
		return nil, err
	}
	secret, err := haveSecret(l.dir)
	if err != nil {
		return nil, err
	}
	link := filepath.Join(l.dir, SocketName)
	path, err := socketPath(link)
	if err != nil {
		return nil, err
	}
	for _, p := range []string{link, path} {
		if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("remove the old socket: %w", err)
		}
	}
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("open the socket for commands: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		ln.Close()
		return nil, err
	}
	if path != link {
		if err := os.Symlink(path, link); err != nil {
			ln.Close()
			return nil, err
		}
	}
	return &Commands{ln, owner, link, secret, log, make(chan struct{}, 16)}, nil
}

// haveSecret returns the secret of the data folder dir, which is made when it
// is missing. It stays, so that a full disk keeps no server from starting.
func haveSecret(dir string) (string, error) {
	secret, err := readSecret(dir)
	if secret != "" || err != nil {
		return secret, err
	}
	path := filepath.Join(dir, SecretName)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	secret = rand.Text()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", fmt.Errorf("make the secret for commands: %w", err)
	}
	_, err = io.WriteString(f, secret)
	if err := errors.Join(err, f.Close()); err != nil {
		return "", fmt.Errorf("make the secret for commands: %w", err)
	}
	return secret, nil
}

// readSecret returns "" when there is none, or none that is whole.
func readSecret(dir string) (string, error) {
	b, err := os.ReadFile(filepath.Join(dir, SecretName))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	if len(b) != len(rand.Text()) {
		return "", nil
	}
	return string(b), nil
}

// Guard answers by h whoever shows the secret of the data folder.
func (g *Commands) Guard(h http.Handler) http.Handler {
	want := []byte(bearer(g.secret))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), want) != 1 {
			g.log.Warn("command turned away: it does not know the secret in the data folder", "path", r.URL.Path)
			write(w, http.StatusForbidden, &authority.Error{Code: codeForbidden, Msg: "the command does not know " + SecretName + " in the data folder: run it as the folder's owner, with the server's version of postern"})
			return
		}
		h.ServeHTTP(w, r)
	})
}

func bearer(secret string) string { return "Bearer " + secret }

// socketPath returns where the socket of a link really is: there, or under a
// name made of the link's in the runtime directory when the path is too long.
func socketPath(link string) (string, error) {
	if len(link) <= maxSocketPath {
		return link, nil
	}
	dir, err := runtimeDir()
	if err != nil {
		return "", err
	}
	abs, err := filepath.Abs(link)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(abs))
	path := filepath.Join(dir, hex.EncodeToString(sum[:8])+".sock")
	if len(path) > maxSocketPath {
		return "", fmt.Errorf("the socket's path %s is too long: use a shorter data folder or XDG_RUNTIME_DIR", path)
	}
	return path, nil
}

// runtimeDir returns a folder that belongs to this user alone.
func runtimeDir() (string, error) {
	base := os.Getenv("RUNTIME_DIRECTORY")
	if base == "" {
		base = os.Getenv("XDG_RUNTIME_DIR")
	}
	dir := filepath.Join(base, "postern")
	if base == "" {
		dir = filepath.Join(os.TempDir(), "postern-"+strconv.Itoa(os.Getuid()))
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return "", err
	}
	if owner, err := ownerOf(dir); err != nil || int(owner) != os.Getuid() || !info.IsDir() || info.Mode().Perm()&0o022 != 0 {
		return "", fmt.Errorf("%s is not a folder of this user's own: remove it, or set XDG_RUNTIME_DIR", dir)
	}
	return dir, nil
}

// dialSocket connects to the server of a data folder.
func dialSocket(ctx context.Context, dir string) (net.Conn, error) {
	link := filepath.Join(dir, SocketName)
	path := link
	if target, err := os.Readlink(link); err == nil {
		path = target
	}
	if len(path) > maxSocketPath {
		return nil, ErrNoServer
	}
	d := net.Dialer{Timeout: 2 * time.Second}
	return d.DialContext(ctx, "unix", path)
}

// Commands is the socket of a data folder for commands. It lets in the folder's
// owner and root. Close it when done.
type Commands struct {
	*net.UnixListener
	owner  uint32
	link   string
	secret string
	log    *slog.Logger
	// turning bounds how many are being turned away at once.
	turning chan struct{}
}

// turnedAway is the whole answer to everybody else.
const turnedAway = "HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: 91\r\n\r\n" +
	`{"code":"forbidden","message":"this data folder belongs to another user: run as its owner"}`

// Accept waits for somebody who may come in.
func (g *Commands) Accept() (net.Conn, error) {
	for {
		c, err := g.AcceptUnix()
		if err != nil {
			return nil, err
		}
		uid, err := peerUID(c)
		if err == nil && mayEnter(uid, g.owner) {
			return c, nil
		}
		g.log.Warn("command turned away", "uid", uid, "err", err)
		select {
		case g.turning <- struct{}{}:
			go func() {
				defer func() { <-g.turning }()
				turnAway(c)
			}()
		default: // somebody insists
			c.Close()
		}
	}
}

// turnAway says why and hears the request out, at most a second of it: who
// writes to a closed connection never reads the answer.
func turnAway(c *net.UnixConn) {
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Second))
	if _, err := io.WriteString(c, turnedAway); err == nil && c.CloseWrite() == nil {
		io.CopyN(io.Discard, c, 64<<10)
	}
}

func mayEnter(uid, owner uint32) bool { return uid == owner || uid == 0 }

// Close stops listening and removes the socket.
func (g *Commands) Close() error {
	err := g.UnixListener.Close()
	os.Remove(g.link)
	return err
}
