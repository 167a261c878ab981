// Convolution, gradient of the weights: from a dense gradient of the output, or through a 2x2 max pool.
#pragma once

#include "convolution.h"

namespace lanes {

// With few registers, blends of window positions spill; the dense weight gradient is the better one there.
constexpr bool kSparsePoolGradient = LANES == 16;

// Rows of an image, and how many vectors they are apart.
struct Rows {
  const Vec* values;
  int stride;
};

// A row of taps in the weights' gradient, and how far apart those of neighbouring output channels are.
struct TapRow {
  Vec* values;
  int stride;
};

template <int OB, int DB>
INLINE void add_taps(const TapRow to, const Vec (&acc)[OB][DB]) {
  UNROLL for (int c = 0; c < OB; c++) UNROLL for (int d = 0; d < DB; d++) to.values[c * to.stride + d] += acc[c][d];
}

// to[o, d] += sum over y, x of g[o, y, x] * x[y, x + d], for OB output channels and DB neighbouring taps: the sample's sum
// first, which is then added as a whole, so that it doesn't matter what was there before (Group::add_in_order).
template <int OB, int DB>
INLINE void weight_gradient_row(const Rows x, const Planes g, const TapRow to) {
  Vec acc[OB][DB] = {};
  for (int y = 0; y < g.height; y++)
    for (int j = 0; j < g.width; j++) {
      const Vec* v = x.values + y * x.stride + j;
      UNROLL for (int c = 0; c < OB; c++) {
        const Vec gc = g.values[(c * g.height + y) * g.width + j];
        UNROLL for (int d = 0; d < DB; d++) acc[c][d] += gc * v[d];
      }
    }
  add_taps(to, acc);
}

// The same when the gradient comes through a 2x2 max pool: of the four positions of a window one has the gradient, a
// different one in each lane. So select the image's values that it meets, and multiply once instead of four times:
// blends may run on units that multiply-adds cannot use.
template <int OB, int DB>
INLINE void weight_gradient_row_pooled(const Rows x, const PooledGradient g, const TapRow to) {
  const int ph = g.planes.height, pw = g.planes.width;
  Vec acc[OB][DB] = {};
  for (int y = 0; y < ph; y++)
    for (int j = 0; j < pw; j++) {
      const Vec* above = x.values + 2 * (y * x.stride + j);
      const Vec* below = above + x.stride;
      Vec a[DB + 1], b[DB + 1];
      UNROLL for (int d = 0; d <= DB; d++) a[d] = above[d], b[d] = below[d];
      UNROLL for (int c = 0; c < OB; c++) {
        const int at = (c * ph + y) * pw + j;
        const Mask bottom = recalled(g.argmax[at].bottom), right = recalled(g.argmax[at].right);
        const Vec gc = g.planes.values[at];
        Vec left = select(bottom, b[0], a[0]);
        UNROLL for (int d = 0; d < DB; d++) {
          const Vec next = select(bottom, b[d + 1], a[d + 1]);
          acc[c][d] += gc * select(right, next, left);
          left = next;
        }
      }
    }
  add_taps(to, acc);
}

class ConvWeightGradient {
 public:
  explicit ConvWeightGradient(const ConvShape& s) : s_(s), tap_blocks_(blocks_of(s.kw, kMaxTaps)) {
    const int taps = tap_blocks_[0].size;
    const int most = kRegisters == 32 ? (taps >= 4 ? 3 : 4) : (taps >= 4 ? 2 : 3);
    out_blocks_ = blocks_of(s.co, most);
  }

  // Adds to the gradient of the weights. g [co, ..] may be smaller than the output: the rest has no gradient.
  void dense(const Vec* x, const Planes g, Vec* gradient) const {
    each_row([&](auto out, auto taps, int channel, const Rows rows, const TapRow to) {
      weight_gradient_row<out, taps>(rows, g.from_channel(channel), to);
    }, x, gradient);
  }

  // The same from the gradient of the pooled output, [co, ph, pw].
  void pooled(const Vec* x, const PooledGradient g, Vec* gradient) const {
    each_row([&](auto out, auto taps, int channel, const Rows rows, const TapRow to) {
      weight_gradient_row_pooled<out, taps>(rows, g.from_channel(channel), to);
    }, x, gradient);
  }

 private:
  static constexpr int kMaxTaps = 5, kMaxOut = 4;

  // Calls f for every row of kernel taps (or the part of one that fits) of every block of output channels: with the block's
  // sizes and first channel, the rows of x that it meets, and where its sums go.
  template <class F>
  void each_row(F&& f, const Vec* x, Vec* gradient) const {
    for (const Block& t : tap_blocks_)
      for (const Block& o : out_blocks_)
        with_constant<kMaxTaps>(t.size, [&](auto taps) {
          with_constant<kMaxOut>(o.size, [&](auto out) {
            for (int i = 0; i < s_.ci; i++)
              for (int dy = 0; dy < s_.kh; dy++) {
                const Rows rows{x + (i * s_.ih + dy) * s_.iw + t.start, s_.iw};
                Vec* to = gradient + ((o.start * s_.ci + i) * s_.kh + dy) * s_.kw + t.start;
                f(out, taps, o.start, rows, TapRow{to, s_.ci * s_.taps()});
              }
          });
        });
  }

  ConvShape s_;
  std::vector<Block> tap_blocks_, out_blocks_;
};

}  // namespace lanes
