#include "ferry.h"

namespace ferry {

struct Boat {
  virtual long board(unsigned cars) = 0;
};

struct Steamer : Boat {
  long board(unsigned cars) override { return 100 / (static_cast<int>(load(cars)) - 6); }
};

static Steamer steamer;
Boat *moored = &steamer;

__attribute__((noinline)) long depart(unsigned cars) { return moored->board(cars) + 1; }

} // namespace ferry

extern "C" {
__attribute__((export_name("proxy_abi_version_0_2_1"))) void proxy_abi_version_0_2_1() {}
__attribute__((export_name("malloc"))) void *malloc(unsigned long) { return nullptr; }
__attribute__((export_name("proxy_on_request_headers"))) int proxy_on_request_headers(int, int headers, int) {
  return static_cast<int>(ferry::depart(static_cast<unsigned>(headers)));
}
}
