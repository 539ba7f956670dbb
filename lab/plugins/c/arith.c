/* One trap of the arithmetic unit, chosen by -DFAULT=…; -DFIXED is the plugin after the repair of the runbook. */
#include "gate.h"

#define DIVIDE 1
#define REMAINDER 2
#define OVERFLOW 3
#define FLOAT 4
#define CAST 5

volatile int window = 10;
volatile double ratio = 1.5;

__attribute__((noinline)) int average(int sum, int count) {
#if FAULT == DIVIDE
#ifdef FIXED
  return count == 0 ? 0 : sum / count;
#else
  return sum / count;
#endif
#elif FAULT == REMAINDER
  return sum % count;
#elif FAULT == OVERFLOW
  return (int)0x80000000 / (count - 1);
#elif FAULT == FLOAT
  return __builtin_wasm_trunc_s_i32_f64(ratio);
#else
  return (int)ratio; /* clang puts a guard around the conversion */
#endif
}

EXPORT(proxy_on_request_headers) int proxy_on_request_headers(int context, int headers, int end) {
  if (BOOM(context)) {
    window = 0;
    ratio = 1e300;
  }
  return average(100, window) == 12345;
}
