// Which class a sample's logits choose, and whether rounding could have chosen another.
#pragma once

#include "cross_entropy.h"

namespace lanes {

struct Ranking {
  Int best;       // the first maximum; the first NaN if there is one, as PyTorch's argmax
  Mask near_tie;  // the two largest logits differ by less than tolerance * max(1, largest magnitude)
};

inline Ranking rank(const Logits x, float tolerance) {
  Vec top = x.values[0], second = splat(-kInfinity), magnitude = absolute(x.values[0]);
  Int best = splat(0);
  for (int j = 1; j < x.classes; j++) {
    const Vec v = x.values[j];
    const Mask m = both(either(less(top, v), is_nan(v)), negate(is_nan(top)));
    second = maximum(second, select(m, top, v));
    top = select(m, v, top);
    best = select(m, splat(j), best);
    magnitude = maximum(magnitude, absolute(v));
  }
  return {best, less(top - second, maximum(splat(1.f), magnitude) * tolerance)};
}

}  // namespace lanes
