package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/postern-project/postern/internal/api"
	"github.com/postern-project/postern/internal/confine"
	"github.com/postern-project/postern/internal/split"
)

// gateVariable tells a process that it is the gateway of its parent, and what
// the sockets that it inherits behind its lines are for.
const gateVariable = "POSTERN_GATEWAY"

// The files that a gateway's process inherits, in their order: its lines to the
// authority, and the sockets.
const (
	fileWindow = 3 + iota
	filePorter
	fileDoors
	fileSockets
)

// lines are one side's ends of what ties the two processes together.
type lines struct {
	window *split.Line // the gateway asks the authority
	porter *split.Line // the authority tells the gateway
	doors  *split.Line // the gateway gives the sockets back
}

func newLines() (authority, gateway lines, err error) {
	for _, l := range []struct{ a, g **split.Line }{{&authority.window, &gateway.window}, {&authority.porter, &gateway.porter}, {&authority.doors, &gateway.doors}} {
		if *l.a, *l.g, err = split.New(); err != nil {
			authority.close()
			gateway.close()
			return lines{}, lines{}, err
		}
	}
	return authority, gateway, nil
}

func (l lines) all() []*split.Line { return []*split.Line{l.window, l.porter, l.doors} }

func (l lines) close() {
	for _, one := range l.all() {
		if one != nil {
			one.Close()
		}
	}
}

// A gate is the gateway's process as the authority's has it.
type gate struct {
	lines
	*api.PorterClient
	done <-chan struct{} // closed when it has ended
	err  error           // why; after done
	kill func()
}

// ended says that the gateway ended though nobody had asked it to; done is
// closed.
func (g *gate) ended() error {
	if g.err == nil {
		return errors.New("the gateway's process ended: its own message stands above")
	}
	return fmt.Errorf("the gateway's process ended (%w): its own message stands above", g.err)
}

// blame returns err, unless the gateway has ended, which explains it.
func (g *gate) blame(err error) error {
	select {
	case <-g.done:
		return g.ended()
	case <-time.After(100 * time.Millisecond): // the kernel tells of the line's end first
		return err
	}
}

// startGate starts the gateway, which takes copies of the doors' sockets.
func (a *app) startGate(flags upFlags, d *doors) (*gate, error) {
	files, notes, err := d.copies()
	defer closeAll(files)
	if err != nil {
		return nil, err
	}
	mine, theirs, err := newLines()
	if err != nil {
		return nil, err
	}
	done := make(chan struct{})
	g := &gate{lines: mine, PorterClient: api.DialPorter(mine.porter), done: done}
	start := g.within
	if a.Separate {
		start = g.apart
	}
	if err := start(a, flags, theirs, files, notes, done); err != nil {
		mine.close()
		theirs.close()
		return nil, fmt.Errorf("start the gateway: %w", err)
	}
	return g, nil
}

// within starts the gateway as a part of this process. Its ends of the lines
// become its own.
func (g *gate) within(a *app, flags upFlags, theirs lines, files []*os.File, notes []api.Socket, done chan<- struct{}) error {
	inherited, err := adoptAll(files, notes)
	if err != nil {
		return err
	}
	g.kill = theirs.close
	go func() {
		defer close(done)
		g.err = a.keepGate(flags, theirs, inherited)
	}()
	return nil
}

// apart starts the gateway as a process of its own, which has copies of its
// ends of the lines.
func (g *gate) apart(a *app, _ upFlags, theirs lines, files []*os.File, notes []api.Socket, done chan<- struct{}) error {
	cmd, ends, err := a.gateCommand(theirs, files, notes)
	defer closeAll(ends)
	if err != nil {
		return err
	}
	started := make(chan error, 1)
	go func() {
		// The kernel ends the child with the thread that started it.
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			g.err = cmd.Wait()
			close(done)
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	g.kill = func() { cmd.Process.Kill() }
	theirs.close()
	return nil
}

// gateCommand returns the command that runs this very program as a gateway, and
// the ends of the lines that it inherits. The caller closes those.
func (a *app) gateCommand(l lines, sockets []*os.File, notes []api.Socket) (cmd *exec.Cmd, ends []*os.File, err error) {
	program, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	if _, err := os.Stat(sameProgram); err == nil {
		program = sameProgram // the file may be of a newer version by now
	}
	for _, one := range l.all() {
		f, err := one.File()
		if err != nil {
			return nil, ends, err
		}
		ends = append(ends, f)
	}
	cmd = exec.Command(program)
	cmd.Args = append([]string{os.Args[0]}, a.Args...)
	cmd.Stderr = a.Stderr
	cmd.ExtraFiles = slices.Clone(ends)
	cmd.SysProcAttr = endWithParent()
	return cmd, ends, bequeath(cmd, gateVariable, sockets, notes)
}

// sameProgram is the program that this process runs, whatever lies at its path
// now, on systems that have such a name.
const sameProgram = "/proc/self/exe"

// finishWithin is how long a gateway may take to end, once it was told to.
const finishWithin = 15 * time.Second

// finish has the gateway end, and ends it if it does not.
func (g *gate) finish(handover bool) {
	ctx, cancel := context.WithTimeout(context.Background(), finishWithin)
	defer cancel()
	if err := g.End(ctx, handover); err == nil {
		select {
		case <-g.done:
		case <-ctx.Done():
		}
	}
	g.drop()
}

// drop ends the gateway at once.
func (g *gate) drop() {
	g.lines.close()
	g.kill()
	<-g.done
	g.PorterClient.Close()
}

// sockets returns copies of the gateway's listening sockets.
func (g *gate) sockets(ctx context.Context) ([]*os.File, []api.Socket, error) {
	notes, err := g.Doors(ctx)
	if err != nil {
		return nil, nil, err
	}
	files, err := g.doors.ReceiveWithin(handedWithin)
	if err == nil && len(files) != len(notes) {
		err = fmt.Errorf("the gateway gives %d sockets and speaks of %d", len(files), len(notes))
	}
	if err != nil {
		closeAll(files)
		return nil, nil, err
	}
	return files, notes, nil
}

// handedWithin is how long the sockets may be on their way that the gateway says
// it has given.
const handedWithin = 5 * time.Second

// isGate reports whether this process is the gateway of another.
func (a *app) isGate() bool { return a.Separate && a.Getenv(gateVariable) != "" }

// runGate is all that a gateway's process does. What people do to stop a
// server goes to the process that started it.
func (a *app) runGate(flags upFlags) error {
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	ignoreSuccession()
	a.useMemory(memoryOfGateway)
	var l lines
	for i, end := range []**split.Line{&l.window, &l.porter, &l.doors} {
		f := os.NewFile(uintptr(fileWindow+i), "line")
		if f == nil {
			return errors.New("this is no gateway's process: it inherits nothing")
		}
		var err error
		*end, err = split.Of(f)
		f.Close()
		if err != nil {
			return err
		}
	}
	inherited, err := a.inheritDoors(gateVariable, fileSockets)
	if err != nil {
		return err
	}
	if err := errors.Join(confine.Memory(), confine.Capabilities()); err != nil {
		return err
	}
	return a.keepGate(flags, l, inherited)
}

// keepGate is a gateway until it is told to end, or the authority's end of the
// lines is gone: without it nobody would tell of revocations.
func (a *app) keepGate(flags upFlags, l lines, inherited *doors) error {
	defer l.close()
	p := newPorter(a, flags, l, inherited)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	answering := make(chan error, 1)
	go func() { answering <- api.Serve(ctx, l.porter, api.PorterHandler(p, p.log), p.log) }()
	select {
	case <-p.ended:
	case err := <-answering:
		answering <- err
		p.gone()
	}
	stop()
	err := <-answering
	if errors.Is(err, io.EOF) || errors.Is(err, os.ErrClosed) {
		err = nil
	}
	return errors.Join(p.close(), err)
}
