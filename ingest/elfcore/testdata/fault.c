/* A program without a library that crashes as its argument says, with a second thread that waits. See README.md for how it is built.
 *
 *   fault read     the signal handler re-raises what a read of address 0x28 caused, as Envoy's does
 *   fault kill     a signal that was sent, re-raised
 *   fault plain    the same read without a handler
 *   fault deep     recursion until the stack ends, handled on a stack of its own
 */
typedef unsigned long word;
#ifdef __x86_64__
enum { SYS_mmap = 9, SYS_sigaction = 13, SYS_sigaltstack = 131, SYS_getpid = 39, SYS_gettid = 186, SYS_tgkill = 234, SYS_kill = 62, SYS_clone = 56, SYS_pause = 34,
       SYS_exit = 231, SYS_prctl = 157 };
static word call(word n, word a, word b, word c, word d) {
  word r;
  register word r10 asm("r10") = d;
  asm volatile("syscall" : "=a"(r) : "0"(n), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
  return r;
}
asm(".globl _start\n_start: .cfi_startproc\n.cfi_undefined rip\nxor %ebp,%ebp\nmov %rsp,%rdi\nand $-16,%rsp\ncall begin\nhlt\n.cfi_endproc\n");
/* Where the handler returns to, as glibc has it: no call frame information of its own. */
asm(".globl __restore_rt\nnop\n__restore_rt: mov $15,%rax\nsyscall\n");
extern void __restore_rt(void);
/* clone for a thread: the child has an empty stack, so it begins here. */
asm(".globl spawn\nspawn: .cfi_startproc\nmov $56,%eax\nxor %r10d,%r10d\nxor %r8d,%r8d\nsyscall\ntest %eax,%eax\njz 1f\nret\n.cfi_endproc\n"
    "1: .cfi_startproc\n.cfi_undefined rip\nxor %ebp,%ebp\ncall wait_for_ever\nhlt\n.cfi_endproc\n");
#else
enum { SYS_mmap = 222, SYS_sigaction = 134, SYS_sigaltstack = 132, SYS_getpid = 172, SYS_gettid = 178, SYS_tgkill = 131, SYS_kill = 129, SYS_clone = 220, SYS_pause = 0,
       SYS_exit = 94, SYS_prctl = 167 };
static word call(word n, word a, word b, word c, word d) {
  register word x8 asm("x8") = n, x0 asm("x0") = a, x1 asm("x1") = b, x2 asm("x2") = c, x3 asm("x3") = d, x4 asm("x4") = 0;
  asm volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
  return x0;
}
asm(".globl _start\n_start: .cfi_startproc\n.cfi_undefined x30\nmov x29,#0\nmov x30,#0\nmov x0,sp\nbl begin\nbrk #0\n.cfi_endproc\n");
asm(".globl spawn\nspawn: .cfi_startproc\nmov x2,#0\nmov x3,#0\nmov x4,#0\nmov x8,#220\nsvc 0\ncbz x0,1f\nret\n.cfi_endproc\n"
    "1: .cfi_startproc\n.cfi_undefined x30\nmov x29,#0\nmov x30,#0\nbl wait_for_ever\nbrk #0\n.cfi_endproc\n");
#endif
extern long spawn(word flags, void *stack);

__attribute__((noinline)) void wait_for_ever(void) {
  for (;;) {
#ifdef __x86_64__
    call(SYS_pause, 0, 0, 0, 0);
#else
    call(73, 0, 0, 0, 0); /* ppoll without a time-out */
#endif
    asm volatile("");
  }
}

__attribute__((noinline)) void again(int sig) {
  word action[4] = {0};
  call(SYS_sigaction, sig, (word)action, 0, 8);
  call(SYS_tgkill, call(SYS_getpid, 0, 0, 0, 0), call(SYS_gettid, 0, 0, 0, 0), sig, 0);
  asm volatile("");
}

void handler(int sig) {
  again(sig);
  asm volatile("");
}

static void handle(int sig, void *stack) {
  word ss[3] = {(word)stack, 0, 65536};
  call(SYS_sigaltstack, (word)ss, 0, 0, 0);
#ifdef __x86_64__
  word action[4] = {(word)handler, 0x04000000 | 0x08000000 | 0x40000000 | 4, (word)__restore_rt, 0}; /* SA_RESTORER, SA_ONSTACK, SA_NODEFER, SA_SIGINFO */
#else
  word action[3] = {(word)handler, 0x08000000 | 0x40000000 | 4, 0};
#endif
  call(SYS_sigaction, sig, (word)action, 0, 8);
}

__attribute__((noinline)) int load(volatile int *p) { return *p + 1; }

__attribute__((noinline)) int deeper(int n) {
  volatile char big[4096];
  big[0] = n;
  return deeper(n + 1) + big[0];
}

__attribute__((noinline)) int fail(char how) {
  int r = 0;
  if (how == 'k') {
    call(SYS_kill, call(SYS_getpid, 0, 0, 0, 0), 11, 0, 0);
  } else if (how == 'd') {
    r = deeper(0);
  } else {
    r = load((int *)0x28) + 1;
  }
  asm volatile("");
  return r;
}

char secret[64] = "this is data of the program and no library's";

void begin(word *sp) {
  char how = sp[0] > 1 ? *(char *)sp[2] : 'r';
  char *stack = (char *)call(SYS_mmap, 0, 65536, 3, 0x22);
#ifndef __x86_64__
  { /* six arguments */
    register word x8 asm("x8") = SYS_mmap, x0 asm("x0") = 0, x1 asm("x1") = 65536, x2 asm("x2") = 3, x3 asm("x3") = 0x22, x4 asm("x4") = -1, x5 asm("x5") = 0;
    asm volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
    stack = (char *)x0;
  }
#endif
  static char other[16384] __attribute__((aligned(16)));
  spawn(0x00000100 | 0x00000200 | 0x00000400 | 0x00000800 | 0x00010000, other + sizeof other); /* VM, FS, FILES, SIGHAND, THREAD */
  if (how != 'p')
    handle(11, stack);
  for (volatile int i = 0; i < 20000000; i++) /* the thread gets to where it waits */
    ;
  int r = fail(how);
  call(SYS_exit, r, 0, 0, 0);
}
