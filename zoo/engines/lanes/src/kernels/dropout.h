// Dropout's factors: 0, or 1 / (1 - rate), each a function of a model's key and of where the element is.
#pragma once

#include <algorithm>
#include <cmath>

#include "random.h"

namespace lanes {

// What dropout needs to know of the step at hand. A model's key is the same all through its training.
struct DropoutStep {
  const PhiloxKeys* keys;  // null: no dropout
  uint64_t step;
};

// ... and of each lane's sample at hand.
struct DropoutPosition {
  DropoutStep step;
  Halves sample;  // its position in the batch

  template <class F>
  DropoutPosition(const DropoutStep& step, F&& position) : step(step) {
    if (step.keys)
      for (int l = 0; l < kLanes; l++) sample.half[l & 1][l >> 1] = position(l);
  }
};

// Each lane's rate, as the kernel wants it.
class DropoutRates {
 public:
  void set(const float* rates) {
    any_ = false;
    for (int l = 0; l < kLanes; l++) {
      any_ = any_ || rates[l] > 0.f;
      threshold_[l] = static_cast<int32_t>(std::lrint(static_cast<double>(rates[l]) * 65536.));
      scale_[l] = 1.f / (1.f - rates[l]);
    }
  }
  bool any() const { return any_; }

  // The factors of eight elements from their random words.
  INLINE void factors(const UInt (&words)[4], Vec (&factor)[kPhiloxElements]) const {
    UNROLL for (int k = 0; k < kPhiloxElements; k++) {
      const Int u = (Int)(k % 2 ? words[k / 2] >> 16 : words[k / 2] & 0xffffu);
      factor[k] = select(less(u, threshold_), zero(), scale_);
    }
  }

 private:
  bool any_ = false;
  Int threshold_ = {};
  Vec scale_ = {};
};

// Multiplies the n values y, and their derivatives d, by the factors of dropout layer number `layer`.
inline void drop(const DropoutRates rates, int layer, const DropoutPosition& p, int n, Vec* y, Vec* d) {
  const uint64_t step = p.step.step;
  const uint32_t high = static_cast<uint32_t>(layer) << 16 | static_cast<uint32_t>(step >> 32 & 0xffff);
  for (int first = 0; first < n; first += kPhiloxElements) {
    const uint32_t block = static_cast<uint32_t>(first / kPhiloxElements);
    UInt words[4];
    philox(*p.step.keys, {block, p.sample, static_cast<uint32_t>(step), high}, words);
    Vec factor[kPhiloxElements];
    rates.factors(words, factor);
    const int count = std::min(kPhiloxElements, n - first);
    if (count == kPhiloxElements) {
      UNROLL for (int k = 0; k < kPhiloxElements; k++) y[first + k] *= factor[k], d[first + k] *= factor[k];
    } else {
      for (int k = 0; k < count; k++) y[first + k] *= factor[k], d[first + k] *= factor[k];
    }
  }
}

}  // namespace lanes
