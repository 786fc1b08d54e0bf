// Python face of the TV-L1 kernel: checks, memory, threads over frame pairs, choice of processor.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "_tvl1.hpp"

namespace nb = nanobind;

namespace {

using namespace kinetag::tvl1;

// Levels below this side are left out. Source: OpenCV contrib tvl1flow, calc.
constexpr int kSmallestSide = 16;
// Most pairs one thread takes at a time: neighbours share a pyramid, more of them balance worse.
constexpr std::size_t kPairsPerTurn = 4;
constexpr std::size_t kAlignment = 64;
// Planes start at different offsets inside a page, so that the same pixel of ten planes does not
// fall into the same cache set.
constexpr std::size_t kPlaneSkew = 80;

struct AxisTable {
  std::vector<int> index, next;
  std::vector<float> weight;

  AxisTable(int from, int to, double scale) : index(to), next(to), weight(to) {
    for (int i = 0; i < to; ++i) {
      const float at = static_cast<float>((i + 0.5) * scale - 0.5);
      const int whole = static_cast<int>(std::floor(at));
      index[i] = std::clamp(whole, 0, from - 1);
      next[i] = std::min(index[i] + 1, from - 1);
      weight[i] = whole < 0 ? 0.0f : at - static_cast<float>(whole);
    }
  }

  Axis view() const { return {index.data(), next.data(), weight.data()}; }
};

std::ptrdiff_t padded(int width, int unit) { return (width + unit - 1) / unit * unit; }

// Sizes of all levels and the tables to resize between them.
class Plan {
 public:
  Plan(int height, int width, int num_scales, double scale_step) {
    geometry_.num_levels = 0;
    add(height, width);
    while (geometry_.num_levels < std::min(num_scales, kMaxScales)) {
      const Level& finer = geometry_.levels[geometry_.num_levels - 1];
      // Halves go to the even neighbour, as OpenCV rounds.
      const int w = static_cast<int>(std::nearbyint(finer.width * scale_step));
      const int h = static_cast<int>(std::nearbyint(finer.height * scale_step));
      if (w < kSmallestSide || h < kSmallestSide) break;
      add(h, w);
      const int s = geometry_.num_levels - 1;
      Level& below = geometry_.levels[s - 1];
      Level& level = geometry_.levels[s];
      level.down_x = table(below.width, w, 1.0 / scale_step);
      level.down_y = table(below.height, h, 1.0 / scale_step);
      below.up_x = table(w, below.width, static_cast<double>(w) / below.width);
      below.up_y = table(h, below.height, static_cast<double>(h) / below.height);
    }
  }

  const Geometry& geometry() const { return geometry_; }

 private:
  void add(int height, int width) {
    Level& level = geometry_.levels[geometry_.num_levels++];
    level = Level{};
    level.width = width;
    level.height = height;
    level.stride = padded(width, kRowPadding) + 2 * kRowPadding;
    level.tap_stride = padded(width + 2 * kTapBorder, 4) * kTapChannels;
  }

  Axis table(int from, int to, double scale) {
    tables_.push_back(std::make_unique<AxisTable>(from, to, scale));
    return tables_.back()->view();
  }

  Geometry geometry_{};
  std::vector<std::unique_ptr<AxisTable>> tables_;
};

class Buffer {
 public:
  explicit Buffer(std::size_t floats)
      : data_(static_cast<float*>(::operator new(floats * sizeof(float),
                                                 std::align_val_t{kAlignment}))) {
    std::fill(data_, data_ + floats, 0.0f);
  }
  ~Buffer() { ::operator delete(data_, std::align_val_t{kAlignment}); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  float* take(std::size_t floats) {
    float* part = data_ + used_;
    used_ += floats;
    return part;
  }

 private:
  float* data_;
  std::size_t used_ = 0;
};

std::size_t plane_floats(const Level& level) {
  return static_cast<std::size_t>(level.height + 3) * level.stride;
}

std::size_t tap_floats(const Level& level) {
  return static_cast<std::size_t>(level.height + 2 * kTapBorder) * level.tap_stride + 64;
}

float* origin(float* plane, const Level& level) { return plane + level.stride + kRowPadding; }

std::size_t pyramid_floats(const Geometry& geometry) {
  std::size_t total = 0;
  for (int s = 0; s < geometry.num_levels; ++s) {
    total += plane_floats(geometry.levels[s]) + tap_floats(geometry.levels[s]);
  }
  return total;
}

Pyramid take_pyramid(const Geometry& geometry, Buffer& buffer) {
  Pyramid pyramid{};
  for (int s = 0; s < geometry.num_levels; ++s) {
    const Level& level = geometry.levels[s];
    pyramid.image[s] = origin(buffer.take(plane_floats(level)), level);
    pyramid.taps[s] = buffer.take(tap_floats(level)) + kTapBorder * level.tap_stride +
                      kTapBorder * kTapChannels;
  }
  return pyramid;
}

constexpr int kNumPlanes = 12;

std::size_t workspace_floats(const Level& level) {
  return kNumPlanes * (plane_floats(level) + kPlaneSkew) + kScratchRows * level.stride;
}

Workspace take_workspace(const Level& level, Buffer& buffer) {
  // Coarser levels have shorter rows, so their planes fit behind the same origin.
  const auto plane = [&] { return origin(buffer.take(plane_floats(level) + kPlaneSkew), level); };
  Workspace work{};
  for (float*& u : work.u) u = plane();
  for (float*& u : work.spare) u = plane();
  for (float*& p : work.p) p = plane();
  work.gradient_x = plane();
  work.gradient_y = plane();
  work.residual = plane();
  work.inverse = plane();
  work.rows = buffer.take(kScratchRows * level.stride);
  return work;
}

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

struct Batch {
  const std::uint8_t* frames;
  float* flow;
  std::size_t num_pairs;
  std::size_t pairs_per_turn;
  const Geometry& geometry;
  const Parameters& parameters;
  const Kernels& kernels;
};

// Takes runs of neighbouring pairs until none is left. A pair's result depends on its two frames
// alone, so neither the number of threads nor the order of the runs can be seen in it.
void run_pairs(const Batch& batch, std::atomic<std::size_t>& next) {
  const Level& finest = batch.geometry.levels[0];
  const std::size_t pixels = static_cast<std::size_t>(finest.width) * finest.height;
  Buffer buffer(2 * pyramid_floats(batch.geometry) + workspace_floats(finest));
  Pyramid earlier = take_pyramid(batch.geometry, buffer);
  Pyramid later = take_pyramid(batch.geometry, buffer);
  Workspace work = take_workspace(finest, buffer);
  for (;;) {
    const std::size_t begin = next.fetch_add(batch.pairs_per_turn);
    if (begin >= batch.num_pairs) return;
    const std::size_t end = std::min(begin + batch.pairs_per_turn, batch.num_pairs);
    const std::uint8_t* frame = batch.frames + begin * pixels;
    batch.kernels.build_pyramid(batch.geometry, frame, earlier, false);
    for (std::size_t pair = begin; pair < end; ++pair) {
      frame += pixels;
      batch.kernels.build_pyramid(batch.geometry, frame, later, true);
      batch.kernels.solve(batch.geometry, batch.parameters, earlier, later, work,
                          batch.flow + pair * pixels * 2);
      std::swap(earlier, later);
    }
  }
}

void run_threads(const Batch& batch, int num_threads) {
  const std::size_t turns = (batch.num_pairs + batch.pairs_per_turn - 1) / batch.pairs_per_turn;
  const std::size_t count = std::min<std::size_t>(std::max(num_threads, 1), turns);
  std::atomic<std::size_t> next{0};
  std::exception_ptr failure;
  std::mutex failure_mutex;
  const auto work = [&] {
    try {
      run_pairs(batch, next);
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

using Frames = nb::ndarray<const std::uint8_t, nb::ndim<3>, nb::c_contig, nb::device::cpu>;
using Flow = nb::ndarray<float, nb::ndim<4>, nb::c_contig, nb::device::cpu>;
using Image = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using ImageOut = nb::ndarray<float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

class Solver {
 public:
  Solver(float tau, float lambda, float theta, float epsilon, double scale_step, int num_scales,
         int num_warps, int inner_iterations, int outer_iterations, bool median,
         const std::string& target)
      : parameters_{tau,       lambda,           theta,            epsilon, scale_step,
                    num_warps, inner_iterations, outer_iterations, median},
        num_scales_(num_scales),
        kernels_(find_kernels(target)) {}

  std::string target() const { return kernels_.name; }

  void solve(const Frames& frames, const Flow& flow, int num_threads) const {
    const std::size_t height = frames.shape(1);
    const std::size_t width = frames.shape(2);
    if (frames.shape(0) < 1 || flow.shape(0) + 1 != frames.shape(0) || flow.shape(1) != height ||
        flow.shape(2) != width || flow.shape(3) != 2) {
      throw std::invalid_argument("The flow array must be float32[F, H, W, 2] for F + 1 frames.");
    }
    if (height < 3 || width < 3) {
      throw std::invalid_argument("Frames must be at least 3 pixels on either side.");
    }
    if (flow.shape(0) == 0) return;
    const std::uint8_t* in = frames.data();
    float* out = flow.data();
    const std::size_t num_pairs = flow.shape(0);
    const nb::gil_scoped_release release;
    const Plan plan(static_cast<int>(height), static_cast<int>(width), num_scales_,
                    parameters_.scale_step);
    const std::size_t turns = 2 * static_cast<std::size_t>(std::max(num_threads, 1));
    const std::size_t per_turn = std::clamp<std::size_t>(num_pairs / turns, 1, kPairsPerTurn);
    run_threads({in, out, num_pairs, per_turn, plan.geometry(), parameters_, kernels_},
                num_threads);
  }

 private:
  Parameters parameters_;
  int num_scales_;
  Kernels kernels_;
};

std::vector<std::string> targets() {
  std::vector<std::string> names;
  for (const Kernels& kernels : usable_kernels()) names.emplace_back(kernels.name);
  return names;
}

void median_of(const Image& source, const ImageOut& target, const std::string& name) {
  const int height = static_cast<int>(source.shape(0));
  const int width = static_cast<int>(source.shape(1));
  if (target.shape(0) != source.shape(0) || target.shape(1) != source.shape(1)) {
    throw std::invalid_argument("Source and target must have the same shape.");
  }
  const Kernels kernels = find_kernels(name);
  const Plan plan(height, width, 1, 1.0);
  const Level& level = plan.geometry().levels[0];
  Buffer buffer(2 * plane_floats(level) + kScratchRows * level.stride);
  float* in = origin(buffer.take(plane_floats(level)), level);
  float* out = origin(buffer.take(plane_floats(level)), level);
  for (int y = 0; y < height; ++y) {
    std::copy_n(source.data() + static_cast<std::size_t>(y) * width, width, in + y * level.stride);
  }
  kernels.median(level, in, out, buffer.take(kScratchRows * level.stride));
  for (int y = 0; y < height; ++y) {
    std::copy_n(out + y * level.stride, width, target.data() + static_cast<std::size_t>(y) * width);
  }
}

}  // namespace

NB_MODULE(_tvl1, m) {
  m.attr("KERNEL_VERSION") = "1";
  m.def("targets", &targets);
  m.def("median", &median_of, nb::arg("source"), nb::arg("target"), nb::arg("processor") = "");
  nb::class_<Solver>(m, "Solver")
      .def(nb::init<float, float, float, float, double, int, int, int, int, bool,
                    const std::string&>(),
           nb::kw_only(), nb::arg("tau"), nb::arg("lambda_"), nb::arg("theta"),
           nb::arg("epsilon"), nb::arg("scale_step"), nb::arg("num_scales"),
           nb::arg("num_warps"), nb::arg("inner_iterations"), nb::arg("outer_iterations"),
           nb::arg("median"), nb::arg("processor") = "")
      .def_prop_ro("processor", &Solver::target)
      .def("solve", &Solver::solve, nb::arg("frames"), nb::arg("flow"), nb::arg("num_threads"));
}
