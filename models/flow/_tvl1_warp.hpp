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

using kinetag::tvl1::Level;
using kinetag::tvl1::Workspace;

// Keys' cubic with the slope OpenCV uses. Source: OpenCV, interpolateCubic.
constexpr float kCubicSlope = -0.75f;
// Gradients whose square is not above this count as flat. Source: OpenCV tvl1flow, estimateV.
constexpr float kFlatGradient = 1.1920929e-07f;

KINETAG_INLINE void cubic_weights(Vec t, Vec* w) {
  const float a = kCubicSlope;
  const Vec one_minus = 1.0f - t;
  w[0] = (((t + 1.0f) * a - 5.0f * a) * (t + 1.0f) + 8.0f * a) * (t + 1.0f) - 4.0f * a;
  w[1] = ((a + 2.0f) * t - (a + 3.0f)) * t * t + 1.0f;
  w[2] = ((a + 2.0f) * one_minus - (a + 3.0f)) * one_minus * one_minus + 1.0f;
  w[3] = 1.0f - w[0] - w[1] - w[2];
}

// Where a vector of the flow points to: whole coordinates and bicubic weights.
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

// Where the row starts and what the flow has to be multiplied with to be in pixels.
struct Departure {
  float x;
  float y;
  float to_pixels;
};

KINETAG_INLINE Landing locate(const Level& level, const Departure& from, Vec column, Vec u1,
                              Vec u2) {
  const Vec at_x = column + from.x + from.to_pixels * u1;
  const Vec at_y = from.y + from.to_pixels * u2;
  const Vec first = splat(-3.0f);
  const Vec in_x = lowest(highest(at_x, first), splat(static_cast<float>(level.width + 1)));
  const Vec in_y = lowest(highest(at_y, first), splat(static_cast<float>(level.height + 1)));
  Landing to;
  to.x = floor_to_int(in_x);
  to.y = floor_to_int(in_y);
  cubic_weights(in_x - __builtin_convertvector(to.x, Vec), to.wx);
  cubic_weights(in_y - __builtin_convertvector(to.y, Vec), to.wy);
  return to;
}

#if KINETAG_PLANAR_TAPS

// Most rows a vector may touch before its pixels are taken one by one: measured, about where both
// ways take the same time.
constexpr int kMostRows = 16;
// What two vectors of a row hold: the pixels of a vector may land this much further apart.
constexpr int kWidestLanding = 2 * kLanes - 4;

KINETAG_INLINE int lowest_lane(IntVec a) {
  return _mm512_reduce_min_epi32(reinterpret_cast<__m512i>(a));
}
KINETAG_INLINE int highest_lane(IntVec a) {
  return _mm512_reduce_max_epi32(reinterpret_cast<__m512i>(a));
}
KINETAG_INLINE Vec look_up(IntVec index, Vec a, Vec b) {
  return _mm512_permutex2var_ps(a, reinterpret_cast<__m512i>(index), b);
}

// All pixels of the vector land in the rectangle at (left, top).
KINETAG_INLINE Sample sample_together(const Level& level, const float* taps, const Landing& to,
                                      int left, int top, int bottom) {
  IntVec index[4];
  for (int i = 0; i < 4; ++i) index[i] = to.x - left + i;
  Sample sum{};
  const float* corner = taps + (top - 1) * level.tap_stride + left - 1;
  for (int row = top - 1; row <= bottom + 2; ++row, corner += level.tap_stride) {
    const IntVec rank = row + 1 - to.y;  // which of its four rows this is to a pixel
    Vec weight = keep(rank == 0, to.wy[0]);
    for (int i = 1; i < 4; ++i) weight = rank == i ? to.wy[i] : weight;
    for (int channel = 0; channel < 3; ++channel) {
      const Vec a = load(corner + channel * level.tap_plane);
      const Vec b = load(corner + channel * level.tap_plane + kLanes);
      Vec across = to.wx[0] * look_up(index[0], a, b);
      for (int i = 1; i < 4; ++i) across = fused(to.wx[i], look_up(index[i], a, b), across);
      sum.value[channel] = fused(weight, across, sum.value[channel]);
    }
  }
  return sum;
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

KINETAG_INLINE Sample sample(const Level& level, const float* taps, Landing to, int valid) {
  if (valid < kLanes) {
    // Beyond the window's last column the flow means nothing; look where its first pixel does.
    for (int lane = valid; lane < kLanes; ++lane) {
      to.x[lane] = to.x[0];
      to.y[lane] = to.y[0];
    }
  }
  const int left = lowest_lane(to.x);
  const int top = lowest_lane(to.y);
  const int bottom = highest_lane(to.y);
  if (highest_lane(to.x) - left > kWidestLanding || bottom - top + 4 > kMostRows) {
    return sample_apart(level, taps, to);
  }
  return sample_together(level, taps, to, left, top, bottom);
}

#else

// Four pixels of four channels per row: one 64-byte load each, summed by the vertical weights
// first, then the four columns by the horizontal ones.
KINETAG_INLINE Sample sample(const Level& level, const float* taps, const Landing& to, int valid) {
  Sample sum{};
  for (int lane = 0; lane < at_most(valid, kLanes); ++lane) {
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
  Vec column{};
  for (int i = 0; i < kLanes; ++i) column[i] = static_cast<float>(i);
  for (int y = 0; y < level.window_height; ++y) {
    const std::ptrdiff_t o = y * level.window_stride;
    Departure from{0.0f, static_cast<float>(level.top + y), 1.0f / scale};
    for (int x = 0; x < level.window_width; x += kLanes) {
      const Vec u1 = load(work.u[0] + o + x);
      const Vec u2 = load(work.u[1] + o + x);
      from.x = static_cast<float>(level.left + x);
      const Landing to = locate(level, from, column, u1, u2);
      const Sample at = sample(level, taps, to, level.window_width - x);
      const Vec gx = at.value[1];
      const Vec gy = at.value[2];
      const Vec square = gx * gx + gy * gy;
      const IntVec slanted = square > kFlatGradient;
      const Vec length = root(square);
      const Vec unit = keep(slanted, 1.0f / length);
      const Vec e1 = gx * unit;
      const Vec e2 = gy * unit;
      const Vec missing = load(image0 + y * level.stride + x) - at.value[0];
      store(work.direction[0] + o + x, e1);
      store(work.direction[1] + o + x, e2);
      store(work.target + o + x, fused(e1, u1, fused(e2, u2, scale * (missing * unit))));
      store(work.reach + o + x, keep(slanted, reach_per_gradient * length));
    }
  }
}

}  // namespace
