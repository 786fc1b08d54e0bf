// The TV-L1 kernel without Python: level sizes, memory, threads over frame pairs, choice of
// processor.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "_tvl1.hpp"

namespace kinetag::tvl1 {

// A rectangle of a frame, in whole pixels.
struct Region {
  int left;
  int top;
  int width;
  int height;
};

// uint8[num_pairs + 1, height, width] and, for the region, float32[num_pairs, h, w, 2].
struct Batch {
  const std::uint8_t* frames;
  float* flow;
  std::size_t num_pairs;
  int width;
  int height;
  Region region;
};

std::vector<Kernels> usable_kernels();

// The named kernel, the fastest one for an empty name. Throws std::invalid_argument.
Kernels find_kernels(const std::string& target);

// Computes all pairs of a batch. Throws std::bad_alloc.
void compute_flow(const Batch& batch, const Parameters& parameters, int num_scales,
                  const Kernels& kernels, int num_threads);

// 5x5 median of float32[height, width], for the tests.
void compute_median(const float* source, float* target, int height, int width,
                    const Kernels& kernels);

}  // namespace kinetag::tvl1
