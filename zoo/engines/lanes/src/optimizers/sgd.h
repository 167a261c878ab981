// Stochastic gradient descent with momentum, Nesterov's too, in PyTorch's order of operations.
#pragma once

#include "optimizer.h"

namespace lanes {

inline void sgd(const OptimizerSpec& s, const GroupHyperparameters h, const OptimizerArrays a) {
  const Vec lr = h.rounded_lr();
  for (int k = 0; k < a.count; k++) {
    const Vec g = h.decayed(a.gradient[k], a.param[k]);
    const Vec m = h.with_momentum(a.first[k], g);
    a.first[k] = m;
    a.param[k] -= lr * (s.nesterov ? g + h.momentum * m : m);
  }
}

}  // namespace lanes
