package elfcore

import (
	"fmt"

	"github.com/wasmortem/wasmortem/ingest/elf"
)

// Signal is why the process ended, or why a signal handler ran.
type Signal struct {
	Number  int
	Code    int
	Address uint64 // that could not be accessed; meaningful when HasAddress
	// HasAddress says that the kernel tells an address: only for faults. For signals that were sent the same bytes hold the sender, which
	// is what Envoy prints as "suspect faulting address".
	HasAddress bool
	Sender     int    // process that sent it; meaningful when Sent
	SenderUID  int    // its user
	Access     string // read, write or execute, when the machine tells
	// Forwarded says that a handler raised the signal again before this one ran, and that a fault of the thread came first: V8's does so with
	// every fault that is none of wasm code. Address and Access are those of the thread's last fault.
	Forwarded bool
	unsure    bool // only its number is known
}

// siKernel is si_code of faults that the kernel cannot tell an address for, and of signals it sends itself.
const siKernel = 0x80

// Sent says whether a process sent the signal: kill, raise and abort do. Otherwise a fault of the program caused it, or the kernel.
func (s *Signal) Sent() bool { return !s.unsure && s.Code <= 0 && !s.Forwarded }

// parseSignal reads a siginfo of at least 32 bytes.
func parseSignal(d []byte) *Signal {
	s := &Signal{Number: int(int32(le.Uint32(d))), Code: int(int32(le.Uint32(d[8:])))}
	switch {
	case s.Code <= 0:
		s.Sender, s.SenderUID = int(int32(le.Uint32(d[16:]))), int(le.Uint32(d[20:]))
	case s.Code != siKernel && (s.Number == 4 || s.Number == 7 || s.Number == 8 || s.Number == 11 || s.Number == 5):
		s.Address, s.HasAddress = le.Uint64(d[16:]), true
	}
	return s
}

var signalNames = map[int]string{1: "SIGHUP", 2: "SIGINT", 3: "SIGQUIT", 4: "SIGILL", 5: "SIGTRAP", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE", 9: "SIGKILL",
	11: "SIGSEGV", 13: "SIGPIPE", 14: "SIGALRM", 15: "SIGTERM", 24: "SIGXCPU", 25: "SIGXFSZ", 31: "SIGSYS"}

// codeNames are the codes of faults (include/uapi/asm-generic/siginfo.h).
var codeNames = map[[2]int]string{
	{4, 1}: "ILL_ILLOPC", {4, 2}: "ILL_ILLOPN", {4, 5}: "ILL_PRVOPC", {5, 1}: "TRAP_BRKPT", {5, 2}: "TRAP_TRACE",
	{7, 1}: "BUS_ADRALN", {7, 2}: "BUS_ADRERR", {7, 3}: "BUS_OBJERR", {7, 4}: "BUS_MCEERR_AR",
	{8, 1}: "FPE_INTDIV", {8, 2}: "FPE_INTOVF", {8, 3}: "FPE_FLTDIV", {11, 1}: "SEGV_MAPERR", {11, 2}: "SEGV_ACCERR", {11, 4}: "SEGV_PKUERR",
	{0, 0}: "SI_USER", {0, siKernel}: "SI_KERNEL", {0, -1}: "SI_QUEUE", {0, -2}: "SI_TIMER", {0, -6}: "SI_TKILL",
}

// Name is the signal's name.
func (s *Signal) Name() string {
	if n := signalNames[s.Number]; n != "" {
		return n
	}
	return fmt.Sprintf("signal %d", s.Number)
}

// CodeName is the name of si_code.
func (s *Signal) CodeName() string {
	for _, k := range [][2]int{{s.Number, s.Code}, {0, s.Code}} {
		if n := codeNames[k]; n != "" {
			return n
		}
	}
	return fmt.Sprint(s.Code)
}

// Text says in a sentence what the signal means. pid is the process that got it.
func (s *Signal) Text(pid int) string {
	switch {
	case s.unsure:
		return fmt.Sprintf("%s; whether a fault caused it or a process sent it is not in the dump", s.Name())
	case s.Forwarded && s.HasAddress:
		return fmt.Sprintf("%s: a fault, %s %#x, which another signal handler passed on", s.Name(), accessWords[s.Access], s.Address)
	case s.Forwarded:
		return fmt.Sprintf("%s: a fault, which another signal handler passed on", s.Name())
	case s.Sent() && s.Sender == pid && pid != 0:
		return fmt.Sprintf("%s, sent by the process itself (%s): abort, raise, or a signal handler that passes on what it got", s.Name(), s.CodeName())
	case s.Sent() && s.Sender == 0:
		return fmt.Sprintf("%s, sent (%s) by a process outside of the container, or by the kernel", s.Name(), s.CodeName())
	case s.Sent():
		return fmt.Sprintf("%s, sent (%s) by process %d of user %d: no fault of this process's code", s.Name(), s.CodeName(), s.Sender, s.SenderUID)
	case s.HasAddress && s.Access != "":
		return fmt.Sprintf("%s (%s): a fault, %s %#x", s.Name(), s.CodeName(), accessWords[s.Access], s.Address)
	case s.HasAddress:
		return fmt.Sprintf("%s (%s): a fault at %#x", s.Name(), s.CodeName(), s.Address)
	case s.Code == siKernel && s.Number == 11:
		return fmt.Sprintf("%s (%s): a fault at an address that cannot exist, which the machine does not tell", s.Name(), s.CodeName())
	}
	return fmt.Sprintf("%s (%s): a fault", s.Name(), s.CodeName())
}

var accessWords = map[string]string{"read": "reading from", "write": "writing to", "execute": "executing code at"}

// Cause is what ended the process. Envoy handles the signal, logs a backtrace and raises it again, so that the dump says "sent by itself"
// for every crash; what came first stands in the signal frame on the stack of the thread that crashed. ended is what the dump notes.
// Both are nil when the dump tells neither.
func (c *Core) Cause() (first, ended *Signal) {
	if len(c.Threads) > 0 {
		first = c.Threads[0].Signal
	}
	if first == nil {
		first = c.siginfo
	}
	return first, c.siginfo
}

// sigframe is where a signal handler returns to: the state of the thread before.
type sigframe struct {
	signal    *Signal
	registers elf.Registers
}

// Offsets in x86-64's rt_sigframe behind the return address, which is where rsp points when the handler has returned.
const (
	x86Greg    = 40 // gregs of the ucontext: r8…r15 rdi rsi rbp rbx rdx rax rcx rsp rip eflags cs/gs/fs/ss err trapno oldmask cr2
	x86SigInfo = 304
	x86Frame   = x86SigInfo + 128
)

// Offsets in aarch64's rt_sigframe: a siginfo, then a ucontext.
const (
	armContext = 128 + 176 // fault address, x0…x30, sp, pc
	armFrame   = armContext + 8*35
)

// sigframeAt reads a signal frame at a stack pointer. Unless it is certain that there is one, what stands there is believed only when it looks
// like one in every field that is known, so that this also finds frames where the code that would tell is not in the dump. The signal is
// missing when the handler did not ask for it (SA_SIGINFO).
func (c *Core) sigframeAt(sp uint64, certain bool) *sigframe {
	var b [max(x86Frame, armFrame)]byte
	f := &sigframe{}
	f.registers.Machine = c.Machine
	r := &f.registers
	if c.Machine == elf.AArch64 {
		if sp&15 != 0 || c.ReadAt(b[:armFrame], sp) != armFrame || le.Uint64(b[128:]) != 0 || le.Uint64(b[136:]) != 0 {
			return nil
		}
		for i := range 32 {
			r.Value[i] = le.Uint64(b[armContext+8+8*i:])
		}
		r.SetPC(le.Uint64(b[armContext+8+8*32:]))
		f.signal = parseSignal(b[:])
	} else {
		if sp&7 != 0 || c.ReadAt(b[:x86Frame], sp) != x86Frame || le.Uint64(b[:]) > 7 || le.Uint64(b[8:]) != 0 {
			return nil
		}
		word := func(i int) uint64 { return le.Uint64(b[x86Greg+8*i:]) }
		if word(18)&0xffff != 0x33 { // the code segment of every 64-bit process
			return nil
		}
		for i, from := range [...]int{13, 12, 14, 11, 9, 8, 10, 15, 0, 1, 2, 3, 4, 5, 6, 7} {
			r.Value[i] = word(from)
		}
		r.SetPC(word(16))
		f.signal = parseSignal(b[x86SigInfo:])
		f.signal.trap(word(20), word(19), word(22), c.PID)
	}
	if f.signal.Number < 1 || f.signal.Number > 64 || f.signal.Code < -64 || f.signal.Code > 0xff {
		if f.signal = nil; !certain {
			return nil
		}
	}
	if sp := r.SP(); !certain && c.segment(sp) == nil && c.segment(sp+belowStack) == nil {
		return nil
	}
	return f
}

// Traps of x86-64 (arch/x86/include/asm/trapnr.h) and the signals they become.
var trapSignal = map[uint64]int{0: 8, 3: 5, 6: 4, 12: 7, 13: 11, 14: 11}

const (
	pageFault = 14
	siTKill   = -6
)

// trap takes over what the signal frame notes of the thread's last trap. The kernel leaves it there when a signal was sent, so that it may be
// older than the signal; without any the signal was no fault, whoever passed it on.
func (s *Signal) trap(number, code, address uint64, pid int) {
	if s.Code == siTKill && s.Sender == pid && (number > 0 || code > 0) && trapSignal[number] == s.Number {
		s.Forwarded = true
		s.Address, s.HasAddress = address, number == pageFault
	}
	if number != pageFault || !s.HasAddress {
		return
	}
	switch {
	case code&0x10 != 0:
		s.Access = "execute"
	case code&2 != 0:
		s.Access = "write"
	default:
		s.Access = "read"
	}
}

// belowStack is how far below its stack the pointer of a thread may be that used it up: as large as frames are.
const belowStack = 64 << 10

// StackEnded says whether the thread that crashed had used up its stack: the fault is where the stack pointer is, and there is no stack.
func (c *Core) StackEnded() bool {
	s, _ := c.Cause()
	if s == nil || !s.HasAddress || s.Number != 11 || len(c.Threads) == 0 {
		return false
	}
	sp := c.Threads[0].Registers.SP()
	if in := c.Threads[0].Interrupted(); len(in) > 0 {
		sp = in[0].SP
	}
	near := s.Address-sp < belowStack || sp-s.Address < belowStack
	if x := c.segment(s.Address); x != nil && x.Writable && x.Size > 0 {
		return false
	}
	above := c.segment(s.Address + belowStack)
	return near && above != nil && above.Writable
}

// searched is how far above the stack pointer a signal frame is looked for.
const searched = 256 << 10

// findSigframe looks for a signal frame on the stack of a thread whose frames cannot be followed to it.
func (c *Core) findSigframe(sp uint64) (*sigframe, uint64) {
	step := uint64(8)
	if c.Machine == elf.AArch64 {
		step = 16
	}
	sp = (sp + step - 1) &^ (step - 1)
	stack := make([]byte, searched)
	stack = stack[:c.ReadAt(stack, sp)]
	for i := uint64(0); i+x86Frame <= uint64(len(stack)); i += step {
		// the cheap part of the test first
		if c.Machine == elf.X8664 && (le.Uint64(stack[i:]) > 7 || le.Uint64(stack[i+8:]) != 0 || le.Uint16(stack[i+x86Greg+8*18:]) != 0x33) {
			continue
		}
		if c.Machine == elf.AArch64 && (le.Uint32(stack[i:]) == 0 || le.Uint32(stack[i:]) > 64) {
			continue
		}
		if f := c.sigframeAt(sp+i, false); f != nil && (c.Executable(f.registers.PC()) || f.signal.HasAddress) {
			return f, sp + i
		}
	}
	return nil, 0
}
