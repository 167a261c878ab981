// Layers of a network over lanes, one sample at a time. A sample's arrays are [channel, y, x] of vectors.
#pragma once

#include <memory>

#include "convolution.h"
#include "math.h"
#include "random.h"

namespace lanes {

struct Shape {
  int c, h, w;
  int size() const { return c * h * w; }
};

// What dropout needs to know about the sample at hand.
struct DropoutPosition {
  const PhiloxKeys* keys;  // null: no dropout
  uint64_t step;
  uint32_t sample;  // position in the batch
};

class Layer {
 public:
  Layer(Shape in, Shape out, int parameters) : in(in), out(out), parameters(parameters) {}
  virtual ~Layer() = default;
  const Shape in, out;
  const int parameters;

  virtual bool in_place() const { return false; }
  // Called once before the samples of a step; params are this layer's own.
  virtual void prepare(const Vec* params, bool training) { (void)params, (void)training; }
  virtual void train(const Vec* x, Vec* y, const DropoutPosition& position) = 0;
  virtual void evaluate(const Vec* x, Vec* y) = 0;
  // One image for all lanes; only the network's first layer is asked.
  virtual bool shares_images() const { return false; }
  virtual void evaluate_shared(const float* x, Vec* y) { (void)x, (void)y; }
  // Adds to this layer's parameter gradients; gx may be null where nobody asks for the input gradient. x is the input
  // as given to train(), gy may be overwritten; in place, gx is gy.
  virtual void backward(const Vec* x, Vec* gy, Vec* gx, Vec* gradients) = 0;
};

// ------------------------------------------------------------------------------------------------------ convolution

// A convolution, with the 2x2 max pool that follows it if there is one: the output before pooling is never stored.
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
  }
  void train(const Vec* x, Vec* y, const DropoutPosition&) override { forward_.run(x, bias(), y, argmax_.data()); }
  void evaluate(const Vec* x, Vec* y) override { forward_.run(x, bias(), y, nullptr); }
  bool shares_images() const override { return true; }
  void evaluate_shared(const float* x, Vec* y) override { forward_.run(x, bias(), y, nullptr); }

  void backward(const Vec* x, Vec* gy, Vec* gx, Vec* gradients) override {
    const int plane = out.h * out.w;
    if (bias_)
      for (int o = 0; o < s_.co; o++) {
        Vec sum[4] = {};
        int k = 0;
        for (; k + 4 <= plane; k += 4) UNROLL for (int j = 0; j < 4; j++) sum[j] += gy[o * plane + k + j];
        for (; k < plane; k++) sum[0] += gy[o * plane + k];
        gradients[weights_ + o] += (sum[0] + sum[1]) + (sum[2] + sum[3]);
      }
    const Vec* g = gy;
    int gh = out.h, gw = out.w;
    if (pooled_ && (gx || !kSparsePoolGradient)) {
      spread_pooled_gradient(gy, argmax_.data(), s_.co, out.h, out.w, dense_.data());
      g = dense_.data(), gh = 2 * out.h, gw = 2 * out.w;
    }
    if (pooled_ && kSparsePoolGradient) weight_gradient_.pooled(x, gy, argmax_.data(), gradients);
    else weight_gradient_.dense(x, g, gh, gw, gradients);
    if (gx) input_gradient_.run(g, gh, gw, gx);
  }

 private:
  const Vec* bias() const { return bias_ ? params_ + weights_ : nullptr; }

  ConvShape s_;
  bool bias_, pooled_;
  int weights_;
  ConvForward forward_;
  ConvWeightGradient weight_gradient_;
  ConvInputGradient input_gradient_;
  const Vec* params_ = nullptr;
  std::vector<Argmax> argmax_;
  std::vector<Vec> dense_;
};

// --------------------------------------------------------------------------------------------------------- max pool

class MaxPool final : public Layer {
 public:
  MaxPool(Shape in, int kh, int kw)
      : Layer(in, {in.c, in.h / kh, in.w / kw}, 0), kh_(kh), kw_(kw), argmax_(out.size()) {}

  void train(const Vec* x, Vec* y, const DropoutPosition&) override {
    each_window([&](int at, int corner) {
      Vec best = x[corner];
      Int where = splat(0);
      each_element([&](int k, int offset) {
        const Vec v = x[corner + offset];
        const Mask m = replaces(v, best);
        best = select(m, v, best);
        where = select(m, splat(k), where);
      });
      y[at] = best;
      argmax_[at] = where;
    });
  }
  void evaluate(const Vec* x, Vec* y) override { train(x, y, {}); }

  void backward(const Vec*, Vec* gy, Vec* gx, Vec*) override {
    if (!gx) return;
    std::fill(gx, gx + in.size(), zero());
    each_window([&](int at, int corner) {
      each_element([&](int k, int offset) {
        gx[corner + offset] = select(equal(argmax_[at], splat(k)), gy[at], zero());
      });
    });
  }

 private:
  template <class F>
  void each_window(F&& f) {
    for (int c = 0, at = 0; c < out.c; c++)
      for (int y = 0; y < out.h; y++)
        for (int x = 0; x < out.w; x++, at++) f(at, (c * in.h + y * kh_) * in.w + x * kw_);
  }
  template <class F>
  void each_element(F&& f) {
    for (int y = 0, k = 0; y < kh_; y++)
      for (int x = 0; x < kw_; x++, k++) f(k, y * in.w + x);
  }

  int kh_, kw_;
  std::vector<Int> argmax_;
};

// ----------------------------------------------------------------------------------------------------------- linear

class Linear final : public Layer {
 public:
  Linear(int inputs, int outputs, bool bias)
      : Layer({inputs, 1, 1}, {outputs, 1, 1}, outputs * (inputs + (bias ? 1 : 0))), bias_(bias), n_(inputs) {}

  void prepare(const Vec* params, bool) override { params_ = params; }
  void train(const Vec* x, Vec* y, const DropoutPosition&) override { evaluate(x, y); }

  void evaluate(const Vec* x, Vec* y) override {
    each_block(out.c, [&](int first, auto block) {
      Vec acc[block];
      const Vec* w = params_ + first * n_;
      UNROLL for (int j = 0; j < block; j++) acc[j] = bias_ ? params_[out.c * n_ + first + j] : zero();
      for (int i = 0; i < n_; i++) UNROLL for (int j = 0; j < block; j++) acc[j] += w[j * n_ + i] * x[i];
      UNROLL for (int j = 0; j < block; j++) y[first + j] = acc[j];
    });
  }

  void backward(const Vec* x, Vec* gy, Vec* gx, Vec* gradients) override {
    each_block(out.c, [&](int first, auto block) {
      Vec g[block];
      UNROLL for (int j = 0; j < block; j++) g[j] = gy[first + j];
      Vec* gw = gradients + first * n_;
      for (int i = 0; i < n_; i++) UNROLL for (int j = 0; j < block; j++) gw[j * n_ + i] += g[j] * x[i];
      if (bias_) UNROLL for (int j = 0; j < block; j++) gradients[out.c * n_ + first + j] += g[j];
    });
    if (!gx) return;
    each_block(n_, [&](int first, auto block) {
      Vec acc[block];
      UNROLL for (int i = 0; i < block; i++) acc[i] = zero();
      for (int j = 0; j < out.c; j++)
        UNROLL for (int i = 0; i < block; i++) acc[i] += params_[j * n_ + first + i] * gy[j];
      UNROLL for (int i = 0; i < block; i++) gx[first + i] = acc[i];
    });
  }

 private:
  // Calls f(first, integral_constant block size) over [0, n) in blocks of at most 8.
  template <class F>
  static INLINE void each_block(int n, F&& f) {
    int first = 0;
    for (; first + 8 <= n; first += 8) f(first, std::integral_constant<int, 8>{});
    if (first < n) with_constant<7>(n - first, [&](auto block) { f(first, block); });
  }

  bool bias_;
  int n_;
  const Vec* params_ = nullptr;
};

// ------------------------------------------------------------------------------------------- activation and dropout

enum class Activation : int32_t { none = 0, tanh, relu, sigmoid, gelu, leaky_relu, silu };

// The activation's value; the derivative goes to d.
template <Activation A>
INLINE Vec activate(Vec x, float slope, Vec& d) {
  if constexpr (A == Activation::tanh) {
    const Vec y = tanh(x);
    d = 1.f - y * y;
    return y;
  } else if constexpr (A == Activation::relu) {
    const Mask off = less_equal(x, zero());
    d = select(off, zero(), splat(1.f));
    return select(off, zero(), x);
  } else if constexpr (A == Activation::sigmoid) {
    const Vec y = sigmoid(x);
    d = y * (1.f - y);
    return y;
  } else if constexpr (A == Activation::gelu) {
    Vec bell;
    const Vec cdf = normal_cdf(x, bell);
    d = cdf + x * bell * 0.39894228040143267794f;
    return x * cdf;
  } else if constexpr (A == Activation::leaky_relu) {
    const Mask on = less(zero(), x);
    d = select(on, splat(1.f), splat(slope));
    return select(on, x, x * slope);
  } else {
    static_assert(A == Activation::silu);
    const Vec s = sigmoid(x);
    d = s * (1.f + x * (1.f - s));
    return x * s;
  }
}

// An activation, a dropout or both, in place. train() keeps the derivative, dropout's factor included.
class Elementwise final : public Layer {
 public:
  Elementwise(Shape shape, Activation activation, float slope)
      : Layer(shape, shape, 0), activation_(activation), slope_(slope), n_(shape.size()), derivative_(n_) {}

  // `index` is the number of this dropout layer in the network.
  void add_dropout(int index) { dropout_ = index; }
  bool has_dropout() const { return dropout_ >= 0; }
  int dropout_index() const { return dropout_; }
  void set_rates(const float* rates) {  // one a lane
    dropping_ = false;
    for (int l = 0; l < kLanes; l++) {
      dropping_ = dropping_ || rates[l] > 0.f;
      threshold_[l] = static_cast<int32_t>(std::lrint(static_cast<double>(rates[l]) * 65536.));
      scale_[l] = 1.f / (1.f - rates[l]);
    }
  }

  bool in_place() const override { return true; }

  void train(const Vec* x, Vec* y, const DropoutPosition& position) override {
    Vec* d = derivative_.data();
    if (!each_activation([&](auto a) {
          for (int k = 0; k < n_; k++) y[k] = activate<a.value>(x[k], slope_, d[k]);
        }))
      std::fill(d, d + n_, splat(1.f));
    if (dropping_ && has_dropout() && position.keys) drop(y, d, position);
  }

  void evaluate(const Vec* x, Vec* y) override {
    each_activation([&](auto a) {
      Vec unused;
      for (int k = 0; k < n_; k++) y[k] = activate<a.value>(x[k], slope_, unused);
    });
  }

  void backward(const Vec*, Vec* gy, Vec* gx, Vec*) override {
    if (!gx) return;
    const Vec* d = derivative_.data();
    if (activation_ == Activation::relu)  // PyTorch's rule: nothing passes where it is off, not even NaN
      for (int k = 0; k < n_; k++) gx[k] = select(less_equal(d[k], zero()), zero(), gy[k] * d[k]);
    else
      for (int k = 0; k < n_; k++) gx[k] = gy[k] * d[k];
  }

  // The factors (0 or 1 / (1 - rate)) of a sample.
  void factors(Vec* y, const DropoutPosition& position) {
    std::fill(derivative_.begin(), derivative_.end(), zero());
    std::fill(y, y + n_, splat(1.f));
    drop(y, derivative_.data(), position);
  }

 private:
  template <class F>
  bool each_activation(F&& f) const {
    switch (activation_) {
      case Activation::none: return false;
      case Activation::tanh: f(std::integral_constant<Activation, Activation::tanh>{}); break;
      case Activation::relu: f(std::integral_constant<Activation, Activation::relu>{}); break;
      case Activation::sigmoid: f(std::integral_constant<Activation, Activation::sigmoid>{}); break;
      case Activation::gelu: f(std::integral_constant<Activation, Activation::gelu>{}); break;
      case Activation::leaky_relu: f(std::integral_constant<Activation, Activation::leaky_relu>{}); break;
      case Activation::silu: f(std::integral_constant<Activation, Activation::silu>{}); break;
    }
    return true;
  }

  void drop(Vec* y, Vec* d, const DropoutPosition& p) const {
    const uint32_t high = static_cast<uint32_t>(dropout_) << 16 | static_cast<uint32_t>(p.step >> 32 & 0xffff);
    for (int first = 0; first < n_; first += kPhiloxElements) {
      const uint32_t counter[4] = {static_cast<uint32_t>(first / kPhiloxElements), p.sample, static_cast<uint32_t>(p.step),
                                   high};
      UInt words[4];
      philox(*p.keys, counter, words);
      Vec factor[kPhiloxElements];
      UNROLL for (int k = 0; k < kPhiloxElements; k++) {
        const Int u = (Int)(k % 2 ? words[k / 2] >> 16 : words[k / 2] & 0xffffu);
        factor[k] = select(less(u, threshold_), zero(), scale_);
      }
      const int count = std::min(kPhiloxElements, n_ - first);
      if (count == kPhiloxElements) {
        UNROLL for (int k = 0; k < kPhiloxElements; k++) y[first + k] *= factor[k], d[first + k] *= factor[k];
      } else {
        for (int k = 0; k < count; k++) y[first + k] *= factor[k], d[first + k] *= factor[k];
      }
    }
  }

  Activation activation_;
  float slope_;
  int n_, dropout_ = -1;
  std::vector<Vec> derivative_;
  bool dropping_ = false;
  Int threshold_ = {};
  Vec scale_ = {};
};

}  // namespace lanes
