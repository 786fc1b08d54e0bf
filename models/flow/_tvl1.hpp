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
// Zero rows above and below the image that is sampled, and zero columns on either side: the
// bicubic window of a clamped coordinate reaches four pixels outside.
inline constexpr int kTapBorder = 4;
// Floats beyond the last column of a sampled plane that a pair of vector loads may touch.
inline constexpr int kTapReach = 48;

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

// One frame size of the pyramid, and the window of it in which the flow is computed.
struct Level {
  int width;
  int height;
  std::ptrdiff_t stride;      // floats from one row of the image to the next
  std::ptrdiff_t tap_stride;  // floats from one row of the sampled planes to the next
  std::ptrdiff_t tap_plane;   // floats from one sampled plane to the next, where they are apart
  Axis down_x, down_y;        // whole image from the next finer level; unset at level 0
  int left, top;              // of the window
  int window_width;
  int window_height;
  std::ptrdiff_t window_stride;  // floats from one row of a plane of the workspace to the next
  Axis up_x, up_y;               // window from the next coarser one's; unset at the coarsest
};

struct Geometry {
  int num_levels;
  Level levels[kMaxScales];
  // What is wanted of level 0, counted from its window's corner.
  int wanted_left, wanted_top;
  int wanted_width, wanted_height;
};

// One frame at every level; pointers are to pixel (0, 0).
struct Pyramid {
  float* image[kMaxScales];
  float* taps[kMaxScales];  // intensity and its x and y gradient
};

// Scratch of one thread, large enough for the window of level 0; pointers are to its corner.
struct Workspace {
  float* u[2];      // the flow times tau / theta
  float* spare[2];  // target of the median and of the upsampling
  float* p[4];      // dual variables: x and y part of u[0], x and y part of u[1]
  float* direction[2];  // gradient / |gradient|, zero where the gradient vanishes
  float* target;        // distance along it at which the frames match, from zero flow
  float* reach;         // how far one step may go along it
  float* rows;          // kScratchRows rows
};

inline constexpr int kScratchRows = 18;

struct Kernels {
  const char* name;
  // Whether intensity and gradients are sampled from three planes or from one of four channels.
  bool planar_taps;
  // Fills every level from uint8[height, width] frames; taps only where the frame is a target.
  void (*build_pyramid)(const Geometry&, const std::uint8_t* frame, const Pyramid&,
                        bool with_taps);
  // Writes float32[wanted_height, wanted_width, 2].
  void (*solve)(const Geometry&, const Parameters&, const Pyramid& first, const Pyramid& second,
                Workspace&, float* flow);
  // 5x5 median of the window of a level, one plane into another.
  void (*median)(const Level&, const float* source, float* target, float* rows);
};

#if defined(__x86_64__)
Kernels avx512_kernels();
Kernels avx2_kernels();
#endif
Kernels baseline_kernels();

}  // namespace kinetag::tvl1
