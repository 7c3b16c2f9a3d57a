// Gradients of a convolution of width three (channels last, stride 1, one step of padding in time) for its kernel and
// its bias:
//
//   dk[i, j, c, d] = sum over b, f, t of x[b, f + i - pad_rows, t + j - 1, c] * dy[b, f, t, d]
//   db[d] = sum over b, f, t of dy[b, f, t, d]
//
// Three taps from five inputs and three gradients, and two rows of them from three and two, are Winograd's filtering
// again (winograd.h), and as putting the taps together is linear, it comes last: the sums, over a million places, are
// of products of terms at the points. They are kept in registers, a tile of some inputs by some vectors of features at
// a time. With an index, dy is that of the pooled output and is spread over time on the way (rows.h). Each
// run of kSpan tiles starts from zero and is added to its chunk's total, which keeps rounding errors small.

#include "handler.h"
#include "parallel_for.h"
#include "winograd.h"

namespace {

namespace ffi = xla::ffi;

using aasist::AlignedVector;
using aasist::kMaxHeight;
using aasist::kPoints;
using aasist::kSpan;
using aasist::kWidth;
using aasist::Load;
using aasist::RoundUp;
using aasist::Store;
using aasist::Vector;

// By two or three vectors of features: within the registers that there are, and a divisor of most layers' channels.
constexpr int64_t kInputs = aasist::kVectorBytes == 64 ? 8 : 4;
static_assert(kInputs <= aasist::kEight);  // Planes leaves so much room

struct Shape {
  int64_t batch, rows_in, channels;  // of x
  int64_t rows, steps, features;     // of dy; x has as many steps
  int64_t height, pad_rows;
  bool pooled;  // dy has an index
};

// total[c, d] += sum over p of x[p * channels + c] * dy[p * features + d], for kInputs inputs and so many vectors of
// features.
template <typename T, int64_t vectors>
void AddTile(const T* x, int64_t channels, const T* dy, int64_t features, int64_t tiles, T* total) {
  using V = typename Vector<T>::type;
  constexpr int64_t kLanes = Vector<T>::kLanes;
  V sum[kInputs][vectors] = {}, gradients[vectors];
  for (int64_t v = 0; v < vectors; ++v) gradients[v] = Load(dy + v * kLanes);
  for (int64_t p = 0; p < tiles; ++p, x += channels) {
    for (int64_t c = 0; c < kInputs; ++c) {
      for (int64_t v = 0; v < vectors; ++v) sum[c][v] += x[c] * gradients[v];
    }
    // Loaded for the next tile, so that GCC keeps them in registers and does not load them for every product.
    dy += features;
    for (int64_t v = 0; v < vectors; ++v) gradients[v] = Load(dy + v * kLanes);
  }
  for (int64_t c = 0; c < kInputs; ++c) {
    for (int64_t v = 0; v < vectors; ++v) {
      T* to = total + c * features + v * kLanes;
      Store<T>(to, Load(to) + sum[c][v]);
    }
  }
}

// The same for all inputs and features.
template <typename T, int64_t vectors>
void AddTiles(const T* x, int64_t channels, const T* dy, int64_t features, int64_t tiles, T* total) {
  for (int64_t d = 0; d < features; d += vectors * Vector<T>::kLanes) {
    for (int64_t c = 0; c < channels; c += kInputs) {
      AddTile<T, vectors>(x + c, channels, dy + d, features, tiles, total + c * features + d);
    }
  }
}

// A chunk's sums: (term, point, inputs, features), then the bias's; inputs and features rounded up to whole tiles.
template <typename T>
struct Layout {
  explicit Layout(const Shape& s)
      : inputs(RoundUp(s.channels, kInputs)),
        features(aasist::PaddedFeatures<T>(s.features)),
        bias(aasist::Terms(s.height) * kPoints * inputs * features),
        size(bias + features) {}
  int64_t inputs, features, bias, size;
};

// The terms of the gradients at the points, of tiles [first, first + count) of a row and, if there is one, the next
// that the kernel sees; the gradients are added to `sums`.
template <typename T>
void EvaluateGradients(const Shape& s, const T* dy, const uint8_t* index, int64_t row, int64_t first, int64_t count,
                       aasist::Planes<T>& terms, int64_t padded, AlignedVector<T>& sums) {
  const int64_t features = s.features, pooled = s.steps / kWidth;
  const int64_t rows = std::min(s.height, s.rows - row);
  const int64_t length = s.pooled ? pooled : s.steps;  // of a row
  for (int64_t p = 0; p < count; ++p) {
    const int64_t tile = first + p;
    auto evaluate = [&](int64_t d, auto several) {
      using N = typename decltype(several)::type;
      alignas(64) N g[kMaxHeight][kWidth], both[kWidth], at[kPoints];
      for (int64_t i = 0; i < s.height; ++i) {
        const int64_t from = (row + i) * length * features + d;
        for (int64_t k = 0; k < kWidth; ++k) {
          const int64_t step = kWidth * tile + k;
          if (i >= rows || (s.pooled ? tile >= pooled : step >= s.steps)) {
            g[i][k] = N{};
          } else if (!s.pooled) {
            g[i][k] = *reinterpret_cast<const N*>(dy + from + step * features);
          } else {
            g[i][k] = aasist::AtPlace(index + from + tile * features, dy + from + tile * features, k, several);
          }
        }
      }
      auto store = [&](int64_t term, const N* taps) {
        aasist::EvaluateTaps<T>(taps, at);
        for (int64_t k = 0; k < kPoints; ++k) *reinterpret_cast<N*>(terms[term] + (k * kSpan + p) * padded + d) = at[k];
      };
      for (int64_t k = 0; k < kWidth; ++k) both[k] = s.height == 1 ? g[0][k] : g[0][k] + g[1][k];
      *reinterpret_cast<N*>(sums.data() + d) += both[0] + both[1] + both[2];
      store(0, g[0]);
      if (s.height == 1) return;
      store(1, both);
      store(2, g[1]);
    };
    int64_t d = 0;
    for (; d + aasist::kEight <= features; d += aasist::kEight) evaluate(d, aasist::EightOf<T>{});
    for (; d < features; ++d) evaluate(d, aasist::OneOf<T>{});
  }
}

// What the spans [begin, end) of all clips add to their chunk's total.
template <typename T>
void AddSpans(const Shape& s, const Layout<T>& layout, const T* x, const T* dy, const uint8_t* index, int64_t begin,
              int64_t end, T* total) {
  const int64_t tiles = aasist::Tiles(s.steps), spans = aasist::Spans(tiles), features = layout.features;
  const int64_t gradients_size = s.rows * (s.pooled ? s.steps / kWidth : s.steps) * s.features;
  aasist::RowsEvaluator<T> evaluator(s.height, s.rows_in, s.steps, s.channels);
  aasist::Planes<T> terms(aasist::Terms(s.height), s.channels), gradients(aasist::Terms(s.height), features);
  AlignedVector<T> sums(s.features);
  const auto add = aasist::VectorsAtATime<T>(features) == 3 ? AddTiles<T, 3> : AddTiles<T, 2>;
  for (int64_t item = begin; item < end; ++item) {
    const int64_t clip = item / spans, first = item % spans * kSpan, count = std::min(kSpan, tiles - first);
    for (int64_t row = 0; row < s.rows; row += s.height) {
      std::fill(sums.begin(), sums.end(), T(0));
      EvaluateGradients(s, dy + clip * gradients_size, s.pooled ? index + clip * gradients_size : nullptr, row, first,
                        count, gradients, features, sums);
      for (int64_t d = 0; d < s.features; ++d) total[layout.bias + d] += sums[d];
      evaluator.Run(x + clip * s.rows_in * s.steps * s.channels, row - s.pad_rows, first, count, terms[0]);
      // The last term is of the second row.
      const int64_t there = row + s.height <= s.rows ? aasist::Terms(s.height) : s.height;
      for (int64_t i = 0; i < there * kPoints; ++i) {
        const int64_t term = i / kPoints, point = i % kPoints * kSpan;
        add(terms[term] + point * s.channels, s.channels, gradients[term] + point * features, features, count,
            total + i * layout.inputs * features);
      }
    }
  }
}

template <typename T>
ffi::Error KernelGradient(ffi::ThreadPool& pool, const Shape& s, const T* x, const T* dy, const uint8_t* index, T* dk,
                          T* db) {
  const Layout<T> layout(s);
  const int64_t tiles = aasist::Tiles(s.steps), spans = aasist::Spans(tiles);
  AlignedVector<T> totals(aasist::kChunks * layout.size);
  aasist::ParallelFor(pool, s.batch * spans, [&](int64_t chunk, int64_t begin, int64_t end) {
    AddSpans(s, layout, x, dy, index, begin, end, totals.data() + chunk * layout.size);
  });
  auto sum = [&](int64_t place) { return aasist::SumOfChunks(totals.data(), layout.size, place); };
  for (int64_t d = 0; d < s.features; ++d) {
    for (int64_t i = 0; i < s.height; ++i) {
      for (int64_t c = 0; c < s.channels; ++c) {
        T at[kPoints], taps[kWidth];
        for (int64_t k = 0; k < kPoints; ++k) {
          at[k] = 0;
          for (int64_t term = i; term < i + s.height; ++term) {
            at[k] += sum(((term * kPoints + k) * layout.inputs + c) * layout.features + d);
          }
        }
        aasist::Interpolate(at, taps);
        for (int64_t j = 0; j < kWidth; ++j) dk[((i * kWidth + j) * s.channels + c) * s.features + d] = taps[j];
      }
    }
    db[d] = sum(layout.bias + d);
  }
  return ffi::Error::Success();
}

ffi::Error Handle(ffi::ThreadPool pool, ffi::AnyBuffer x, ffi::AnyBuffer dy, ffi::AnyBuffer index,
                  ffi::Result<ffi::AnyBuffer> dk, ffi::Result<ffi::AnyBuffer> db, int64_t pad_rows, bool pooled) {
  const auto in = x.dimensions(), out = dy.dimensions(), kernel = dk->dimensions();
  const Shape shape{in[0], in[1], in[3], out[1], in[2], out[3], kernel[0], pad_rows, pooled};
  return aasist::ForType(x, [&](auto number) {
    using T = decltype(number);
    return KernelGradient<T>(pool, shape, x.typed_data<T>(), dy.typed_data<T>(), index.typed_data<uint8_t>(),
                             dk->typed_data<T>(), db->typed_data<T>());
  });
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(AasistJaxKernelGradient, Handle,
                              (aasist::Buffers<3, 2>().Attr<int64_t>("pad_rows").Attr<bool>("pooled")));
