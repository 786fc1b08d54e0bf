// The frames of a pair at every level, and what the warp samples.
#pragma once

#include "_tvl1.hpp"
#include "_tvl1_vector.hpp"

namespace {

using kinetag::tvl1::Axis;
using kinetag::tvl1::Geometry;
using kinetag::tvl1::Level;
using kinetag::tvl1::Pyramid;

// Where a resize writes.
struct Raster {
  float* pixels;
  std::ptrdiff_t stride;
  int width;
  int height;
};

void resize(const float* source, std::ptrdiff_t source_stride, const Axis& ax, const Axis& ay,
            float scale, const Raster& to) {
  for (int y = 0; y < to.height; ++y) {
    const float* upper = source + ay.index[y] * source_stride;
    const float* lower = source + ay.next[y] * source_stride;
    const float wy = ay.weight[y];
    float* out = to.pixels + y * to.stride;
    for (int x = 0; x < to.width; ++x) {
      const int left = ax.index[x];
      const int right = ax.next[x];
      const float wx = ax.weight[x];
      const float above = upper[left] + wx * (upper[right] - upper[left]);
      const float below = lower[left] + wx * (lower[right] - lower[left]);
      out[x] = scale * (above + wy * (below - above));
    }
  }
}

// Central differences of column x, half a one-sided difference at the edges.
KINETAG_INLINE float slope_x(const float* row, int x, int last) {
  return 0.5f * (row[at_most(x + 1, last)] - row[at_least(x - 1, 0)]);
}

// Intensity and its gradient where the warp samples them: in three planes where a vector can look
// up its pixels in two others, elsewhere as one of four channels, so that one load gets all three.
void build_taps(const Level& level, const float* image, float* taps) {
  const int last = level.width - 1;
  for (int y = 0; y < level.height; ++y) {
    const float* row = image + y * level.stride;
    const float* above = image + at_least(y - 1, 0) * level.stride;
    const float* below = image + at_most(y + 1, level.height - 1) * level.stride;
    float* out = taps + y * level.tap_stride;
#if KINETAG_PLANAR_TAPS
    float* out_x = out + level.tap_plane;
    float* out_y = out_x + level.tap_plane;
    out_x[0] = slope_x(row, 0, last);
    for (int x = 1; x < last; ++x) out_x[x] = 0.5f * (row[x + 1] - row[x - 1]);
    out_x[last] = slope_x(row, last, last);
    for (int x = 0; x <= last; ++x) {
      out[x] = row[x];
      out_y[x] = 0.5f * (below[x] - above[x]);
    }
#else
    for (int x = 0; x <= last; ++x) {
      const Four pixel = {row[x], slope_x(row, x, last), 0.5f * (below[x] - above[x]), 0.0f};
      *reinterpret_cast<FourView*>(out + kTapChannels * x) = pixel;
    }
#endif
  }
}

void build_pyramid(const Geometry& geometry, const std::uint8_t* frame, const Pyramid& pyramid,
                   bool with_taps) {
  const Level& finest = geometry.levels[0];
  for (int y = 0; y < finest.height; ++y) {
    float* out = pyramid.image[0] + y * finest.stride;
    const std::uint8_t* in = frame + static_cast<std::ptrdiff_t>(y) * finest.width;
    for (int x = 0; x < finest.width; ++x) out[x] = in[x];
  }
  for (int s = 1; s < geometry.num_levels; ++s) {
    const Level& to = geometry.levels[s];
    resize(pyramid.image[s - 1], geometry.levels[s - 1].stride, to.down_x, to.down_y, 1.0f,
           {pyramid.image[s], to.stride, to.width, to.height});
  }
  if (!with_taps) return;
  for (int s = 0; s < geometry.num_levels; ++s) {
    build_taps(geometry.levels[s], pyramid.image[s], pyramid.taps[s]);
  }
}

}  // namespace
