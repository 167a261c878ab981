// A max pool that isn't joined to a convolution.
#pragma once

#include <algorithm>
#include <vector>

#include "../kernels/max_pool.h"
#include "layer.h"

namespace lanes {

class MaxPool final : public Layer {
 public:
  MaxPool(Shape in, int height, int width)
      : Layer(in, {in.c, in.h / height, in.w / width}, 0), windows_{in.w, height, width}, argmax_(out.size()) {}

  void train(const Vec* x, Vec* y, const DropoutPosition&) override { evaluate(x, y); }
  void evaluate(const Vec* x, Vec* y) override {
    each_window([&](int at, int corner) { y[at] = window_maximum(windows_, x + corner, argmax_[at]); });
  }

  void backward(const Vec*, Vec* gy, Vec* gx, Vec*) override {
    if (!gx) return;
    std::fill(gx, gx + in.size(), zero());
    each_window([&](int at, int corner) { spread_window_gradient(windows_, gy[at], argmax_[at], gx + corner); });
  }

  Rounding rounding(const Rounding& inputs, const Vec*) const override { return inputs; }

 private:
  // Calls f(number of the output, where its window begins in the input).
  template <class F>
  void each_window(F&& f) {
    for (int c = 0, at = 0; c < out.c; c++)
      for (int y = 0; y < out.h; y++)
        for (int x = 0; x < out.w; x++, at++) f(at, (c * in.h + y * windows_.height) * in.w + x * windows_.width);
  }

  Windows windows_;
  std::vector<Int> argmax_;
};

}  // namespace lanes
