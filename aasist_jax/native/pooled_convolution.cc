// The end of a residual block, z = conv2(y) + shortcut(x), max-pooled over time by three,
// where y is SELU of a: forward, and the gradient for a.
//
// Neither z nor its gradient, which is zero in two places of three, is ever stored: a span of pooled steps is taken
// through all rows, and what is needed of them is in the cache. Kernels are (2, 3) for y, which has a row more than z,
// and (1, 3) for x where the shortcut is none but the identity.

#include "handler.h"
#include "parts.h"
#include "selu.h"
#include "winograd.h"

namespace {

namespace ffi = xla::ffi;

using aasist::AlignedVector;
using aasist::kPoints;
using aasist::kSpan;
using aasist::kWidth;
using aasist::Load;
using aasist::Source;

struct Shape {
  int64_t batch, rows, steps, inputs, channels, features;  // rows of z; channels of x; inputs are the features of y
  bool shortcut;
  int64_t pooled() const { return steps / kWidth; }
};

template <typename T>
ffi::Error Forward(ffi::ThreadPool& pool, const Shape& s, const T* y, const T* x, const T* kernel, const T* bias,
                   const T* shortcut, T* out, uint8_t* index) {
  using V = typename aasist::Vector<T>::type;
  constexpr int64_t kLanes = aasist::Vector<T>::kLanes;
  const int64_t padded = aasist::PaddedFeatures<T>(s.features), size = kPoints * s.inputs * padded;
  const auto weights = aasist::EvaluateKernel(kernel, 2, s.inputs, s.features);
  const auto shortcuts = aasist::EvaluateKernel(shortcut, s.shortcut ? 1 : 0, s.channels, s.features);
  const auto biases = aasist::PadFeatures(bias, s.features);
  const int64_t spans = aasist::Spans(s.pooled());
  aasist::ForParts(pool, s.batch * spans, [&](int64_t, int64_t begin, int64_t end) {
    aasist::TwoRows<T> planes(s.inputs);
    auto xs = aasist::Planes<T>(s.channels), products = aasist::Planes<T>(padded);
    for (int64_t item = begin; item < end; ++item) {
      const int64_t clip = item / spans, first = item % spans * kSpan;
      const int64_t count = std::min(kSpan, s.pooled() - first);
      auto evaluate = [&](int64_t row) {
        aasist::EvaluateRow(y + (clip * (s.rows + 1) + row) * s.steps * s.inputs, s.steps, s.inputs, first, count,
                            planes[row]);
      };
      evaluate(0);
      for (int64_t row = 0; row < s.rows; ++row) {
        evaluate(row + 1);
        const T* x_row = x + (clip * s.rows + row) * s.steps * s.channels;
        if (s.shortcut) aasist::EvaluateRow(x_row, s.steps, s.channels, first, count, xs.data());
        const Source<T> sources[] = {{planes[row], weights.data(), s.inputs},
                                     {planes[row + 1], weights.data() + size, s.inputs},
                                     {xs.data(), shortcuts.data(), s.channels}};
        aasist::Multiply(sources, s.shortcut ? 3 : 2, count, padded, products.data());
        for (int64_t p = 0; p < count; ++p) {
          const int64_t at = ((clip * s.rows + row) * s.pooled() + first + p) * s.features;
          for (int64_t f = 0; f < padded; f += kLanes) {
            alignas(64) V z[kWidth];
            V largest{}, place{};
            aasist::TileOutputs(products.data(), p, padded, f, z);
            for (int64_t k = 0; k < kWidth; ++k) {
              if (!s.shortcut) {
                z[k] += aasist::LoadFeatures(x_row + (kWidth * (first + p) + k) * s.channels, f, s.channels);
              }
              // The second test lets NaN through, as a maximum must.
              const auto later = (z[k] > largest) | (z[k] != z[k]);
              largest = k == 0 ? z[k] : (later ? z[k] : largest);
              place = k == 0 ? V{} : (later ? V{} + T(k) : place);
            }
            aasist::StoreFeatures(largest + Load(biases.data() + f), f, s.features, out + at);
            T places[kLanes];
            aasist::Store(places, place);
            for (int64_t lane = 0; lane < kLanes && f + lane < s.features; ++lane) index[at + f + lane] = places[lane];
          }
        }
      }
    }
  });
  return ffi::Error::Success();
}

// dy[r, t, c] = sum over i, j, f of dz[r - i, t + 1 - j, f] * kernel[i, j, c, f], then through SELU, whose output is y.
template <typename T>
ffi::Error InputGradient(ffi::ThreadPool& pool, const Shape& s, const uint8_t* index, const T* g, const T* kernel,
                         const T* y, T* da) {
  using V = typename aasist::Vector<T>::type;
  const int64_t padded = aasist::PaddedFeatures<T>(s.inputs), size = kPoints * s.features * padded;
  const auto weights = aasist::EvaluateTurnedKernel(kernel, 2, s.inputs, s.features);
  const int64_t tiles = aasist::Tiles(s.steps), spans = aasist::Spans(tiles);
  aasist::ForParts(pool, s.batch * spans, [&](int64_t, int64_t begin, int64_t end) {
    aasist::TwoRows<T> planes(s.features);
    auto products = aasist::Planes<T>(padded);
    for (int64_t item = begin; item < end; ++item) {
      const int64_t clip = item / spans, first = item % spans * kSpan, count = std::min(kSpan, tiles - first);
      const int64_t steps = std::min(kWidth * count, s.steps - kWidth * first);
      for (int64_t row = 0; row <= s.rows; ++row) {
        if (row < s.rows) {
          const int64_t at = (clip * s.rows + row) * s.pooled() * s.features;
          aasist::EvaluatePooled(index + at, g + at, s.pooled(), s.features, first, count, planes[row]);
        }
        Source<T> sources[2];
        int64_t number = 0;
        if (row < s.rows) sources[number++] = {planes[row], weights.data(), s.features};
        if (row > 0) sources[number++] = {planes[row - 1], weights.data() + size, s.features};
        aasist::Multiply(sources, number, count, padded, products.data());
        const int64_t to = ((clip * (s.rows + 1) + row) * s.steps + kWidth * first) * s.inputs;
        for (int64_t p = 0; p < count; ++p) {
          for (int64_t c = 0; c < padded; c += aasist::Vector<T>::kLanes) {
            alignas(64) V out[kWidth];
            aasist::TileOutputs(products.data(), p, padded, c, out);
            for (int64_t k = 0; k < kWidth && kWidth * p + k < steps; ++k) {
              const int64_t at = to + (kWidth * p + k) * s.inputs;
              const V through = aasist::SeluGradient<T>(out[k], aasist::LoadFeatures(y + at, c, s.inputs));
              aasist::StoreFeatures(through, c, s.inputs, da + at);
            }
          }
        }
      }
    }
  });
  return ffi::Error::Success();
}

ffi::Error HandleForward(ffi::ThreadPool pool, ffi::AnyBuffer y, ffi::AnyBuffer x, ffi::AnyBuffer kernel,
                         ffi::AnyBuffer bias, ffi::AnyBuffer shortcut, ffi::Result<ffi::AnyBuffer> out,
                         ffi::Result<ffi::AnyBuffer> index) {
  const auto in = x.dimensions(), taps = kernel.dimensions();
  const Shape s{in[0], in[1], in[2], taps[2], in[3], taps[3], shortcut.element_count() > 0};
  return aasist::ForType(y, [&](auto number) {
    using T = decltype(number);
    return Forward<T>(pool, s, y.typed_data<T>(), x.typed_data<T>(), kernel.typed_data<T>(), bias.typed_data<T>(),
                      shortcut.typed_data<T>(), out->typed_data<T>(), index->typed_data<uint8_t>());
  });
}

ffi::Error HandleGradient(ffi::ThreadPool pool, ffi::AnyBuffer index, ffi::AnyBuffer g, ffi::AnyBuffer kernel,
                          ffi::AnyBuffer y, ffi::Result<ffi::AnyBuffer> da) {
  const auto out = y.dimensions(), taps = kernel.dimensions();
  const Shape s{out[0], out[1] - 1, out[2], taps[2], 0, taps[3], false};
  return aasist::ForType(y, [&](auto number) {
    using T = decltype(number);
    return InputGradient<T>(pool, s, index.typed_data<uint8_t>(), g.typed_data<T>(), kernel.typed_data<T>(),
                            y.typed_data<T>(), da->typed_data<T>());
  });
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(AasistPooledConvolution, HandleForward, (aasist::Buffers<5, 2>()));

XLA_FFI_DEFINE_HANDLER_SYMBOL(AasistPooledInputGradient, HandleGradient, (aasist::Buffers<4, 1>()));
