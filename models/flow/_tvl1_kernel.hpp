// The TV-L1 solver, included once by every per-processor file.
//
// Source: Zach, Pock, Bischof, "A Duality Based Approach for Realtime TV-L1 Optical Flow" (DAGM
// 2007), with the discretisation, the pyramid and the stopping rule of OpenCV contrib's
// DualTVL1OpticalFlow. Done differently here: the flow is kept times tau / theta; the threshold
// step is a clamp along the gradient's direction; the dual step of an iteration and the primal step
// of the next are one pass; norms and quotients are approximate to about 2^-14; only a window of
// each level is computed where no more is wanted.
#pragma once

#include "_tvl1.hpp"
#include "_tvl1_pyramid.hpp"
#include "_tvl1_relax.hpp"
#include "_tvl1_warp.hpp"

namespace {

using kinetag::tvl1::kRowPadding;

void clear_plane(float* plane, const Level& level) {
  float* begin = plane - level.window_stride - kRowPadding;
  const std::ptrdiff_t count = (level.window_height + 2) * level.window_stride;
  for (std::ptrdiff_t i = 0; i < count; ++i) begin[i] = 0.0f;
}

void solve(const Geometry& geometry, const Parameters& parameters, const Pyramid& first,
           const Pyramid& second, Workspace& work, float* flow) {
  const float scale = parameters.tau / parameters.theta;
  const float reach_per_gradient = scale * parameters.lambda * parameters.theta;
  const float step_bound = scale * parameters.epsilon;
  Constants c{};
  c.tau = splat(parameters.tau);
  const int coarsest = geometry.num_levels - 1;
  for (float* u : work.u) clear_plane(u, geometry.levels[coarsest]);
  for (int s = coarsest; s >= 0; --s) {
    const Level& level = geometry.levels[s];
    for (int i = 0; i < kLanes; ++i) c.tail[i] = i <= (level.window_width - 1) % kLanes ? -1 : 0;
    for (float* p : work.p) clear_plane(p, level);
    const float bound = step_bound * step_bound * static_cast<float>(level.window_width) *
                        static_cast<float>(level.window_height);
    const float* image0 = first.image[s] + level.top * level.stride + level.left;
    bool is_due = false;
    for (int i = 0; i < parameters.num_warps; ++i) {
      warp(level, image0, second.taps[s], reach_per_gradient, scale, work);
      settle(level, parameters, c, bound, is_due, work);
    }
    if (s == 0) break;
    const Level& finer = geometry.levels[s - 1];
    const float zoom = static_cast<float>(1.0 / parameters.scale_step);
    for (int i = 0; i < 2; ++i) {
      clear_plane(work.spare[i], finer);
      resize(work.u[i], level.window_stride, finer.up_x, finer.up_y, zoom,
             {work.spare[i], finer.window_stride, finer.window_width, finer.window_height});
    }
    swap_flow(work);
  }
  const std::ptrdiff_t stride = geometry.levels[0].window_stride;
  const std::ptrdiff_t corner = geometry.wanted_top * stride + geometry.wanted_left;
  const float to_pixels = 1.0f / scale;
  for (int y = 0; y < geometry.wanted_height; ++y) {
    const float* u1 = work.u[0] + corner + y * stride;
    const float* u2 = work.u[1] + corner + y * stride;
    float* out = flow + static_cast<std::ptrdiff_t>(y) * geometry.wanted_width * 2;
    for (int x = 0; x < geometry.wanted_width; ++x) {
      out[2 * x] = to_pixels * u1[x];
      out[2 * x + 1] = to_pixels * u2[x];
    }
  }
}

}  // namespace
