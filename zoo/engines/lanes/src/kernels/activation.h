// The activations' values and derivatives.
#pragma once

#include <type_traits>

#include "../math.h"
#include "../numbers.h"

namespace lanes {

// The activation's value; the derivative goes to d. slope is the leaky ReLU's.
template <Activation A>
INLINE Vec activate(Vec x, float slope, Vec& d) {
  if constexpr (A == Activation::none) {
    d = splat(1.f);
    return x;
  } else if constexpr (A == Activation::tanh) {
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

// Calls f(integral_constant<Activation, a>).
template <class F>
INLINE void with_activation(Activation a, F&& f) {
  switch (a) {
#define CASE(name) \
  case Activation::name: return f(std::integral_constant<Activation, Activation::name>{});
    ACTIVATIONS(CASE)
#undef CASE
  }
}

}  // namespace lanes
