//go:build !linux

package main

import "syscall"

// dieWithUs gives a process a group of its own; only Linux ends a process with its parent. There is no Envoy for the lab elsewhere either.
func dieWithUs() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
