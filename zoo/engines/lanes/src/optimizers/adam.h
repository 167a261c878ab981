// Adam (Kingma and Ba 2015), in PyTorch's order of operations.
#pragma once

#include <cmath>

#include "optimizer.h"

namespace lanes {

// `step` counts from 1.
inline void adam(const OptimizerSpec& s, const GroupHyperparameters h, uint64_t step, const OptimizerArrays a) {
  const double correction1 = 1 - std::pow(s.beta1, static_cast<double>(step));
  const double correction2 = 1 - std::pow(s.beta2, static_cast<double>(step));
  Vec size;
  for (int l = 0; l < kLanes; l++) size[l] = static_cast<float>(h.lr[l] / correction1);
  const Vec root = splat(static_cast<float>(std::sqrt(correction2)));
  const Vec a1 = splat(static_cast<float>(1 - s.beta1)), b2 = splat(static_cast<float>(s.beta2)),
            a2 = splat(static_cast<float>(1 - s.beta2)), eps = splat(static_cast<float>(s.eps));
  for (int k = 0; k < a.count; k++) {
    const Vec g = h.decayed(a.gradient[k], a.param[k]);
    const Vec m = a.first[k] + a1 * (g - a.first[k]);
    const Vec v = multiply_add(a.second[k], b2, a2 * (g * g));
    a.first[k] = m;
    a.second[k] = v;
    // size * m / (sqrt(v) / root + eps), with one division
    a.param[k] -= size * root * m / (sqrt(v) + eps * root);
  }
}

}  // namespace lanes
