// A fully connected layer.
#pragma once

#include "../kernels/linear.h"
#include "layer.h"

namespace lanes {

class Linear final : public Layer {
 public:
  explicit Linear(const LinearShape& s) : Layer({s.inputs, 1, 1}, {s.outputs, 1, 1}, s.parameters()), s_(s) {}

  void prepare(const Vec* params, bool training) override {
    params_ = params;
    if (!training) gain_ = largest_norm_squared(params, s_.outputs, s_.inputs);
  }
  void train(const Vec* x, Vec* y, const DropoutPosition&) override { evaluate(x, y); }

  void evaluate(const Vec* x, Vec* y) override {
    each_linear_block(s_.outputs, [&](int first, auto block) { linear_outputs<block>(s_, params_, first, x, y); });
  }

  void backward(const Vec* x, Vec* gy, Vec* gx, Vec* gradients) override {
    each_linear_block(s_.outputs, [&](int first, auto block) {
      linear_weight_gradient<block>(s_, first, x, gy, gradients);
    });
    if (!gx) return;
    each_linear_block(s_.inputs, [&](int first, auto block) {
      linear_input_gradient<block>(s_, params_, first, gy, gx);
    });
  }

  Rounding rounding(const Rounding& inputs, const Vec* y) const override {
    return inputs.summed(gain_, y, s_.outputs, s_.inputs);
  }

 private:
  LinearShape s_;
  Vec gain_ = zero();
  const Vec* params_ = nullptr;
};

}  // namespace lanes
