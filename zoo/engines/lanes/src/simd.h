// Vectors whose elements ("lanes") are models: the few operations that the kernels need, for every instruction set.
//
// LANES is given by the build: 16 with AVX-512, 8 with AVX2 and FMA, 4 in the portable build (GCC or Clang vector types).
// There is no operation between lanes here on purpose: a model's result must not depend on its neighbours.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#if LANES == 16 || LANES == 8
#pragma GCC diagnostic push
#if !defined(__clang__)
// GCC's own: _mm512_undefined_ps() reads a variable before it is set, on purpose (bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <immintrin.h>
#pragma GCC diagnostic pop
#endif

#if defined(__clang__)
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif
#define INLINE inline __attribute__((always_inline))
#define INLINE_LAMBDA __attribute__((always_inline))

namespace lanes {

constexpr int kLanes = LANES;
constexpr int kRegisters = LANES == 8 ? 16 : 32;  // how many vectors a kernel may hope to keep in registers

typedef float Vec __attribute__((vector_size(LANES * 4)));
typedef int32_t Int __attribute__((vector_size(LANES * 4)));
typedef uint32_t UInt __attribute__((vector_size(LANES * 4)));
typedef uint64_t Wide __attribute__((vector_size(LANES * 4)));  // LANES / 2 elements

INLINE Vec splat(float a) { return a - Vec{}; }  // a + 0 would lose the sign of -0, and cost an addition
INLINE Int splat(int32_t a) { return a - Int{}; }
INLINE Vec zero() { return Vec{}; }

// A shared image holds floats, a gathered one vectors; kernels read both through load().
INLINE Vec load(const Vec* p) { return *p; }

#if LANES == 16

using Mask = __mmask16;
using StoredMask = uint16_t;

INLINE Vec load(const float* p) { return _mm512_set1_ps(*p); }
INLINE Mask less(Vec a, Vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
INLINE Mask less_equal(Vec a, Vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ); }
INLINE Mask is_nan(Vec a) { return _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q); }
INLINE Mask equal(Int a, Int b) { return _mm512_cmpeq_epi32_mask((__m512i)a, (__m512i)b); }
INLINE Mask less(Int a, Int b) { return _mm512_cmplt_epi32_mask((__m512i)a, (__m512i)b); }
INLINE Mask both(Mask a, Mask b) { return a & b; }
INLINE Mask either(Mask a, Mask b) { return a | b; }
INLINE Mask negate(Mask a) { return static_cast<Mask>(~a); }
INLINE Mask choose(Mask m, Mask a, Mask b) { return (m & a) | (~m & b); }
INLINE Vec select(Mask m, Vec a, Vec b) { return _mm512_mask_blend_ps(m, b, a); }
INLINE Int select(Mask m, Int a, Int b) { return (Int)_mm512_mask_blend_epi32(m, (__m512i)b, (__m512i)a); }
INLINE uint32_t bits(Mask m) { return m; }
INLINE StoredMask stored(Mask m) { return m; }
INLINE Mask recalled(StoredMask m) { return m; }

INLINE Vec sqrt(Vec a) { return _mm512_sqrt_ps(a); }
INLINE Vec round(Vec a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
INLINE Int to_int(Vec a) { return (Int)_mm512_cvtps_epi32(a); }
INLINE Vec to_float(Int a) { return _mm512_cvtepi32_ps((__m512i)a); }
INLINE Wide multiply_low_words(Wide a, Wide b) { return (Wide)_mm512_mul_epu32((__m512i)a, (__m512i)b); }

#else

using Mask = Int;  // all bits of a lane set or none
using StoredMask = Int;

INLINE Vec load(const float* p) { return splat(*p); }
INLINE Mask less(Vec a, Vec b) { return a < b; }
INLINE Mask less_equal(Vec a, Vec b) { return a <= b; }
INLINE Mask is_nan(Vec a) { return a != a; }
INLINE Mask equal(Int a, Int b) { return a == b; }
INLINE Mask less(Int a, Int b) { return a < b; }
INLINE Mask both(Mask a, Mask b) { return a & b; }
INLINE Mask either(Mask a, Mask b) { return a | b; }
INLINE Mask negate(Mask a) { return ~a; }
INLINE Int select(Mask m, Int a, Int b) { return (a & m) | (b & ~m); }
INLINE Mask choose(Mask m, Mask a, Mask b) { return select(m, a, b); }
INLINE StoredMask stored(Mask m) { return m; }
INLINE Mask recalled(StoredMask m) { return m; }

#if LANES == 8

INLINE Vec select(Mask m, Vec a, Vec b) { return _mm256_blendv_ps(b, a, (__m256)m); }
INLINE uint32_t bits(Mask m) { return static_cast<uint32_t>(_mm256_movemask_ps((__m256)m)); }
INLINE Vec sqrt(Vec a) { return _mm256_sqrt_ps(a); }
INLINE Vec round(Vec a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
INLINE Int to_int(Vec a) { return (Int)_mm256_cvtps_epi32(a); }
INLINE Vec to_float(Int a) { return _mm256_cvtepi32_ps((__m256i)a); }
INLINE Wide multiply_low_words(Wide a, Wide b) { return (Wide)_mm256_mul_epu32((__m256i)a, (__m256i)b); }

#else

INLINE Vec select(Mask m, Vec a, Vec b) { return (Vec)select(m, (Int)a, (Int)b); }
INLINE uint32_t bits(Mask m) {
  uint32_t b = 0;
  for (int l = 0; l < kLanes; l++) b |= (m[l] ? 1u : 0u) << l;
  return b;
}
INLINE Vec sqrt(Vec a) {
  Vec r;
  for (int l = 0; l < kLanes; l++) r[l] = std::sqrt(a[l]);
  return r;
}
INLINE Vec round(Vec a) {  // to nearest, for |a| < 2^22: the sum has no room for a fraction
  const Vec big = splat(12582912.f);
  return (a + big) - big;
}
INLINE Int to_int(Vec a) {  // a is a whole number, |a| < 2^22, or NaN (then the result is of no use, but defined)
  return (Int)(a + splat(12582912.f)) - 0x4b400000;
}
INLINE Vec to_float(Int a) { return (Vec)(a + 0x4b400000) - splat(12582912.f); }  // |a| < 2^22
INLINE Wide multiply_low_words(Wide a, Wide b) { return (a & 0xffffffffu) * (b & 0xffffffffu); }

#endif
#endif

// Both give a where either is NaN; so do x86's instructions, which return the second operand then.
#if LANES == 16
INLINE Vec minimum(Vec a, Vec b) { return _mm512_min_ps(b, a); }
INLINE Vec maximum(Vec a, Vec b) { return _mm512_max_ps(b, a); }
#elif LANES == 8
INLINE Vec minimum(Vec a, Vec b) { return _mm256_min_ps(b, a); }
INLINE Vec maximum(Vec a, Vec b) { return _mm256_max_ps(b, a); }
#else
INLINE Vec minimum(Vec a, Vec b) { return select(less(b, a), b, a); }
INLINE Vec maximum(Vec a, Vec b) { return select(less(a, b), b, a); }
#endif

// a * b + c, rounded once where the processor can. Compilers do that by themselves; to be written where a sum has two products,
// of which they would join either, and change the last bit with the code around it.
#if LANES == 16
INLINE Vec multiply_add(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }
#elif LANES == 8
INLINE Vec multiply_add(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a, b, c); }
#else
INLINE Vec multiply_add(Vec a, Vec b, Vec c) { return a * b + c; }
#endif

// a, which the compiler must not join with an addition to come (it would round once where two roundings are wanted).
INLINE Vec rounded(Vec a) {
#if LANES == 16
  asm("" : "+v"(a));
#elif LANES == 8
  asm("" : "+x"(a));
#elif defined(__aarch64__)
  asm("" : "+w"(a));
#endif
  return a;
}

INLINE Vec absolute(Vec a) { return (Vec)((Int)a & 0x7fffffff); }

// PyTorch's rule in max pooling and argmax-like scans: b replaces a when it is greater, or NaN.
INLINE Mask replaces(Vec b, Vec a) { return either(less(a, b), is_nan(b)); }

// Denormal numbers cost up to a hundred cycles an operation on some processors, and Adam's averages of a parameter
// without gradient decay into them. Flushing them to zero for the duration of a call changes no NaN and no infinity.
class FlushDenormals {
 public:
  FlushDenormals() : saved_(control()) { set(saved_ | kFlush); }
  ~FlushDenormals() { set(saved_); }
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

 private:
#if defined(__SSE__)
  using Word = uint32_t;
  static constexpr Word kFlush = 0x8040;  // FTZ and DAZ
  static Word control() { return __builtin_ia32_stmxcsr(); }
  static void set(Word w) { __builtin_ia32_ldmxcsr(w); }
#elif defined(__aarch64__)
  using Word = uint64_t;
  static constexpr Word kFlush = 1u << 24;  // FZ
  static Word control() {
    Word w;
    asm volatile("mrs %0, fpcr" : "=r"(w));
    return w;
  }
  static void set(Word w) { asm volatile("msr fpcr, %0" : : "r"(w)); }
#else
  using Word = uint32_t;
  static constexpr Word kFlush = 0;
  static Word control() { return 0; }
  static void set(Word) {}
#endif
  Word saved_;
};

}  // namespace lanes
