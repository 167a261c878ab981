// Cross-entropy over lanes, and the ranking of logits that evaluation needs.
#pragma once

#include "math.h"

namespace lanes {

// Returns each lane's loss of one sample, -log softmax(logits)[label]; if gradient is not null, writes (softmax - onehot) * weight.
inline Vec cross_entropy(const Vec* logits, int classes, Int label, Vec weight, Vec* gradient) {
  Vec top = logits[0];
  for (int j = 1; j < classes; j++) top = maximum(top, logits[j]);
  Vec sum = zero(), chosen = zero();
  for (int j = 0; j < classes; j++) {
    const Vec shifted = logits[j] - top, e = exp(shifted);
    sum += e;
    chosen = select(equal(label, splat(j)), shifted, chosen);
    if (gradient) gradient[j] = e;
  }
  if (gradient) {
    const Vec scale = 1.f / sum;
    for (int j = 0; j < classes; j++) {
      const Vec target = select(equal(label, splat(j)), splat(1.f), zero());
      gradient[j] = (gradient[j] * scale - target) * weight;
    }
  }
  return log(sum) - chosen;
}

struct Ranking {
  Int best;       // the first maximum; the first NaN if there is one, as PyTorch's argmax
  Mask near_tie;  // the two largest logits differ by less than tolerance * max(1, largest magnitude)
};

inline Ranking rank(const Vec* logits, int classes, float tolerance) {
  Vec top = logits[0], second = splat(-kInfinity), magnitude = absolute(logits[0]);
  Int best = splat(0);
  for (int j = 1; j < classes; j++) {
    const Vec v = logits[j];
    const Mask m = both(either(less(top, v), is_nan(v)), negate(is_nan(top)));
    second = maximum(second, select(m, top, v));
    top = select(m, v, top);
    best = select(m, splat(j), best);
    magnitude = maximum(magnitude, absolute(v));
  }
  return {best, less(top - second, maximum(splat(1.f), magnitude) * tolerance)};
}

}  // namespace lanes
