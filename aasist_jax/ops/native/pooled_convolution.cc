// The end of a residual block, z = conv2(y) + shortcut(x), max-pooled over time by three,
// where y is SELU of a: forward, and the gradient for a.
//
// Neither z nor its gradient, which is zero in two places of three, is ever stored: a span of pooled steps is taken
// through all rows, and what is needed of them is in the cache. Kernels are (2, 3) for y, which has a row more than z,
// and (1, 3) for x where the shortcut is none but the identity.

#include <type_traits>

#include "handler.h"
#include "parallel_for.h"
#include "selu.h"
#include "winograd.h"

namespace {

namespace ffi = xla::ffi;

using aasist::kMaxHeight;
using aasist::kMaxTerms;
using aasist::kSpan;
using aasist::kWidth;
using aasist::Load;
using aasist::Planes;
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
  using Places = decltype(V{} > V{});
  using Number = std::conditional_t<sizeof(T) == 4, int32_t, int64_t>;
  const int64_t padded = aasist::PaddedFeatures<T>(s.features);
  const auto weights = aasist::EvaluateKernel(kernel, kMaxHeight, s.inputs, s.features);
  const auto shortcuts = aasist::EvaluateKernel(shortcut, 1, s.shortcut ? s.channels : 0, s.features);
  const auto biases = aasist::PadFeatures(bias, s.features);
  const int64_t spans = aasist::Spans(s.pooled());
  aasist::ParallelFor(pool, s.batch * spans, [&](int64_t, int64_t begin, int64_t end) {
    aasist::RowsEvaluator<T> evaluator(kMaxHeight, s.rows + 1, s.steps, s.inputs);
    aasist::RowsEvaluator<T> shortcut_evaluator(1, s.rows, s.steps, s.channels);
    Planes<T> terms(kMaxTerms, s.inputs), xs(kMaxHeight, s.channels);
    const Source<T> more[] = {{xs[0], shortcuts.data(), s.channels}, {xs[1], shortcuts.data(), s.channels}};
    aasist::RowProducts<T> products(kMaxHeight, s.inputs, padded);
    // Pools a row of z from its step 3 * first on; of x and out these are the steps from there on.
    auto finish = [&](const T* products, int64_t count, const T* x, T* out, uint8_t* index) {
      for (int64_t p = 0; p < count; ++p) {
        for (int64_t f = 0; f < padded; f += kLanes) {
          alignas(64) V z[kWidth];
          V largest{};
          Places place{};
          aasist::TileOutputs(products, p, padded, f, z);
          for (int64_t k = 0; k < kWidth; ++k) {
            if (!s.shortcut) z[k] += aasist::LoadFeatures(x + (kWidth * p + k) * s.channels, f, s.channels);
            const auto later = aasist::MovesOn<V>(largest, z[k]);
            largest = k == 0 ? z[k] : (later ? z[k] : largest);
            place = k == 0 ? place : (place & ~later) | (later & Number(k));
          }
          aasist::StoreFeatures(largest + Load(biases.data() + f), f, s.features, out + p * s.features);
          uint8_t places[kLanes];
          for (int64_t lane = 0; lane < kLanes; ++lane) places[lane] = place[lane];
          if (f < s.features) std::copy_n(places, std::min(kLanes, s.features - f), index + p * s.features + f);
        }
      }
    };
    for (int64_t item = begin; item < end; ++item) {
      const int64_t clip = item / spans, first = item % spans * kSpan;
      const int64_t count = std::min(kSpan, s.pooled() - first);
      const T* x_clip = x + clip * s.rows * s.steps * s.channels;
      for (int64_t row = 0; row < s.rows; row += kMaxHeight) {
        const int64_t rows = std::min(kMaxHeight, s.rows - row);
        evaluator.Run(y + clip * (s.rows + 1) * s.steps * s.inputs, row, first, count, terms[0]);
        for (int64_t i = 0; i < rows && s.shortcut; ++i) shortcut_evaluator.Run(x_clip, row + i, first, count, xs[i]);
        products.Run(terms, weights.data(), rows, count, s.shortcut ? more : nullptr);
        for (int64_t i = 0; i < rows; ++i) {
          const int64_t at = ((clip * s.rows + row + i) * s.pooled() + first) * s.features;
          const T* x_row = x_clip + ((row + i) * s.steps + kWidth * first) * s.channels;
          finish(products[i], count, x_row, out + at, index + at);
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
  const int64_t padded = aasist::PaddedFeatures<T>(s.inputs);
  const auto weights = aasist::EvaluateTurnedKernel(kernel, kMaxHeight, s.inputs, s.features);
  const int64_t tiles = aasist::Tiles(s.steps), spans = aasist::Spans(tiles);
  aasist::ParallelFor(pool, s.batch * spans, [&](int64_t, int64_t begin, int64_t end) {
    const aasist::PooledEvaluator<T> evaluator(s.rows, s.pooled(), s.features);
    Planes<T> terms(kMaxTerms, s.features);
    aasist::RowProducts<T> products(kMaxHeight, s.features, padded);
    auto finish = [&](const T* products, int64_t count, int64_t steps, int64_t to) {
      for (int64_t p = 0; p < count; ++p) {
        for (int64_t c = 0; c < padded; c += aasist::Vector<T>::kLanes) {
          alignas(64) V out[kWidth];
          aasist::TileOutputs(products, p, padded, c, out);
          for (int64_t k = 0; k < kWidth && kWidth * p + k < steps; ++k) {
            const int64_t at = to + (kWidth * p + k) * s.inputs;
            const V through = aasist::SeluGradient<T>(out[k], aasist::LoadFeatures(y + at, c, s.inputs));
            aasist::StoreFeatures(through, c, s.inputs, da + at);
          }
        }
      }
    };
    for (int64_t item = begin; item < end; ++item) {
      const int64_t clip = item / spans, first = item % spans * kSpan, count = std::min(kSpan, tiles - first);
      const int64_t steps = std::min(kWidth * count, s.steps - kWidth * first);
      const int64_t from = clip * s.rows * s.pooled() * s.features;
      for (int64_t row = 0; row <= s.rows; row += kMaxHeight) {
        const int64_t rows = std::min(kMaxHeight, s.rows + 1 - row);
        evaluator.Run(index + from, g + from, row - 1, first, count, terms[0]);
        products.Run(terms, weights.data(), rows, count);
        for (int64_t i = 0; i < rows; ++i) {
          finish(products[i], count, steps, ((clip * (s.rows + 1) + row + i) * s.steps + kWidth * first) * s.inputs);
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

XLA_FFI_DEFINE_HANDLER_SYMBOL(AasistJaxPooledConvolution, HandleForward, (aasist::Buffers<5, 2>()));

XLA_FFI_DEFINE_HANDLER_SYMBOL(AasistJaxPooledInputGradient, HandleGradient, (aasist::Buffers<4, 1>()));
