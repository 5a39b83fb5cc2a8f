package confine

import (
	"errors"
	"fmt"
	"slices"
	"syscall"

	"github.com/landlock-lsm/go-landlock/landlock"
	landlocksys "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// What can be done in each part of a reach. Device files, sockets to other
// programs aside, are made nowhere.
const (
	readable landlock.AccessFSSet = landlocksys.AccessFSReadFile | landlocksys.AccessFSReadDir
	runnable                      = readable | landlocksys.AccessFSExecute
	writable                      = readable | landlocksys.AccessFSWriteFile | landlocksys.AccessFSTruncate | landlocksys.AccessFSRefer |
		landlocksys.AccessFSRemoveDir | landlocksys.AccessFSRemoveFile |
		landlocksys.AccessFSMakeDir | landlocksys.AccessFSMakeReg | landlocksys.AccessFSMakeSock | landlocksys.AccessFSMakeSym
)

// oldest is the first version of Landlock that lets files move between
// folders, which a data folder needs.
const oldest = 2

// ToFiles keeps every thread of this process, and each process that it starts,
// to r and takes from them the privileges that starting a program could give
// (no_new_privs). It is for good: calling it again can only take away more. It
// returns ErrUnsupported, with the privileges gone, where the kernel cannot.
func ToFiles(r Reach) error {
	if err := landlocksys.AllThreadsPrctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("give up new privileges: %w", err)
	}
	if version, err := landlocksys.LandlockGetABIVersion(); err != nil || version < oldest {
		return ErrUnsupported
	}
	var rules []landlock.Rule
	for _, part := range []struct {
		paths []string
		may   landlock.AccessFSSet
	}{{r.Read, readable}, {r.Write, writable}, {r.Run, runnable}} {
		for _, path := range slices.Compact(slices.Sorted(slices.Values(part.paths))) {
			may, ok, err := fit(path, part.may)
			if err != nil {
				return err
			}
			if ok {
				rules = append(rules, landlock.PathAccess(may, path))
			}
		}
	}
	// version 5 on every newer kernel, so that a new one forbids nothing that
	// was not tried
	err := landlock.V5.BestEffort().RestrictPaths(rules...)
	if errors.Is(err, unix.E2BIG) {
		return nil // those that started this process were kept to as much, many times over
	}
	return err
}

// fit returns what of may there is for path, which may be a file, and whether
// it exists.
func fit(path string, may landlock.AccessFSSet) (landlock.AccessFSSet, bool, error) {
	var info unix.Stat_t
	switch err := unix.Stat(path, &info); {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.EACCES):
		return 0, false, nil // nobody reads it anyway
	case err != nil:
		return 0, false, fmt.Errorf("keep to %s: %w", path, err)
	}
	if info.Mode&unix.S_IFMT != unix.S_IFDIR {
		may &= landlocksys.AccessFSReadFile | landlocksys.AccessFSWriteFile | landlocksys.AccessFSExecute | landlocksys.AccessFSTruncate
	}
	return may, true, nil
}

// Memory keeps the system from writing this process's memory, and the keys in
// it, to a file when it crashes, and other processes of the same user from
// reading it. Both are for good.
func Memory() error {
	return errors.Join(
		syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}),
		unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0),
	)
}
