// Max pooling over windows of any size, not overlapping: the 2x2 one after a convolution is in convolution_forward.h.
#pragma once

#include "../simd.h"

namespace lanes {

// A plane's width, and a window's height and width.
struct Windows {
  int plane_width, height, width;

  // Calls f(k, offset from the window's first element) for each of its elements.
  template <class F>
  INLINE void each(F&& f) const {
    for (int y = 0, k = 0; y < height; y++)
      for (int x = 0; x < width; x++, k++) f(k, y * plane_width + x);
  }
};

// A window's maximum; `where` is set to its number within the window.
INLINE Vec window_maximum(const Windows w, const Vec* window, Int& where) {
  Vec best = window[0];
  where = splat(0);
  w.each([&](int k, int offset) {
    const Vec v = window[offset];
    const Mask m = replaces(v, best);
    best = select(m, v, best);
    where = select(m, splat(k), where);
  });
  return best;
}

// Gives a window's gradient to its maximum, and 0 to its other elements.
INLINE void spread_window_gradient(const Windows w, Vec gradient, Int where, Vec* window) {
  w.each([&](int k, int offset) { window[offset] = select(equal(where, splat(k)), gradient, zero()); });
}

}  // namespace lanes
