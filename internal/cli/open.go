package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/postern-project/postern/internal/api"
	"github.com/postern-project/postern/internal/authority"
)

// open reaches the authority: through the socket of the server that holds the
// data folder, else by opening the folder itself. The caller closes what it
// gets.
func (a *app) open(ctx context.Context) (api.Authority, func(), error) {
	client, lock, err := a.reach(ctx)
	switch {
	case err != nil:
		return nil, nil, err
	case client != nil:
		return client, func() { client.Close() }, nil
	}
	h, err := OpenHouse(ctx, lock, HouseOptions{Log: a.log(slog.LevelWarn), Now: a.Now, Policy: a.policy()})
	if err != nil {
		return nil, nil, err
	}
	return h.Authority, func() { a.closeHouse(h) }, nil
}

// closeHouse lets the data folder go. What was done is done by then, so a
// trouble is told and fails nothing.
func (a *app) closeHouse(h *House) {
	if err := h.Close(); err != nil {
		a.note("warning: %s", err)
	}
}

// reach returns either the running server or the lock of the data folder.
// While neither is to be had it waits, since the holder may be another command
// that is about to finish, or a server that is about to answer.
func (a *app) reach(ctx context.Context) (client *api.Client, lock *api.Lock, err error) {
	if err := a.haveData(); err != nil {
		return nil, nil, err
	}
	lock, err = api.HoldUnless(ctx, a.data(), api.DefaultWait, func() (bool, error) {
		var err error
		client, err = api.Dial(ctx, a.data())
		if errors.Is(err, api.ErrNoServer) {
			return false, nil
		}
		return err == nil, err
	})
	return client, lock, err
}

// haveData reports whether the data folder holds an authority.
func (a *app) haveData() error {
	_, err := os.Stat(filepath.Join(a.data(), authority.DatabaseFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return withHint(fmt.Errorf("there is no authority in %s", here(a.data())), "'postern up' or 'postern init' makes one; --data names another folder")
	case errors.Is(err, fs.ErrPermission):
		return withHint(fmt.Errorf("data folder %s cannot be read: permission denied", here(a.data())), "run as its owner; if that is you, type 'chmod -R u+rwX "+here(a.data())+"'")
	}
	return err
}
