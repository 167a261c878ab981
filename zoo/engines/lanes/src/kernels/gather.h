// Brings one image a lane side by side.
#pragma once

#include "../simd.h"

namespace lanes {

// Copies one image a lane into vectors: to[k][l] = from[l][k].
inline void gather(const float* const (&from)[kLanes], int n, Vec* to) {
  int k = 0;
#if LANES == 16
  for (; k + 16 <= n; k += 16) {  // transpose 16 x 16: pairs, quadruples, then quarters of registers
    __m512 r[16], t[16];
    UNROLL for (int l = 0; l < 16; l++) r[l] = _mm512_loadu_ps(from[l] + k);
    UNROLL for (int l = 0; l < 16; l += 2) {
      t[l] = _mm512_unpacklo_ps(r[l], r[l + 1]);
      t[l + 1] = _mm512_unpackhi_ps(r[l], r[l + 1]);
    }
    UNROLL for (int l = 0; l < 16; l += 4) {
      UNROLL for (int h = 0; h < 2; h++) {
        r[l + 2 * h] = _mm512_shuffle_ps(t[l + h], t[l + 2 + h], 0x44);
        r[l + 2 * h + 1] = _mm512_shuffle_ps(t[l + h], t[l + 2 + h], 0xee);
      }
    }
    UNROLL for (int q = 0; q < 4; q++) {
      const __m512 a = _mm512_shuffle_f32x4(r[q], r[4 + q], 0x88), b = _mm512_shuffle_f32x4(r[8 + q], r[12 + q], 0x88);
      const __m512 c = _mm512_shuffle_f32x4(r[q], r[4 + q], 0xdd), d = _mm512_shuffle_f32x4(r[8 + q], r[12 + q], 0xdd);
      to[k + q] = _mm512_shuffle_f32x4(a, b, 0x88);
      to[k + 4 + q] = _mm512_shuffle_f32x4(c, d, 0x88);
      to[k + 8 + q] = _mm512_shuffle_f32x4(a, b, 0xdd);
      to[k + 12 + q] = _mm512_shuffle_f32x4(c, d, 0xdd);
    }
  }
#elif LANES == 8
  for (; k + 8 <= n; k += 8) {
    __m256 r[8], t[8];
    UNROLL for (int l = 0; l < 4; l++) {  // rows l and l + 4 side by side, by halves
      const __m256 a = _mm256_loadu_ps(from[l] + k), b = _mm256_loadu_ps(from[l + 4] + k);
      r[l] = _mm256_permute2f128_ps(a, b, 0x20);
      r[l + 4] = _mm256_permute2f128_ps(a, b, 0x31);
    }
    UNROLL for (int h = 0; h < 8; h += 4) {
      t[h] = _mm256_unpacklo_ps(r[h], r[h + 1]);
      t[h + 1] = _mm256_unpackhi_ps(r[h], r[h + 1]);
      t[h + 2] = _mm256_unpacklo_ps(r[h + 2], r[h + 3]);
      t[h + 3] = _mm256_unpackhi_ps(r[h + 2], r[h + 3]);
      to[k + h] = _mm256_shuffle_ps(t[h], t[h + 2], 0x44);
      to[k + h + 1] = _mm256_shuffle_ps(t[h], t[h + 2], 0xee);
      to[k + h + 2] = _mm256_shuffle_ps(t[h + 1], t[h + 3], 0x44);
      to[k + h + 3] = _mm256_shuffle_ps(t[h + 1], t[h + 3], 0xee);
    }
  }
#endif
  for (; k < n; k++)
    for (int l = 0; l < kLanes; l++) to[k][l] = from[l][k];
}

}  // namespace lanes
