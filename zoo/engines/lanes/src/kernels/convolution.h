// What the convolution kernels share. Stride 1, no padding; one of them may be followed by a 2x2 max pool.
//
// Arrays end in the lane axis: images [channel, y, x], weights [out, in, ky, kx]. Every kernel keeps a block of results in
// registers (channels x columns, or channels x taps), so that each vector loaded serves several multiply-adds; block sizes are
// template parameters, everything else is known at run time only. Loops that sweep more weights and rows than the first
// cache holds are cut into chunks of channels.
#pragma once

#include "blocks.h"

namespace lanes {

struct ConvShape {
  int ci, ih, iw, co, kh, kw;
  int oh() const { return ih - kh + 1; }
  int ow() const { return iw - kw + 1; }
  int taps() const { return kh * kw; }
  // Extent of the output that a 2x2 max pool over it reads: a last odd row or column is cut.
  int ph() const { return oh() / 2; }
  int pw() const { return ow() / 2; }
};

// A plane of values for every channel, [channel, height, width].
struct Planes {
  const Vec* values;
  int height, width;
  int size() const { return height * width; }
  Planes from_channel(int c) const { return {values + c * size(), height, width}; }
};

// Where a 2x2 window's maximum was: bottom row, right column.
struct Argmax {
  StoredMask bottom, right;
};

// The gradient of a pooled output, and where in each window it belongs.
struct PooledGradient {
  Planes planes;
  const Argmax* argmax;
  PooledGradient from_channel(int c) const { return {planes.from_channel(c), argmax + c * planes.size()}; }
};

}  // namespace lanes
