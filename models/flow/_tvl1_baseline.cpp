// The TV-L1 kernel for every processor of the platform.
#include "_tvl1_kernel.hpp"

namespace kinetag::tvl1 {

Kernels baseline_kernels() { return {"baseline", KINETAG_PLANAR_TAPS != 0, build_pyramid, solve, median}; }

}  // namespace kinetag::tvl1
