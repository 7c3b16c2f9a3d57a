// Convolutions of width three over time by Winograd's minimal filtering F(3, 3): three outputs, a tile, from five
// inputs with five products rather than nine (Winograd, 1980; Lavin & Gray, 2016).
//
// A tile's inputs and a kernel's taps are taken as polynomials and evaluated at 0, 1, -1, 2 and infinity; there a
// convolution is a product, which matrix products sum over channels and kernel rows, and three outputs are put together
// from the five points. The kernel's gradient, outputs for taps, is of the same form. What is not finite
// spreads over its tile.
#ifndef AASIST_JAX_NATIVE_WINOGRAD_H_
#define AASIST_JAX_NATIVE_WINOGRAD_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "rows.h"
#include "vectors.h"

namespace aasist {

constexpr int64_t kPoints = 5;
constexpr int64_t kTileInputs = 5;
// Tiles whose products are held in registers at a time, for two vectors of features.
constexpr int64_t kBlock = kVectorBytes == 64 ? 12 : 6;
// Tiles that are taken through all rows before the next ones: what is needed of them is in the second-level cache.
constexpr int64_t kSpan = 72;
static_assert(kSpan % kBlock == 0);

inline int64_t Tiles(int64_t steps) { return (steps + kWidth - 1) / kWidth; }
inline int64_t Spans(int64_t tiles) { return (tiles + kSpan - 1) / kSpan; }

// Values at the points: [point][tile][channel], kSpan tiles.
template <typename T>
AlignedVector<T> Planes(int64_t channels) {
  return AlignedVector<T>(kPoints * kSpan * channels);
}

// Those of two neighbouring rows, which is all that a kernel sees at a time.
constexpr int64_t kMaxHeight = 2;
template <typename T>
class TwoRows {
 public:
  // A block that begins one tile or some channels late may look as far beyond the end.
  explicit TwoRows(int64_t channels)
      : size_(kPoints * kSpan * channels), values_(kMaxHeight * size_ + channels + kEight) {}
  T* operator[](int64_t row) { return values_.data() + row % kMaxHeight * size_; }

 private:
  int64_t size_;
  AlignedVector<T> values_;
};

template <typename V>
inline void EvaluateInputs(const V d[kTileInputs], V at[kPoints]) {
  const V a = d[3] - d[1], b = d[2] - d[1];
  at[0] = a - 2 * (d[2] - d[0]);
  at[1] = a - d[2] - d[1];
  at[2] = d[3] - d[2] - 2 * b;
  at[3] = a;
  at[4] = d[4] - d[2] - 2 * a;
}

template <typename T, typename V>
inline void EvaluateTaps(const V g[kWidth], V at[kPoints]) {
  const V outer = g[0] + g[2];
  at[0] = g[0] * T(0.5);
  at[1] = (outer + g[1]) * T(-0.5);
  at[2] = (outer - g[1]) * (T(-1) / 6);
  at[3] = (g[0] + 2 * g[1] + 4 * g[2]) * (T(1) / 6);
  at[4] = g[2];
}

template <typename V>
inline void Interpolate(const V at[kPoints], V y[kWidth]) {
  const V sum = at[1] + at[2], difference = at[1] - at[2];
  y[0] = at[0] + sum + at[3];
  y[1] = difference + 2 * at[3];
  y[2] = sum + 4 * at[3] + at[4];
}

// Evaluates tiles whose inputs lie in a row: those of a tile begin three steps behind those of the one before.
template <typename T>
void EvaluateTiles(const T* inputs, int64_t channels, int64_t count, T* planes) {
  for (int64_t p = 0; p < count; ++p, inputs += kWidth * channels) {
    T* to = planes + p * channels;
    auto evaluate = [&](int64_t c, auto several) {
      using N = typename decltype(several)::type;
      alignas(64) N d[kTileInputs], at[kPoints];
      for (int64_t k = 0; k < kTileInputs; ++k) d[k] = *reinterpret_cast<const N*>(inputs + k * channels + c);
      EvaluateInputs(d, at);
      for (int64_t k = 0; k < kPoints; ++k) *reinterpret_cast<N*>(to + k * kSpan * channels + c) = at[k];
    };
    int64_t c = 0;
    for (; c + kEight <= channels; c += kEight) evaluate(c, EightOf<T>{});
    for (; c < channels; ++c) evaluate(c, OneOf<T>{});
  }
}

// Evaluates tiles [first, first + count) of a row; tile p sees its steps 3 p - 1 to 3 p + 3, zeros where there are
// none.
template <typename T>
void EvaluateRow(const T* row, int64_t steps, int64_t channels, int64_t first, int64_t count, T* planes) {
  // Tiles [before, whole) lie wholly in the row and are not copied.
  const int64_t whole = std::clamp<int64_t>((steps - 1) / kWidth - first, 0, count);
  const int64_t before = std::clamp<int64_t>(1 - first, 0, whole);
  EvaluateTiles(row + (kWidth * (first + before) - 1) * channels, channels, whole - before, planes + before * channels);
  AlignedVector<T> edge(kTileInputs * channels);
  auto evaluate = [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      CopySteps(row, kWidth * (first + p) - 1, kTileInputs, steps, channels, edge.data(), channels);
      EvaluateTiles(edge.data(), channels, 1, planes + p * channels);
    }
  };
  evaluate(0, before);
  evaluate(whole, count);
}

// `EvaluateTiles` of the gradient of a row that was pooled over time by three: what the pooled step g has is that of
// the one of its three steps that `index` tells, the other two have zero, and so have steps that fill no pool.
template <typename T>
void EvaluatePooled(const uint8_t* index, const T* g, int64_t pooled, int64_t channels, int64_t first, int64_t count,
                    T* planes) {
  const AlignedVector<T> zeros(channels);
  const std::vector<uint8_t> first_places(channels);
  for (int64_t p = 0; p < count; ++p) {
    const uint8_t* place[kWidth];
    const T* value[kWidth];
    for (int64_t k = 0; k < kWidth; ++k) {
      const int64_t step = first + p + k - 1;
      const bool there = step >= 0 && step < pooled;
      place[k] = there ? index + step * channels : first_places.data();
      value[k] = there ? g + step * channels : zeros.data();
    }
    T* to = planes + p * channels;
    auto evaluate = [&](int64_t c, auto several) {
      using N = typename decltype(several)::type;
      alignas(64) N d[kTileInputs], at[kPoints];
      d[0] = AtPlace(place[0] + c, value[0] + c, 2, several);
      for (int64_t k = 0; k < kWidth; ++k) d[k + 1] = AtPlace(place[1] + c, value[1] + c, k, several);
      d[4] = AtPlace(place[2] + c, value[2] + c, 0, several);
      EvaluateInputs(d, at);
      for (int64_t k = 0; k < kPoints; ++k) *reinterpret_cast<N*>(to + k * kSpan * channels + c) = at[k];
    };
    int64_t c = 0;
    for (; c + kEight <= channels; c += kEight) evaluate(c, EightOf<T>{});
    for (; c < channels; ++c) evaluate(c, OneOf<T>{});
  }
}

// Rows of a kernel at the points, (rows, point, inputs, padded features), of a kernel of which (row, tap, input,
// feature) is given.
template <typename T, typename Tap>
AlignedVector<T> EvaluateKernel(int64_t rows, int64_t inputs, int64_t features, const Tap& tap) {
  const int64_t padded = PaddedFeatures<T>(features);
  AlignedVector<T> to(rows * kPoints * inputs * padded);
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t c = 0; c < inputs; ++c) {
      for (int64_t f = 0; f < features; ++f) {
        T g[kWidth], at[kPoints];
        for (int64_t j = 0; j < kWidth; ++j) g[j] = tap(i, j, c, f);
        EvaluateTaps<T>(g, at);
        for (int64_t k = 0; k < kPoints; ++k) to[((i * kPoints + k) * inputs + c) * padded + f] = at[k];
      }
    }
  }
  return to;
}

template <typename T>
AlignedVector<T> EvaluateKernel(const T* kernel, int64_t rows, int64_t inputs, int64_t features) {
  return EvaluateKernel<T>(rows, inputs, features, [=](int64_t i, int64_t j, int64_t c, int64_t f) {
    return kernel[((i * kWidth + j) * inputs + c) * features + f];
  });
}

// The kernel that gives a convolution's gradient for its input: turned round in time, features in, inputs out.
template <typename T>
AlignedVector<T> EvaluateTurnedKernel(const T* kernel, int64_t rows, int64_t inputs, int64_t features) {
  return EvaluateKernel<T>(rows, features, inputs, [=](int64_t i, int64_t j, int64_t f, int64_t c) {
    return kernel[((i * kWidth + kWidth - 1 - j) * inputs + c) * features + f];
  });
}

// A row of inputs at the points, and what the kernel's row for it is there.
template <typename T>
struct Source {
  const T* planes;
  const T* kernel;
  int64_t channels;
};

// products[point, tile, f] = sum over sources and channels of planes[point, tile, c] * kernel[point, c, f]
template <typename T>
void Multiply(const Source<T>* sources, int64_t count, int64_t tiles, int64_t padded, T* products) {
  using V = typename Vector<T>::type;
  constexpr int64_t kLanes = Vector<T>::kLanes;
  for (int64_t point = 0; point < kPoints; ++point) {
    for (int64_t p = 0; p < tiles; p += kBlock) {
      for (int64_t f = 0; f < padded; f += 2 * kLanes) {
        V total[kBlock][2] = {};
        for (int64_t s = 0; s < count; ++s) {
          const int64_t channels = sources[s].channels;
          const T* x = sources[s].planes + (point * kSpan + p) * channels;
          const T* w = sources[s].kernel + point * channels * padded + f;
          for (int64_t c = 0; c < channels; ++c, w += padded) {
            const V first = Load(w), second = Load(w + kLanes);
            for (int64_t i = 0; i < kBlock; ++i) {
              const T value = x[i * channels + c];
              total[i][0] += value * first;
              total[i][1] += value * second;
            }
          }
        }
        T* to = products + (point * kSpan + p) * padded + f;
        for (int64_t i = 0; i < kBlock; ++i) {
          Store(to + i * padded, total[i][0]);
          Store(to + i * padded + kLanes, total[i][1]);
        }
      }
    }
  }
}

// The three outputs of a tile, for one vector of features from f on.
template <typename T>
inline void TileOutputs(const T* products, int64_t tile, int64_t padded, int64_t f,
                        typename Vector<T>::type y[kWidth]) {
  alignas(64) typename Vector<T>::type at[kPoints];
  for (int64_t k = 0; k < kPoints; ++k) at[k] = Load(products + (k * kSpan + tile) * padded + f);
  Interpolate(at, y);
}

// The inverse of `StoreFeatures`, zeros for what lies behind the features.
template <typename T>
inline typename Vector<T>::type LoadFeatures(const T* from, int64_t f, int64_t features) {
  constexpr int64_t kLanes = Vector<T>::kLanes;
  if (f + kLanes <= features) return Load(from + f);
  T values[kLanes] = {};
  if (f < features) std::copy_n(from + f, features - f, values);
  return Load(values);
}

// Stores the first of a vector's numbers: those up to `features`, where the vector begins with the f-th.
template <typename T>
inline void StoreFeatures(typename Vector<T>::type value, int64_t f, int64_t features, T* to) {
  constexpr int64_t kLanes = Vector<T>::kLanes;
  if (f + kLanes <= features) {
    Store(to + f, value);
  } else if (f < features) {
    T values[kLanes];
    Store(values, value);
    std::copy_n(values, features - f, to + f);
  }
}

}  // namespace aasist

#endif  // AASIST_JAX_NATIVE_WINOGRAD_H_
