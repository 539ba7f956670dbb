package main

import "syscall"

// dieWithUs gives a process a group of its own and has the kernel end it when the runner ends, however that happens.
func dieWithUs() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
