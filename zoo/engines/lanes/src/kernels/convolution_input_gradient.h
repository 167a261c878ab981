// Convolution, gradient of the input.
#pragma once

#include <algorithm>

#include "convolution.h"

namespace lanes {

// Kernel rows [from, to) of `outs` output channels, packed [out, ky, kx, in within the block].
struct TapRows {
  const Vec* weights;
  int outs, from, to;
};

// One row of the input gradient, and how many vectors neighbouring channels are apart.
struct InputGradientRow {
  Vec* values;
  int stride;
};

// One row of the input gradient, IB channels, from GB neighbouring columns of output gradient and DB taps of a kernel row:
// the IB x (GB + DB - 1) results they touch are kept in registers, so no multiplication with a zero border is made.
// g begins at the block's first column, in the row that the kernel's first row meets.
template <int IB, int GB, int DB>
INLINE void input_gradient_block(const Planes g, const TapRows w, const ConvShape& s, const InputGradientRow to) {
  constexpr int WIDTH = GB + DB - 1;
  Vec acc[IB][WIDTH];
  UNROLL for (int c = 0; c < IB; c++) UNROLL for (int j = 0; j < WIDTH; j++) acc[c][j] = to.values[c * to.stride + j];
  for (int o = 0; o < w.outs; o++)
    for (int dy = w.from; dy < w.to; dy++) {
      const Vec* row = g.values + o * g.size() - dy * g.width;
      const Vec* wr = w.weights + (o * s.kh + dy) * s.kw * IB;
      UNROLL for (int d = 0; d < DB; d++)
        UNROLL for (int c = 0; c < IB; c++) {
          const Vec wc = wr[d * IB + c];
          UNROLL for (int j = 0; j < GB; j++) acc[c][j + d] += wc * row[j];
        }
    }
  UNROLL for (int c = 0; c < IB; c++) UNROLL for (int j = 0; j < WIDTH; j++) to.values[c * to.stride + j] = acc[c][j];
}

class ConvInputGradient {
 public:
  explicit ConvInputGradient(const ConvShape& s)
      : s_(s), tap_blocks_(blocks_of(s.kw, kMaxTaps)), packed_(static_cast<size_t>(s.co) * s.ci * s.taps()) {
    in_blocks_ = blocks_of(s.ci, max_in(tap_blocks_[0].size, s.ow()));
    const int per_channel = s.taps() * in_blocks_[0].size + s.kh * s.ow();
    chunk_ = std::clamp(kCacheBytes / (per_channel * static_cast<int>(sizeof(Vec))), 1, s.co);
  }

  void pack(const Vec* weight) {  // to [block, out, ky, kx, in within the block]
    Vec* to = packed_.data();
    for (const Block& b : in_blocks_)
      for (int o = 0; o < s_.co; o++)
        for (int k = 0; k < s_.taps(); k++)
          for (int c = 0; c < b.size; c++) *to++ = weight[(o * s_.ci + b.start + c) * s_.taps() + k];
  }

  // Writes the input's gradient. g [co, ..] may be smaller than the output: the rest has no gradient.
  void run(const Planes g, Vec* gx) const {
    std::fill(gx, gx + s_.ci * s_.ih * s_.iw, zero());
    for (const Block& b : in_blocks_)
      for (int out = 0; out < s_.co; out += chunk_)
        for (const Block& t : tap_blocks_) {
          const Vec* weights = packed_.data() + (b.start * s_.co + out * b.size) * s_.taps() + t.start * b.size;
          const TapRows w{weights, std::min(chunk_, s_.co - out), 0, s_.kh};
          Vec* to = gx + b.start * s_.ih * s_.iw + t.start;
          with_constant<kMaxTaps>(t.size, [&](auto taps) {
            with_constant<max_in(taps)>(b.size, [&](auto in) { rows<in, taps>(g.from_channel(out), w, to); });
          });
        }
  }

 private:
  static constexpr int kMaxTaps = 5;
  // Blocks are such that the sums, a row's gradient and a weight fit in the registers.
  static constexpr int max_in(int taps) { return kRegisters != 32 || taps > 3 ? 1 : 3; }
  static constexpr int max_in(int taps, int width) { return width >= 6 ? std::min(max_in(taps), 2) : max_in(taps); }
  static constexpr int max_columns(int taps, int in) {
    if (kRegisters != 32) return taps > 3 ? 4 : 6;
    return taps > 3 ? 8 : in == 3 ? 4 : 6;
  }

  template <int IB, int DB>
  void rows(const Planes g, TapRows w, Vec* gx) const {
    constexpr int GB = max_columns(DB, IB);
    const int rows = std::min(s_.ih, g.height + s_.kh - 1), blocks = (g.width + GB - 1) / GB;
    for (int y = 0; y < rows; y++) {
      w.from = std::max(0, y - g.height + 1), w.to = std::min(s_.kh, y + 1);
      for (int b = 0, j = 0; b < blocks; b++) {
        const int size = g.width / blocks + (b < g.width % blocks ? 1 : 0);
        with_constant<GB>(size, [&](auto columns) {
          const Planes from{g.values + y * g.width + j, g.height, g.width};
          input_gradient_block<IB, columns, DB>(from, w, s_, {gx + y * s_.iw + j, s_.ih * s_.iw});
        });
        j += size;
      }
    }
  }

  ConvShape s_;
  std::vector<Block> tap_blocks_, in_blocks_;
  int chunk_;  // of output channels
  std::vector<Vec> packed_;
};

}  // namespace lanes
