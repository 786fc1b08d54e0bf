// The iterations of TV-L1 between two warps: threshold step, primal step, dual step, stop.
//
// One pass over the window takes the dual step of one iteration and the primal step of the next
// together, so that every plane is read and written once per iteration and a neighbour to the left
// or right comes from a register. The flow is kept times tau / theta: the dual step then is
// p <- (p + grad u) / (1 + |grad u|), with a sum where the textbook form has products, which matters
// because products and stores, not memory, bound this loop.
#pragma once

#include "_tvl1.hpp"
#include "_tvl1_median.hpp"
#include "_tvl1_vector.hpp"

namespace {

using kinetag::tvl1::Level;
using kinetag::tvl1::Parameters;
using kinetag::tvl1::Workspace;

// Keeps the norm away from the inverse root of zero; its own root is far below float resolution.
constexpr float kTinySquare = 1e-30f;

struct Planes {
  const float* before[2];  // the flow of which the dual step is due
  float* u[2];
  float* p[4];
  const float* direction[2];
  const float* target;
  const float* reach;
};

struct Constants {
  Vec tau;
  IntVec tail;  // lanes of the last vector that are inside the window
};

// Which steps a pass takes.
enum class Pass {
  kPrimal,      // the first of a level: the dual variables are zero
  kDualPrimal,  // dual step of the flow, then its primal step
  kAfterMedian  // dual step of the flow before the median, primal step of the flow after it
};

struct Pair {
  Vec x, y;
};

// What one vector of a row hands to the next.
struct Carry {
  Pair before;  // the flow at the next vector, read before this one's is overwritten
  Pair left;    // x parts of the dual variables of the vector before
  Pair change;  // squared change of the flow, summed per lane
};

// The dual step at offset `o`; returns the divergence after it.
template <bool kLastRow>
KINETAG_INLINE Pair ascend(const Planes& q, std::ptrdiff_t o, std::ptrdiff_t stride,
                           Carry& carry) {
  const Vec u1 = carry.before.x;
  const Vec u2 = carry.before.y;
  carry.before = {load(q.before[0] + o + kLanes), load(q.before[1] + o + kLanes)};
  const Vec u1x = shift_left(u1, carry.before.x) - u1;
  const Vec u2x = shift_left(u2, carry.before.y) - u2;
  Vec u1y{};
  Vec u2y{};
  if constexpr (!kLastRow) {
    u1y = load(q.before[0] + o + stride) - u1;
    u2y = load(q.before[1] + o + stride) - u2;
  }
  const Vec one = splat(1.0f);
  const Vec tiny = splat(kTinySquare);
  const Vec square1 = fused(u1x, u1x, fused(u1y, u1y, tiny));
  const Vec square2 = fused(u2x, u2x, fused(u2y, u2y, tiny));
  const Vec shrink1 = inverse(fused(square1, inverse_root(square1), one));
  const Vec shrink2 = inverse(fused(square2, inverse_root(square2), one));
  const Vec p11 = (load(q.p[0] + o) + u1x) * shrink1;
  const Vec p12 = (load(q.p[1] + o) + u1y) * shrink1;
  const Vec p21 = (load(q.p[2] + o) + u2x) * shrink2;
  const Vec p22 = (load(q.p[3] + o) + u2y) * shrink2;
  store(q.p[0] + o, p11);
  store(q.p[1] + o, p12);
  store(q.p[2] + o, p21);
  store(q.p[3] + o, p22);
  const Vec left1 = shift_right(carry.left.x, p11);
  const Vec left2 = shift_right(carry.left.y, p21);
  carry.left = {p11, p21};
  return {(p11 - left1) + (p12 - load(q.p[1] + o - stride)),
          (p21 - left2) + (p22 - load(q.p[3] + o - stride))};
}

// The threshold and primal steps of the flow (u1, u2) at offset `o`.
template <bool kTail>
KINETAG_INLINE void descend(const Planes& q, std::ptrdiff_t o, const Constants& c, Pair u,
                            Pair divergence, Carry& carry) {
  const Vec e1 = load(q.direction[0] + o);
  const Vec e2 = load(q.direction[1] + o);
  const Vec distance = fused_minus(e1, u.x, fused_minus(e2, u.y, load(q.target + o)));
  const Vec step = within(distance, load(q.reach + o));
  Vec d1 = fused(e1, step, c.tau * divergence.x);
  Vec d2 = fused(e2, step, c.tau * divergence.y);
  store(q.u[0] + o, u.x + d1);
  store(q.u[1] + o, u.y + d2);
  if constexpr (kTail) {
    d1 = keep(c.tail, d1);
    d2 = keep(c.tail, d2);
  }
  carry.change = {fused(d1, d1, carry.change.x), fused(d2, d2, carry.change.y)};
}

template <Pass kPass, bool kLastRow, bool kTail>
KINETAG_INLINE void relax_vector(const Planes& q, std::ptrdiff_t o, std::ptrdiff_t stride,
                                 const Constants& c, Carry& carry) {
  if constexpr (kPass == Pass::kPrimal) {
    descend<kTail>(q, o, c, {load(q.u[0] + o), load(q.u[1] + o)}, {Vec{}, Vec{}}, carry);
  } else {
    Pair u = carry.before;
    const Pair divergence = ascend<kLastRow>(q, o, stride, carry);
    if constexpr (kPass == Pass::kAfterMedian) u = {load(q.u[0] + o), load(q.u[1] + o)};
    descend<kTail>(q, o, c, u, divergence, carry);
  }
}

template <Pass kPass, bool kLastRow>
float relax_row(const Planes& planes, int y, const Level& level, const Constants& c) {
  // A copy that no store can change, so that its pointers stay in registers.
  const Planes q = planes;
  const std::ptrdiff_t stride = level.window_stride;
  const std::ptrdiff_t start = y * stride;
  const int tail = (level.window_width - 1) / kLanes * kLanes;
  Carry carry{};
  if constexpr (kPass != Pass::kPrimal) {
    carry.before = {load(q.before[0] + start), load(q.before[1] + start)};
  }
  for (int x = 0; x < tail; x += kLanes) {
    relax_vector<kPass, kLastRow, false>(q, start + x, stride, c, carry);
  }
  relax_vector<kPass, kLastRow, true>(q, start + tail, stride, c, carry);
  // The forward difference at the last column is zero.
  for (float* u : q.u) u[start + level.window_width] = u[start + level.window_width - 1];
  return sum_of_lanes(carry.change.x + carry.change.y);
}

// One pass over the window; returns the squared change of the flow, summed up.
template <Pass kPass>
float relax(const Planes& q, const Level& level, const Constants& c) {
  double change = 0.0;
  const int last = level.window_height - 1;
  for (int y = 0; y < last; ++y) change += relax_row<kPass, false>(q, y, level, c);
  change += relax_row<kPass, true>(q, last, level, c);
  return static_cast<float>(change);
}

void swap_flow(Workspace& work) {
  for (int i = 0; i < 2; ++i) {
    float* flow = work.u[i];
    work.u[i] = work.spare[i];
    work.spare[i] = flow;
  }
}

// Alternates the median with inner iterations until the flow hardly changes any more: `bound` is
// the squared change of the whole window at which it stops. The dual step of the last iteration is
// left to the next call; `is_due` says whether one is.
void settle(const Level& level, const Parameters& parameters, const Constants& c, float bound,
            bool& is_due, Workspace& work) {
  Planes q{{work.u[0], work.u[1]},
           {work.u[0], work.u[1]},
           {work.p[0], work.p[1], work.p[2], work.p[3]},
           {work.direction[0], work.direction[1]},
           work.target,
           work.reach};
  for (int outer = 0; outer < parameters.outer_iterations; ++outer) {
    if (parameters.median) {
      for (int i = 0; i < 2; ++i) median(level, work.u[i], work.spare[i], work.rows);
      swap_flow(work);
      for (int i = 0; i < 2; ++i) q.u[i] = work.u[i];
    }
    for (int inner = 0; inner < parameters.inner_iterations; ++inner) {
      float change = 0.0f;
      if (!is_due) {
        change = relax<Pass::kPrimal>(q, level, c);
      } else if (q.before[0] != q.u[0]) {
        change = relax<Pass::kAfterMedian>(q, level, c);
      } else {
        change = relax<Pass::kDualPrimal>(q, level, c);
      }
      is_due = true;
      for (int i = 0; i < 2; ++i) q.before[i] = q.u[i];
      if (!(change > bound)) return;
    }
  }
}

}  // namespace
