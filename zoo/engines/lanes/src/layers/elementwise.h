// An activation, a dropout or both, in place. train() keeps the derivative, dropout's factor included.
#pragma once

#include <algorithm>
#include <vector>

#include "../kernels/activation.h"
#include "layer.h"

namespace lanes {

class Elementwise final : public Layer {
 public:
  Elementwise(Shape shape, Activation activation, float slope)
      : Layer(shape, shape, 0), activation_(activation), slope_(slope), n_(shape.size()), derivative_(n_) {}

  // `index` is the number of this dropout layer in the network.
  void add_dropout(int index) { dropout_ = index; }
  bool has_dropout() const { return dropout_ >= 0; }
  void set_rates(const float* rates) { rates_.set(rates); }  // one a lane

  bool in_place() const override { return true; }

  void train(const Vec* x, Vec* y, const DropoutPosition& position) override {
    Vec* d = derivative_.data();
    with_activation(activation_, [&](auto a) {
      for (int k = 0; k < n_; k++) y[k] = activate<a.value>(x[k], slope_, d[k]);
    });
    if (rates_.any() && has_dropout() && position.step.keys) drop(rates_, dropout_, position, n_, y, d);
  }

  void evaluate(const Vec* x, Vec* y) override {
    Vec sum = zero();
    with_activation(activation_, [&](auto a) {
      for (int k = 0; k < n_; k++) {
        Vec d;
        y[k] = activate<a.value>(x[k], slope_, d);
        sum += d * d;
      }
    });
    gain_ = sum * (1.f / static_cast<float>(n_));
  }

  void backward(const Vec*, Vec* gy, Vec* gx, Vec*) override {
    if (!gx) return;
    const Vec* d = derivative_.data();
    if (activation_ == Activation::relu)  // PyTorch's rule: nothing passes where it is off, not even NaN
      for (int k = 0; k < n_; k++) gx[k] = select(less_equal(d[k], zero()), zero(), gy[k] * d[k]);
    else
      for (int k = 0; k < n_; k++) gx[k] = gy[k] * d[k];
  }

  Rounding rounding(const Rounding& inputs, const Vec* y) const override {
    constexpr int kRoundings = 4;  // a unit in the last place each of two libraries' functions, squared
    // GELU's tail is a difference of nearly equal numbers times x, which vanishes before this
    const Vec reach = minimum(inputs.magnitude, splat(6.f));
    return inputs.passed_on(gain_, y, n_, kRoundings, activation_ == Activation::gelu ? reach * reach : zero());
  }

 private:
  Activation activation_;
  float slope_;
  int n_, dropout_ = -1;
  std::vector<Vec> derivative_;
  Vec gain_ = zero();  // the mean square of the derivatives at what was evaluated last
  DropoutRates rates_;
};

}  // namespace lanes
