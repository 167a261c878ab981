// Which class a sample's logits choose, and whether rounding could have chosen another.
#pragma once

#include "cross_entropy.h"

namespace lanes {

struct Ranking {
  Int best;       // the first maximum; the first NaN if there is one, as PyTorch's argmax
  Mask near_tie;  // the two largest logits differ by less than the tolerance, or it isn't known
};

inline Ranking rank(const Logits x, Vec tolerance) {
  Vec top = x.values[0], second = splat(-kInfinity);
  Int best = splat(0);
  for (int j = 1; j < x.classes; j++) {
    const Vec v = x.values[j];
    const Mask m = both(either(less(top, v), is_nan(v)), negate(is_nan(top)));
    second = maximum(second, select(m, top, v));
    top = select(m, v, top);
    best = select(m, splat(j), best);
  }
  const Vec lead = top - second;
  return {best, negate(either(less_equal(tolerance, lead), is_nan(lead)))};
}

// A number for a lane's logits that is another for others (FNV-1a of their bits).
inline uint64_t digest(const Logits x, int lane) {
  uint64_t hash = 0xcbf29ce484222325;
  for (int j = 0; j < x.classes; j++) {
    const float value = x.values[j][lane];
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    hash = (hash ^ bits) * 0x100000001b3;
  }
  return hash;
}

}  // namespace lanes
