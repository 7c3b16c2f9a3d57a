// Convolutions of one or two rows, of width three over time, by Winograd's minimal filtering (Winograd, 1980; Lavin &
// Gray, 2016). Over time F(3, 3): three outputs, a tile, from five inputs with five products rather than nine.
//
// A tile's inputs and a kernel's taps are taken as polynomials and evaluated at 0, 1, -1, 2 and infinity; there a
// convolution is a product, which matrix products sum over channels, and three outputs are put together from the five
// points. The kernel's gradient, outputs for taps, is of the same form.
//
// Over the rows F(2, 2), where the kernel has two: two rows of outputs y from three of inputs x with three products
// rather than four,
//
//   y0 = (x0 - x1) k0 + x1 (k0 + k1)        y1 = x1 (k0 + k1) + (x2 - x1) k1
//
// What is not finite spreads over its tile, in the rows that see it.
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
constexpr int64_t kMaxHeight = 2;
constexpr int64_t kMaxTerms = 2 * kMaxHeight - 1;
// Tiles that are taken through all rows before the next ones: what is needed of them is in the second-level cache.
constexpr int64_t kSpan = 72;

// Rows of inputs that `height` rows of outputs see; there are as many terms.
inline int64_t Terms(int64_t height) { return 2 * height - 1; }
inline int64_t Tiles(int64_t steps) { return (steps + kWidth - 1) / kWidth; }
inline int64_t Spans(int64_t tiles) { return (tiles + kSpan - 1) / kSpan; }

// Values at the points: [point][tile][channel], kSpan tiles.
inline int64_t PlanesSize(int64_t channels) { return kPoints * kSpan * channels; }

// Those of some rows, or of terms.
template <typename T>
class Planes {
 public:
  // kernel_gradient.cc loads one tile, and some channels, beyond the last.
  Planes(int64_t rows, int64_t channels) : size_(PlanesSize(channels)), values_(rows * size_ + channels + kEight) {}
  T* operator[](int64_t row) { return values_.data() + row * size_; }
  const T* operator[](int64_t row) const { return values_.data() + row * size_; }

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

// What `inputs(row, tile, channel, several, d)` puts into d: a tile's inputs in one of the rows that the outputs see.
// Evaluates the terms of them.
template <typename T, typename Inputs>
void EvaluateTerms(int64_t height, int64_t channels, int64_t count, const Inputs& inputs, T* planes) {
  const int64_t size = PlanesSize(channels);
  for (int64_t p = 0; p < count; ++p) {
    auto evaluate = [&](int64_t c, auto several) {
      using N = typename decltype(several)::type;
      alignas(64) N d[kMaxTerms][kTileInputs], at[kPoints];
      auto store = [&](int64_t term) {
        EvaluateInputs(d[term], at);
        T* to = planes + term * size + p * channels + c;
        for (int64_t k = 0; k < kPoints; ++k) *reinterpret_cast<N*>(to + k * kSpan * channels) = at[k];
      };
      inputs(0, p, c, several, d[0]);
      if (height == 1) return store(0);
      inputs(1, p, c, several, d[1]);
      inputs(2, p, c, several, d[2]);
      for (int64_t k = 0; k < kTileInputs; ++k) {
        d[0][k] -= d[1][k];
        d[2][k] -= d[1][k];
      }
      for (int64_t term = 0; term < kMaxTerms; ++term) store(term);
    };
    int64_t c = 0;
    for (; c + kEight <= channels; c += kEight) evaluate(c, EightOf<T>{});
    for (; c < channels; ++c) evaluate(c, OneOf<T>{});
  }
}

// The terms of tiles whose inputs lie in rows: those of a tile begin three steps behind those of the one before.
template <typename T>
void EvaluateTiles(const T* const rows[], int64_t height, int64_t channels, int64_t count, T* planes) {
  EvaluateTerms(
      height, channels, count,
      [&](int64_t row, int64_t p, int64_t c, auto several, auto* d) {
        using N = typename decltype(several)::type;
        const T* from = rows[row] + kWidth * p * channels + c;
        for (int64_t k = 0; k < kTileInputs; ++k) d[k] = *reinterpret_cast<const N*>(from + k * channels);
      },
      planes);
}

// The terms of tiles [first, first + count) of rows `row`, `row` + 1, ... of `number` that begin at x; tile p sees the
// steps 3 p - 1 to 3 p + 3. Zeros where there is no row or step.
template <typename T>
class RowsEvaluator {
 public:
  RowsEvaluator(int64_t height, int64_t number, int64_t steps, int64_t channels)
      : height_(height),
        number_(number),
        steps_(steps),
        channels_(channels),
        zeros_((kWidth * kSpan + kTileInputs) * channels),
        edge_(kMaxTerms * kTileInputs * channels) {}

  void Run(const T* x, int64_t row, int64_t first, int64_t count, T* planes) {
    // Tiles [before, whole) lie wholly in the row and are not copied.
    const int64_t whole = std::clamp<int64_t>((steps_ - 1) / kWidth - first, 0, count);
    const int64_t before = std::clamp<int64_t>(1 - first, 0, whole);
    const T *rows[kMaxTerms], *inside[kMaxTerms], *edge[kMaxTerms];
    for (int64_t i = 0; i < Terms(height_); ++i) {
      rows[i] = row + i >= 0 && row + i < number_ ? x + (row + i) * steps_ * channels_ : nullptr;
      const bool looked_at = rows[i] != nullptr && whole > before;
      inside[i] = looked_at ? rows[i] + (kWidth * (first + before) - 1) * channels_ : zeros_.data();
      edge[i] = edge_.data() + i * kTileInputs * channels_;
    }
    EvaluateTiles(inside, height_, channels_, whole - before, planes + before * channels_);
    auto evaluate = [&](int64_t begin, int64_t end) {
      for (int64_t p = begin; p < end; ++p) {
        for (int64_t i = 0; i < Terms(height_); ++i) {
          CopySteps(rows[i], kWidth * (first + p) - 1, kTileInputs, rows[i] == nullptr ? 0 : steps_, channels_,
                    edge_.data() + i * kTileInputs * channels_);
        }
        EvaluateTiles(edge, height_, channels_, 1, planes + p * channels_);
      }
    };
    evaluate(0, before);
    evaluate(whole, count);
  }

 private:
  int64_t height_, number_, steps_, channels_;
  AlignedVector<T> zeros_, edge_;
};

// `RowsEvaluator` for the gradient of rows that were pooled over time by three: what the pooled step g has is that of
// the one of its three steps that `index` tells, the other two have zero, and so have steps that fill no pool.
template <typename T>
class PooledEvaluator {
 public:
  PooledEvaluator(int64_t number, int64_t pooled, int64_t channels)
      : number_(number), pooled_(pooled), channels_(channels), zeros_(channels), places_(channels) {}

  void Run(const uint8_t* index, const T* g, int64_t row, int64_t first, int64_t count, T* planes) const {
    EvaluateTerms(
        kMaxHeight, channels_, count,
        [&](int64_t i, int64_t p, int64_t c, auto several, auto* d) {
          const uint8_t* place[kWidth];
          const T* value[kWidth];
          for (int64_t k = 0; k < kWidth; ++k) {
            const int64_t step = first + p + k - 1;
            const bool there = row + i >= 0 && row + i < number_ && step >= 0 && step < pooled_;
            const int64_t at = ((row + i) * pooled_ + step) * channels_ + c;
            place[k] = there ? index + at : places_.data() + c;
            value[k] = there ? g + at : zeros_.data() + c;
          }
          d[0] = AtPlace(place[0], value[0], 2, several);
          for (int64_t k = 0; k < kWidth; ++k) d[k + 1] = AtPlace(place[1], value[1], k, several);
          d[4] = AtPlace(place[2], value[2], 0, several);
        },
        planes);
  }

 private:
  int64_t number_, pooled_, channels_;
  AlignedVector<T> zeros_;
  std::vector<uint8_t> places_;
};

// A kernel's terms at the points, (term, point, inputs, padded features), of one of which (row, tap, input, feature) is
// given.
template <typename T, typename Tap>
AlignedVector<T> EvaluateKernel(int64_t height, int64_t inputs, int64_t features, const Tap& tap) {
  const int64_t padded = PaddedFeatures<T>(features), terms = Terms(height);
  AlignedVector<T> to(terms * kPoints * inputs * padded);
  for (int64_t i = 0; i < terms; ++i) {
    for (int64_t c = 0; c < inputs; ++c) {
      for (int64_t f = 0; f < features; ++f) {
        T g[kWidth], at[kPoints];
        for (int64_t j = 0; j < kWidth; ++j) {
          g[j] = i == 0 ? tap(0, j, c, f) : i == 2 ? tap(1, j, c, f) : tap(0, j, c, f) + tap(1, j, c, f);
        }
        EvaluateTaps<T>(g, at);
        for (int64_t k = 0; k < kPoints; ++k) to[((i * kPoints + k) * inputs + c) * padded + f] = at[k];
      }
    }
  }
  return to;
}

template <typename T>
AlignedVector<T> EvaluateKernel(const T* kernel, int64_t height, int64_t inputs, int64_t features) {
  return EvaluateKernel<T>(height, inputs, features, [=](int64_t i, int64_t j, int64_t c, int64_t f) {
    return kernel[((i * kWidth + j) * inputs + c) * features + f];
  });
}

// The kernel that gives a convolution's gradient for its input: turned round, features in, inputs out.
template <typename T>
AlignedVector<T> EvaluateTurnedKernel(const T* kernel, int64_t height, int64_t inputs, int64_t features) {
  return EvaluateKernel<T>(height, features, inputs, [=](int64_t i, int64_t j, int64_t f, int64_t c) {
    return kernel[(((height - 1 - i) * kWidth + kWidth - 1 - j) * inputs + c) * features + f];
  });
}

// A term of the inputs at the points, and the kernel's for it.
template <typename T>
struct Source {
  const T* planes;
  const T* kernel;
  int64_t channels;
};

// Vectors of sums that are held in registers at a time: of kBlock tiles by `vectors` of features.
constexpr int64_t kSums = kVectorBytes == 64 ? 24 : 12;

template <typename T, int64_t vectors>
void MultiplyBlocks(const Source<T>* sources, int64_t count, int64_t tiles, int64_t padded, const T* start,
                    T* products) {
  using V = typename Vector<T>::type;
  constexpr int64_t kLanes = Vector<T>::kLanes, kBlock = kSums / vectors;
  static_assert(kSpan % kBlock == 0);
  for (int64_t point = 0; point < kPoints; ++point) {
    for (int64_t p = 0; p < tiles; p += kBlock) {
      for (int64_t f = 0; f < padded; f += vectors * kLanes) {
        const int64_t at = (point * kSpan + p) * padded + f;
        V total[kBlock][vectors] = {};
        if (start != nullptr) {
          for (int64_t i = 0; i < kBlock; ++i) {
            for (int64_t v = 0; v < vectors; ++v) total[i][v] = Load(start + at + i * padded + v * kLanes);
          }
        }
        for (int64_t s = 0; s < count; ++s) {
          const int64_t channels = sources[s].channels;
          const T* x = sources[s].planes + (point * kSpan + p) * channels;
          const T* w = sources[s].kernel + point * channels * padded + f;
          for (int64_t c = 0; c < channels; ++c, w += padded) {
            V taps[vectors];
            for (int64_t v = 0; v < vectors; ++v) taps[v] = Load(w + v * kLanes);
            for (int64_t i = 0; i < kBlock; ++i) {
              const T value = x[i * channels + c];
              for (int64_t v = 0; v < vectors; ++v) total[i][v] += value * taps[v];
            }
          }
        }
        for (int64_t i = 0; i < kBlock; ++i) {
          for (int64_t v = 0; v < vectors; ++v) Store(products + at + i * padded + v * kLanes, total[i][v]);
        }
      }
    }
  }
}

// products[point, tile, f] = start[point, tile, f] + sum over sources and channels of
//     planes[point, tile, c] * kernel[point, c, f]
// `start` may be null.
template <typename T>
void Multiply(const Source<T>* sources, int64_t count, int64_t tiles, int64_t padded, const T* start, T* products) {
  if (VectorsAtATime<T>(padded) == 3) {
    MultiplyBlocks<T, 3>(sources, count, tiles, padded, start, products);
  } else {
    MultiplyBlocks<T, 2>(sources, count, tiles, padded, start, products);
  }
}

// The products of as many rows of outputs as the kernel has, or of the first of them.
template <typename T>
class RowProducts {
 public:
  RowProducts(int64_t height, int64_t channels, int64_t padded)
      : height_(height), channels_(channels), padded_(padded), shared_(height - 1, padded), products_(height, padded) {}

  const T* operator[](int64_t row) const { return products_[row]; }

  // `kernel` as from EvaluateKernel; `more`, if any, has a source for each row, to be added.
  void Run(const Planes<T>& terms, const T* kernel, int64_t rows, int64_t tiles, const Source<T>* more = nullptr) {
    auto source = [&](int64_t term) {
      return Source<T>{terms[term], kernel + term * kPoints * channels_ * padded_, channels_};
    };
    const T* start = nullptr;
    if (height_ == 2) {
      const Source<T> both = source(1);
      Multiply<T>(&both, 1, tiles, padded_, nullptr, shared_[0]);
      start = shared_[0];
    }
    for (int64_t row = 0; row < rows; ++row) {
      const Source<T> sources[] = {source(2 * row), more == nullptr ? Source<T>{} : more[row]};
      Multiply(sources, more == nullptr ? 1 : 2, tiles, padded_, start, products_[row]);
    }
  }

 private:
  int64_t height_, channels_, padded_;
  Planes<T> shared_, products_;
};

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
