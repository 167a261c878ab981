// What every optimizer's step is given.
#pragma once

#include "../numbers.h"
#include "../simd.h"

namespace lanes {

// One group's hyperparameters, one value a lane. Steps take a copy: the compiler can't tell that writing a parameter leaves
// a reference's values alone, and would read them again for every parameter.
struct GroupHyperparameters {
  double lr[kLanes];
  Vec weight_decay, momentum;

  void set(const Hyperparameters& h, int model, int lane) {
    lr[lane] = h.lr[model];
    weight_decay[lane] = static_cast<float>(h.weight_decay[model]);
    momentum[lane] = static_cast<float>(h.momentum[model]);
  }
  Vec rounded_lr() const {
    Vec rounded;
    for (int l = 0; l < kLanes; l++) rounded[l] = static_cast<float>(lr[l]);
    return rounded;
  }

  // Where a factor is 0 PyTorch leaves its term out: it must not make NaN of an infinity.
  INLINE Vec decayed(Vec gradient, Vec param) const {
    return select(less(zero(), weight_decay), gradient + weight_decay * param, gradient);
  }
  INLINE Vec with_momentum(Vec buffer, Vec gradient) const {
    return select(less(zero(), momentum), buffer * momentum + gradient, gradient);
  }
};

// One group's arrays, `count` vectors each. `first` and `second` are the optimizer's state (numbers.h), which starts at zero.
struct OptimizerArrays {
  int count;
  const Vec* gradient;
  Vec *param, *first, *second;
};

}  // namespace lanes
