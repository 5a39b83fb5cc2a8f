package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"time"

	"github.com/postern-project/postern/internal/api"
	"github.com/postern-project/postern/internal/config"
)

// How long a new process may take to read its configuration, and to serve once
// it may have the data folder.
const (
	preparedWithin = 30 * time.Second
	readyWithin    = time.Minute
)

// A succession is the change from this process to a new one, by which the
// program is replaced without a refused connection: who comes meanwhile waits
// in the sockets' queues. It is also the cause with which a server ends for it.
type succession struct {
	cmd   *exec.Cmd
	words *os.File // what the new process says
	read  *bufio.Reader
	files []*os.File // copies of the sockets
	notes []api.Socket
	text  api.Text // in force when it began
	conf  config.Config
}

// Error is what the log says of the server's end.
func (n *succession) Error() string {
	return fmt.Sprintf("process %d takes over", n.cmd.Process.Pid)
}

// succeed waits for the signal to replace the program, as long as ctx lives.
// When the new program cannot start, this one goes on as if nothing had been.
func (o *office) succeed(ctx context.Context) error {
	asked := make(chan os.Signal, 1)
	if len(successionSignals) == 0 {
		return nil
	}
	signal.Notify(asked, successionSignals...)
	defer signal.Stop(asked)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-asked:
		}
		n, err := o.startNext(ctx)
		if err != nil {
			o.log.Error("upgrade given up, this process goes on", "err", err)
			continue
		}
		o.end(n)
		return nil
	}
}

// startNext starts the new process and waits until it wants the data folder.
func (o *office) startNext(ctx context.Context) (n *succession, err error) {
	now := o.inUse.Load()
	n = &succession{text: now.text, conf: now.conf}
	defer func() {
		if err != nil {
			n.abandon()
		}
	}()
	if n.files, n.notes, err = o.gate.sockets(ctx); err != nil {
		return n, err
	}
	program, err := os.Executable()
	if err != nil {
		return n, err
	}
	words, say, err := os.Pipe()
	if err != nil {
		return n, err
	}
	defer say.Close()
	n.words, n.read = words, bufio.NewReader(words)
	n.cmd = exec.Command(program, o.app.Args...)
	n.cmd.Stdout, n.cmd.Stderr = o.app.Stdout, o.app.Stderr
	n.cmd.ExtraFiles = []*os.File{say}
	if err := bequeath(n.cmd, successionVariable, n.files, n.notes); err != nil {
		return n, err
	}
	if err := n.cmd.Start(); err != nil {
		return n, err
	}
	o.log.Info("upgrade begun", "process", n.cmd.Process.Pid, "program", program)
	say.Close() // so that the new process's end is heard
	stop := context.AfterFunc(ctx, func() { words.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	return n, n.await(wordPrepared, preparedWithin)
}

// await waits until the new process has come that far.
func (n *succession) await(word string, limit time.Duration) error {
	n.words.SetReadDeadline(time.Now().Add(limit))
	line, err := n.read.ReadString('\n')
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("the new process was not %s within %s", word, limit)
	case err != nil:
		return errors.New("the new process ended before it was " + word + ": its own message stands above")
	case line != word+"\n":
		return fmt.Errorf("the new process says %q", line)
	}
	return nil
}

// settle waits, with the data folder let go, until the new process serves, and
// reports whether it does. If not it is ended, and this one has to go on.
func (n *succession) settle(log interface{ Error(string, ...any) }) bool {
	if err := n.await(wordReady, readyWithin); err != nil {
		n.stop()
		log.Error("upgrade given up, this process serves again", "err", err)
		return false
	}
	n.words.Close()
	closeAll(n.files)
	return true
}

// stop ends the new process.
func (n *succession) stop() {
	if n.words != nil {
		n.words.Close()
	}
	if n.cmd != nil && n.cmd.Process != nil {
		n.cmd.Process.Kill()
		n.cmd.Wait()
	}
}

// abandon ends the new process and gives up the copies.
func (n *succession) abandon() {
	n.stop()
	closeAll(n.files)
}
