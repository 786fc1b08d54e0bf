// 5x5 median by a network of minima and maxima, on whole vectors of pixels.
//
// The five pixels of a column are sorted once and shared by the five windows that contain them;
// the network below then only needs to be right for columns that are sorted already. By the 0-1
// principle that leaves 6^5 cases, and the network was found by removing every exchange that none
// of them needs: 106 operations per vector instead of the 198 of a network for unsorted input.
#pragma once

#include "_tvl1.hpp"
#include "_tvl1_vector.hpp"

namespace {

KINETAG_INLINE void order(Key& low, Key& high) {
  const Key smaller = lowest(low, high);
  high = highest(low, high);
  low = smaller;
}

KINETAG_INLINE void sort_column(Key* v) {
  order(v[0], v[3]); order(v[1], v[4]); order(v[0], v[2]); order(v[1], v[3]); order(v[0], v[1]);
  order(v[2], v[4]); order(v[1], v[2]); order(v[3], v[4]); order(v[2], v[3]);
}

// v[5 * rank + column], every column ascending in rank; an exchange whose one result is not read
// again costs one instruction.
KINETAG_INLINE Key median_of_sorted_columns(Key* v) {
  order(v[0], v[3]); order(v[1], v[4]); order(v[0], v[1]); order(v[2], v[4]); order(v[1], v[2]);
  order(v[3], v[4]); order(v[2], v[3]); order(v[5], v[8]); order(v[5], v[7]); order(v[6], v[8]);
  order(v[5], v[6]); order(v[7], v[9]); order(v[6], v[7]); order(v[8], v[9]); order(v[7], v[8]);
  order(v[10], v[13]); order(v[11], v[14]); order(v[10], v[12]); order(v[11], v[13]);
  order(v[10], v[11]); order(v[12], v[14]); order(v[11], v[12]); order(v[13], v[14]);
  order(v[12], v[13]); order(v[15], v[18]); order(v[16], v[19]); order(v[15], v[17]);
  order(v[15], v[16]); order(v[17], v[19]); order(v[16], v[17]); order(v[17], v[18]);
  order(v[20], v[23]); order(v[21], v[24]); order(v[20], v[22]); order(v[21], v[23]);
  order(v[20], v[21]); order(v[22], v[24]); order(v[21], v[22]); order(v[15], v[11]);
  order(v[7], v[3]); order(v[20], v[4]); order(v[12], v[8]); order(v[17], v[9]);
  order(v[11], v[3]); order(v[20], v[12]); order(v[4], v[8]); order(v[16], v[17]);
  order(v[4], v[12]); order(v[21], v[17]); order(v[16], v[13]); order(v[3], v[4]);
  order(v[4], v[12]); order(v[4], v[21]); order(v[3], v[4]); order(v[12], v[16]);
  order(v[4], v[12]);
  return v[12];
}

void median(const kinetag::tvl1::Level& level, const float* source, float* target, float* rows) {
  const std::ptrdiff_t stride = level.window_stride;
  float* sorted = rows + kinetag::tvl1::kRowPadding;
  const int last = level.window_width - 1;
  for (int y = 0; y < level.window_height; ++y) {
    const float* in[5];
    for (int i = 0; i < 5; ++i) {
      in[i] = source + at_most(at_least(y + i - 2, 0), level.window_height - 1) * stride;
    }
    for (int x = 0; x < level.window_width; x += kLanes) {
      Key column[5];
      for (int i = 0; i < 5; ++i) column[i] = to_key(load(in[i] + x));
      sort_column(column);
      for (int i = 0; i < 5; ++i) store_key(sorted + i * stride + x, column[i]);
    }
    for (int i = 0; i < 5; ++i) {
      float* row = sorted + i * stride;
      row[-2] = row[-1] = row[0];
      row[last + 1] = row[last + 2] = row[last];
    }
    float* out = target + y * stride;
    for (int x = 0; x < level.window_width; x += kLanes) {
      Key window[25];
#pragma GCC unroll 5
      for (int rank = 0; rank < 5; ++rank) {
#pragma GCC unroll 5
        for (int column = 0; column < 5; ++column) {
          window[5 * rank + column] = load_key(sorted + rank * stride + x + column - 2);
        }
      }
      store(out + x, from_key(median_of_sorted_columns(window)));
    }
  }
}

}  // namespace
