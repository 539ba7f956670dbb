//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package serve

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// lockState keeps a second server out of a state folder. The lock ends with the process.
func lockState(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("another server uses this state folder (%w): give each its own", err)
	}
	return f, nil
}
