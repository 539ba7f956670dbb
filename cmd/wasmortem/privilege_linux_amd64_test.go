package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// What analyze asks the system for, seen with ptrace: it opens its inputs and its configuration to read them, and a few files that tell the Go runtime
// about the machine; it opens nothing to write, makes no socket, starts no program and removes, renames and makes nothing. With --output it makes one
// file more, beside the report, and renames it.
func TestLeastPrivilege(t *testing.T) {
	if testing.Short() {
		t.Skip("follows every system call of a process")
	}
	work, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	in, out := filepath.Join(work, "in"), filepath.Join(work, "out")
	if err := errors.Join(os.Mkdir(in, 0o700), os.Mkdir(out, 0o700)); err != nil {
		t.Fatal(err)
	}
	log := append([]byte("visit http://192.0.2.1/x $(touch evil) `touch evil` ../../../etc/passwd\n"), panicLog(t)...)
	for name, data := range map[string][]byte{"a.log": log, "b.log.gz": gzipped(log)} {
		if err := os.WriteFile(filepath.Join(in, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	program, err := exec.LookPath("wasmortem")
	if err != nil {
		t.Fatal(err)
	}
	// Of the Go runtime: huge pages, cgroups (GOMAXPROCS), time zone; of a test that was linked with libc: libraries; the program itself.
	system := []string{"/sys/kernel/mm/", "/sys/fs/cgroup/", "/proc/self/", "/sys/devices/system/cpu", "/etc/localtime", "/usr/share/zoneinfo", "/dev/null", "/etc/ld.so.", "/lib", "/usr/lib", program}
	for _, args := range [][]string{{"analyze", in, "--format", "json"}, {"analyze", in, "--format", "html", "--output", filepath.Join(out, "r.html")}} {
		calls := traced(t, work, args...)
		if len(calls) < 5 {
			t.Fatalf("only %d calls were seen: %q", len(calls), calls)
		}
		sawInput := false
		for _, c := range calls {
			sawInput = sawInput || c == "read "+filepath.Join(in, "a.log")
			verb, path, _ := strings.Cut(c, " ")
			allowed := verb == "read" && (strings.HasPrefix(path, work) || slices.ContainsFunc(system, func(s string) bool { return strings.HasPrefix(path, s) }))
			allowed = allowed || len(args) > 4 && slices.Contains([]string{"write", "rename", "remove", "chmod"}, verb) && strings.HasPrefix(path, filepath.Join(out, ".wasmortem-"))
			if !allowed {
				t.Errorf("%s: %s", strings.Join(args[2:], " "), c)
			}
		}
		if !sawInput {
			t.Errorf("reading the input was not seen: %q", calls)
		}
	}
}

// watched are the calls that reach beyond the process, and the argument that is a path, or -1.
var watched = map[uint64]struct {
	verb string
	path int
}{
	syscall.SYS_OPEN: {"open", 0}, syscall.SYS_OPENAT: {"open", 1}, 437: {"openat2", 1}, syscall.SYS_CREAT: {"write", 0},
	syscall.SYS_SOCKET: {"socket", -1}, syscall.SYS_CONNECT: {"connect", -1}, syscall.SYS_BIND: {"bind", -1}, syscall.SYS_SOCKETPAIR: {"socketpair", -1},
	syscall.SYS_EXECVE: {"execute", 0}, 322: {"execute", 1}, syscall.SYS_FORK: {"fork", -1}, syscall.SYS_VFORK: {"fork", -1}, syscall.SYS_PTRACE: {"ptrace", -1},
	syscall.SYS_UNLINK: {"remove", 0}, syscall.SYS_UNLINKAT: {"remove", 1}, syscall.SYS_RMDIR: {"remove", 0}, syscall.SYS_RENAME: {"rename", 0}, syscall.SYS_RENAMEAT: {"rename", 1}, 316: {"rename", 1},
	syscall.SYS_MKDIR: {"make", 0}, syscall.SYS_MKDIRAT: {"make", 1}, syscall.SYS_LINK: {"link", 0}, syscall.SYS_LINKAT: {"link", 1}, syscall.SYS_SYMLINK: {"link", 0}, syscall.SYS_SYMLINKAT: {"link", 0},
	syscall.SYS_CHMOD: {"chmod", 0}, syscall.SYS_FCHMODAT: {"chmod", 1}, syscall.SYS_CHOWN: {"chown", 0}, syscall.SYS_MOUNT: {"mount", 0}, syscall.SYS_TRUNCATE: {"write", 0},
	syscall.SYS_SETUID: {"setuid", -1}, 425: {"io_uring", -1},
}

// traced runs the program and tells what it asked for.
func traced(t *testing.T, home string, args ...string) (calls []string) {
	t.Helper()
	const sysgood, traceClone, traceFork, traceVfork, traceExec, exitKill = 1, 8, 2, 4, 16, 0x100000
	runtime.LockOSThread() // the thread that starts the process is the one that may follow it
	defer runtime.UnlockOSThread()
	path, err := exec.LookPath("wasmortem")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, args...)
	cmd.Env = []string{"HOME=" + home}
	cmd.Dir = home
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	if err := cmd.Start(); err != nil {
		t.Skipf("a process cannot be followed here (ptrace is forbidden, see kernel.yama.ptrace_scope and the seccomp profile of the container): %v", err)
	}
	pid := cmd.Process.Pid
	var ws syscall.WaitStatus
	if _, err := syscall.Wait4(pid, &ws, 0, nil); err != nil || !ws.Stopped() {
		t.Fatalf("the process did not stop: %v, %v", ws, err)
	}
	if err := syscall.PtraceSetOptions(pid, sysgood|traceClone|traceFork|traceVfork|traceExec|exitKill); err != nil {
		t.Skipf("a process cannot be followed here: %v", err)
	}
	inside := map[int]bool{}
	_ = syscall.PtraceSyscall(pid, 0)
	for {
		id, err := syscall.Wait4(-1, &ws, syscall.WALL, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case err != nil:
			t.Fatal(err)
		case ws.Exited() || ws.Signaled():
			if id == pid {
				_ = cmd.Process.Release()
				if ws.ExitStatus() != 0 {
					t.Errorf("wasmortem %s ended with %v", strings.Join(args, " "), ws)
				}
				return calls
			}
			continue
		}
		sig := 0
		switch s := ws.StopSignal(); {
		case s == syscall.SIGTRAP|0x80:
			if inside[id] = !inside[id]; inside[id] {
				if c := called(id); c != "" {
					calls = append(calls, c)
				}
			}
		case s == syscall.SIGTRAP, s == syscall.SIGSTOP: // a new thread, or the program itself begins
		default:
			sig = int(s)
		}
		_ = syscall.PtraceSyscall(id, sig)
	}
}

// called tells a call that is watched.
func called(id int) string {
	var r syscall.PtraceRegs
	if syscall.PtraceGetRegs(id, &r) != nil {
		return ""
	}
	w, ok := watched[r.Orig_rax]
	if !ok {
		return ""
	}
	arguments := []uint64{r.Rdi, r.Rsi, r.Rdx}
	verb, path := w.verb, ""
	if w.path >= 0 {
		b := make([]byte, 4096)
		n, _ := syscall.PtracePeekData(id, uintptr(arguments[w.path]), b)
		path, _, _ = strings.Cut(string(b[:max(n, 0)]), "\x00")
	}
	if verb == "open" {
		verb = "read"
		if flags := arguments[w.path+1]; flags&(syscall.O_WRONLY|syscall.O_RDWR|syscall.O_CREAT|syscall.O_TRUNC) != 0 {
			verb = "write"
		}
	}
	return strings.TrimSpace(fmt.Sprint(verb, " ", path))
}
