/* Recursion that needs no shadow stack: the engine's own stack runs out. */
#include "gate.h"

volatile int stop = 5;

__attribute__((noinline)) int descend(int depth) {
  if (depth == stop) return depth;
  return descend(depth + 1) + stop;
}

EXPORT(proxy_on_request_headers) int proxy_on_request_headers(int context, int headers, int end) {
  if (BOOM(context)) stop = -1;
  return descend(0) == 12345;
}
