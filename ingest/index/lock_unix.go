//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package index

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// lock keeps other processes out while a case is open: a writer all, a reader only writers. The kernel drops it when the process
// ends, however it ends.
type lock struct{ f *os.File }

// errInUse is a lock that somebody else has. pid is 0 when nobody knows whose it is.
type errInUse struct{ pid int }

func (e errInUse) Error() string { return "in use" }

func takeLock(path string, write bool) (*lock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if !write && (errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EROFS)) {
		return &lock{}, nil // a case on a medium that cannot be written needs no lock
	}
	if err != nil {
		return nil, err
	}
	how := unix.LOCK_SH
	if write {
		how = unix.LOCK_EX
	}
	if err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB); err != nil {
		defer f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, errInUse{holder(f)}
		}
		return nil, err
	}
	// Of several readers the last one is named; that is good enough for a message.
	_ = f.Truncate(0)
	_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return &lock{f}, nil
}

// holder reads whose lock it is, as long as that process lives.
func holder(f *os.File) int {
	b, _ := io.ReadAll(io.LimitReader(f, 32))
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || pid <= 0 || errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
		return 0
	}
	return pid
}

func (l *lock) release() {
	if l != nil && l.f != nil {
		_ = l.f.Close()
		l.f = nil
	}
}
