// The gradient of a pooled output as one of the output before pooling.
#pragma once

#include "convolution.h"

namespace lanes {

// Writes each window's gradient to the position of its maximum: g [channels, ph, pw] to dense [channels, 2 ph, 2 pw].
inline void spread_pooled_gradient(const PooledGradient g, int channels, Vec* dense) {
  const int pw = g.planes.width;
  for (int row = 0; row < channels * g.planes.height; row++)
    for (int j = 0; j < pw; j++) {
      const int at = row * pw + j;
      const Mask bottom = recalled(g.argmax[at].bottom), right = recalled(g.argmax[at].right);
      const Vec value = g.planes.values[at];
      Vec* above = dense + 4 * row * pw + 2 * j;
      Vec* below = above + 2 * pw;
      const Vec lower = select(bottom, value, zero()), upper = select(bottom, zero(), value);
      above[0] = select(right, zero(), upper);
      above[1] = select(right, upper, zero());
      below[0] = select(right, zero(), lower);
      below[1] = select(right, lower, zero());
    }
}

}  // namespace lanes
