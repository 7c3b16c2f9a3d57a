// Rows of time steps: copied with zeros around them, or told apart by their place in a pool.
#ifndef AASIST_JAX_NATIVE_ROWS_H_
#define AASIST_JAX_NATIVE_ROWS_H_

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "vectors.h"

namespace aasist {

constexpr int64_t kWidth = 3;  // of Winograd's kernels, and of the pool

// Vectors of features that are taken side by side: three where that leaves none over, else two.
template <typename T>
int64_t VectorsAtATime(int64_t features) {
  return RoundUp(features, Vector<T>::kLanes) / Vector<T>::kLanes % 3 == 0 ? 3 : 2;
}

// Features in memory: rounded up to so many vectors.
template <typename T>
int64_t PaddedFeatures(int64_t features) {
  return RoundUp(features, VectorsAtATime<T>(features) * Vector<T>::kLanes);
}

// One number for each feature, padded with zeros.
template <typename T>
AlignedVector<T> PadFeatures(const T* from, int64_t features) {
  AlignedVector<T> to(PaddedFeatures<T>(features));
  std::copy_n(from, features, to.begin());
  return to;
}

// Copies `count` time steps of `width` numbers from step `first` on, zeros where there are none.
template <typename T>
void CopySteps(const T* row, int64_t first, int64_t count, int64_t length, int64_t width, T* to) {
  for (int64_t step = first; step < first + count; ++step, to += width) {
    if (step < 0 || step >= length) {
      std::fill_n(to, width, T(0));
    } else {
      std::copy_n(row + step * width, width, to);
    }
  }
}

// Which of eight bytes are `at`, in lanes of the width of the last argument: all bits set, or none. Compared as they
// stand in eight copies (the first byte in the lowest bits), as GCC 12 has no good code for widening them.
typedef uint32_t EightWords __attribute__((vector_size(kEight * sizeof(uint32_t))));
typedef uint64_t EightLongs __attribute__((vector_size(kEight * sizeof(uint64_t))));
typedef uint64_t FourLongs __attribute__((vector_size(kEight * sizeof(uint32_t))));
constexpr uint64_t kByte = 0xFF, kEveryByte = 0x0101010101010101;

inline uint64_t EightBytes(const uint8_t* from) {
  uint64_t bytes;
  std::memcpy(&bytes, from, kEight);
  return bytes;
}
inline auto Matches(const uint8_t* places, uint64_t at, float) {
  constexpr EightWords kMask = {kByte, kByte << 8, kByte << 16, kByte << 24,
                                kByte, kByte << 8, kByte << 16, kByte << 24};
  const EightWords copies = (EightWords)(FourLongs{} + EightBytes(places));
#if defined(__clang__)
  const EightWords all = __builtin_shufflevector(copies, copies, 0, 0, 0, 0, 1, 1, 1, 1);
#else  // GCC has it from version 12 on
  const EightWords all = __builtin_shuffle(copies, EightWords{0, 0, 0, 0, 1, 1, 1, 1});
#endif
  return (all & kMask) == (kMask & uint32_t(at * kEveryByte));
}
inline auto Matches(const uint8_t* places, uint64_t at, double) {
  constexpr EightLongs kMask = {kByte,       kByte << 8,  kByte << 16, kByte << 24,
                                kByte << 32, kByte << 40, kByte << 48, kByte << 56};
  return ((EightLongs{} + EightBytes(places)) & kMask) == (kMask & (at * kEveryByte));
}

// Of eight channels, or of one: place == at ? value : 0.
template <typename T>
inline Eight<T> AtPlace(const uint8_t* place, const T* value, int64_t at, EightOf<T>) {
  const Eight<T> values = *reinterpret_cast<const Eight<T>*>(value);
  return Matches(place, at, T()) ? values : Eight<T>{};
}
template <typename T>
inline T AtPlace(const uint8_t* place, const T* value, int64_t at, OneOf<T>) {
  return *place == at ? *value : T(0);
}

}  // namespace aasist

#endif  // AASIST_JAX_NATIVE_ROWS_H_
