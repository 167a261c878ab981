// A convolution, with the 2x2 max pool that follows it if there is one: the output before pooling is never stored.
#pragma once

#include "../kernels/bias_gradient.h"
#include "../kernels/convolution_forward.h"
#include "../kernels/convolution_input_gradient.h"
#include "../kernels/convolution_weight_gradient.h"
#include "../kernels/pooled_gradient.h"
#include "layer.h"

namespace lanes {

class Convolution final : public Layer {
 public:
  Convolution(const ConvShape& s, bool bias, bool pooled)
      : Layer({s.ci, s.ih, s.iw}, pooled ? Shape{s.co, s.ph(), s.pw()} : Shape{s.co, s.oh(), s.ow()},
              s.co * (s.ci * s.taps() + (bias ? 1 : 0))),
        s_(s), bias_(bias), pooled_(pooled), weights_(s.co * s.ci * s.taps()), forward_(s, pooled), weight_gradient_(s),
        input_gradient_(s) {
    if (pooled) {
      argmax_.resize(out.size());
      dense_.resize(4 * out.size());
    }
  }

  void prepare(const Vec* params, bool training) override {
    params_ = params;
    forward_.pack(params);
    if (training) input_gradient_.pack(params);
    else gain_ = largest_norm_squared(params, s_.co, s_.ci * s_.taps());
  }
  void train(const Vec* x, Vec* y, const DropoutPosition&) override {
    forward_.run(ForwardArrays<Vec>{x, bias(), y, argmax_.data()});
  }
  void evaluate(const Vec* x, Vec* y) override { forward_.run(ForwardArrays<Vec>{x, bias(), y, nullptr}); }
  bool shares_images() const override { return true; }
  void evaluate_shared(const float* x, Vec* y) override { forward_.run(ForwardArrays<float>{x, bias(), y, nullptr}); }

  void backward(const Vec* x, Vec* gy, Vec* gx, Vec* gradients) override {
    const Planes own{gy, out.h, out.w};
    if (bias_) add_bias_gradient(own, s_.co, gradients + weights_);
    const PooledGradient pooled{own, argmax_.data()};
    Planes dense = own;
    if (pooled_ && (gx || !kSparsePoolGradient)) {
      spread_pooled_gradient(pooled, s_.co, dense_.data());
      dense = {dense_.data(), 2 * out.h, 2 * out.w};
    }
    if (pooled_ && kSparsePoolGradient) weight_gradient_.pooled(x, pooled, gradients);
    else weight_gradient_.dense(x, dense, gradients);
    if (gx) input_gradient_.run(dense, gx);
  }

  Rounding rounding(const Rounding& inputs, const Vec* y) const override {
    return inputs.summed(gain_, y, out.size(), s_.ci * s_.taps());
  }

 private:
  const Vec* bias() const { return bias_ ? params_ + weights_ : nullptr; }

  ConvShape s_;
  bool bias_, pooled_;
  int weights_;
  ConvForward forward_;
  ConvWeightGradient weight_gradient_;
  ConvInputGradient input_gradient_;
  Vec gain_ = zero();
  const Vec* params_ = nullptr;
  std::vector<Argmax> argmax_;
  std::vector<Vec> dense_;
};

}  // namespace lanes
