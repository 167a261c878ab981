// How far rounding may have moved an image's logits: the standard deviation of their errors.
//
// An error model of the forward pass, to first order, in which rounding errors are independent of each other and of mean
// zero, so that a sum of n terms has an error that grows as the root of n (Higham and Mary 2019, "A new approach to
// probabilistic rounding error analysis"). Every layer adds its own errors to those that it passes on.
#pragma once

#include <algorithm>

#include "../simd.h"

namespace lanes {

constexpr float kUnitRoundoff = 5.9604644775390625e-8f;  // 2^-24

inline Vec largest_magnitude(const Vec* values, int n) {
  Vec largest = zero();
  for (int k = 0; k < n; k++) largest = maximum(largest, absolute(values[k]));
  return largest;
}

inline float largest_magnitude(const float* values, int n) {
  int32_t largest = 0;  // among positive numbers, as among their bits, of which compilers make vectors
  for (int k = 0; k < n; k++) {
    int32_t bits;
    std::memcpy(&bits, values + k, sizeof bits);
    largest = std::max(largest, bits & 0x7fffffff);
  }
  float value;
  std::memcpy(&value, &largest, sizeof value);
  return value;
}

inline Vec mean_square(const Vec* values, int n) {
  Vec sum = zero();
  for (int k = 0; k < n; k++) sum += values[k] * values[k];
  return sum * (1.f / static_cast<float>(n));
}

// The largest sum of squares among rows of weights [outputs, terms].
inline Vec largest_norm_squared(const Vec* weights, int outputs, int terms) {
  Vec largest = zero();
  for (int o = 0; o < outputs; o++) largest = maximum(largest, mean_square(weights + o * terms, terms));
  return largest * static_cast<float>(terms);
}

// What rounding has done to a layer's values, of one sample a lane.
struct Rounding {
  Vec variance;   // of their errors, which count in units of kUnitRoundoff
  Vec magnitude;  // the largest of them

  // Of n values y that were found by `roundings` roundings each, while they had at least the given `size` squared, from
  // these times factors whose mean square is `gain`.
  Rounding passed_on(Vec gain, const Vec* y, int n, int roundings, Vec size = zero()) const {
    const Vec largest = largest_magnitude(y, n);
    const Vec own = maximum(largest * largest, size) * static_cast<float>(roundings);
    return {variance * gain + own, largest};
  }

  // Of n sums y of products of these with weights whose sum of squares is at most `gain`. A sum may be smaller than it was
  // on the way.
  Rounding summed(Vec gain, const Vec* y, int n, int terms) const {
    return passed_on(gain, y, n, terms, magnitude * magnitude * gain);
  }
};

}  // namespace lanes
