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
#define KINETAG_PLANAR_TAPS 1
#elif defined(__AVX2__)
inline constexpr int kLanes = 8;
#else
inline constexpr int kLanes = 4;
#endif
#ifndef KINETAG_PLANAR_TAPS
#define KINETAG_PLANAR_TAPS 0
inline constexpr int kTapChannels = 4;
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

KINETAG_INLINE int at_most(int a, int b) { return a < b ? a : b; }
KINETAG_INLINE int at_least(int a, int b) { return a > b ? a : b; }

KINETAG_INLINE Vec load(const float* p) { return *reinterpret_cast<const VecView*>(p); }
KINETAG_INLINE IntVec load(const std::int32_t* p) { return *reinterpret_cast<const IntView*>(p); }
KINETAG_INLINE void store(float* p, Vec v) { *reinterpret_cast<VecView*>(p) = v; }
KINETAG_INLINE void store(std::int32_t* p, IntVec v) { *reinterpret_cast<IntView*>(p) = v; }
KINETAG_INLINE Vec splat(float value) { return Vec{} + value; }

// The whole numbers in which the median compares: floats where the processor has no minimum of
// whole numbers, otherwise their bits, with the magnitude of negative ones turned round.
#if defined(__AVX2__)
typedef IntVec Key;
#else
typedef Vec Key;
#endif

#if defined(__AVX512F__) && defined(__AVX512DQ__)

KINETAG_INLINE Vec lowest(Vec a, Vec b) { return _mm512_min_ps(a, b); }
KINETAG_INLINE Vec highest(Vec a, Vec b) { return _mm512_max_ps(a, b); }
// a * b + c and c - a * b, rounded once.
KINETAG_INLINE Vec fused(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }
KINETAG_INLINE Vec fused_minus(Vec a, Vec b, Vec c) { return _mm512_fnmadd_ps(a, b, c); }
// Clamps a to [-bound, bound], bound >= 0: the smaller magnitude, with the sign of a.
KINETAG_INLINE Vec within(Vec a, Vec bound) { return _mm512_range_ps(a, bound, 2); }
// Relative error below 2^-14: a hundredth of a thousandth of a pixel in the flow.
KINETAG_INLINE Vec inverse_root(Vec a) { return _mm512_rsqrt14_ps(a); }
KINETAG_INLINE Vec inverse(Vec a) { return _mm512_rcp14_ps(a); }
KINETAG_INLINE Vec root(Vec a) { return _mm512_sqrt_ps(a); }
// Twice the rate of the minimum and maximum of floats.
KINETAG_INLINE Key lowest(Key a, Key b) {
  return reinterpret_cast<Key>(_mm512_min_epi32(reinterpret_cast<__m512i>(a),
                                                reinterpret_cast<__m512i>(b)));
}
KINETAG_INLINE Key highest(Key a, Key b) {
  return reinterpret_cast<Key>(_mm512_max_epi32(reinterpret_cast<__m512i>(a),
                                                reinterpret_cast<__m512i>(b)));
}

#elif defined(__AVX2__)

KINETAG_INLINE Vec lowest(Vec a, Vec b) { return _mm256_min_ps(a, b); }
KINETAG_INLINE Vec highest(Vec a, Vec b) { return _mm256_max_ps(a, b); }
KINETAG_INLINE Vec fused(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a, b, c); }
KINETAG_INLINE Vec fused_minus(Vec a, Vec b, Vec c) { return _mm256_fnmadd_ps(a, b, c); }
KINETAG_INLINE Vec within(Vec a, Vec bound) { return lowest(highest(a, -bound), bound); }
// Twelve bits are enough for the norm; the quotient gets one Newton step.
KINETAG_INLINE Vec inverse_root(Vec a) { return _mm256_rsqrt_ps(a); }
KINETAG_INLINE Vec inverse(Vec a) {
  const Vec guess = _mm256_rcp_ps(a);
  return guess * (2.0f - a * guess);
}
KINETAG_INLINE Vec root(Vec a) { return _mm256_sqrt_ps(a); }
KINETAG_INLINE Key lowest(Key a, Key b) {
  return reinterpret_cast<Key>(_mm256_min_epi32(reinterpret_cast<__m256i>(a),
                                                reinterpret_cast<__m256i>(b)));
}
KINETAG_INLINE Key highest(Key a, Key b) {
  return reinterpret_cast<Key>(_mm256_max_epi32(reinterpret_cast<__m256i>(a),
                                                reinterpret_cast<__m256i>(b)));
}

#elif defined(__x86_64__)

KINETAG_INLINE Vec lowest(Vec a, Vec b) { return _mm_min_ps(a, b); }
KINETAG_INLINE Vec highest(Vec a, Vec b) { return _mm_max_ps(a, b); }
KINETAG_INLINE Vec fused(Vec a, Vec b, Vec c) { return a * b + c; }
KINETAG_INLINE Vec fused_minus(Vec a, Vec b, Vec c) { return c - a * b; }
KINETAG_INLINE Vec within(Vec a, Vec bound) { return lowest(highest(a, -bound), bound); }
KINETAG_INLINE Vec inverse_root(Vec a) { return _mm_rsqrt_ps(a); }
KINETAG_INLINE Vec inverse(Vec a) {
  const Vec guess = _mm_rcp_ps(a);
  return guess * (2.0f - a * guess);
}
KINETAG_INLINE Vec root(Vec a) { return _mm_sqrt_ps(a); }

#else

KINETAG_INLINE Vec lowest(Vec a, Vec b) { return a < b ? a : b; }
KINETAG_INLINE Vec highest(Vec a, Vec b) { return a > b ? a : b; }
KINETAG_INLINE Vec fused(Vec a, Vec b, Vec c) { return a * b + c; }
KINETAG_INLINE Vec fused_minus(Vec a, Vec b, Vec c) { return c - a * b; }
KINETAG_INLINE Vec within(Vec a, Vec bound) { return lowest(highest(a, -bound), bound); }
KINETAG_INLINE Vec root(Vec a) {
  for (int i = 0; i < kLanes; ++i) a[i] = __builtin_sqrtf(a[i]);
  return a;
}
KINETAG_INLINE Vec inverse_root(Vec a) { return 1.0f / root(a); }
KINETAG_INLINE Vec inverse(Vec a) { return 1.0f / a; }

#endif

// The vector that starts one lane further on, or one lane earlier, in two that follow each other.
#if defined(__AVX512F__) && defined(__AVX512DQ__)
KINETAG_INLINE Vec shift_left(Vec a, Vec b) {
  return __builtin_shufflevector(a, b, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16);
}
KINETAG_INLINE Vec shift_right(Vec a, Vec b) {
  return __builtin_shufflevector(a, b, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29,
                                 30);
}
#elif defined(__AVX2__)
KINETAG_INLINE Vec shift_left(Vec a, Vec b) {
  return __builtin_shufflevector(a, b, 1, 2, 3, 4, 5, 6, 7, 8);
}
KINETAG_INLINE Vec shift_right(Vec a, Vec b) {
  return __builtin_shufflevector(a, b, 7, 8, 9, 10, 11, 12, 13, 14);
}
#else
KINETAG_INLINE Vec shift_left(Vec a, Vec b) { return __builtin_shufflevector(a, b, 1, 2, 3, 4); }
KINETAG_INLINE Vec shift_right(Vec a, Vec b) { return __builtin_shufflevector(a, b, 3, 4, 5, 6); }
#endif

#if defined(__AVX2__)
// Its own inverse.
KINETAG_INLINE IntVec turn_negative(IntVec bits) { return bits ^ ((bits >> 31) & 0x7fffffff); }
KINETAG_INLINE Key to_key(Vec a) { return turn_negative(reinterpret_cast<IntVec>(a)); }
KINETAG_INLINE Vec from_key(Key a) { return reinterpret_cast<Vec>(turn_negative(a)); }
#else
KINETAG_INLINE Key to_key(Vec a) { return a; }
KINETAG_INLINE Vec from_key(Key a) { return a; }
#endif
KINETAG_INLINE Key load_key(const float* p) { return reinterpret_cast<Key>(load(p)); }
KINETAG_INLINE void store_key(float* p, Key a) { store(p, reinterpret_cast<Vec>(a)); }

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
