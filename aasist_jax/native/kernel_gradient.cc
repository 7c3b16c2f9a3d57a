// Gradients of a convolution of width three (channels last, stride 1, one step of padding in time) for its kernel and
// its bias:
//
//   dk[i, j, c, d] = sum over b, f, t of x[b, f + i - pad_rows, t + j - 1, c] * dy[b, f, t, d]
//   db[d] = sum over b, f, t of dy[b, f, t, d]
//
// Three taps from five inputs and three gradients are Winograd's filtering again (winograd.h), and as putting the taps
// together is linear, it comes last: the sums, over a million places, are of products at the points. They are kept in
// registers, a tile of kInputs inputs by two vectors of features at a time. Where an index is given, dy is that of the
// pooled output and is spread over time on the way (rows.h). Each run of kSpan tiles starts from zero and is added to
// its part's total, which keeps rounding errors small.

#include "handler.h"
#include "parts.h"
#include "winograd.h"

namespace {

namespace ffi = xla::ffi;

using aasist::AlignedVector;
using aasist::kPoints;
using aasist::kSpan;
using aasist::kWidth;
using aasist::Load;
using aasist::RoundUp;
using aasist::Store;
using aasist::Vector;

constexpr int64_t kInputs =
    aasist::kVectorBytes == 64 ? 8 : 4;  // times two vectors: within the registers that there are

struct Shape {
  int64_t batch, rows_in, channels;  // of x
  int64_t rows, steps, features;     // of dy; x has as many steps
  int64_t height, pad_rows;
};

// total[c, d] += sum over p of x[p * channels + c] * dy[p * features + d], for kInputs inputs and two vectors of
// features.
template <typename T>
void AddTile(const T* x, int64_t channels, const T* dy, int64_t features, int64_t tiles, T* total) {
  using V = typename Vector<T>::type;
  constexpr int64_t kLanes = Vector<T>::kLanes;
  V sum[kInputs][2] = {};
  for (int64_t p = 0; p < tiles; ++p, x += channels, dy += features) {
    const V first = Load(dy), second = Load(dy + kLanes);
    for (int64_t c = 0; c < kInputs; ++c) {
      sum[c][0] += x[c] * first;
      sum[c][1] += x[c] * second;
    }
  }
  for (int64_t c = 0; c < kInputs; ++c) {
    for (int64_t v = 0; v < 2; ++v) {
      T* to = total + c * features + v * kLanes;
      Store<T>(to, Load(to) + sum[c][v]);
    }
  }
}

// A part's sums: (height, point, inputs, features), then the bias's; inputs and features rounded up to whole tiles.
template <typename T>
struct Layout {
  explicit Layout(const Shape& s)
      : inputs(RoundUp(s.channels, kInputs)),
        features(aasist::PaddedFeatures<T>(s.features)),
        bias(s.height * kPoints * inputs * features),
        size(bias + features) {}
  int64_t inputs, features, bias, size;
};

// The gradients of tiles [first, first + count) at the points; their sums over time to `total`.
template <typename T>
void EvaluateGradients(const Shape& s, const T* dy, const uint8_t* index, int64_t first, int64_t count, int64_t padded,
                       T* planes, T* total) {
  const int64_t features = s.features, pooled = s.steps / kWidth;
  const AlignedVector<T> zeros(features);
  AlignedVector<T> sums(features);
  for (int64_t p = 0; p < count; ++p) {
    const int64_t tile = first + p;
    auto evaluate = [&](int64_t d, auto several) {
      using N = typename decltype(several)::type;
      alignas(64) N g[kWidth], at[kPoints];
      for (int64_t k = 0; k < kWidth; ++k) {
        const int64_t step = kWidth * tile + k;
        if (index == nullptr) {
          g[k] = *reinterpret_cast<const N*>((step < s.steps ? dy + step * features : zeros.data()) + d);
        } else if (tile < pooled) {
          g[k] = aasist::AtPlace(index + tile * features + d, dy + tile * features + d, k, several);
        } else {
          g[k] = N{};
        }
      }
      aasist::EvaluateTaps<T>(g, at);
      for (int64_t k = 0; k < kPoints; ++k) *reinterpret_cast<N*>(planes + (k * kSpan + p) * padded + d) = at[k];
      *reinterpret_cast<N*>(sums.data() + d) += g[0] + g[1] + g[2];
    };
    int64_t d = 0;
    for (; d + aasist::kEight <= features; d += aasist::kEight) evaluate(d, aasist::EightOf<T>{});
    for (; d < features; ++d) evaluate(d, aasist::OneOf<T>{});
  }
  for (int64_t d = 0; d < features; ++d) total[d] += sums[d];
}

// What the spans [begin, end) of all clips add to their part's total.
template <typename T>
void AddSpans(const Shape& s, const Layout<T>& layout, const T* x, const T* dy, const uint8_t* index, int64_t begin,
              int64_t end, T* total) {
  const int64_t tiles = aasist::Tiles(s.steps), spans = aasist::Spans(tiles);
  const int64_t pooled = s.steps / kWidth, features = layout.features;
  aasist::TwoRows<T> planes(s.channels);
  auto gradients = aasist::Planes<T>(features);
  for (int64_t item = begin; item < end; ++item) {
    const int64_t clip = item / spans, first = item % spans * kSpan, count = std::min(kSpan, tiles - first);
    int64_t evaluated = 0;
    for (int64_t row = 0; row < s.rows; ++row) {
      const int64_t at = (clip * s.rows + row) * (index == nullptr ? s.steps : pooled) * s.features;
      EvaluateGradients(s, dy + at, index == nullptr ? nullptr : index + at, first, count, features, gradients.data(),
                        total + layout.bias);
      for (int64_t i = 0; i < s.height; ++i) {
        const int64_t from = row + i - s.pad_rows;
        if (from < 0 || from >= s.rows_in) continue;
        for (; evaluated <= from; ++evaluated) {
          aasist::EvaluateRow(x + (clip * s.rows_in + evaluated) * s.steps * s.channels, s.steps, s.channels, first,
                              count, planes[evaluated]);
        }
        for (int64_t k = 0; k < kPoints; ++k) {
          for (int64_t d = 0; d < features; d += 2 * Vector<T>::kLanes) {
            for (int64_t c = 0; c < s.channels; c += kInputs) {
              AddTile(planes[from] + k * kSpan * s.channels + c, s.channels,
                      gradients.data() + k * kSpan * features + d, features, count,
                      total + ((i * kPoints + k) * layout.inputs + c) * features + d);
            }
          }
        }
      }
    }
  }
}

template <typename T>
ffi::Error KernelGradient(ffi::ThreadPool& pool, const Shape& s, const T* x, const T* dy, const uint8_t* index, T* dk,
                          T* db) {
  const Layout<T> layout(s);
  const int64_t tiles = aasist::Tiles(s.steps), spans = aasist::Spans(tiles);
  AlignedVector<T> totals(aasist::kParts * layout.size);
  aasist::ForParts(pool, s.batch * spans, [&](int64_t part, int64_t begin, int64_t end) {
    AddSpans(s, layout, x, dy, index, begin, end, totals.data() + part * layout.size);
  });
  auto sum = [&](int64_t place) {
    T total = 0;
    for (int64_t part = 0; part < aasist::kParts; ++part) total += totals[part * layout.size + place];
    return total;
  };
  for (int64_t d = 0; d < s.features; ++d) {
    for (int64_t i = 0; i < s.height; ++i) {
      for (int64_t c = 0; c < s.channels; ++c) {
        T at[kPoints], taps[kWidth];
        for (int64_t k = 0; k < kPoints; ++k)
          at[k] = sum(((i * kPoints + k) * layout.inputs + c) * layout.features + d);
        aasist::Interpolate(at, taps);
        for (int64_t j = 0; j < kWidth; ++j) dk[((i * kWidth + j) * s.channels + c) * s.features + d] = taps[j];
      }
    }
    db[d] = sum(layout.bias + d);
  }
  return ffi::Error::Success();
}

ffi::Error Handle(ffi::ThreadPool pool, ffi::AnyBuffer x, ffi::AnyBuffer dy, ffi::AnyBuffer index,
                  ffi::Result<ffi::AnyBuffer> dk, ffi::Result<ffi::AnyBuffer> db, int64_t pad_rows) {
  const auto in = x.dimensions(), out = dy.dimensions(), kernel = dk->dimensions();
  const Shape shape{in[0], in[1], in[3], out[1], in[2], out[3], kernel[0], pad_rows};
  const uint8_t* places = index.element_count() > 0 ? index.typed_data<uint8_t>() : nullptr;
  return aasist::ForType(x, [&](auto number) {
    using T = decltype(number);
    return KernelGradient<T>(pool, shape, x.typed_data<T>(), dy.typed_data<T>(), places, dk->typed_data<T>(),
                             db->typed_data<T>());
  });
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(AasistKernelGradient, Handle, (aasist::Buffers<3, 2>().Attr<int64_t>("pad_rows")));
