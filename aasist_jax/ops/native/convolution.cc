// A convolution of width three (channels last, stride 1, one step of padding in time).
//
//   y[b, r, t, f] = bias[f] + sum over i, j, c of x[b, r + i - pad_rows, t + j - 1, c] * kernel[i, j, c, f]

#include "handler.h"
#include "parallel_for.h"
#include "winograd.h"

namespace {

namespace ffi = xla::ffi;

using aasist::kSpan;
using aasist::kWidth;

struct Shape {
  int64_t batch, rows_in, rows, steps, channels, features, height, pad_rows;
};

template <typename T>
ffi::Error Convolve(ffi::ThreadPool& pool, const Shape& s, const T* x, const T* kernel, const T* bias, T* y) {
  using V = typename aasist::Vector<T>::type;
  const int64_t padded = aasist::PaddedFeatures<T>(s.features);
  const auto weights = aasist::EvaluateKernel(kernel, s.height, s.channels, s.features);
  const auto biases = aasist::PadFeatures(bias, s.features);
  const int64_t tiles = aasist::Tiles(s.steps), spans = aasist::Spans(tiles);
  aasist::ParallelFor(pool, s.batch * spans, [&](int64_t, int64_t begin, int64_t end) {
    aasist::RowsEvaluator<T> evaluator(s.height, s.rows_in, s.steps, s.channels);
    aasist::Planes<T> terms(aasist::Terms(s.height), s.channels);
    aasist::RowProducts<T> products(s.height, s.channels, padded);
    auto finish = [&](const T* products, int64_t count, int64_t steps, T* to) {
      for (int64_t p = 0; p < count; ++p) {
        for (int64_t f = 0; f < padded; f += aasist::Vector<T>::kLanes) {
          alignas(64) V out[kWidth];
          aasist::TileOutputs(products, p, padded, f, out);
          for (int64_t k = 0; k < kWidth && kWidth * p + k < steps; ++k) {
            const V value = out[k] + aasist::Load(biases.data() + f);
            aasist::StoreFeatures(value, f, s.features, to + (kWidth * p + k) * s.features);
          }
        }
      }
    };
    for (int64_t item = begin; item < end; ++item) {
      const int64_t clip = item / spans, first = item % spans * kSpan, count = std::min(kSpan, tiles - first);
      const int64_t steps = std::min(kWidth * count, s.steps - kWidth * first);
      for (int64_t row = 0; row < s.rows; row += s.height) {
        const int64_t rows = std::min(s.height, s.rows - row);
        evaluator.Run(x + clip * s.rows_in * s.steps * s.channels, row - s.pad_rows, first, count, terms[0]);
        products.Run(terms, weights.data(), rows, count);
        for (int64_t i = 0; i < rows; ++i) {
          T* to = y + ((clip * s.rows + row + i) * s.steps + kWidth * first) * s.features;
          finish(products[i], count, steps, to);
        }
      }
    }
  });
  return ffi::Error::Success();
}

ffi::Error Handle(ffi::ThreadPool pool, ffi::AnyBuffer x, ffi::AnyBuffer kernel, ffi::AnyBuffer bias,
                  ffi::Result<ffi::AnyBuffer> y, int64_t pad_rows) {
  const auto in = x.dimensions(), out = y->dimensions(), taps = kernel.dimensions();
  const Shape s{in[0], in[1], out[1], in[2], in[3], taps[3], taps[0], pad_rows};
  return aasist::ForType(x, [&](auto number) {
    using T = decltype(number);
    return Convolve<T>(pool, s, x.typed_data<T>(), kernel.typed_data<T>(), bias.typed_data<T>(), y->typed_data<T>());
  });
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(AasistJaxConvolution, Handle, (aasist::Buffers<3, 1>().Attr<int64_t>("pad_rows")));
