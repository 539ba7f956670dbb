/* A function pointer of another type (-DFAULT=1), a write through a wild pointer (-DFAULT=2), a null function pointer (-DFAULT=3); -DFIXED calls it with its own type. */
#include "gate.h"

typedef int (*handler)(int, int);
__attribute__((noinline)) int one(int a) { return a; }
__attribute__((noinline)) int two(int a, int b) { return a + b; }
#ifdef FIXED
volatile handler table[] = {two, two};
#else
#if FAULT == 3
volatile handler table[] = {two, 0};
#else
volatile handler table[] = {two, (handler)one};
#endif
#endif

__attribute__((noinline)) int dispatch(int which) { return table[which](1, 2); }
__attribute__((noinline)) void store(unsigned at) { *(volatile int *)at = 7; }

EXPORT(proxy_on_request_headers) int proxy_on_request_headers(int context, int headers, int end) {
#if FAULT != 2
  return dispatch(BOOM(context)) == 12345;
#else
  if (BOOM(context)) store(0xfffffff0u);
  return 0;
#endif
}
