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

// Of eight channels, or of one: place == at ? value : 0.
template <typename T>
inline Eight<T> AtPlace(const uint8_t* place, const T* value, int64_t at, EightOf<T>) {
  typedef uint8_t Places __attribute__((vector_size(kEight), aligned(1)));
  using Number = std::conditional_t<sizeof(T) == 4, int32_t, int64_t>;
  typedef Number Mask __attribute__((vector_size(kEight * sizeof(T))));
  const Mask places = __builtin_convertvector(*reinterpret_cast<const Places*>(place), Mask);
  const Eight<T> values = *reinterpret_cast<const Eight<T>*>(value);
  return places == Number(at) ? values : Eight<T>{};
}
template <typename T>
inline T AtPlace(const uint8_t* place, const T* value, int64_t at, OneOf<T>) {
  return *place == at ? *value : T(0);
}

template <typename T>
void SelectPlace(const uint8_t* place, const T* value, int64_t at, int64_t width, T* to) {
  int64_t c = 0;
  for (; c + kEight <= width; c += kEight) {
    *reinterpret_cast<Eight<T>*>(to + c) = AtPlace(place + c, value + c, at, EightOf<T>{});
  }
  for (; c < width; ++c) to[c] = AtPlace(place + c, value + c, at, OneOf<T>{});
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
