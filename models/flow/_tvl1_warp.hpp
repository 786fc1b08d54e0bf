// Samples the target frame where the flow points to and prepares the threshold step.
//
// Bicubic, zero outside the frame, like OpenCV's remap. On AVX-512 a whole vector of pixels is
// sampled at once: neighbouring pixels land on neighbouring pixels, so that two vectors of a row
// nearly always hold what sixteen pixels need of it. Elsewhere one pixel after the other, all
// channels in one vector.
#pragma once

#include "_tvl1.hpp"
#include "_tvl1_vector.hpp"

namespace {

using kinetag::tvl1::kTapBorder;
using kinetag::tvl1::Level;
using kinetag::tvl1::Workspace;

// Keys' cubic with the slope OpenCV uses. Source: OpenCV, interpolateCubic.
constexpr float kCubicSlope = -0.75f;
// Gradients whose square is not above this count as flat. Source: OpenCV tvl1flow, estimateV.
constexpr float kFlatGradient = 1.1920929e-07f;

// Weights of the pixels at -1, 0, 1, 2 for a place t past pixel 0, 0 <= t < 1; they add up to one.
KINETAG_INLINE void cubic_weights(Vec t, Vec* w) {
  const float a = kCubicSlope;
  const Vec rest = 1.0f - t;
  const Vec outer = a * t * rest;
  w[0] = outer * rest;
  w[1] = ((a + 2.0f) * t - (a + 3.0f)) * t * t + 1.0f;
  w[3] = outer * t;
  w[2] = 1.0f - w[0] - w[1] - w[3];
}

// Where a row of the flow points to: whole pixels and the way on from them. It is found for a whole
// row before the row is sampled, so that no address waits for the arithmetic before it.
struct Landings {
  std::int32_t* x;
  std::int32_t* y;
  float* past_x;
  float* past_y;
};

// The same of one vector, with bicubic weights in place of the fractions.
struct Landing {
  IntVec x;
  IntVec y;
  Vec wx[4];
  Vec wy[4];
};

// Intensity and gradient.
struct Sample {
  Vec value[3];
};

void locate_row(const Level& level, int y, float to_pixels, const float* u1, const float* u2,
                const Landings& to) {
  Vec column{};
  for (int i = 0; i < kLanes; ++i) column[i] = static_cast<float>(i);
  const Vec first = splat(-3.0f);
  const Vec last_x = splat(static_cast<float>(level.width + 1));
  const Vec last_y = splat(static_cast<float>(level.height + 1));
  const float row = static_cast<float>(level.top + y);
  for (int x = 0; x < level.window_width; x += kLanes) {
    const Vec at_x = column + static_cast<float>(level.left + x) + to_pixels * load(u1 + x);
    const Vec at_y = row + to_pixels * load(u2 + x);
    const Vec in_x = lowest(highest(at_x, first), last_x);
    const Vec in_y = lowest(highest(at_y, first), last_y);
    const IntVec whole_x = floor_to_int(in_x);
    const IntVec whole_y = floor_to_int(in_y);
    store(to.x + x, whole_x);
    store(to.y + x, whole_y);
    store(to.past_x + x, in_x - __builtin_convertvector(whole_x, Vec));
    store(to.past_y + x, in_y - __builtin_convertvector(whole_y, Vec));
  }
  // Beyond the window's last column the flow means nothing; look where the last one does.
  const int width = level.window_width;
  for (int x = width; x % kLanes != 0; ++x) {
    to.x[x] = to.x[width - 1];
    to.y[x] = to.y[width - 1];
  }
}

KINETAG_INLINE Landing take_landing(const Landings& all, int x) {
  Landing to;
  to.x = load(all.x + x);
  to.y = load(all.y + x);
  cubic_weights(load(all.past_x + x), to.wx);
  cubic_weights(load(all.past_y + x), to.wy);
  return to;
}

#if KINETAG_PLANAR_TAPS

// Most rows a vector may touch before its pixels are taken one by one: measured, about where both
// ways take the same time.
constexpr int kMostRows = 16;
// Two vectors of a row hold what pixels need that land at most so far to the left and to the right
// of where the first pixel lands; on the right there are the vector's own width and as much again.
constexpr int kLeftSlack = 6;
constexpr int kWidestLanding = 2 * kLanes - 4;

KINETAG_INLINE bool all_at_most(IntVec a, int bound) {
  const __m512i limit = _mm512_set1_epi32(bound);
  return _mm512_cmpgt_epu32_mask(reinterpret_cast<__m512i>(a), limit) == 0;
}
KINETAG_INLINE int lowest_lane(IntVec a) {
  return _mm512_reduce_min_epi32(reinterpret_cast<__m512i>(a));
}
KINETAG_INLINE int highest_lane(IntVec a) {
  return _mm512_reduce_max_epi32(reinterpret_cast<__m512i>(a));
}
KINETAG_INLINE Vec look_up(IntVec index, Vec a, Vec b) {
  return _mm512_permutex2var_ps(a, reinterpret_cast<__m512i>(index), b);
}

// Adds one row, from `corner` on, to the sums of the three channels.
KINETAG_INLINE void add_row(const float* corner, std::ptrdiff_t plane, const IntVec* index,
                            const Vec* wx, Vec weight, Sample& sum) {
  for (int channel = 0; channel < 3; ++channel, corner += plane) {
    const Vec a = load(corner);
    const Vec b = load(corner + kLanes);
    Vec across = wx[0] * look_up(index[0], a, b);
    for (int i = 1; i < 4; ++i) across = fused(wx[i], look_up(index[i], a, b), across);
    sum.value[channel] = fused(weight, across, sum.value[channel]);
  }
}

// One pixel after the other, four columns at a time.
Sample sample_apart(const Level& level, const float* taps, const Landing& to) {
  Sample sum{};
  for (int lane = 0; lane < kLanes; ++lane) {
    const float* corner = taps + (to.y[lane] - 1) * level.tap_stride + to.x[lane] - 1;
    for (int channel = 0; channel < 3; ++channel, corner += level.tap_plane) {
      Four down{};
      for (int i = 0; i < 4; ++i) {
        down += to.wy[i][lane] *
                *reinterpret_cast<const FourView*>(corner + i * level.tap_stride);
      }
      float across = 0.0f;
      for (int i = 0; i < 4; ++i) across += to.wx[i][lane] * down[i];
      sum.value[channel][lane] = across;
    }
  }
  return sum;
}

KINETAG_INLINE Sample sample(const Level& level, const float* taps, const Landings& all, int x) {
  const Landing to = take_landing(all, x);
  const int left = at_least(all.x[x] - kLeftSlack, -kTapBorder + 1);
  IntVec index[4];
  index[0] = to.x - left;
  if (!all_at_most(index[0], kWidestLanding)) return sample_apart(level, taps, to);
  for (int i = 1; i < 4; ++i) index[i] = index[0] + i;
  Sample sum{};
  int top = all.y[x];
  const float* corner = taps + (top - 1) * level.tap_stride + left - 1;
  if (all_at_most(to.y - top, 0)) {
    for (int i = 0; i < 4; ++i, corner += level.tap_stride) {
      add_row(corner, level.tap_plane, index, to.wx, to.wy[i], sum);
    }
    return sum;
  }
  top = lowest_lane(to.y);
  const int bottom = highest_lane(to.y);
  if (bottom - top + 4 > kMostRows) return sample_apart(level, taps, to);
  corner = taps + (top - 1) * level.tap_stride + left - 1;
  for (int row = top - 1; row <= bottom + 2; ++row, corner += level.tap_stride) {
    const IntVec rank = row + 1 - to.y;  // which of its four rows this is to a pixel
    Vec weight = keep(rank == 0, to.wy[0]);
    for (int i = 1; i < 4; ++i) weight = rank == i ? to.wy[i] : weight;
    add_row(corner, level.tap_plane, index, to.wx, weight, sum);
  }
  return sum;
}

#else

// Four pixels of four channels per row: one 64-byte load each, summed by the vertical weights
// first, then the four columns by the horizontal ones.
KINETAG_INLINE Sample sample(const Level& level, const float* taps, const Landings& all, int x) {
  const Landing to = take_landing(all, x);
  Sample sum{};
  for (int lane = 0; lane < kLanes; ++lane) {
    const std::ptrdiff_t stride = level.tap_stride;
    const float* corner = taps + (to.y[lane] - 1) * stride + kTapChannels * (to.x[lane] - 1);
    Sixteen down = to.wy[0][lane] * *reinterpret_cast<const SixteenView*>(corner);
    down += to.wy[1][lane] * *reinterpret_cast<const SixteenView*>(corner + stride);
    down += to.wy[2][lane] * *reinterpret_cast<const SixteenView*>(corner + 2 * stride);
    down += to.wy[3][lane] * *reinterpret_cast<const SixteenView*>(corner + 3 * stride);
    const Four c0 = __builtin_shufflevector(down, down, 0, 1, 2, 3);
    const Four c1 = __builtin_shufflevector(down, down, 4, 5, 6, 7);
    const Four c2 = __builtin_shufflevector(down, down, 8, 9, 10, 11);
    const Four c3 = __builtin_shufflevector(down, down, 12, 13, 14, 15);
    const Four across = (to.wx[0][lane] * c0 + to.wx[1][lane] * c1) +
                        (to.wx[2][lane] * c2 + to.wx[3][lane] * c3);
    for (int i = 0; i < 3; ++i) sum.value[i][lane] = across[i];
  }
  return sum;
}

#endif

// `image0` is the first frame at the window's corner; `scale` is the flow's unit, tau / theta.
void warp(const Level& level, const float* image0, const float* taps, float reach_per_gradient,
          float scale, Workspace& work) {
  const std::ptrdiff_t stride = level.window_stride;
  float* rows = work.rows + kinetag::tvl1::kRowPadding;
  const Landings to{reinterpret_cast<std::int32_t*>(rows),
                    reinterpret_cast<std::int32_t*>(rows + stride), rows + 2 * stride,
                    rows + 3 * stride};
  float* const sampled[3] = {rows + 4 * stride, rows + 5 * stride, rows + 6 * stride};
  for (int y = 0; y < level.window_height; ++y) {
    const std::ptrdiff_t o = y * stride;
    locate_row(level, y, 1.0f / scale, work.u[0] + o, work.u[1] + o, to);
    for (int x = 0; x < level.window_width; x += kLanes) {
      const Sample at = sample(level, taps, to, x);
      for (int i = 0; i < 3; ++i) store(sampled[i] + x, at.value[i]);
    }
    for (int x = 0; x < level.window_width; x += kLanes) {
      const Vec gx = load(sampled[1] + x);
      const Vec gy = load(sampled[2] + x);
      const Vec square = gx * gx + gy * gy;
      const IntVec slanted = square > kFlatGradient;
      const Vec unit = keep(slanted, inverse_root(square));
      const Vec e1 = gx * unit;
      const Vec e2 = gy * unit;
      const Vec missing = scale * (load(image0 + y * level.stride + x) - load(sampled[0] + x));
      const Vec along = fused(e1, load(work.u[0] + o + x), e2 * load(work.u[1] + o + x));
      store(work.direction[0] + o + x, e1);
      store(work.direction[1] + o + x, e2);
      store(work.target + o + x, fused(missing, unit, along));
      store(work.reach + o + x, reach_per_gradient * (square * unit));
    }
  }
}

}  // namespace
