// A fully connected layer: forward, weight gradient, input gradient. Weights are [out, in].
#pragma once

#include "blocks.h"

namespace lanes {

struct LinearShape {
  int inputs, outputs;
  bool bias;
  int weights() const { return inputs * outputs; }
  int parameters() const { return weights() + (bias ? outputs : 0); }
};

constexpr int kLinearBlock = 8;  // results that are kept in registers

// Calls f(first, integral_constant block size) over [0, n).
template <class F>
INLINE void each_linear_block(int n, F&& f) {
  int first = 0;
  for (; first + kLinearBlock <= n; first += kLinearBlock) f(first, std::integral_constant<int, kLinearBlock>{});
  if (first < n) with_constant<kLinearBlock - 1>(n - first, [&](auto block) { f(first, block); });
}

// y of N outputs from `first` on; params are the layer's: weights, then biases.
template <int N>
INLINE void linear_outputs(const LinearShape& s, const Vec* params, int first, const Vec* x, Vec* y) {
  Vec acc[N];
  const Vec* w = params + first * s.inputs;
  UNROLL for (int j = 0; j < N; j++) acc[j] = s.bias ? params[s.weights() + first + j] : zero();
  for (int i = 0; i < s.inputs; i++) UNROLL for (int j = 0; j < N; j++) acc[j] += w[j * s.inputs + i] * x[i];
  UNROLL for (int j = 0; j < N; j++) y[first + j] = acc[j];
}

// Adds a sample's gradients of the weights and biases of N outputs from `first` on: each is rounded before it is added,
// so that the sum is the same whether samples follow each other here or are in other lanes (Group::add_in_order).
template <int N>
INLINE void linear_weight_gradient(const LinearShape& s, int first, const Vec* x, const Vec* gy, Vec* gradients) {
  Vec g[N];
  UNROLL for (int j = 0; j < N; j++) g[j] = gy[first + j];
  Vec* gw = gradients + first * s.inputs;
  for (int i = 0; i < s.inputs; i++) UNROLL for (int j = 0; j < N; j++) gw[j * s.inputs + i] += rounded(g[j] * x[i]);
  if (s.bias) UNROLL for (int j = 0; j < N; j++) gradients[s.weights() + first + j] += g[j];
}

// The gradient of N inputs from `first` on.
template <int N>
INLINE void linear_input_gradient(const LinearShape& s, const Vec* params, int first, const Vec* gy, Vec* gx) {
  Vec acc[N];
  UNROLL for (int i = 0; i < N; i++) acc[i] = zero();
  for (int j = 0; j < s.outputs; j++)
    UNROLL for (int i = 0; i < N; i++) acc[i] += params[j * s.inputs + first + i] * gy[j];
  UNROLL for (int i = 0; i < N; i++) gx[first + i] = acc[i];
}

}  // namespace lanes
