// Rows of time steps: copied with zeros around them, spread over time.
#ifndef AASIST_JAX_NATIVE_ROWS_H_
#define AASIST_JAX_NATIVE_ROWS_H_

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "vectors.h"

namespace aasist {

constexpr int64_t kWidth = 3;  // of Winograd's kernels, and of the pool

// Features in memory: rounded up to pairs of vectors.
template <typename T>
int64_t PaddedFeatures(int64_t features) {
  return RoundUp(features, 2 * Vector<T>::kLanes);
}

// One number for each feature, padded with zeros.
template <typename T>
AlignedVector<T> PadFeatures(const T* from, int64_t features) {
  AlignedVector<T> to(PaddedFeatures<T>(features));
  std::copy_n(from, features, to.begin());
  return to;
}

// Copies `count` time steps of `width` numbers from step `first` on, zeros where there are none, `stride` apart.
template <typename T>
void CopySteps(const T* row, int64_t first, int64_t count, int64_t length, int64_t width, T* to, int64_t stride) {
  for (int64_t t = 0; t < count; ++t) {
    const int64_t step = first + t;
    if (step < 0 || step >= length) {
      std::fill_n(to + t * stride, width, T(0));
    } else {
      std::copy_n(row + step * width, width, to + t * stride);
    }
  }
}

// to[c] = place[c] == at ? value[c] : 0. Written out for the compiler: eight channels at a time.
template <typename T>
void SelectPlace(const uint8_t* place, const T* value, uint8_t at, int64_t width, T* to) {
  constexpr int64_t kLanes = 8;
  typedef uint8_t Places __attribute__((vector_size(kLanes), aligned(1)));
  typedef T Values __attribute__((vector_size(kLanes * sizeof(T)), aligned(alignof(T))));
  using Number = std::conditional_t<sizeof(T) == 4, int32_t, int64_t>;
  typedef Number Mask __attribute__((vector_size(kLanes * sizeof(T))));
  int64_t c = 0;
  for (; c + kLanes <= width; c += kLanes) {
    const Mask places = __builtin_convertvector(*reinterpret_cast<const Places*>(place + c), Mask);
    const Values values = *reinterpret_cast<const Values*>(value + c);
    *reinterpret_cast<Values*>(to + c) = places == Number(at) ? values : Values{};
  }
  for (; c < width; ++c) to[c] = place[c] == at ? value[c] : T(0);
}

// `CopySteps` of the gradient of a pool over time by three: what the pooled step g has goes to the one of its three
// steps that `index` tells, the other two get zeros, and so do steps that fill no pool.
template <typename T>
void CopyUnpooled(const uint8_t* index, const T* g, int64_t first, int64_t count, int64_t pooled, int64_t width, T* to,
                  int64_t stride) {
  for (int64_t t = 0; t < count; ++t) {
    const int64_t step = first + t;
    if (step < 0 || step >= kWidth * pooled) {
      std::fill_n(to + t * stride, width, T(0));
    } else {
      const int64_t from = step / kWidth * width;
      SelectPlace(index + from, g + from, step % kWidth, width, to + t * stride);
    }
  }
}

}  // namespace aasist

#endif  // AASIST_JAX_NATIVE_ROWS_H_
