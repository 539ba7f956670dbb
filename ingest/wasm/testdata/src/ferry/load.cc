#include "ferry.h"

namespace ferry {

static long cars[] = {1, 2, 3, 4};

__attribute__((noinline)) long load(unsigned n) { return Deck<long>(cars, 4).sum(n); }

__attribute__((noinline)) int never_called(int x) { return Deck<long>(cars, 2).at(static_cast<unsigned>(x)); }

} // namespace ferry
