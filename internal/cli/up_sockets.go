package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"

	"github.com/coreos/go-systemd/v22/activation"

	"github.com/postern-project/postern/internal/api"
	"github.com/postern-project/postern/internal/config"
	"github.com/postern-project/postern/internal/split"
)

// activated returns the doors whose sockets the service manager has opened
// (LISTEN_FDS, see sd_listen_fds(3)). Their names say what they are for.
func activated() (d *doors, err error) {
	d = &doors{}
	files := activation.Files(true)
	defer closeAll(files) // the listeners have copies
	defer func() {
		if err != nil {
			d.close()
		}
	}()
	for _, f := range files {
		side := map[string]string{"sites": sideSites, "public": sidePublic, "metrics": sideMetrics, "http3": sideHTTP3}[f.Name()]
		if side == "" {
			return d, withHint(fmt.Errorf("the service manager passes a socket called %q", f.Name()), "FileDescriptorName= has to be sites, http3, public or metrics")
		}
		if err := d.adopt(f, api.Socket{Side: side, Given: true}); err != nil {
			return d, err
		}
	}
	return d, nil
}

// adopt makes a door of an open socket. f stays the caller's.
func (d *doors) adopt(f *os.File, n api.Socket) error {
	if n.Side == sideHTTP3 {
		return d.adoptPackets(f, n)
	}
	l, err := net.FileListener(f)
	if err != nil {
		return fmt.Errorf("the socket for the %s cannot be used: %w", n.Side, err)
	}
	tcp, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		l.Close()
		return fmt.Errorf("the socket for the %s is no TCP socket", n.Side)
	}
	if n.Side == sideMetrics && !tcp.IP.IsLoopback() {
		l.Close()
		return withHint(fmt.Errorf("the socket for the metrics is at %s", tcp), "metrics are for this machine only: ListenStream=127.0.0.1:9464")
	}
	one := newDoor(l, n.Side, config.Address{Host: n.Host, Port: n.Port})
	one.given = n.Given
	switch {
	case n.Side == sideSites:
		d.sites = append(d.sites, one)
	case n.Side == sidePublic && d.public == nil:
		d.public = one
	case n.Side == sideMetrics && d.metrics == nil:
		d.metrics = one
	case n.Side == sidePlain && d.plain == nil:
		d.plain = one
	default:
		l.Close()
		return fmt.Errorf("there are two sockets for the %s, and one is wanted", n.Side)
	}
	return nil
}

// adoptPackets makes a door of an open socket for HTTP/3.
func (d *doors) adoptPackets(f *os.File, n api.Socket) error {
	c, err := net.FilePacketConn(f)
	if err != nil {
		return fmt.Errorf("the socket for %s cannot be used: %w", n.Side, err)
	}
	udp, ok := c.(*net.UDPConn)
	if !ok {
		c.Close()
		return fmt.Errorf("the socket for %s is no UDP socket", n.Side)
	}
	one := newPacketDoor(udp, config.Address{Host: n.Host, Port: n.Port})
	one.given = n.Given
	d.http3 = append(d.http3, one)
	return nil
}

// copies returns a copy of every socket, for another process or a later turn.
// The caller closes them.
func (d *doors) copies() (files []*os.File, notes []api.Socket, err error) {
	for _, one := range d.all() {
		l, ok := one.Listener.(syscall.Conn)
		if !ok {
			return files, nil, errors.New("a listener is no socket")
		}
		f, err := split.Copy(l)
		if err != nil {
			return files, nil, err
		}
		files = append(files, f)
		notes = append(notes, api.Socket{Side: one.side, Host: one.address.Host, Port: one.address.Port, Given: one.given})
	}
	return files, notes, nil
}

// adoptAll makes doors of sockets and their notes.
func adoptAll(files []*os.File, notes []api.Socket) (*doors, error) {
	d := &doors{}
	for i, n := range notes {
		if err := d.adopt(files[i], n); err != nil {
			d.close()
			return nil, err
		}
	}
	return d, nil
}

// successionVariable tells a new process which sockets it inherits. Its first
// inherited file is where it tells the old process how far it has come.
const successionVariable = "POSTERN_SUCCESSION"

// A parent is the process that this one is to follow.
type parent struct{ *os.File }

// inherit returns what this process got from whoever started it: from the
// server that it follows, or from the service manager.
func (a *app) inherit() (*doors, *parent, error) {
	if a.Getenv(successionVariable) == "" {
		d, err := activated()
		return d, nil, err
	}
	const first = 3
	p := &parent{os.NewFile(first, "succession")}
	d, err := a.inheritDoors(successionVariable, first+1)
	return d, p, err
}

// inheritDoors makes doors of the sockets that this process has from its file
// first on, by the notes about them in a variable, which is taken away.
func (a *app) inheritDoors(variable string, first uintptr) (*doors, error) {
	var notes []api.Socket
	err := json.Unmarshal([]byte(a.Getenv(variable)), &notes)
	os.Unsetenv(variable)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", variable, err)
	}
	files := make([]*os.File, len(notes))
	for i := range files {
		files[i] = os.NewFile(first+uintptr(i), notes[i].Side)
	}
	defer closeAll(files)
	return adoptAll(files, notes)
}

// bequeath has a process that is about to start inherit sockets, behind the
// files that it inherits already, with the notes about them in a variable.
func bequeath(cmd *exec.Cmd, variable string, files []*os.File, notes []api.Socket) error {
	text, err := json.Marshal(notes)
	if err != nil {
		return err
	}
	cmd.Env = append(os.Environ(), variable+"="+string(text))
	cmd.ExtraFiles = append(cmd.ExtraFiles, files...)
	return nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// The words that a new process says to the one it follows.
const (
	wordPrepared = "prepared" // its configuration is good: let the data folder go
	wordReady    = "ready"    // it serves
)

// tell says how far this process has come; without a parent it says nothing.
func (p *parent) tell(word string) error {
	if p == nil {
		return nil
	}
	_, err := fmt.Fprintln(p.File, word)
	return err
}
