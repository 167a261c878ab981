// Convolution kernels (stride 1, no padding) over lanes: forward, weight gradient, input gradient.
//
// Arrays end in the lane axis: images [channel, y, x], weights [out, in, ky, kx]. Every kernel keeps a block of results in
// registers (channels x columns, or channels x taps), so that each vector loaded serves several multiply-adds; block sizes are
// template parameters, everything else is known at run time only. Loops that sweep more weights and rows than the first
// cache holds are cut into chunks of channels.
#pragma once

#include <algorithm>
#include <type_traits>
#include <vector>

#include "simd.h"

namespace lanes {

// With few registers, blends of window positions spill; the dense weight gradient is the better one there.
constexpr bool kSparsePoolGradient = LANES == 16;

// What the weights and rows of a chunk of channels may take of the first cache.
constexpr int kCacheBytes = 36 * 1024;

struct ConvShape {
  int ci, ih, iw, co, kh, kw;
  int oh() const { return ih - kh + 1; }
  int ow() const { return iw - kw + 1; }
  int taps() const { return kh * kw; }
  // Extent of the output that a 2x2 max pool over it reads: a last odd row or column is cut.
  int ph() const { return oh() / 2; }
  int pw() const { return ow() / 2; }
};

// Where a 2x2 window's maximum was: bottom row, right column.
struct Argmax {
  StoredMask bottom, right;
};

// Calls f(integral_constant<int, N>) with N = n, 1 <= n <= Max.
template <int Max, class F>
INLINE void with_constant(int n, F&& f) {
  if constexpr (Max > 1) {
    if (n < Max) return with_constant<Max - 1>(n, f);
  }
  f(std::integral_constant<int, Max>{});
}

// Cuts [0, n) into the fewest blocks of at most `most`, as equal as possible.
struct Block {
  int start, size;
};
inline std::vector<Block> blocks_of(int n, int most) {
  std::vector<Block> blocks;
  const int count = (n + most - 1) / most;
  for (int b = 0, start = 0; b < count; b++) {
    const int size = n / count + (b < n % count ? 1 : 0);
    blocks.push_back({start, size});
    start += size;
  }
  return blocks;
}

// ---------------------------------------------------------------------------------------------------------- forward

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

  // bias may be null. Pooled: y is the pooled output, and argmax (if not null) tells where each maximum was.
  template <class X>
  void run(const X* x, const Vec* bias, Vec* y, Argmax* argmax) {
    with_width([&](auto kw) {
      for (const Block& b : blocks_)
        with_constant<kMaxOut>(b.size, [&](auto ob) {
          if (pooled_) pooled_block<kw, ob>(x, b.start, bias, y, argmax);
          else plain_block<kw, ob>(x, b.start, bias, y);
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

  template <int KW, int OB, int YB, int XB, class X>
  void block(const X* x, const Vec* w, const Vec* bias, int from, int to, Vec* partial, Vec (&acc)[OB][YB][XB]) {
    if (from == 0) {
      UNROLL for (int c = 0; c < OB; c++) {
        const Vec b = bias ? bias[c] : zero();
        UNROLL for (int y = 0; y < YB; y++) UNROLL for (int j = 0; j < XB; j++) acc[c][y][j] = b;
      }
    } else {
      UNROLL for (int c = 0; c < OB; c++)
        UNROLL for (int y = 0; y < YB; y++)
          UNROLL for (int j = 0; j < XB; j++) acc[c][y][j] = partial[(c * YB + y) * XB + j];
    }
    accumulate_taps<KW>(acc, x + from * s_.ih * s_.iw, w + from * s_.taps() * OB, to - from, s_);
    if (to < s_.ci) {
      UNROLL for (int c = 0; c < OB; c++)
        UNROLL for (int y = 0; y < YB; y++)
          UNROLL for (int j = 0; j < XB; j++) partial[(c * YB + y) * XB + j] = acc[c][y][j];
    }
  }

  template <int KW, int OB, int XB, class X>
  void plain_columns(const X* x, int first, int from, int to, int row, int column, const Vec* bias, Vec* y) {
    Vec acc[OB][1][XB];
    block<KW, OB, 1, XB>(x + row * s_.iw + column, packed_.data() + first * s_.ci * s_.taps(), bias ? bias + first : nullptr,
                     from, to, partial_.data() + column * kMaxOut, acc);
    if (to == s_.ci)
      UNROLL for (int c = 0; c < OB; c++)
        UNROLL for (int j = 0; j < XB; j++) y[((first + c) * s_.oh() + row) * s_.ow() + column + j] = acc[c][0][j];
  }

  template <int KW, int OB, class X>
  void plain_block(const X* x, int first, const Vec* bias, Vec* y) {
    const int ow = s_.ow();
    for (int row = 0; row < s_.oh(); row++)
      for (int from = 0; from < s_.ci; from += chunk_) {
        const int to = std::min(from + chunk_, s_.ci);
        int column = 0;
        for (; column + kColumns <= ow; column += kColumns)
          plain_columns<KW, OB, kColumns>(x, first, from, to, row, column, bias, y);
        if (column < ow)
          with_constant<kColumns - 1>(ow - column, [&](auto xb) {
            plain_columns<KW, OB, xb>(x, first, from, to, row, column, bias, y);
          });
      }
  }

  template <int KW, int OB, int XB, class X>
  void pooled_columns(const X* x, int first, int from, int to, int row, int column, const Vec* bias, Vec* y, Argmax* argmax) {
    Vec acc[OB][2][XB];
    block<KW, OB, 2, XB>(x + 2 * row * s_.iw + column, packed_.data() + first * s_.ci * s_.taps(),
                     bias ? bias + first : nullptr, from, to, partial_.data() + 2 * column * kMaxOut, acc);
    if (to < s_.ci) return;
    // A sum tells at little cost that there is no NaN, so that a comparison a pair will do (it may be wrong the other way).
    Vec sum = zero();
    UNROLL for (int c = 0; c < OB; c++) UNROLL for (int j = 0; j < XB; j++) sum += acc[c][0][j] + acc[c][1][j];
    Vec* to_y = y + (first * s_.ph() + row) * s_.pw() + column / 2;
    Argmax* to_argmax = argmax ? argmax + (to_y - y) : nullptr;
    if (bits(is_nan(sum))) pool(acc, [](Vec b, Vec a) { return replaces(b, a); }, to_y, to_argmax);
    else pool(acc, [](Vec b, Vec a) { return less(a, b); }, to_y, to_argmax);
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
  void pooled_block(const X* x, int first, const Vec* bias, Vec* y, Argmax* argmax) {
    constexpr int XB = kRegisters == 32 && OB <= 3 ? 4 : 2;
    const int width = 2 * s_.pw();
    for (int row = 0; row < s_.ph(); row++)
      for (int from = 0; from < s_.ci; from += chunk_) {
        const int to = std::min(from + chunk_, s_.ci);
        int column = 0;
        for (; column + XB <= width; column += XB)
          pooled_columns<KW, OB, XB>(x, first, from, to, row, column, bias, y, argmax);
        if (column < width) pooled_columns<KW, OB, 2>(x, first, from, to, row, column, bias, y, argmax);
      }
  }

  ConvShape s_;
  bool pooled_;
  std::vector<Block> blocks_;  // of output channels
  int chunk_;                                // of input channels
  std::vector<Vec> packed_;                  // [block, in, ky, kx, out within the block]
  std::vector<Vec> partial_;                 // a row's sums over the chunks so far
};

// -------------------------------------------------------------------------------------------------- weight gradient

// gw[o, i, dy, dx] += sum of g[o, y, x] * x[i, y + dy, x + dx] over the gradient's gh rows and gw_ columns.
template <int OB, int DB>
INLINE void weight_gradient_row(const Vec* x, int iw, const Vec* g, int gh, int gwidth, Vec* gw, int out_stride) {
  Vec acc[OB][DB];
  UNROLL for (int c = 0; c < OB; c++) UNROLL for (int d = 0; d < DB; d++) acc[c][d] = gw[c * out_stride + d];
  for (int y = 0; y < gh; y++)
    for (int j = 0; j < gwidth; j++) {
      const Vec* v = x + y * iw + j;
      UNROLL for (int c = 0; c < OB; c++) {
        const Vec gc = g[(c * gh + y) * gwidth + j];
        UNROLL for (int d = 0; d < DB; d++) acc[c][d] += gc * v[d];
      }
    }
  UNROLL for (int c = 0; c < OB; c++) UNROLL for (int d = 0; d < DB; d++) gw[c * out_stride + d] = acc[c][d];
}

// The same when the gradient comes through a 2x2 max pool: of the four positions of a window one has the gradient, a
// different one in each lane. So select the image's values that it meets, and multiply once instead of four times:
// blends may run on units that multiply-adds cannot use.
template <int OB, int DB>
INLINE void weight_gradient_row_pooled(const Vec* x, int iw, const Vec* g, const Argmax* argmax, int ph, int pw, Vec* gw,
                                       int out_stride) {
  Vec acc[OB][DB];
  UNROLL for (int c = 0; c < OB; c++) UNROLL for (int d = 0; d < DB; d++) acc[c][d] = gw[c * out_stride + d];
  for (int y = 0; y < ph; y++)
    for (int j = 0; j < pw; j++) {
      const Vec* above = x + 2 * (y * iw + j);
      const Vec* below = above + iw;
      Vec a[DB + 1], b[DB + 1];
      UNROLL for (int d = 0; d <= DB; d++) a[d] = above[d], b[d] = below[d];
      UNROLL for (int c = 0; c < OB; c++) {
        const int at = (c * ph + y) * pw + j;
        const Mask bottom = recalled(argmax[at].bottom), right = recalled(argmax[at].right);
        const Vec gc = g[at];
        Vec left = select(bottom, b[0], a[0]);
        UNROLL for (int d = 0; d < DB; d++) {
          const Vec next = select(bottom, b[d + 1], a[d + 1]);
          acc[c][d] += gc * select(right, next, left);
          left = next;
        }
      }
    }
  UNROLL for (int c = 0; c < OB; c++) UNROLL for (int d = 0; d < DB; d++) gw[c * out_stride + d] = acc[c][d];
}

class ConvWeightGradient {
 public:
  explicit ConvWeightGradient(const ConvShape& s) : s_(s), tap_blocks_(blocks_of(s.kw, kMaxTaps)) {
    const int taps = tap_blocks_[0].size;
    const int most = kRegisters == 32 ? (taps >= 4 ? 3 : 4) : (taps >= 4 ? 2 : 3);
    out_blocks_ = blocks_of(s.co, most);
  }

  // g is dense, [co, gh, gw].
  void dense(const Vec* x, const Vec* g, int gh, int gwidth, Vec* weight) const {
    each_row([&](auto ob, auto db, int first, int i, int dy, int dx, Vec* to) {
      weight_gradient_row<ob, db>(x + (i * s_.ih + dy) * s_.iw + dx, s_.iw, g + first * gh * gwidth, gh, gwidth, to,
                                  s_.ci * s_.taps());
    }, weight);
  }

  // g is the gradient of the pooled output, [co, ph, pw].
  void pooled(const Vec* x, const Vec* g, const Argmax* argmax, Vec* weight) const {
    const int plane = s_.ph() * s_.pw();
    each_row([&](auto ob, auto db, int first, int i, int dy, int dx, Vec* to) {
      weight_gradient_row_pooled<ob, db>(x + (i * s_.ih + dy) * s_.iw + dx, s_.iw, g + first * plane,
                                         argmax + first * plane, s_.ph(), s_.pw(), to, s_.ci * s_.taps());
    }, weight);
  }

 private:
  static constexpr int kMaxTaps = 5, kMaxOut = 4;

  // Calls f for every row of kernel taps (or the part of one that fits) of every block of output channels.
  template <class F>
  void each_row(F&& f, Vec* weight) const {
    for (const Block& t : tap_blocks_)
      for (const Block& o : out_blocks_)
        with_constant<kMaxTaps>(t.size, [&](auto taps) {
          with_constant<kMaxOut>(o.size, [&](auto out) {
            for (int i = 0; i < s_.ci; i++)
              for (int dy = 0; dy < s_.kh; dy++)
                f(out, taps, o.start, i, dy, t.start, weight + ((o.start * s_.ci + i) * s_.kh + dy) * s_.kw + t.start);
          });
        });
  }

  ConvShape s_;
  std::vector<Block> tap_blocks_, out_blocks_;
};

// --------------------------------------------------------------------------------------------------- input gradient

// One row of the input gradient, IB channels, from GB neighbouring columns of output gradient and DB taps of a kernel row:
// the IB x (GB + DB - 1) results they touch are kept in registers, so no multiplication with a zero border is made.
template <int IB, int GB, int DB>
INLINE void input_gradient_block(const Vec* g, int plane, int gwidth, const Vec* w, const ConvShape& s, int outs,
                                 int dy_from, int dy_to, Vec* gx, int channel_stride) {
  constexpr int WIDTH = GB + DB - 1;
  Vec acc[IB][WIDTH];
  UNROLL for (int c = 0; c < IB; c++) UNROLL for (int j = 0; j < WIDTH; j++) acc[c][j] = gx[c * channel_stride + j];
  for (int o = 0; o < outs; o++)
    for (int dy = dy_from; dy < dy_to; dy++) {
      const Vec* row = g + o * plane - dy * gwidth;
      const Vec* wr = w + (o * s.kh + dy) * s.kw * IB;
      UNROLL for (int d = 0; d < DB; d++)
        UNROLL for (int c = 0; c < IB; c++) {
          const Vec wc = wr[d * IB + c];
          UNROLL for (int j = 0; j < GB; j++) acc[c][j + d] += wc * row[j];
        }
    }
  UNROLL for (int c = 0; c < IB; c++) UNROLL for (int j = 0; j < WIDTH; j++) gx[c * channel_stride + j] = acc[c][j];
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

  // g is dense, [co, gh, gwidth]; rows and columns of output beyond it have no gradient.
  void run(const Vec* g, int gh, int gwidth, Vec* gx) const {
    std::fill(gx, gx + s_.ci * s_.ih * s_.iw, zero());
    for (const Block& b : in_blocks_)
      for (int out = 0; out < s_.co; out += chunk_)
        for (const Block& t : tap_blocks_) {
          const Vec* w = packed_.data() + (b.start * s_.co + out * b.size) * s_.taps() + t.start * b.size;
          Vec* to = gx + b.start * s_.ih * s_.iw + t.start;
          const int outs = std::min(chunk_, s_.co - out);
          const Vec* from = g + out * gh * gwidth;
          with_constant<kMaxTaps>(t.size, [&](auto taps) {
            with_constant<max_in(taps)>(b.size, [&](auto in) { rows<in, taps>(from, gh, gwidth, w, outs, to); });
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
  void rows(const Vec* g, int gh, int gwidth, const Vec* w, int outs, Vec* gx) const {
    constexpr int GB = max_columns(DB, IB);
    const int rows = std::min(s_.ih, gh + s_.kh - 1), plane = gh * gwidth, stride = s_.ih * s_.iw;
    const int blocks = (gwidth + GB - 1) / GB;
    for (int y = 0; y < rows; y++) {
      const int dy_from = std::max(0, y - gh + 1), dy_to = std::min(s_.kh, y + 1);
      for (int b = 0, j = 0; b < blocks; b++) {
        const int size = gwidth / blocks + (b < gwidth % blocks ? 1 : 0);
        with_constant<GB>(size, [&](auto columns) {
          input_gradient_block<IB, columns, DB>(g + y * gwidth + j, plane, gwidth, w, s_, outs, dy_from, dy_to,
                                                gx + y * s_.iw + j, stride);
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

// Writes each window's gradient to the position of its maximum: g [co, ph, pw] to dense [co, 2 ph, 2 pw].
inline void spread_pooled_gradient(const Vec* g, const Argmax* argmax, int co, int ph, int pw, Vec* dense) {
  for (int row = 0; row < co * ph; row++)
    for (int j = 0; j < pw; j++) {
      const int at = row * pw + j;
      const Mask bottom = recalled(argmax[at].bottom), right = recalled(argmax[at].right);
      Vec* above = dense + 4 * row * pw + 2 * j;
      Vec* below = above + 2 * pw;
      const Vec lower = select(bottom, g[at], zero()), upper = select(bottom, zero(), g[at]);
      above[0] = select(right, zero(), upper);
      above[1] = select(right, upper, zero());
      below[0] = select(right, zero(), lower);
      below[1] = select(right, lower, zero());
    }
}

}  // namespace lanes
