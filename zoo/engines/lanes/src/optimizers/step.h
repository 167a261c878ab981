// One step of the optimizer that was chosen.
#pragma once

#include "adam.h"
#include "rmsprop.h"
#include "sgd.h"

namespace lanes {

// `step` counts from 1.
inline void optimizer_step(const OptimizerSpec& s, const GroupHyperparameters& h, uint64_t step, const OptimizerArrays& a) {
  switch (static_cast<Optimizer>(s.kind)) {
    case Optimizer::adam: return adam(s, h, step, a);
    case Optimizer::sgd: return sgd(s, h, a);
    case Optimizer::rmsprop: return rmsprop(s, h, a);
  }
}

}  // namespace lanes
