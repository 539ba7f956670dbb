// ferry: what two sources share; all of it is inlined or dropped.
#pragma once

namespace ferry {

template <typename T> class Deck {
public:
  explicit Deck(T *cars, unsigned n) : cars_(cars), n_(n) {}
  inline __attribute__((always_inline)) T at(unsigned i) const {
    if (i >= n_)
      __builtin_trap();
    return cars_[i];
  }
  inline __attribute__((always_inline)) T sum(unsigned upto) const {
    T s = 0;
    for (unsigned i = 0; i < upto; i++)
      s += at(i);
    return s;
  }

private:
  T *cars_;
  unsigned n_;
};

long load(unsigned cars);
int never_called(int);

} // namespace ferry
