// The TV-L1 kernel for processors with AVX2 and FMA.
#if defined(__x86_64__)

#include "_tvl1_kernel.hpp"

namespace kinetag::tvl1 {

Kernels avx2_kernels() { return {"avx2", KINETAG_PLANAR_TAPS != 0, build_pyramid, solve, median}; }

}  // namespace kinetag::tvl1

#endif
