// The TV-L1 kernel for processors with AVX-512 F, DQ, VL and BW.
#if defined(__x86_64__)

#include "_tvl1_kernel.hpp"

namespace kinetag::tvl1 {

Kernels avx512_kernels() { return {"avx512", KINETAG_PLANAR_TAPS != 0, build_pyramid, solve, median}; }

}  // namespace kinetag::tvl1

#endif
