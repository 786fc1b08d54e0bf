// The TV-L1 kernel without Python; see the header.
#include "_tvl1_engine.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <exception>
#include <iterator>
#include <memory>
#include <mutex>
#include <new>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <utility>

namespace kinetag::tvl1 {
namespace {

// Levels below this side are left out. Source: OpenCV contrib tvl1flow, calc.
constexpr int kSmallestSide = 16;
// Most pairs one thread takes at a time: neighbours share a pyramid, more of them balance worse.
constexpr std::size_t kPairsPerTurn = 4;
constexpr std::size_t kAlignment = 64;
// Planes start at different offsets inside a page, so that the same pixel of ten planes does not
// fall into the same cache set.
constexpr std::size_t kPlaneSkew = 80;
// How far the windows of the finest levels reach beyond what is wanted, in pixels of the level;
// coarser levels are computed whole, since motion that leaves the window there ruins what is in it.
// Measured on 24 real pairs at 455x256, 224 px wanted, against OpenCV on whole frames: mean end-point
// error 0.0091 px without windows, 0.0151 px with these, 0.0176 px with 32 and 64 pixels. Nearly all
// of it comes from when the iterations stop, which they do by the mean over the window.
constexpr int kWindowMargins[] = {64, 80};
constexpr int kNumWindowed = static_cast<int>(std::size(kWindowMargins));

// Samples of `to` pixels, the first of them at `to_start` of its axis, between `from` samples
// that start at `from_start` of theirs; `scale` is the size of a pixel, `size` the whole axis'.
struct AxisTable {
  std::vector<int> index, next;
  std::vector<float> weight;

  struct Span {
    int start;
    int length;
  };

  AxisTable(Span from, Span to, int size, double scale)
      : index(to.length), next(to.length), weight(to.length) {
    const int last = from.length - 1;
    for (int i = 0; i < to.length; ++i) {
      const float at = static_cast<float>((to.start + i + 0.5) * scale - 0.5);
      const int whole = static_cast<int>(std::floor(at));
      const int clamped = std::clamp(whole, 0, size - 1);
      index[i] = std::clamp(clamped - from.start, 0, last);
      next[i] = std::clamp(std::min(clamped + 1, size - 1) - from.start, 0, last);
      weight[i] = whole < 0 ? 0.0f : at - static_cast<float>(whole);
    }
  }

  Axis view() const { return {index.data(), next.data(), weight.data()}; }
};

std::ptrdiff_t padded(int width, int unit) { return (width + unit - 1) / unit * unit; }

// Sizes and windows of all levels and the tables to resize between them.
class Plan {
 public:
  Plan(int width, int height, const Region& region, int num_scales, double scale_step,
       bool planar_taps)
      : planar_taps_(planar_taps) {
    add(width, height);
    while (geometry_.num_levels < std::min(num_scales, kMaxScales)) {
      const Level& finer = geometry_.levels[geometry_.num_levels - 1];
      // Halves go to the even neighbour, as OpenCV rounds.
      const int w = static_cast<int>(std::nearbyint(finer.width * scale_step));
      const int h = static_cast<int>(std::nearbyint(finer.height * scale_step));
      if (w < kSmallestSide || h < kSmallestSide) break;
      add(w, h);
    }
    for (int s = 0; s < geometry_.num_levels; ++s) {
      place_window(s, region);
      if (s > 0) connect(geometry_.levels[s - 1], geometry_.levels[s], scale_step);
    }
    const Level& finest = geometry_.levels[0];
    geometry_.wanted_left = region.left - finest.left;
    geometry_.wanted_top = region.top - finest.top;
    geometry_.wanted_width = region.width;
    geometry_.wanted_height = region.height;
  }

  const Geometry& geometry() const { return geometry_; }

 private:
  void add(int width, int height) {
    Level& level = geometry_.levels[geometry_.num_levels++];
    level = Level{};
    level.width = width;
    level.height = height;
    level.stride = padded(width, kRowPadding) + 2 * kRowPadding;
    const int across = width + 2 * kTapBorder;
    level.tap_stride = planar_taps_ ? padded(across, 4) : 4 * padded(across, 4);
    level.tap_plane = planar_taps_ ? (height + 2 * kTapBorder) * level.tap_stride : 0;
  }

  // The region's place on one axis of a level, with the margin, inside the level.
  static AxisTable::Span window(AxisTable::Span wanted, int size, int whole, int margin) {
    const double zoom = static_cast<double>(size) / whole;
    const int begin = static_cast<int>(std::floor(wanted.start * zoom)) - margin;
    const int end = static_cast<int>(std::ceil((wanted.start + wanted.length) * zoom)) + margin;
    const int from = std::max(begin, 0);
    return {from, std::min(end, size) - from};
  }

  void place_window(int s, const Region& region) {
    const Level& finest = geometry_.levels[0];
    Level& level = geometry_.levels[s];
    const int everything = std::max(finest.width, finest.height);
    const int margin = s < kNumWindowed ? kWindowMargins[s] : everything;
    const auto x = window({region.left, region.width}, level.width, finest.width, margin);
    const auto y = window({region.top, region.height}, level.height, finest.height, margin);
    level.left = x.start;
    level.top = y.start;
    level.window_width = x.length;
    level.window_height = y.length;
    level.window_stride = padded(x.length, kRowPadding) + 2 * kRowPadding;
  }

  void connect(Level& finer, Level& coarser, double scale_step) {
    const double down = 1.0 / scale_step;
    coarser.down_x = table({0, finer.width}, {0, coarser.width}, finer.width, down);
    coarser.down_y = table({0, finer.height}, {0, coarser.height}, finer.height, down);
    finer.up_x = table({coarser.left, coarser.window_width}, {finer.left, finer.window_width},
                       coarser.width, static_cast<double>(coarser.width) / finer.width);
    finer.up_y = table({coarser.top, coarser.window_height}, {finer.top, finer.window_height},
                       coarser.height, static_cast<double>(coarser.height) / finer.height);
  }

  Axis table(AxisTable::Span from, AxisTable::Span to, int size, double scale) {
    tables_.push_back(std::make_unique<AxisTable>(from, to, size, scale));
    return tables_.back()->view();
  }

  bool planar_taps_;
  Geometry geometry_{};
  std::vector<std::unique_ptr<AxisTable>> tables_;
};

struct FreeAligned {
  void operator()(float* memory) const { ::operator delete(memory, std::align_val_t{kAlignment}); }
};
using Memory = std::unique_ptr<float, FreeAligned>;

Memory zeros(std::size_t floats) {
  void* raw = ::operator new(floats * sizeof(float), std::align_val_t{kAlignment});
  Memory memory(static_cast<float*>(raw));
  std::fill_n(memory.get(), floats, 0.0f);
  return memory;
}

// One block of zeros, given out in parts. Under the address sanitizer every part is a block of its
// own, so that an access between two parts is noticed.
class Buffer {
 public:
#if defined(__SANITIZE_ADDRESS__)
  explicit Buffer(std::size_t) {}

  float* take(std::size_t floats) {
    parts_.push_back(zeros(floats));
    return parts_.back().get();
  }

 private:
  std::vector<Memory> parts_;
#else
  explicit Buffer(std::size_t floats) : block_(zeros(floats)) {}

  float* take(std::size_t floats) {
    float* part = block_.get() + used_;
    used_ += floats;
    return part;
  }

 private:
  Memory block_;
  std::size_t used_ = 0;
#endif
};

std::size_t image_floats(const Level& level) {
  return static_cast<std::size_t>(level.height + 3) * level.stride;
}

std::size_t tap_floats(const Level& level) {
  const std::size_t plane =
      static_cast<std::size_t>(level.height + 2 * kTapBorder) * level.tap_stride;
  return padded(static_cast<int>(level.tap_plane > 0 ? 3 * plane : plane), 16) + kTapReach;
}

std::size_t plane_floats(const Level& level) {
  return static_cast<std::size_t>(level.window_height + 3) * level.window_stride;
}

std::size_t pyramid_floats(const Geometry& geometry) {
  std::size_t total = 0;
  for (int s = 0; s < geometry.num_levels; ++s) {
    total += image_floats(geometry.levels[s]) + tap_floats(geometry.levels[s]);
  }
  return total;
}

Pyramid take_pyramid(const Geometry& geometry, Buffer& buffer) {
  Pyramid pyramid{};
  for (int s = 0; s < geometry.num_levels; ++s) {
    const Level& level = geometry.levels[s];
    pyramid.image[s] = buffer.take(image_floats(level)) + level.stride + kRowPadding;
    const int channels = level.tap_plane > 0 ? 1 : 4;
    pyramid.taps[s] =
        buffer.take(tap_floats(level)) + kTapBorder * level.tap_stride + kTapBorder * channels;
  }
  return pyramid;
}

constexpr int kNumPlanes = 12;

// What the levels need at most, since each uses the same memory in its turn.
struct PlaneSize {
  std::size_t floats = 0;
  std::ptrdiff_t stride = 0;

  explicit PlaneSize(const Geometry& geometry) {
    for (int s = 0; s < geometry.num_levels; ++s) {
      floats = std::max(floats, plane_floats(geometry.levels[s]));
      stride = std::max(stride, geometry.levels[s].window_stride);
    }
    floats = (floats + stride + kRowPadding - 1) / kRowPadding * kRowPadding + kPlaneSkew;
  }
};

std::size_t workspace_floats(const Geometry& geometry) {
  const PlaneSize size(geometry);
  return kNumPlanes * size.floats + kScratchRows * size.stride;
}

Workspace take_workspace(const Geometry& geometry, Buffer& buffer) {
  const PlaneSize size(geometry);
  const auto plane = [&] { return buffer.take(size.floats) + size.stride + kRowPadding; };
  Workspace work{};
  for (float*& u : work.u) u = plane();
  for (float*& u : work.spare) u = plane();
  for (float*& p : work.p) p = plane();
  for (float*& e : work.direction) e = plane();
  work.target = plane();
  work.reach = plane();
  work.rows = buffer.take(kScratchRows * size.stride);
  return work;
}

struct Task {
  const Batch& batch;
  const Geometry& geometry;
  const Parameters& parameters;
  const Kernels& kernels;
  std::size_t pairs_per_turn;
};

// Takes runs of neighbouring pairs until none is left. A pair's result depends on its two frames
// alone, so neither the number of threads nor the order of the runs can be seen in it.
void run_pairs(const Task& task, std::atomic<std::size_t>& next) {
  const Batch& batch = task.batch;
  const std::size_t pixels = static_cast<std::size_t>(batch.width) * batch.height;
  const std::size_t wanted = static_cast<std::size_t>(batch.region.width) * batch.region.height;
  Buffer buffer(2 * pyramid_floats(task.geometry) + workspace_floats(task.geometry));
  Pyramid earlier = take_pyramid(task.geometry, buffer);
  Pyramid later = take_pyramid(task.geometry, buffer);
  Workspace work = take_workspace(task.geometry, buffer);
  for (;;) {
    const std::size_t begin = next.fetch_add(task.pairs_per_turn);
    if (begin >= batch.num_pairs) return;
    const std::size_t end = std::min(begin + task.pairs_per_turn, batch.num_pairs);
    const std::uint8_t* frame = batch.frames + begin * pixels;
    task.kernels.build_pyramid(task.geometry, frame, earlier, false);
    for (std::size_t pair = begin; pair < end; ++pair) {
      frame += pixels;
      task.kernels.build_pyramid(task.geometry, frame, later, true);
      task.kernels.solve(task.geometry, task.parameters, earlier, later, work,
                         batch.flow + pair * wanted * 2);
      std::swap(earlier, later);
    }
  }
}

void run_threads(const Task& task, std::size_t num_threads) {
  const std::size_t turns =
      (task.batch.num_pairs + task.pairs_per_turn - 1) / task.pairs_per_turn;
  const std::size_t count = std::min(num_threads, turns);
  std::atomic<std::size_t> next{0};
  std::exception_ptr failure;
  std::mutex failure_mutex;
  const auto work = [&] {
    try {
      run_pairs(task, next);
    } catch (...) {
      const std::lock_guard<std::mutex> lock(failure_mutex);
      failure = std::current_exception();
    }
  };
  std::vector<std::thread> threads;
  try {
    for (std::size_t i = 1; i < count; ++i) threads.emplace_back(work);
  } catch (const std::system_error&) {
    // Fewer threads than asked for still do all the work.
  }
  work();
  for (std::thread& thread : threads) thread.join();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace

std::vector<Kernels> usable_kernels() {
  std::vector<Kernels> kernels;
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")) {
    kernels.push_back(avx512_kernels());
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    kernels.push_back(avx2_kernels());
  }
#endif
  kernels.push_back(baseline_kernels());
  return kernels;
}

Kernels find_kernels(const std::string& target) {
  for (const Kernels& kernels : usable_kernels()) {
    if (target.empty() || target == kernels.name) return kernels;
  }
  throw std::invalid_argument("This processor cannot run the TV-L1 target '" + target + "'.");
}

void compute_flow(const Batch& batch, const Parameters& parameters, int num_scales,
                  const Kernels& kernels, int num_threads) {
  const Plan plan(batch.width, batch.height, batch.region, num_scales, parameters.scale_step,
                  kernels.planar_taps);
  const std::size_t threads = static_cast<std::size_t>(std::max(num_threads, 1));
  const std::size_t per_turn =
      std::clamp<std::size_t>(batch.num_pairs / (2 * threads), 1, kPairsPerTurn);
  run_threads({batch, plan.geometry(), parameters, kernels, per_turn}, threads);
}

void compute_median(const float* source, float* target, int height, int width,
                    const Kernels& kernels) {
  const Plan plan(width, height, {0, 0, width, height}, 1, 1.0, kernels.planar_taps);
  const Level& level = plan.geometry().levels[0];
  const std::ptrdiff_t stride = level.window_stride;
  Buffer buffer(2 * plane_floats(level) + kScratchRows * stride);
  float* in = buffer.take(plane_floats(level)) + stride + kRowPadding;
  float* out = buffer.take(plane_floats(level)) + stride + kRowPadding;
  for (int y = 0; y < height; ++y) {
    std::copy_n(source + static_cast<std::size_t>(y) * width, width, in + y * stride);
  }
  kernels.median(level, in, out, buffer.take(kScratchRows * stride));
  for (int y = 0; y < height; ++y) {
    std::copy_n(out + y * stride, width, target + static_cast<std::size_t>(y) * width);
  }
}

}  // namespace kinetag::tvl1
