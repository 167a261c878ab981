// Elementary functions over lanes, within 2e-6 of exact ones. NaN in, NaN out; infinities saturate as they should.
#pragma once

#include <limits>

#include "simd.h"

namespace lanes {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Horner's rule, highest power first.
template <int N>
INLINE Vec polynomial(Vec x, const float (&c)[N]) {
  Vec r = splat(c[0]);
  UNROLL for (int i = 1; i < N; i++) r = r * x + c[i];
  return r;
}

INLINE Vec power_of_two(Int n) { return (Vec)((n + 127) << 23); }  // -126 <= n <= 127

// exp(x), relative error about 1e-7; denormal results may be flushed to zero.
INLINE Vec exp(Vec x) {
  // minimum() and maximum() keep a NaN in their first argument.
  x = minimum(maximum(x, splat(-105.f)), splat(89.f));  // beyond, the result is 0 and infinity
  const Vec n = round(x * 1.44269504088896341f);
  Vec r = x - n * 0.693359375f;  // ln 2 in two parts, the first exact in few bits
  r = r - n * -2.12194440e-4f;
  static constexpr float c[] = {1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f,
                                4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f};
  const Vec p = polynomial(r, c) * (r * r) + r + 1.f;
#if LANES == 16
  return _mm512_scalef_ps(p, n);
#else
  const Int k = to_int(n), half = k >> 1;  // in two factors, as 2^n itself may be out of range
  const Vec y = p * power_of_two(half) * power_of_two(k - half);
  return select(is_nan(x), x, y);
#endif
}

// Natural logarithm, relative error about 1e-7; -infinity at 0 and for denormals, NaN below.
INLINE Vec log(Vec x) {
  const Int exponent_bits = ((Int)x >> 23) - 126;
  Vec m = (Vec)(((Int)x & 0x007fffff) | 0x3f000000);  // [0.5, 1)
  Vec e = to_float(exponent_bits);
  const Mask small = less(m, splat(0.707106781186547524f));
  e = select(small, e - 1.f, e);
  m = select(small, m + m, m) - 1.f;
  static constexpr float c[] = {7.0376836292e-2f,  -1.1514610310e-1f, 1.1676998740e-1f, -1.2420140846e-1f, 1.4249322787e-1f,
                                -1.6668057665e-1f, 2.0000714765e-1f,  -2.4999993993e-1f, 3.3333331174e-1f};
  const Vec m2 = m * m;
  Vec y = polynomial(m, c) * m2 * m;
  y = multiply_add(e, splat(-2.12194440e-4f), y) - m2 * 0.5f;
  y = m + y + e * 0.693359375f;
  y = select(less(x, splat(1.17549435e-38f)), splat(-kInfinity), y);
  y = select(less(x, zero()), splat(std::numeric_limits<float>::quiet_NaN()), y);
  y = select(less(splat(3.4028234e38f), x), x, y);  // infinity
  return select(is_nan(x), x, y);
}

// tanh(x) as an odd rational function (the coefficients are Eigen's), absolute error below 1e-6.
INLINE Vec tanh(Vec x) {
  const Vec c = minimum(maximum(x, splat(-9.f)), splat(9.f)), c2 = c * c;
  static constexpr float p[] = {-2.76076847742355e-16f, 2.00018790482477e-13f, -8.60467152213735e-11f, 5.12229709037114e-08f,
                                1.48572235717979e-05f,  6.37261928875436e-04f, 4.89352455891786e-03f};
  static constexpr float q[] = {1.19825839466702e-06f, 1.18534705686654e-04f, 2.26843463243900e-03f, 4.89352518554385e-03f};
  const Vec y = c * polynomial(c2, p) / polynomial(c2, q);
  return minimum(maximum(y, splat(-1.f)), splat(1.f));
}

INLINE Vec sigmoid(Vec x) { return 1.f / (1.f + exp(-x)); }

// The upper tail of the normal distribution, 1 - Phi(|x|), and exp(-x^2 / 2), which its derivative needs.
// Abramowitz and Stegun 7.1.26: erf within 1.5e-7.
INLINE Vec normal_tail(Vec x, Vec& bell) {
  const Vec a = absolute(x);
  bell = exp(x * x * -0.5f);
  const Vec t = 1.f / (1.f + a * (0.3275911f * 0.70710678118654752f));
  static constexpr float c[] = {1.061405429f, -1.453152027f, 1.421413741f, -0.284496736f, 0.254829592f};
  return polynomial(t, c) * t * bell * 0.5f;
}

// The distribution function of the normal distribution.
INLINE Vec normal_cdf(Vec x, Vec& bell) {
  const Vec tail = normal_tail(x, bell);
  return select(less(x, zero()), tail, 1.f - tail);
}

INLINE Vec erf(Vec x) {
  Vec bell;
  const Vec tail = normal_tail(x * 1.41421356237309505f, bell);
  const Vec y = 1.f - (tail + tail);
  return select(less(x, zero()), -y, y);
}

}  // namespace lanes
