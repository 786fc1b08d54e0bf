// What the portable part of the TV-L1 kernel and its per-processor parts share.
//
// Only plain data lives here: the per-processor files are compiled for different instruction
// sets, so nothing that the linker could merge between them may be defined in this header.
#pragma once

#include <cstddef>
#include <cstdint>

namespace kinetag::tvl1 {

inline constexpr int kMaxScales = 16;
// Floats to the left of column 0 and at least that many to the right of the last column, so that
// every vector access of a row stays inside it whatever the vector width.
inline constexpr int kRowPadding = 16;
// Zero pixels around the interleaved image: the bicubic window of a clamped coordinate reaches
// four pixels outside on either side.
inline constexpr int kTapBorder = 4;
inline constexpr int kTapChannels = 4;

struct Parameters {
  float tau;
  float lambda;
  float theta;
  float epsilon;
  double scale_step;
  int num_warps;
  int inner_iterations;
  int outer_iterations;
  bool median;
};

// One axis of a bilinear resize: sample `index[i]` and the next one, weight of the next one.
struct Axis {
  const int* index;
  const int* next;
  const float* weight;
};

struct Level {
  int width;
  int height;
  std::ptrdiff_t stride;      // floats from one row to the next
  std::ptrdiff_t tap_stride;  // floats from one row of the interleaved image to the next
  Axis down_x, down_y;        // from the next finer level; unset at level 0
  Axis up_x, up_y;            // from the next coarser level; unset at the coarsest
};

struct Geometry {
  int num_levels;
  Level levels[kMaxScales];
};

// One frame at every level; pointers are to pixel (0, 0).
struct Pyramid {
  float* image[kMaxScales];
  float* taps[kMaxScales];  // intensity, its x and y gradient, zero: four floats per pixel
};

// Scratch of one thread, large enough for level 0; pointers are to pixel (0, 0).
struct Workspace {
  float* u[2];      // the flow
  float* spare[2];  // target of the median and of the upsampling
  float* p[4];      // dual variables times theta: x and y part of u[0], x and y part of u[1]
  float* gradient_x;
  float* gradient_y;
  float* residual;  // constant part of rho times -1 / |gradient|^2
  float* inverse;   // -1 / |gradient|^2, zero where the gradient vanishes
  float* rows;      // kScratchRows rows
};

inline constexpr int kScratchRows = 12;

struct Kernels {
  const char* name;
  // Fills every level from uint8[height, width] frames; taps only where the frame is a target.
  void (*build_pyramid)(const Geometry&, const std::uint8_t* frame, const Pyramid&,
                        bool with_taps);
  // Writes float32[height, width, 2].
  void (*solve)(const Geometry&, const Parameters&, const Pyramid& first, const Pyramid& second,
                Workspace&, float* flow);
  // 5x5 median of one plane of level 0 into another, for the tests.
  void (*median)(const Level&, const float* source, float* target, float* rows);
};

#if defined(__x86_64__)
Kernels avx512_kernels();
Kernels avx2_kernels();
#endif
Kernels baseline_kernels();

}  // namespace kinetag::tvl1
