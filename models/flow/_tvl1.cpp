// Python face of the TV-L1 kernel: checks and conversions only.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "_tvl1_engine.hpp"

namespace nb = nanobind;

namespace {

using namespace kinetag::tvl1;

using Frames = nb::ndarray<const std::uint8_t, nb::ndim<3>, nb::c_contig, nb::device::cpu>;
using Flow = nb::ndarray<float, nb::ndim<4>, nb::c_contig, nb::device::cpu>;
using Image = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using ImageOut = nb::ndarray<float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Corner = std::tuple<int, int>;  // top, left

// The region at `corner` with the size of the flow array, if it lies inside the frames.
Region require_region(const Frames& frames, const Flow& flow, const Corner& corner) {
  const auto [top, left] = corner;
  const long height = static_cast<long>(flow.shape(1));
  const long width = static_cast<long>(flow.shape(2));
  if (frames.shape(0) < 1 || flow.shape(0) + 1 != frames.shape(0) || flow.shape(3) != 2 ||
      top < 0 || left < 0 || height < 1 || width < 1 ||
      top + height > static_cast<long>(frames.shape(1)) ||
      left + width > static_cast<long>(frames.shape(2))) {
    throw std::invalid_argument(
        "The flow array must be float32[F, h, w, 2] for F + 1 frames and lie inside them.");
  }
  if (frames.shape(1) < 3 || frames.shape(2) < 3) {
    throw std::invalid_argument("Frames must be at least 3 pixels on either side.");
  }
  return {left, top, static_cast<int>(width), static_cast<int>(height)};
}

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

  void solve(const Frames& frames, const Flow& flow, int num_threads, const Corner& corner) const {
    const Region region = require_region(frames, flow, corner);
    if (flow.shape(0) == 0) return;
    const Batch batch{frames.data(),
                      flow.data(),
                      flow.shape(0),
                      static_cast<int>(frames.shape(2)),
                      static_cast<int>(frames.shape(1)),
                      region};
    const nb::gil_scoped_release release;
    compute_flow(batch, parameters_, num_scales_, kernels_, num_threads);
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
  if (target.shape(0) != source.shape(0) || target.shape(1) != source.shape(1)) {
    throw std::invalid_argument("Source and target must have the same shape.");
  }
  compute_median(source.data(), target.data(), static_cast<int>(source.shape(0)),
                 static_cast<int>(source.shape(1)), find_kernels(name));
}

}  // namespace

NB_MODULE(_tvl1, m) {
  m.attr("KERNEL_VERSION") = "2";
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
      .def("solve", &Solver::solve, nb::arg("frames"), nb::arg("flow"), nb::arg("num_threads"),
           nb::arg("corner") = Corner{0, 0});
}
