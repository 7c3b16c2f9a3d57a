// The end of a residual block, z = conv2(y) + shortcut(x), max-pooled over time by three: forward, and the gradient for y.
//
// Neither z nor its gradient, which is zero in two places of three, is ever stored: a span of kSpan pooled steps is taken
// through all rows, and what is needed of them is in the cache. Kernels are (2, 3) for y, which has a row more than
// z, and (1, 3) for x where the shortcut is none but the identity.

#include "parts.h"
#include "tile.h"

namespace {

namespace ffi = xla::ffi;

using aasist::AlignedVector;
using aasist::kTileSteps;
using aasist::kWidth;
using aasist::Load;
using aasist::RoundUp;
using aasist::Source;
using aasist::Store;

constexpr int64_t kSpan = 64;
constexpr int64_t kSteps = kWidth * kSpan;

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
  const int64_t padded = aasist::PaddedFeatures<T>(s.features), size = kWidth * s.inputs * padded;
  const auto weights = aasist::PadRows(kernel, 2 * kWidth * s.inputs, s.features);
  const auto biases = aasist::PadRows(bias, 1, s.features);
  const auto shortcuts = aasist::PadRows(shortcut, s.shortcut ? kWidth * s.channels : 0, s.features);
  const int64_t spans = (s.pooled() + kSpan - 1) / kSpan, steps = RoundUp(kSteps, kTileSteps) + 2;
  // The identity is read in whole vectors.
  const int64_t channels = s.shortcut ? s.channels : padded;
  aasist::ForParts(pool, s.batch * spans, [&](int64_t, int64_t begin, int64_t end) {
    AlignedVector<T> ys(2 * steps * s.inputs), xs(steps * channels);
    for (int64_t item = begin; item < end; ++item) {
      const int64_t clip = item / spans, first = item % spans * kSpan;
      const int64_t count = std::min(kSpan, s.pooled() - first);
      auto copy = [&](int64_t row) {
        aasist::CopySteps(y + (clip * (s.rows + 1) + row) * s.steps * s.inputs, kWidth * first - 1, steps, s.steps,
                          s.inputs, ys.data() + row % 2 * steps * s.inputs, s.inputs);
      };
      copy(0);
      for (int64_t row = 0; row < s.rows; ++row) {
        copy(row + 1);
        aasist::CopySteps(x + (clip * s.rows + row) * s.steps * s.channels, kWidth * first - 1, steps, s.steps,
                          s.channels, xs.data(), channels);
        for (int64_t p = 0; p < count; p += kTileSteps / kWidth) {
          for (int64_t f = 0; f < padded; f += 2 * kLanes) {
            const Source<T> sources[] = {
                {ys.data() + row % 2 * steps * s.inputs, weights.data() + f, s.inputs},
                {ys.data() + (row + 1) % 2 * steps * s.inputs, weights.data() + size + f, s.inputs},
                {xs.data(), shortcuts.data() + f, s.channels}};
            V sum[kTileSteps][2];
            aasist::Tile(sources, s.shortcut ? 3 : 2, kWidth * p, padded, biases.data() + f, sum);
            for (int64_t i = 0; i < kTileSteps / kWidth && p + i < count; ++i) {
              T values[2 * kLanes], places[2 * kLanes];
              for (int64_t v = 0; v < 2; ++v) {
                V largest{}, place{};
                for (int64_t k = 0; k < kWidth; ++k) {
                  V z = sum[kWidth * i + k][v];
                  if (!s.shortcut) z += Load(xs.data() + (kWidth * (p + i) + k + 1) * channels + f + v * kLanes);
                  // The second test lets NaN through, as a maximum must.
                  const auto later = (z > largest) | (z != z);
                  largest = k == 0 ? z : (later ? z : largest);
                  place = k == 0 ? V{} : (later ? V{} + T(k) : place);
                }
                Store(values + v * kLanes, largest);
                Store(places + v * kLanes, place);
              }
              const int64_t at = ((clip * s.rows + row) * s.pooled() + first + p + i) * s.features + f;
              const int64_t wanted = std::min(2 * kLanes, s.features - f);
              std::copy_n(values, wanted, out + at);
              std::copy_n(places, wanted, index + at);
            }
          }
        }
      }
    }
  });
  return ffi::Error::Success();
}

// dy[r, t, c] = sum over i, j, f of dz[r - i, t + 1 - j, f] * kernel[i, j, c, f]
template <typename T>
ffi::Error InputGradient(ffi::ThreadPool& pool, const Shape& s, const uint8_t* index, const T* g, const T* kernel,
                         T* dy) {
  using V = typename aasist::Vector<T>::type;
  constexpr int64_t kLanes = aasist::Vector<T>::kLanes;
  const int64_t padded = aasist::PaddedFeatures<T>(s.inputs), size = kWidth * s.features * padded;
  // Turned round in time, features in, inputs out.
  AlignedVector<T> weights(2 * size);
  for (int64_t i = 0; i < 2; ++i) {
    for (int64_t j = 0; j < kWidth; ++j) {
      for (int64_t c = 0; c < s.inputs; ++c) {
        for (int64_t f = 0; f < s.features; ++f) {
          weights[i * size + ((kWidth - 1 - j) * s.features + f) * padded + c] =
              kernel[((i * kWidth + j) * s.inputs + c) * s.features + f];
        }
      }
    }
  }
  const int64_t spans = (s.steps + kSteps - 1) / kSteps, steps = RoundUp(kSteps, kTileSteps) + 2;
  aasist::ForParts(pool, s.batch * spans, [&](int64_t, int64_t begin, int64_t end) {
    AlignedVector<T> rows(2 * steps * s.features);
    for (int64_t item = begin; item < end; ++item) {
      const int64_t clip = item / spans, first = item % spans * kSteps;
      const int64_t count = std::min(kSteps, s.steps - first);
      for (int64_t row = 0; row <= s.rows; ++row) {
        auto buffer = [&](int64_t r) { return rows.data() + r % 2 * steps * s.features; };
        if (row < s.rows) {
          const int64_t at = (clip * s.rows + row) * s.pooled() * s.features;
          aasist::CopyUnpooled(index + at, g + at, first - 1, steps, s.pooled(), s.features, buffer(row), s.features);
        }
        T* to = dy + ((clip * (s.rows + 1) + row) * s.steps + first) * s.inputs;
        for (int64_t t = 0; t < count; t += kTileSteps) {
          for (int64_t c = 0; c < padded; c += 2 * kLanes) {
            Source<T> sources[2];
            int64_t met = 0;
            if (row < s.rows) sources[met++] = {buffer(row), weights.data() + c, s.features};
            if (row > 0) sources[met++] = {buffer(row - 1), weights.data() + size + c, s.features};
            V sum[kTileSteps][2];
            aasist::Tile<T>(sources, met, t, padded, nullptr, sum);
            aasist::StoreTile(sum, std::min(kTileSteps, count - t), std::min(2 * kLanes, s.inputs - c), s.inputs,
                              to + t * s.inputs + c);
          }
        }
      }
    }
  });
  return ffi::Error::Success();
}

template <typename T>
ffi::Error ForwardAs(ffi::ThreadPool& pool, const Shape& s, ffi::AnyBuffer& y, ffi::AnyBuffer& x,
                     ffi::AnyBuffer& kernel, ffi::AnyBuffer& bias, ffi::AnyBuffer& shortcut, ffi::AnyBuffer& out,
                     ffi::AnyBuffer& index) {
  return Forward<T>(pool, s, y.typed_data<T>(), x.typed_data<T>(), kernel.typed_data<T>(), bias.typed_data<T>(),
                    shortcut.typed_data<T>(), out.typed_data<T>(), index.typed_data<uint8_t>());
}

ffi::Error HandleForward(ffi::ThreadPool pool, ffi::AnyBuffer y, ffi::AnyBuffer x, ffi::AnyBuffer kernel,
                         ffi::AnyBuffer bias, ffi::AnyBuffer shortcut, ffi::Result<ffi::AnyBuffer> out,
                         ffi::Result<ffi::AnyBuffer> index) {
  const auto in = x.dimensions(), taps = kernel.dimensions();
  const Shape s{in[0], in[1], in[2], taps[2], in[3], taps[3], shortcut.element_count() > 0};
  if (y.element_type() == ffi::F32) return ForwardAs<float>(pool, s, y, x, kernel, bias, shortcut, *out, *index);
  return ForwardAs<double>(pool, s, y, x, kernel, bias, shortcut, *out, *index);
}

ffi::Error HandleGradient(ffi::ThreadPool pool, ffi::AnyBuffer index, ffi::AnyBuffer g, ffi::AnyBuffer kernel,
                          ffi::Result<ffi::AnyBuffer> dy) {
  const auto out = dy->dimensions(), taps = kernel.dimensions();
  const Shape s{out[0], out[1] - 1, out[2], taps[2], 0, taps[3], false};
  const uint8_t* places = index.typed_data<uint8_t>();
  if (g.element_type() == ffi::F32) {
    return InputGradient(pool, s, places, g.typed_data<float>(), kernel.typed_data<float>(), dy->typed_data<float>());
  }
  return InputGradient(pool, s, places, g.typed_data<double>(), kernel.typed_data<double>(), dy->typed_data<double>());
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(AasistPooledConvolution, HandleForward,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Ret<ffi::AnyBuffer>()
                                  .Ret<ffi::AnyBuffer>());

XLA_FFI_DEFINE_HANDLER_SYMBOL(AasistPooledInputGradient, HandleGradient,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Ret<ffi::AnyBuffer>());
