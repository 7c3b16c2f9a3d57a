// A convolution of width three (channels last, stride 1, one step of padding in time), without a bias.
//
//   y[b, r, t, f] = sum over i, j, c of x[b, r + i - pad_rows, t + j - 1, c] * kernel[i, j, c, f]

#include "parts.h"
#include "tile.h"

namespace {

namespace ffi = xla::ffi;

using aasist::AlignedVector;
using aasist::kTileSteps;
using aasist::kWidth;
using aasist::RoundUp;
using aasist::Source;
using aasist::Store;

constexpr int64_t kSpan = 192;  // time steps that are taken through all rows: what is needed of them is in the cache
constexpr int64_t kMaxHeight = 2;

struct Shape {
  int64_t batch, rows_in, rows, steps, channels, features, height, pad_rows;
};

template <typename T>
ffi::Error Convolve(ffi::ThreadPool& pool, const Shape& s, const T* x, const T* kernel, T* y) {
  using V = typename aasist::Vector<T>::type;
  constexpr int64_t kLanes = aasist::Vector<T>::kLanes;
  const int64_t padded = aasist::PaddedFeatures<T>(s.features), size = kWidth * s.channels * padded;
  const auto weights = aasist::PadRows(kernel, s.height * kWidth * s.channels, s.features);
  const int64_t spans = (s.steps + kSpan - 1) / kSpan, steps = RoundUp(kSpan, kTileSteps) + 2;
  aasist::ForParts(pool, s.batch * spans, [&](int64_t, int64_t begin, int64_t end) {
    AlignedVector<T> rows(kMaxHeight * steps * s.channels);
    auto buffer = [&](int64_t row) { return rows.data() + row % kMaxHeight * steps * s.channels; };
    for (int64_t item = begin; item < end; ++item) {
      const int64_t clip = item / spans, first = item % spans * kSpan;
      const int64_t count = std::min(kSpan, s.steps - first);
      int64_t copied = 0;
      for (int64_t row = 0; row < s.rows; ++row) {
        Source<T> met[kMaxHeight];
        int64_t sources = 0;
        for (int64_t i = 0; i < s.height; ++i) {
          const int64_t from = row + i - s.pad_rows;
          if (from < 0 || from >= s.rows_in) continue;
          for (; copied <= from; ++copied) {
            aasist::CopySteps(x + (clip * s.rows_in + copied) * s.steps * s.channels, first - 1, steps, s.steps,
                              s.channels, buffer(copied), s.channels);
          }
          met[sources++] = {buffer(from), weights.data() + i * size, s.channels};
        }
        T* to = y + ((clip * s.rows + row) * s.steps + first) * s.features;
        for (int64_t t = 0; t < count; t += kTileSteps) {
          for (int64_t f = 0; f < padded; f += 2 * kLanes) {
            Source<T> at[kMaxHeight];
            for (int64_t i = 0; i < sources; ++i) at[i] = {met[i].row, met[i].weights + f, s.channels};
            V sum[kTileSteps][2];
            aasist::Tile<T>(at, sources, t, padded, nullptr, sum);
            aasist::StoreTile(sum, std::min(kTileSteps, count - t), std::min(2 * kLanes, s.features - f), s.features,
                              to + t * s.features + f);
          }
        }
      }
    }
  });
  return ffi::Error::Success();
}

ffi::Error Handle(ffi::ThreadPool pool, ffi::AnyBuffer x, ffi::AnyBuffer kernel, ffi::Result<ffi::AnyBuffer> y,
                  int64_t pad_rows) {
  const auto in = x.dimensions(), out = y->dimensions(), taps = kernel.dimensions();
  const Shape s{in[0], in[1], out[1], in[2], in[3], taps[3], taps[0], pad_rows};
  if (x.element_type() == ffi::F32) {
    return Convolve(pool, s, x.typed_data<float>(), kernel.typed_data<float>(), y->typed_data<float>());
  }
  return Convolve(pool, s, x.typed_data<double>(), kernel.typed_data<double>(), y->typed_data<double>());
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(AasistConvolution, Handle,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Ret<ffi::AnyBuffer>()
                                  .Attr<int64_t>("pad_rows"));
