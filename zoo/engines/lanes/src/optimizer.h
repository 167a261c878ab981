// Optimizer steps over lanes, in PyTorch's order of operations. Hyperparameters are per lane where models may differ in them.
#pragma once

#include <cmath>

#include "simd.h"

namespace lanes {

enum class Optimizer : int32_t { adam = 0, sgd, rmsprop };

struct OptimizerScalars {
  double beta1, beta2, eps, alpha;
  int32_t nesterov;
};

// One group's values, one a lane.
struct GroupHyperparameters {
  double lr[kLanes];
  Vec weight_decay, momentum;
};

// `first` and `second` are the state: Adam's averages of the gradient and its square; the momentum buffer of SGD (second is
// unused); RMSprop's average of the square (second) and momentum buffer (first). `step` counts from 1. The caller's state
// starts at zero.
inline void optimizer_step(Optimizer kind, const OptimizerScalars& s, const GroupHyperparameters& h, uint64_t step, int n,
                           const Vec* gradient, Vec* param, Vec* first, Vec* second) {
  // Where a factor is 0 PyTorch leaves the term out: it must not make NaN of an infinity.
  const Mask decays = less(zero(), h.weight_decay), has_momentum = less(zero(), h.momentum);
  auto decayed = [&](Vec g, Vec p) { return select(decays, g + h.weight_decay * p, g); };
  auto with_momentum = [&](Vec buffer, Vec g) { return select(has_momentum, buffer * h.momentum + g, g); };
  Vec lr;
  for (int l = 0; l < kLanes; l++) lr[l] = static_cast<float>(h.lr[l]);

  switch (kind) {
    case Optimizer::adam: {
      const double correction1 = 1 - std::pow(s.beta1, static_cast<double>(step));
      const double correction2 = 1 - std::pow(s.beta2, static_cast<double>(step));
      Vec size;
      for (int l = 0; l < kLanes; l++) size[l] = static_cast<float>(h.lr[l] / correction1);
      const Vec root = splat(static_cast<float>(std::sqrt(correction2)));
      const Vec a1 = splat(static_cast<float>(1 - s.beta1)), b2 = splat(static_cast<float>(s.beta2)),
                a2 = splat(static_cast<float>(1 - s.beta2)), eps = splat(static_cast<float>(s.eps));
      for (int k = 0; k < n; k++) {
        const Vec g = decayed(gradient[k], param[k]);
        const Vec m = first[k] + a1 * (g - first[k]);
        const Vec v = second[k] * b2 + a2 * (g * g);
        first[k] = m;
        second[k] = v;
        // size * m / (sqrt(v) / root + eps), with one division
        param[k] -= size * root * m / (sqrt(v) + eps * root);
      }
      return;
    }
    case Optimizer::sgd:
      for (int k = 0; k < n; k++) {
        const Vec g = decayed(gradient[k], param[k]);
        const Vec m = with_momentum(first[k], g);
        first[k] = m;
        param[k] -= lr * (s.nesterov ? g + h.momentum * m : m);
      }
      return;
    case Optimizer::rmsprop: {
      const Vec alpha = splat(static_cast<float>(s.alpha)), rest = splat(static_cast<float>(1 - s.alpha)),
                eps = splat(static_cast<float>(s.eps));
      for (int k = 0; k < n; k++) {
        const Vec g = decayed(gradient[k], param[k]);
        const Vec v = second[k] * alpha + rest * (g * g);
        const Vec m = with_momentum(first[k], g / (sqrt(v) + eps));
        second[k] = v;
        first[k] = m;
        param[k] -= lr * m;
      }
      return;
    }
  }
}

}  // namespace lanes
