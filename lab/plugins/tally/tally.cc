// A plugin in C++ by Emscripten, without an SDK: its configuration says how it fails, at a request for /boom.
#include <cassert>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <emscripten.h>
#include <map>
#include <memory>
#include <string>
#include <vector>

#define HOST(name) __attribute__((import_module("env"), import_name(#name)))

extern "C" {
HOST(proxy_log) uint32_t proxy_log(uint32_t level, const char *text, size_t size);
HOST(proxy_get_buffer_bytes) uint32_t proxy_get_buffer_bytes(uint32_t type, uint32_t start, uint32_t length, const char **data, size_t *size);
HOST(proxy_get_header_map_value) uint32_t proxy_get_header_map_value(uint32_t map, const char *key, size_t key_size, const char **data, size_t *size);
}

namespace tally {

std::string mode;

bool boom() {
  const char *path = nullptr;
  size_t size = 0;
  if (proxy_get_header_map_value(0, ":path", 5, &path, &size) != 0) return false;
  bool is = size == 5 && memcmp(path, "/boom", 5) == 0;
  free(const_cast<char *>(path));
  return is;
}

class Account {
public:
  virtual ~Account() = default;
  virtual int limit() const = 0;
};

__attribute__((noinline)) int at(const std::vector<int> &amounts, size_t i) { return amounts.at(i); }

__attribute__((noinline)) int number(const std::string &text) { return std::stoi(text); }

__attribute__((noinline)) int limit(const Account *account) { return account->limit(); }

__attribute__((noinline)) int deeper(volatile int *above) {
  volatile int here = *above + 1;
  return deeper(&here) + *above;
}

__attribute__((noinline)) void settle(int balance) { assert(balance >= 0 && "balance is negative"); }

__attribute__((noinline)) size_t hoard() {
  static std::vector<std::unique_ptr<char[]>> kept;
  for (;;) {
    kept.emplace_back(new char[1 << 20]);
    kept.back()[0] = 1;
  }
}

void fail() {
  static volatile int sink;
  std::vector<int> amounts{1, 2, 3};
  if (mode == "mode=at") sink = at(amounts, 3);
  if (mode == "mode=stoi") sink = number("twelve");
  if (mode == "mode=null") sink = limit(nullptr);
  if (mode == "mode=recursion") sink = deeper(&sink);
  if (mode == "mode=assert") settle(-1);
  if (mode == "mode=abort") abort();
  if (mode == "mode=memory") sink = static_cast<int>(hoard());
#ifdef __cpp_exceptions
  if (mode == "mode=throw") throw std::string("no such account");
#endif
}

} // namespace tally

extern "C" {
EMSCRIPTEN_KEEPALIVE void proxy_abi_version_0_2_1() {}
EMSCRIPTEN_KEEPALIVE void proxy_on_context_create(uint32_t, uint32_t) {}
EMSCRIPTEN_KEEPALIVE uint32_t proxy_on_vm_start(uint32_t, uint32_t) { return 1; }
EMSCRIPTEN_KEEPALIVE uint32_t proxy_on_configure(uint32_t, uint32_t size) {
  const char *data = nullptr;
  size_t n = 0;
  if (proxy_get_buffer_bytes(7, 0, size, &data, &n) == 0) {
    tally::mode.assign(data, n);
    free(const_cast<char *>(data));
  }
  return 1;
}
EMSCRIPTEN_KEEPALIVE uint32_t proxy_on_request_headers(uint32_t, uint32_t, uint32_t) {
  if (tally::boom()) tally::fail();
  return 0;
}
EMSCRIPTEN_KEEPALIVE uint32_t proxy_on_done(uint32_t) { return 1; }
EMSCRIPTEN_KEEPALIVE void proxy_on_delete(uint32_t) {}
}
