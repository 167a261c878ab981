// How kernels cut their work into blocks whose results fit in the registers.
#pragma once

#include <type_traits>
#include <vector>

#include "../simd.h"

namespace lanes {

// What the weights and rows that a kernel sweeps again and again may take of the first cache.
constexpr int kCacheBytes = 36 * 1024;

// Calls f(integral_constant<int, N>) with N = n, 1 <= n <= Max.
template <int Max, class F>
INLINE void with_constant(int n, F&& f) {
  if constexpr (Max > 1) {
    if (n < Max) return with_constant<Max - 1>(n, f);
  }
  f(std::integral_constant<int, Max>{});
}

struct Block {
  int start, size;
};

// Cuts [0, n) into the fewest blocks of at most `most`, as equal as possible.
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

}  // namespace lanes
