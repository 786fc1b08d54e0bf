// The TV-L1 solver, included once by every per-processor file.
//
// Source: Zach, Pock, Bischof, "A Duality Based Approach for Realtime TV-L1 Optical Flow" (DAGM
// 2007), with the discretisation, the pyramid and the stopping rule of OpenCV contrib's
// DualTVL1OpticalFlow. Done differently here: the dual variables carry the factor theta, so that
// the primal step needs no product with it; the threshold step is a clamp of rho / |gradient|^2;
// primal step of row y and dual step of row y - 1 are one pass; norms and quotients are
// approximate to about 2^-14.
#pragma once

#include "_tvl1.hpp"
#include "_tvl1_median.hpp"
#include "_tvl1_vector.hpp"

namespace {

using kinetag::tvl1::Axis;
using kinetag::tvl1::Geometry;
using kinetag::tvl1::kTapBorder;
using kinetag::tvl1::kTapChannels;
using kinetag::tvl1::Level;
using kinetag::tvl1::Parameters;
using kinetag::tvl1::Pyramid;
using kinetag::tvl1::Workspace;

// Keys' cubic with the slope OpenCV uses. Source: OpenCV, interpolateCubic.
constexpr float kCubicSlope = -0.75f;
// Gradients whose square is not above this count as flat. Source: OpenCV tvl1flow, estimateV.
constexpr float kFlatGradient = 1.1920929e-07f;
// Keeps the norm away from the inverse root of zero; its own root is far below float resolution.
constexpr float kTinySquare = 1e-30f;

KINETAG_INLINE int at_most(int a, int b) { return a < b ? a : b; }
KINETAG_INLINE int at_least(int a, int b) { return a > b ? a : b; }

void resize(const float* source, std::ptrdiff_t source_stride, const Axis& ax, const Axis& ay,
            const Level& to, float scale, float* target) {
  for (int y = 0; y < to.height; ++y) {
    const float* upper = source + ay.index[y] * source_stride;
    const float* lower = source + ay.next[y] * source_stride;
    const float wy = ay.weight[y];
    float* out = target + y * to.stride;
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

// Intensity and its central differences, half a one-sided difference at the edges.
void interleave(const Level& level, const float* image, float* taps) {
  for (int y = 0; y < level.height; ++y) {
    const float* row = image + y * level.stride;
    const float* above = image + at_least(y - 1, 0) * level.stride;
    const float* below = image + at_most(y + 1, level.height - 1) * level.stride;
    float* out = taps + y * level.tap_stride;
    for (int x = 0; x < level.width; ++x) {
      const float left = row[at_least(x - 1, 0)];
      const float right = row[at_most(x + 1, level.width - 1)];
      const Four pixel = {row[x], 0.5f * (right - left), 0.5f * (below[x] - above[x]), 0.0f};
      *reinterpret_cast<FourView*>(out + kTapChannels * x) = pixel;
    }
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
    resize(pyramid.image[s - 1], geometry.levels[s - 1].stride, to.down_x, to.down_y, to, 1.0f,
           pyramid.image[s]);
  }
  if (!with_taps) return;
  for (int s = 0; s < geometry.num_levels; ++s) {
    interleave(geometry.levels[s], pyramid.image[s], pyramid.taps[s]);
  }
}

KINETAG_INLINE void cubic_weights(Vec t, Vec* w) {
  const float a = kCubicSlope;
  const Vec one_minus = 1.0f - t;
  w[0] = (((t + 1.0f) * a - 5.0f * a) * (t + 1.0f) + 8.0f * a) * (t + 1.0f) - 4.0f * a;
  w[1] = ((a + 2.0f) * t - (a + 3.0f)) * t * t + 1.0f;
  w[2] = ((a + 2.0f) * one_minus - (a + 3.0f)) * one_minus * one_minus + 1.0f;
  w[3] = 1.0f - w[0] - w[1] - w[2];
}

// Where a row of the flow points to: whole coordinates and bicubic weights.
struct Landing {
  std::int32_t* x;
  std::int32_t* y;
  float* wx[4];
  float* wy[4];
};

void locate(const Level& level, int y, const float* u1, const float* u2, const Landing& to) {
  Vec column{};
  for (int i = 0; i < kLanes; ++i) column[i] = static_cast<float>(i);
  const Vec first = splat(-3.0f);
  const Vec last_x = splat(static_cast<float>(level.width + 1));
  const Vec last_y = splat(static_cast<float>(level.height + 1));
  for (int x = 0; x < level.width; x += kLanes) {
    const Vec at_x = column + static_cast<float>(x) + load(u1 + x);
    const Vec at_y = static_cast<float>(y) + load(u2 + x);
    const Vec in_x = lowest(highest(at_x, first), last_x);
    const Vec in_y = lowest(highest(at_y, first), last_y);
    const IntVec whole_x = floor_to_int(in_x);
    const IntVec whole_y = floor_to_int(in_y);
    store(to.x + x, whole_x);
    store(to.y + x, whole_y);
    Vec w[4];
    cubic_weights(in_x - __builtin_convertvector(whole_x, Vec), w);
    for (int i = 0; i < 4; ++i) store(to.wx[i] + x, w[i]);
    cubic_weights(in_y - __builtin_convertvector(whole_y, Vec), w);
    for (int i = 0; i < 4; ++i) store(to.wy[i] + x, w[i]);
  }
}

// Four pixels of four channels per row: one 64-byte load each, summed by the vertical weights
// first, then the four columns by the horizontal ones.
KINETAG_INLINE Four bicubic(const float* corner, std::ptrdiff_t stride, const Landing& to, int x) {
  Sixteen sum = to.wy[0][x] * *reinterpret_cast<const SixteenView*>(corner);
  sum += to.wy[1][x] * *reinterpret_cast<const SixteenView*>(corner + stride);
  sum += to.wy[2][x] * *reinterpret_cast<const SixteenView*>(corner + 2 * stride);
  sum += to.wy[3][x] * *reinterpret_cast<const SixteenView*>(corner + 3 * stride);
  const Four c0 = __builtin_shufflevector(sum, sum, 0, 1, 2, 3);
  const Four c1 = __builtin_shufflevector(sum, sum, 4, 5, 6, 7);
  const Four c2 = __builtin_shufflevector(sum, sum, 8, 9, 10, 11);
  const Four c3 = __builtin_shufflevector(sum, sum, 12, 13, 14, 15);
  return (to.wx[0][x] * c0 + to.wx[1][x] * c1) + (to.wx[2][x] * c2 + to.wx[3][x] * c3);
}

// Samples the target frame where the flow points to and prepares the threshold step.
void warp(const Level& level, const float* image0, const float* taps, Workspace& work) {
  const std::ptrdiff_t stride = level.stride;
  float* rows = work.rows + kinetag::tvl1::kRowPadding;
  Landing to{};
  to.x = reinterpret_cast<std::int32_t*>(rows);
  to.y = reinterpret_cast<std::int32_t*>(rows + stride);
  for (int i = 0; i < 4; ++i) {
    to.wx[i] = rows + (2 + i) * stride;
    to.wy[i] = rows + (6 + i) * stride;
  }
  float* intensity = rows + 10 * stride;
  for (int y = 0; y < level.height; ++y) {
    const float* u1 = work.u[0] + y * stride;
    const float* u2 = work.u[1] + y * stride;
    float* gx_row = work.gradient_x + y * stride;
    float* gy_row = work.gradient_y + y * stride;
    locate(level, y, u1, u2, to);
    for (int x = 0; x < level.width; ++x) {
      const float* corner = taps + (to.y[x] - 1) * level.tap_stride + kTapChannels * (to.x[x] - 1);
      const Four sampled = bicubic(corner, level.tap_stride, to, x);
      intensity[x] = sampled[0];
      gx_row[x] = sampled[1];
      gy_row[x] = sampled[2];
    }
    for (int x = 0; x < level.width; x += kLanes) {
      const Vec gx = load(gx_row + x);
      const Vec gy = load(gy_row + x);
      const Vec square = gx * gx + gy * gy;
      const Vec rho = load(intensity + x) - gx * load(u1 + x) - gy * load(u2 + x) -
                      load(image0 + y * stride + x);
      const Vec inverse = keep(square > kFlatGradient, -1.0f / square);
      store(work.inverse + y * stride + x, inverse);
      store(work.residual + y * stride + x, rho * inverse);
    }
  }
}

void median(const Level& level, const float* source, float* target, float* rows) {
  const std::ptrdiff_t stride = level.stride;
  float* sorted = rows + kinetag::tvl1::kRowPadding;
  const int last = level.width - 1;
  for (int y = 0; y < level.height; ++y) {
    const float* in[5];
    for (int i = 0; i < 5; ++i) {
      in[i] = source + at_most(at_least(y + i - 2, 0), level.height - 1) * stride;
    }
    for (int x = 0; x < level.width; x += kLanes) {
      Vec column[5];
      for (int i = 0; i < 5; ++i) column[i] = load(in[i] + x);
      sort_column(column);
      for (int i = 0; i < 5; ++i) store(sorted + i * stride + x, column[i]);
    }
    for (int i = 0; i < 5; ++i) {
      float* row = sorted + i * stride;
      row[-2] = row[-1] = row[0];
      row[last + 1] = row[last + 2] = row[last];
    }
    float* out = target + y * stride;
    for (int x = 0; x < level.width; x += kLanes) {
      Vec window[25];
#pragma GCC unroll 5
      for (int rank = 0; rank < 5; ++rank) {
#pragma GCC unroll 5
        for (int column = 0; column < 5; ++column) {
          window[5 * rank + column] = load(sorted + rank * stride + x + column - 2);
        }
      }
      store(out + x, median_of_sorted_columns(window));
    }
  }
}

struct Constants {
  Vec tau;
  Vec tau_over_theta;
  Vec bound;  // lambda * theta
  IntVec tail;  // lanes of the last vector that are inside the image
};

enum class Row { kFirst, kMiddle, kPastLast };

struct Planes {
  float* __restrict u1;
  float* __restrict u2;
  float* __restrict p11;
  float* __restrict p12;
  float* __restrict p21;
  float* __restrict p22;
  const float* __restrict gx;
  const float* __restrict gy;
  const float* __restrict residual;
  const float* __restrict inverse;
};

// Primal step of row `y` and dual step of row `y - 1` for the vector at column x; returns the
// squared change of the flow. `o` is the offset of row y.
template <Row kRow, bool kTail>
KINETAG_INLINE Vec relax_vector(const Planes& q, std::ptrdiff_t o, std::ptrdiff_t stride,
                                const Constants& c) {
  const std::ptrdiff_t above = o - stride;
  Vec n1{};
  Vec n2{};
  Vec change{};
  const Vec a12 = load(q.p12 + above);
  const Vec a22 = load(q.p22 + above);
  if constexpr (kRow != Row::kPastLast) {
    const Vec u1 = load(q.u1 + o);
    const Vec u2 = load(q.u2 + o);
    const Vec gx = load(q.gx + o);
    const Vec gy = load(q.gy + o);
    const Vec raw = load(q.inverse + o) * (gx * u1 + gy * u2) + load(q.residual + o);
    const Vec step = lowest(highest(raw, -c.bound), c.bound);
    const Vec div1 = (load(q.p11 + o) - load(q.p11 + o - 1)) + (load(q.p12 + o) - a12);
    const Vec div2 = (load(q.p21 + o) - load(q.p21 + o - 1)) + (load(q.p22 + o) - a22);
    Vec d1 = step * gx + div1;
    Vec d2 = step * gy + div2;
    n1 = u1 + d1;
    n2 = u2 + d2;
    store(q.u1 + o, n1);
    store(q.u2 + o, n2);
    if constexpr (kTail) {
      d1 = keep(c.tail, d1);
      d2 = keep(c.tail, d2);
    }
    change = d1 * d1 + d2 * d2;
  }
  if constexpr (kRow != Row::kFirst) {
    const Vec b1 = load(q.u1 + above);
    const Vec b2 = load(q.u2 + above);
    const Vec u1x = load(q.u1 + above + 1) - b1;
    const Vec u2x = load(q.u2 + above + 1) - b2;
    Vec u1y{};
    Vec u2y{};
    if constexpr (kRow == Row::kMiddle) {
      u1y = n1 - b1;
      u2y = n2 - b2;
    }
    const Vec square1 = u1x * u1x + (u1y * u1y + kTinySquare);
    const Vec square2 = u2x * u2x + (u2y * u2y + kTinySquare);
    const Vec norm1 = square1 * inverse_root(square1);
    const Vec norm2 = square2 * inverse_root(square2);
    const Vec shrink1 = inverse(c.tau_over_theta * norm1 + 1.0f);
    const Vec shrink2 = inverse(c.tau_over_theta * norm2 + 1.0f);
    store(q.p11 + above, (load(q.p11 + above) + c.tau * u1x) * shrink1);
    store(q.p21 + above, (load(q.p21 + above) + c.tau * u2x) * shrink2);
    store(q.p12 + above, (a12 + c.tau * u1y) * shrink1);
    store(q.p22 + above, (a22 + c.tau * u2y) * shrink2);
  }
  return change;
}

template <Row kRow>
float relax_row(const Planes& q, int y, const Level& level, const Constants& c) {
  const std::ptrdiff_t start = y * level.stride;
  const int tail = (level.width - 1) / kLanes * kLanes;
  Vec change{};
  for (int x = 0; x < tail; x += kLanes) {
    change += relax_vector<kRow, false>(q, start + x, level.stride, c);
  }
  change += relax_vector<kRow, true>(q, start + tail, level.stride, c);
  if constexpr (kRow != Row::kPastLast) {
    // The forward difference at the last column is zero.
    q.u1[start + level.width] = q.u1[start + level.width - 1];
    q.u2[start + level.width] = q.u2[start + level.width - 1];
  }
  return sum_of_lanes(change);
}

// One iteration over the whole image; returns the squared change of the flow, summed up.
float relax(const Planes& q, const Level& level, const Constants& c) {
  double change = relax_row<Row::kFirst>(q, 0, level, c);
  for (int y = 1; y < level.height; ++y) change += relax_row<Row::kMiddle>(q, y, level, c);
  relax_row<Row::kPastLast>(q, level.height, level, c);
  return static_cast<float>(change);
}

void clear_plane(float* plane, const Level& level) {
  float* begin = plane - level.stride - kinetag::tvl1::kRowPadding;
  const std::ptrdiff_t count = (level.height + 2) * level.stride;
  for (std::ptrdiff_t i = 0; i < count; ++i) begin[i] = 0.0f;
}

void swap_flow(Workspace& work) {
  for (int i = 0; i < 2; ++i) {
    float* flow = work.u[i];
    work.u[i] = work.spare[i];
    work.spare[i] = flow;
  }
}

// Alternates the median with inner iterations until the flow hardly changes any more.
void settle(const Level& level, const Parameters& parameters, const Constants& c,
            Workspace& work) {
  const float bound = parameters.epsilon * parameters.epsilon *
                      static_cast<float>(level.width) * static_cast<float>(level.height);
  for (int outer = 0; outer < parameters.outer_iterations; ++outer) {
    if (parameters.median) {
      for (int i = 0; i < 2; ++i) median(level, work.u[i], work.spare[i], work.rows);
      swap_flow(work);
    }
    const Planes planes{work.u[0],     work.u[1],       work.p[0],       work.p[1],
                        work.p[2],     work.p[3],       work.gradient_x, work.gradient_y,
                        work.residual, work.inverse};
    for (int inner = 0; inner < parameters.inner_iterations; ++inner) {
      if (!(relax(planes, level, c) > bound)) return;
    }
  }
}

void solve(const Geometry& geometry, const Parameters& parameters, const Pyramid& first,
           const Pyramid& second, Workspace& work, float* flow) {
  Constants c{};
  c.tau = splat(parameters.tau);
  c.tau_over_theta = splat(parameters.tau / parameters.theta);
  c.bound = splat(parameters.lambda * parameters.theta);
  const int coarsest = geometry.num_levels - 1;
  for (int i = 0; i < 2; ++i) clear_plane(work.u[i], geometry.levels[coarsest]);
  for (int s = coarsest; s >= 0; --s) {
    const Level& level = geometry.levels[s];
    for (int i = 0; i < kLanes; ++i) c.tail[i] = i <= (level.width - 1) % kLanes ? -1 : 0;
    for (float* plane : work.p) clear_plane(plane, level);
    // Beyond the last column nothing is written by the warp: no stale value may stay there.
    float* const prepared[4] = {work.gradient_x, work.gradient_y, work.residual, work.inverse};
    for (float* plane : prepared) {
      clear_plane(plane, level);
    }
    for (int i = 0; i < parameters.num_warps; ++i) {
      warp(level, first.image[s], second.taps[s], work);
      settle(level, parameters, c, work);
    }
    if (s == 0) break;
    const Level& finer = geometry.levels[s - 1];
    const float zoom = static_cast<float>(1.0 / parameters.scale_step);
    for (int i = 0; i < 2; ++i) {
      clear_plane(work.spare[i], finer);
      resize(work.u[i], level.stride, finer.up_x, finer.up_y, finer, zoom, work.spare[i]);
    }
    swap_flow(work);
  }
  const Level& finest = geometry.levels[0];
  for (int y = 0; y < finest.height; ++y) {
    const float* u1 = work.u[0] + y * finest.stride;
    const float* u2 = work.u[1] + y * finest.stride;
    float* out = flow + static_cast<std::ptrdiff_t>(y) * finest.width * 2;
    for (int x = 0; x < finest.width; ++x) {
      out[2 * x] = u1[x];
      out[2 * x + 1] = u2[x];
    }
  }
}

}  // namespace
