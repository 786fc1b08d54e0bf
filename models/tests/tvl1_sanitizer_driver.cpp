// Runs the TV-L1 kernel without Python over sizes, regions and frames that are hard on it; built
// with sanitizers by test_native_sanitizers.py. Ends with a message and 1 where a result is wrong.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <random>
#include <vector>

#include "_tvl1_engine.hpp"

namespace {

using namespace kinetag::tvl1;

constexpr Parameters kShort{0.25f, 0.15f, 0.3f, 0.01f, 0.8, 2, 4, 2, true};
constexpr int kNumScales = 5;

struct Clip {
  int width;
  int height;
  std::vector<std::uint8_t> frames;

  std::size_t num_pairs() const { return frames.size() / (std::size_t{1} * width * height) - 1; }
};

// Noise matches nothing, so that the flow becomes large and leaves the frame everywhere.
Clip draw_noise(int width, int height, int num_frames) {
  std::mt19937 random(static_cast<unsigned>(width * 1000 + height));
  Clip clip{width, height, std::vector<std::uint8_t>(std::size_t{1} * width * height * num_frames)};
  for (std::uint8_t& pixel : clip.frames) pixel = random() % 8 == 0 ? 255 : random() % 32;
  return clip;
}

// A bright square that jumps by half the frame.
Clip draw_jump(int width, int height) {
  Clip clip{width, height, std::vector<std::uint8_t>(std::size_t{2} * width * height)};
  const int side = height / 3;
  for (int f = 0; f < 2; ++f) {
    for (int y = 0; y < side; ++y) {
      const std::size_t row = (std::size_t{1} * f * height + side + y) * width + f * width / 2;
      std::memset(clip.frames.data() + row, 200 + y % 50, side);
    }
  }
  return clip;
}

std::vector<float> compute(const Clip& clip, const Region& region, const Parameters& parameters,
                           const Kernels& kernels, int num_threads) {
  // Exactly what is wanted, so that one float too many is noticed.
  std::vector<float> flow(clip.num_pairs() * region.width * region.height * 2, NAN);
  compute_flow({clip.frames.data(), flow.data(), clip.num_pairs(), clip.width, clip.height, region},
               parameters, kNumScales, kernels, num_threads);
  for (float value : flow) {
    if (!std::isfinite(value)) {
      std::printf("%s: %dx%d has a value that is no number\n", kernels.name, clip.width,
                  clip.height);
      std::exit(1);
    }
  }
  return flow;
}

void check_sizes(const Kernels& kernels) {
  const int sizes[][2] = {{3, 3}, {3, 40}, {40, 3}, {16, 17}, {17, 16}, {33, 31}, {64, 48}};
  for (const auto& [width, height] : sizes) {
    const Clip clip = draw_noise(width, height, 2);
    const Region whole{0, 0, width, height};
    const std::vector<float> flow = compute(clip, whole, kShort, kernels, 1);
    const Region corners[] = {{0, 0, 1, 1}, {width - 1, 0, 1, 1}, {width - 1, height - 1, 1, 1},
                              {0, height - 1, width, 1}, {width / 2, 0, 1, height}};
    for (const Region& region : corners) compute(clip, region, kShort, kernels, 1);
  }
}

void check_regions(const Kernels& kernels, int width, int height, int crop) {
  const Clip clip = draw_noise(width, height, 2);
  const int x[] = {0, 1, (width - crop) / 2, width - crop};
  const int y[] = {0, (height - crop) / 2, height - crop};
  const Parameters once{0.25f, 0.15f, 0.3f, 0.01f, 0.8, 1, 2, 1, true};
  for (int left : x) {
    for (int top : y) compute(clip, {left, top, crop, crop}, once, kernels, 1);
  }
  compute(clip, {width / 2, height / 2, 1, 1}, once, kernels, 1);
}

void check_large_flow(const Kernels& kernels) {
  const Clip clip = draw_jump(120, 90);
  // A wide reach and no stop drive the flow out of the frame.
  const Parameters wild{0.25f, 5.0f, 3.0f, 1e-6f, 0.8, 4, 10, 1, true};
  compute(clip, {0, 0, 120, 90}, wild, kernels, 1);
  compute(clip, {7, 3, 50, 61}, wild, kernels, 1);
}

void check_threads(const Kernels& kernels) {
  const Clip clip = draw_noise(40, 36, 10);
  const Region region{5, 4, 20, 22};
  const std::vector<float> one = compute(clip, region, kShort, kernels, 1);
  for (int num_threads : {2, 3, 16}) {
    const std::vector<float> many = compute(clip, region, kShort, kernels, num_threads);
    if (std::memcmp(one.data(), many.data(), one.size() * sizeof(float)) != 0) {
      std::printf("%s: %d threads change the flow\n", kernels.name, num_threads);
      std::exit(1);
    }
  }
}

void check_median(const Kernels& kernels) {
  for (int width : {1, 2, 15, 16, 17, 33}) {
    for (int height : {1, 2, 3, 6, 7}) {
      std::vector<float> source(width * height);
      for (std::size_t i = 0; i < source.size(); ++i) source[i] = std::sin(0.7f * i) - 0.3f;
      std::vector<float> target(source.size());
      compute_median(source.data(), target.data(), height, width, kernels);
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  const bool threads_only = argc > 1 && std::strcmp(argv[1], "threads") == 0;
  for (const Kernels& kernels : usable_kernels()) {
    check_threads(kernels);
    if (!threads_only) {
      check_sizes(kernels);
      check_regions(kernels, 341, 256, 224);
      check_regions(kernels, 150, 101, 20);
      check_large_flow(kernels);
      check_median(kernels);
    }
    std::printf("%s\n", kernels.name);
  }
  return 0;
}
