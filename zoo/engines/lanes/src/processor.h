// Which of the library's variants this processor and its operating system can run.
#pragma once

#include <cstdint>

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#endif

namespace lanes {

#if defined(__x86_64__) || defined(__i386__)

// Asked of the processor itself: what __builtin_cpu_supports() reads is filled in by the compiler's run-time library, and
// that of Zig's Clang leaves it empty.
class Processor {
 public:
  Processor() {
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return;
    fma_ = c & bit_FMA;
    if (c & bit_OSXSAVE) saved_ = saved_registers();
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) features_ = b;
  }

  bool avx2() const { return fma_ && saves(kYmm) && has(bit_AVX2); }
  bool avx512() const { return avx2() && saves(kZmm) && has(bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL); }

 private:
  // Bits of XCR0: registers that the operating system saves when it turns to another process, and so may be used.
  static constexpr uint32_t kYmm = 0x06;  // and XMM
  static constexpr uint32_t kZmm = 0xe6;  // and YMM, XMM, mask registers

  static uint32_t saved_registers() {
    uint32_t low, high;
    asm("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
  }

  bool saves(uint32_t registers) const { return (saved_ & registers) == registers; }
  bool has(uint32_t features) const { return (features_ & features) == features; }

  bool fma_ = false;
  uint32_t saved_ = 0;
  uint32_t features_ = 0;  // EBX of CPUID's leaf 7
};

#endif

inline const char* best_variant() {
#if defined(__x86_64__) || defined(__i386__)
  const Processor processor;
  if (processor.avx512()) return "avx512";
  if (processor.avx2()) return "avx2";
#endif
  return "portable";
}

}  // namespace lanes
