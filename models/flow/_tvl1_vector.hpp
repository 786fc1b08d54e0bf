// A float vector of the width of the target this file is compiled for.
//
// Everything is in an unnamed namespace on purpose: each per-processor file must keep its own copy.
#pragma once

#include <cstddef>
#include <cstdint>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace {

#if defined(__AVX512F__) && defined(__AVX512DQ__)
inline constexpr int kLanes = 16;
#elif defined(__AVX2__)
inline constexpr int kLanes = 8;
#else
inline constexpr int kLanes = 4;
#endif

typedef float Vec __attribute__((vector_size(kLanes * 4)));
typedef std::int32_t IntVec __attribute__((vector_size(kLanes * 4)));
// Unaligned views for loads and stores; may_alias because buffers are plain floats.
typedef float VecView __attribute__((vector_size(kLanes * 4), aligned(4), may_alias));
typedef std::int32_t IntView __attribute__((vector_size(kLanes * 4), aligned(4), may_alias));

typedef float Four __attribute__((vector_size(16)));
typedef float FourView __attribute__((vector_size(16), aligned(4), may_alias));
typedef float Sixteen __attribute__((vector_size(64)));
typedef float SixteenView __attribute__((vector_size(64), aligned(4), may_alias));

#define KINETAG_INLINE static inline __attribute__((always_inline))

KINETAG_INLINE Vec load(const float* p) { return *reinterpret_cast<const VecView*>(p); }
KINETAG_INLINE void store(float* p, Vec v) { *reinterpret_cast<VecView*>(p) = v; }
KINETAG_INLINE void store(std::int32_t* p, IntVec v) { *reinterpret_cast<IntView*>(p) = v; }
KINETAG_INLINE Vec splat(float value) { return Vec{} + value; }

#if defined(__AVX512F__) && defined(__AVX512DQ__)

KINETAG_INLINE Vec lowest(Vec a, Vec b) { return _mm512_min_ps(a, b); }
KINETAG_INLINE Vec highest(Vec a, Vec b) { return _mm512_max_ps(a, b); }
// Relative error below 2^-14: a hundredth of a thousandth of a pixel in the flow.
KINETAG_INLINE Vec inverse_root(Vec a) { return _mm512_rsqrt14_ps(a); }
KINETAG_INLINE Vec inverse(Vec a) { return _mm512_rcp14_ps(a); }

#elif defined(__AVX2__)

KINETAG_INLINE Vec lowest(Vec a, Vec b) { return _mm256_min_ps(a, b); }
KINETAG_INLINE Vec highest(Vec a, Vec b) { return _mm256_max_ps(a, b); }
// Twelve bits are enough for the norm; the quotient gets one Newton step.
KINETAG_INLINE Vec inverse_root(Vec a) { return _mm256_rsqrt_ps(a); }
KINETAG_INLINE Vec inverse(Vec a) {
  const Vec guess = _mm256_rcp_ps(a);
  return guess * (2.0f - a * guess);
}

#elif defined(__x86_64__)

KINETAG_INLINE Vec lowest(Vec a, Vec b) { return _mm_min_ps(a, b); }
KINETAG_INLINE Vec highest(Vec a, Vec b) { return _mm_max_ps(a, b); }
KINETAG_INLINE Vec inverse_root(Vec a) { return _mm_rsqrt_ps(a); }
KINETAG_INLINE Vec inverse(Vec a) {
  const Vec guess = _mm_rcp_ps(a);
  return guess * (2.0f - a * guess);
}

#else

KINETAG_INLINE Vec lowest(Vec a, Vec b) { return a < b ? a : b; }
KINETAG_INLINE Vec highest(Vec a, Vec b) { return a > b ? a : b; }
KINETAG_INLINE Vec inverse_root(Vec a) {
  for (int i = 0; i < kLanes; ++i) a[i] = 1.0f / __builtin_sqrtf(a[i]);
  return a;
}
KINETAG_INLINE Vec inverse(Vec a) { return 1.0f / a; }

#endif

// Rounds towards minus infinity; values are small enough for int32.
KINETAG_INLINE IntVec floor_to_int(Vec a) {
  const IntVec truncated = __builtin_convertvector(a, IntVec);
  const Vec back = __builtin_convertvector(truncated, Vec);
  return truncated + (back > a);  // a comparison that holds is -1
}

// Keeps the lanes in which `mask` is -1 and clears the others, whatever they hold.
KINETAG_INLINE Vec keep(IntVec mask, Vec a) {
  return reinterpret_cast<Vec>(reinterpret_cast<IntVec>(a) & mask);
}

KINETAG_INLINE float sum_of_lanes(Vec a) {
  float total = 0.0f;
  for (int i = 0; i < kLanes; ++i) total += a[i];
  return total;
}

}  // namespace
