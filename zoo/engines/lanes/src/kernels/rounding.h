// How far rounding may have moved the logits: the standard deviation of their errors.
//
// An error model of the forward pass, to first order, in which rounding errors are independent of each other and of mean
// zero, so that a sum of n terms has an error that grows as the root of n (Higham and Mary 2019, "A new approach to
// probabilistic rounding error analysis"). Every layer adds its own errors to those that it passes on.
#pragma once

#include "../simd.h"

namespace lanes {

constexpr float kUnitRoundoff = 5.9604644775390625e-8f;  // 2^-24

inline Vec largest_magnitude(const Vec* values, int n) {
  Vec largest = zero();
  for (int k = 0; k < n; k++) largest = maximum(largest, absolute(values[k]));
  return largest;
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

// Of inputs with errors of variance `variance` times a factor whose mean square is `gain`, to values of at most the given
// magnitude that took `roundings` roundings each: the variance of the errors of these.
inline Vec passed_on(Vec variance, Vec gain, Vec magnitude, int roundings) {
  const Vec own = magnitude * kUnitRoundoff;
  return variance * gain + own * own * static_cast<float>(roundings);
}

}  // namespace lanes
