// RMSprop (Tieleman and Hinton 2012), in PyTorch's order of operations.
#pragma once

#include "optimizer.h"

namespace lanes {

inline void rmsprop(const OptimizerSpec& s, const GroupHyperparameters h, const OptimizerArrays a) {
  const Vec lr = h.rounded_lr();
  const Vec alpha = splat(static_cast<float>(s.alpha)), rest = splat(static_cast<float>(1 - s.alpha)),
            eps = splat(static_cast<float>(s.eps));
  for (int k = 0; k < a.count; k++) {
    const Vec g = h.decayed(a.gradient[k], a.param[k]);
    const Vec v = multiply_add(a.second[k], alpha, rest * (g * g));
    const Vec m = h.with_momentum(a.first[k], g / (sqrt(v) + eps));
    a.second[k] = v;
    a.first[k] = m;
    a.param[k] -= lr * m;
  }
}

}  // namespace lanes
