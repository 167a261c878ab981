// Cross-entropy over lanes.
#pragma once

#include "../math.h"

namespace lanes {

// One sample's logits [classes].
struct Logits {
  const Vec* values;
  int classes;
};

// Each lane's loss, -log softmax(logits)[label]. If gradient is not null, writes (softmax - onehot) * weight to it.
inline Vec cross_entropy(const Logits x, Int label, Vec weight, Vec* gradient) {
  Vec top = x.values[0];
  for (int j = 1; j < x.classes; j++) top = maximum(top, x.values[j]);
  Vec sum = zero(), chosen = zero();
  for (int j = 0; j < x.classes; j++) {
    const Vec shifted = x.values[j] - top, e = exp(shifted);
    sum += e;
    chosen = select(equal(label, splat(j)), shifted, chosen);
    if (gradient) gradient[j] = e;
  }
  if (gradient) {
    const Vec scale = 1.f / sum;
    for (int j = 0; j < x.classes; j++) {
      const Vec target = select(equal(label, splat(j)), splat(1.f), zero());
      gradient[j] = (gradient[j] * scale - target) * weight;
    }
  }
  return log(sum) - chosen;
}

}  // namespace lanes
