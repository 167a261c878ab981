// The gradient of a convolution's bias.
#pragma once

#include "convolution.h"

namespace lanes {

// Adds each plane's sum to its channel's gradient.
inline void add_bias_gradient(const Planes g, int channels, Vec* gradient) {
  const int size = g.size();
  for (int c = 0; c < channels; c++) {
    const Vec* plane = g.values + c * size;
    Vec sum[4] = {};
    int k = 0;
    for (; k + 4 <= size; k += 4) UNROLL for (int j = 0; j < 4; j++) sum[j] += plane[k + j];
    for (; k < size; k++) sum[0] += plane[k];
    gradient[c] += (sum[0] + sum[1]) + (sum[2] + sum[3]);
  }
}

}  // namespace lanes
