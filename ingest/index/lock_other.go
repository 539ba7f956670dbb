//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package index

import (
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// lock keeps other processes out while a case is open, readers too: without flock(2) it is a file that must not be there. One that a
// killed process left is taken over once that process is gone.
type lock struct{ path string }

// errInUse is a lock that somebody else has. pid is 0 when nobody knows whose it is.
type errInUse struct{ pid int }

func (e errInUse) Error() string { return "in use" }

func takeLock(path string, _ bool) (*lock, error) {
	for range 2 {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err == nil {
			_, err = f.WriteString(strconv.Itoa(os.Getpid()) + "\n")
			return &lock{path}, errors.Join(err, f.Close())
		}
		if !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		b, _ := os.ReadFile(path)
		pid, _ := strconv.Atoi(strings.TrimSpace(string(b)))
		p, err := os.FindProcess(pid) // fails where the process is gone, except on systems that have flock
		if err == nil {
			_ = p.Release()
			return nil, errInUse{pid}
		}
		if err := os.Remove(path); err != nil {
			return nil, errInUse{pid}
		}
	}
	return nil, errInUse{}
}

func (l *lock) release() {
	if l != nil && l.path != "" {
		_ = os.Remove(l.path)
		l.path = ""
	}
}
