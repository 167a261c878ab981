// Convolution, forward: with its bias, and with the 2x2 max pool that follows if there is one.
#pragma once

#include <algorithm>

#include "convolution.h"

namespace lanes {

// A block of results: its first output channel, its row (of the output) and its first column (before pooling); and the
// chunk of input channels, [from, to), that is added to it.
struct ForwardBlock {
  int channel, row, column, from, to;
};

// What a forward convolution reads and writes.
template <class X>
struct ForwardArrays {
  const X* x;
  const Vec* bias;  // null: none
  Vec* y;
  Argmax* argmax;  // null: not wanted
};

// acc[c][y][x] += sum over channels [0, ci) and taps of w[.., c] * x[.., y, x]; w is packed [in, ky, kx, OB].
// KW is the kernel's width where it is one of the usual ones, so that its taps unroll, and 0 otherwise.
template <int KW, int OB, int YB, int XB, class X>
INLINE void accumulate_taps(Vec (&acc)[OB][YB][XB], const X* x, const Vec* w, int ci, const ConvShape& s) {
  auto tap = [&](const X* row, const Vec* weights) INLINE_LAMBDA {
    Vec wc[OB];
    UNROLL for (int c = 0; c < OB; c++) wc[c] = weights[c];
    UNROLL for (int y = 0; y < YB; y++)
      UNROLL for (int j = 0; j < XB; j++) {
        const Vec v = load(row + y * s.iw + j);
        UNROLL for (int c = 0; c < OB; c++) acc[c][y][j] += wc[c] * v;
      }
  };
  for (int i = 0; i < ci; i++) {
    const X* row = x + i * s.ih * s.iw;
    for (int dy = 0; dy < s.kh; dy++, row += s.iw) {
      if constexpr (KW > 0) {
        UNROLL for (int dx = 0; dx < KW; dx++) tap(row + dx, w + dx * OB);
        w += KW * OB;
      } else {
        for (int dx = 0; dx < s.kw; dx++, w += OB) tap(row + dx, w);
      }
    }
  }
}

class ConvForward {
 public:
  explicit ConvForward(const ConvShape& s, bool pooled)
      : s_(s), pooled_(pooled), blocks_(blocks_of(s.co, block_size(s.co, pooled))),
        packed_(static_cast<size_t>(s.co) * s.ci * s.taps()), partial_(kMaxOut * 2 * s.iw) {
    const int per_channel = s.taps() * blocks_[0].size + (s.kh + 1) * s.iw;
    chunk_ = std::clamp(kCacheBytes / (per_channel * static_cast<int>(sizeof(Vec))), 1, s.ci);
    chunk_ = (s.ci + (s.ci + chunk_ - 1) / chunk_ - 1) / ((s.ci + chunk_ - 1) / chunk_);
  }

  void pack(const Vec* weight) {
    Vec* to = packed_.data();
    const int in = s_.ci * s_.taps();
    for (const Block& b : blocks_)
      for (int k = 0; k < in; k++)
        for (int c = 0; c < b.size; c++) *to++ = weight[(b.start + c) * in + k];
  }

  // Pooled: a.y is the pooled output, and a.argmax tells where each maximum was.
  template <class X>
  void run(const ForwardArrays<X> a) {
    with_width([&](auto kw) {
      for (const Block& b : blocks_)
        with_constant<kMaxOut>(b.size, [&](auto ob) {
          if (pooled_) pooled_block<kw, ob>(a, b.start);
          else plain_block<kw, ob>(a, b.start);
        });
    });
  }

 private:
  static constexpr int kMaxOut = kRegisters == 32 ? 4 : 2;
  static constexpr int kColumns = kRegisters == 32 ? 4 : 3;

  template <class F>
  void with_width(F&& f) const {
    switch (s_.kw) {
      case 2: return f(std::integral_constant<int, 2>{});
      case 3: return f(std::integral_constant<int, 3>{});
      case 5: return f(std::integral_constant<int, 5>{});
      default: return f(std::integral_constant<int, 0>{});
    }
  }

  static int block_size(int co, bool pooled) {
    if (kRegisters != 32) return kMaxOut;
    if (pooled && co % 4 != 0 && co % 3 == 0) return 3;
    return 4;
  }

  // Adds a chunk to the sums of a block, which begin with the bias and wait in `partial` between chunks.
  template <int KW, int OB, int YB, int XB, class X>
  void accumulate(const X* x, const Vec* bias, const ForwardBlock& b, Vec* partial, Vec (&acc)[OB][YB][XB]) {
    if (b.from == 0) {
      UNROLL for (int c = 0; c < OB; c++) {
        const Vec start = bias ? bias[b.channel + c] : zero();
        UNROLL for (int y = 0; y < YB; y++) UNROLL for (int j = 0; j < XB; j++) acc[c][y][j] = start;
      }
    } else {
      UNROLL for (int c = 0; c < OB; c++)
        UNROLL for (int y = 0; y < YB; y++)
          UNROLL for (int j = 0; j < XB; j++) acc[c][y][j] = partial[(c * YB + y) * XB + j];
    }
    const Vec* w = packed_.data() + (b.channel * s_.ci + b.from * OB) * s_.taps();
    accumulate_taps<KW>(acc, x + (b.from * s_.ih + YB * b.row) * s_.iw + b.column, w, b.to - b.from, s_);
    if (b.to < s_.ci) {
      UNROLL for (int c = 0; c < OB; c++)
        UNROLL for (int y = 0; y < YB; y++)
          UNROLL for (int j = 0; j < XB; j++) partial[(c * YB + y) * XB + j] = acc[c][y][j];
    }
  }

  template <int KW, int OB, int XB, class X>
  INLINE void plain_columns(const ForwardArrays<X>& a, const ForwardBlock b) {
    Vec acc[OB][1][XB];
    accumulate<KW, OB, 1, XB>(a.x, a.bias, b, partial_.data() + b.column * kMaxOut, acc);
    if (b.to == s_.ci)
      UNROLL for (int c = 0; c < OB; c++)
        UNROLL for (int j = 0; j < XB; j++)
          a.y[((b.channel + c) * s_.oh() + b.row) * s_.ow() + b.column + j] = acc[c][0][j];
  }

  template <int KW, int OB, class X>
  void plain_block(const ForwardArrays<X>& a, int channel) {
    const int ow = s_.ow();
    for (int row = 0; row < s_.oh(); row++)
      for (int from = 0; from < s_.ci; from += chunk_) {
        const int to = std::min(from + chunk_, s_.ci);
        int column = 0;
        for (; column + kColumns <= ow; column += kColumns)
          plain_columns<KW, OB, kColumns>(a, {channel, row, column, from, to});
        if (column < ow)
          with_constant<kColumns - 1>(ow - column, [&](auto xb) {
            plain_columns<KW, OB, xb>(a, {channel, row, column, from, to});
          });
      }
  }

  template <int KW, int OB, int XB, class X>
  INLINE void pooled_columns(const ForwardArrays<X>& a, const ForwardBlock b) {
    Vec acc[OB][2][XB];
    accumulate<KW, OB, 2, XB>(a.x, a.bias, b, partial_.data() + 2 * b.column * kMaxOut, acc);
    if (b.to < s_.ci) return;
    // A sum tells at little cost that there is no NaN, so that a comparison a pair will do (it may be wrong the other way).
    Vec sum = zero();
    UNROLL for (int c = 0; c < OB; c++) UNROLL for (int j = 0; j < XB; j++) sum += acc[c][0][j] + acc[c][1][j];
    const int at = (b.channel * s_.ph() + b.row) * s_.pw() + b.column / 2;
    Argmax* argmax = a.argmax ? a.argmax + at : nullptr;
    if (bits(is_nan(sum))) pool(acc, [](Vec b, Vec a) { return replaces(b, a); }, a.y + at, argmax);
    else pool(acc, [](Vec b, Vec a) { return less(a, b); }, a.y + at, argmax);
  }

  // Pools each 2x2 window of the block; greater(b, a) decides whether b replaces a.
  template <int OB, int XB, class Greater>
  INLINE void pool(const Vec (&acc)[OB][2][XB], Greater&& greater, Vec* y, Argmax* argmax) const {
    UNROLL for (int c = 0; c < OB; c++)
      UNROLL for (int j = 0; j < XB; j += 2) {
        const int at = c * s_.ph() * s_.pw() + j / 2;
        const Vec a = acc[c][0][j], b = acc[c][0][j + 1], d = acc[c][1][j], e = acc[c][1][j + 1];
        const Mask right_above = greater(b, a), right_below = greater(e, d);
        const Vec above = select(right_above, b, a), below = select(right_below, e, d);
        const Mask bottom = greater(below, above);
        y[at] = select(bottom, below, above);
        if (argmax) argmax[at] = {stored(bottom), stored(choose(bottom, right_below, right_above))};
      }
  }

  template <int KW, int OB, class X>
  void pooled_block(const ForwardArrays<X>& a, int channel) {
    constexpr int XB = kRegisters == 32 && OB <= 3 ? 4 : 2;
    const int width = 2 * s_.pw();
    for (int row = 0; row < s_.ph(); row++)
      for (int from = 0; from < s_.ci; from += chunk_) {
        const int to = std::min(from + chunk_, s_.ci);
        int column = 0;
        for (; column + XB <= width; column += XB)
          pooled_columns<KW, OB, XB>(a, {channel, row, column, from, to});
        if constexpr (XB > 2)
          if (column < width) pooled_columns<KW, OB, 2>(a, {channel, row, column, from, to});
      }
  }

  ConvShape s_;
  bool pooled_;
  std::vector<Block> blocks_;  // of output channels
  int chunk_;                  // of input channels
  std::vector<Vec> packed_;    // [block, in, ky, kx, out within the block]
  std::vector<Vec> partial_;   // a row's sums over the chunks so far
};

}  // namespace lanes
