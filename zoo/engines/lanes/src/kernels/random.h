// Dropout's random numbers: Philox4x32-10 (Salmon et al. 2011), a function of a key and a counter and nothing else.
//
// A model's key and the counter (block of 8 elements, sample position, step, layer) give 128 bits: 16 for each of eight
// elements. An element is dropped when its 16 bits are below rate * 65536.
#pragma once

#include "../simd.h"

namespace lanes {

constexpr uint32_t kPhiloxM0 = 0xD2511F53, kPhiloxM1 = 0xCD9E8D57, kPhiloxW0 = 0x9E3779B9, kPhiloxW1 = 0xBB67AE85;
constexpr int kPhiloxRounds = 10;
constexpr int kPhiloxElements = 8;

// A number a lane, split into even and odd lanes: the widening multiplication serves half the lanes, so that all words are
// kept as halves, in the low 32 bits of 64 (the high bits hold no information).
struct Halves {
  Wide half[2];
};

struct PhiloxCounter {
  uint32_t block;
  Halves sample;
  uint32_t step, high;  // high: the layer, and the step's higher bits
};

// Every round's keys for all lanes, as halves.
struct PhiloxKeys {
  Wide k0[kPhiloxRounds][2], k1[kPhiloxRounds][2];

  void set(const uint64_t* keys) {  // one a lane
    for (int r = 0; r < kPhiloxRounds; r++)
      for (int l = 0; l < kLanes; l++) {
        k0[r][l & 1][l >> 1] = static_cast<uint32_t>(keys[l]) + static_cast<uint32_t>(r) * kPhiloxW0;
        k1[r][l & 1][l >> 1] = static_cast<uint32_t>(keys[l] >> 32) + static_cast<uint32_t>(r) * kPhiloxW1;
      }
  }
};

// Word w of the result holds, in each lane, elements 2w (low half) and 2w + 1 (high half).
INLINE void philox(const PhiloxKeys& keys, const PhiloxCounter& counter, UInt (&out)[4]) {
  Wide c[2][4];
  const Wide m0 = Wide{} + kPhiloxM0, m1 = Wide{} + kPhiloxM1;
  UNROLL for (int h = 0; h < 2; h++) {
    c[h][0] = Wide{} + counter.block;
    c[h][1] = counter.sample.half[h];
    c[h][2] = Wide{} + counter.step;
    c[h][3] = Wide{} + counter.high;
    UNROLL for (int r = 0; r < kPhiloxRounds; r++) {
      const Wide p0 = multiply_low_words(c[h][0], m0), p1 = multiply_low_words(c[h][2], m1);
      c[h][0] = (p1 >> 32) ^ c[h][1] ^ keys.k0[r][h];
      c[h][1] = p1;
      c[h][2] = (p0 >> 32) ^ c[h][3] ^ keys.k1[r][h];
      c[h][3] = p0;
    }
  }
  UNROLL for (int w = 0; w < 4; w++) out[w] = (UInt)((c[0][w] & 0xffffffffu) | (c[1][w] << 32));
}

}  // namespace lanes
