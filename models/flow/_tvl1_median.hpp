// 5x5 median by a network of minima and maxima, on whole vectors of pixels.
//
// Two rows are filtered at once. Their windows share four rows, whose columns are sorted once and
// merged in neighbouring pairs once; of the twenty shared pixels only the middle six can be the
// median of either window, and a window adds five pixels of its own. That takes 76 minima and maxima
// per vector where sorting each window's columns takes 124. The networks for the shared pixels are
// Batcher's odd-even merges without the exchanges that no 0-1 input needs.
#pragma once

#include "_tvl1.hpp"
#include "_tvl1_vector.hpp"

namespace {

// Rows of whole-number keys that two rows of output look at.
constexpr int kKeyRows = 6;
constexpr int kSharedRows = 4;

KINETAG_INLINE void order(Key& low, Key& high) {
  const Key smaller = lowest(low, high);
  high = highest(low, high);
  low = smaller;
}

KINETAG_INLINE void sort_four(Key* v) {
  order(v[0], v[1]); order(v[2], v[3]); order(v[0], v[2]); order(v[1], v[3]); order(v[1], v[2]);
}

KINETAG_INLINE void sort_five(Key* v) {
  order(v[0], v[3]); order(v[1], v[4]); order(v[0], v[2]); order(v[1], v[3]); order(v[0], v[1]);
  order(v[2], v[4]); order(v[1], v[2]); order(v[3], v[4]); order(v[2], v[3]);
}

// v[0..3] and v[4..7] ascending before, v[0..7] after.
KINETAG_INLINE void merge_fours(Key* v) {
  order(v[0], v[4]); order(v[2], v[6]); order(v[2], v[4]); order(v[1], v[5]); order(v[3], v[7]);
  order(v[3], v[5]); order(v[1], v[2]); order(v[3], v[4]); order(v[5], v[6]);
}

// v[0..7], v[8..15] and v[16..19] ascending before; v[7..12] are the middle six, ascending, after.
// An exchange whose one result is not read again costs one instruction.
KINETAG_INLINE void select_middle_six(Key* v) {
  order(v[0], v[8]); order(v[4], v[12]); order(v[4], v[8]); order(v[2], v[10]); order(v[6], v[14]);
  order(v[6], v[10]); order(v[2], v[4]); order(v[6], v[8]); order(v[10], v[12]); order(v[1], v[9]);
  order(v[5], v[13]); order(v[5], v[9]); order(v[3], v[11]); order(v[7], v[15]); order(v[7], v[11]);
  order(v[3], v[5]); order(v[7], v[9]); order(v[11], v[13]); order(v[3], v[4]); order(v[5], v[6]);
  order(v[7], v[8]); order(v[9], v[10]); order(v[11], v[12]); order(v[8], v[16]); order(v[4], v[8]);
  order(v[12], v[16]); order(v[10], v[18]); order(v[6], v[10]); order(v[6], v[8]);
  order(v[10], v[12]); order(v[9], v[17]); order(v[5], v[9]); order(v[13], v[17]);
  order(v[3], v[19]); order(v[11], v[19]); order(v[7], v[11]); order(v[7], v[9]);
  order(v[11], v[13]); order(v[7], v[8]); order(v[9], v[10]); order(v[11], v[12]);
}

// The median of eleven: six and five, each ascending.
KINETAG_INLINE Key median_of_sorted(const Key* six, const Key* five) {
  Key median = six[5];
  for (int i = 0; i < 5; ++i) median = lowest(median, highest(six[4 - i], five[i]));
  return median;
}

// The five pixels around x of a row, sorted, and with the shared six the median.
KINETAG_INLINE Key finish_window(const float* row, int x, const Key* six) {
  Key own[5];
#pragma GCC unroll 5
  for (int i = 0; i < 5; ++i) own[i] = load_key(row + x + i - 2);
  sort_five(own);
  return median_of_sorted(six, own);
}

// A row of source as keys, with two more pixels on either side.
void take_keys(const float* source, int width, float* row) {
  for (int x = 0; x < width; x += kLanes) store_key(row + x, to_key(load(source + x)));
  row[-2] = row[-1] = row[0];
  row[width + 1] = row[width] = row[width - 1];
}

// Sorts the columns of four rows and merges each with its right neighbour.
void sort_shared(const float* const* shared, int width, std::ptrdiff_t stride, float* sorted,
                 float* merged) {
  for (int x = 0; x < width; x += kLanes) {
    Key column[kSharedRows];
    for (int i = 0; i < kSharedRows; ++i) column[i] = load_key(shared[i] + x);
    sort_four(column);
    for (int i = 0; i < kSharedRows; ++i) store_key(sorted + i * stride + x, column[i]);
  }
  for (int i = 0; i < kSharedRows; ++i) {
    float* row = sorted + i * stride;
    row[-2] = row[-1] = row[0];
    row[width + 1] = row[width] = row[width - 1];
  }
  for (int x = -kLanes; x < width; x += kLanes) {
    Key pair[2 * kSharedRows];
    for (int i = 0; i < kSharedRows; ++i) {
      pair[i] = load_key(sorted + i * stride + x);
      pair[kSharedRows + i] = load_key(sorted + i * stride + x + 1);
    }
    merge_fours(pair);
    for (int i = 0; i < 2 * kSharedRows; ++i) store_key(merged + i * stride + x, pair[i]);
  }
}

void median(const kinetag::tvl1::Level& level, const float* source, float* target, float* rows) {
  const std::ptrdiff_t stride = level.window_stride;
  const int width = level.window_width;
  const int last = level.window_height - 1;
  float* const keys = rows + kinetag::tvl1::kRowPadding;
  float* const sorted = keys + kKeyRows * stride;
  float* const merged = sorted + kSharedRows * stride;
  int taken = 0;
  for (int y = 0; y <= last; y += 2) {
    for (; taken <= at_most(y + 3, last); ++taken) {
      take_keys(source + taken * stride, width, keys + taken % kKeyRows * stride);
    }
    const float* near[kKeyRows];
    for (int i = 0; i < kKeyRows; ++i) {
      near[i] = keys + at_most(at_least(y + i - 2, 0), last) % kKeyRows * stride;
    }
    sort_shared(near + 1, width, stride, sorted, merged);
    float* upper = target + y * stride;
    float* lower = upper + (y < last ? stride : 0);
    for (int x = 0; x < width; x += kLanes) {
      Key v[5 * kSharedRows];
#pragma GCC unroll 8
      for (int i = 0; i < 2 * kSharedRows; ++i) {
        v[i] = load_key(merged + i * stride + x - 2);
        v[2 * kSharedRows + i] = load_key(merged + i * stride + x);
      }
#pragma GCC unroll 4
      for (int i = 0; i < kSharedRows; ++i) {
        v[4 * kSharedRows + i] = load_key(sorted + i * stride + x + 2);
      }
      select_middle_six(v);
      // On the last row of an odd number both are the same place, and the upper one is meant.
      store(lower + x, from_key(finish_window(near[kKeyRows - 1], x, v + 7)));
      store(upper + x, from_key(finish_window(near[0], x, v + 7)));
    }
  }
}

}  // namespace
