// A residual block of the encoder in evaluation mode, float32, from its input to its pooled output in one go:
//
//   y = SELU(conv1(x))                       kernel (2, 3), padding (1, 1), batch norm folded in
//   z = conv2(y) + shortcut(x)               kernel (2, 3), padding (0, 1); shortcut: identity, or kernel (1, 3)
//   out[t] = max(z[3 t], z[3 t + 1], z[3 t + 2])
//
// Layer by layer, y and z of the first block alone are 63 MB each for four seconds of audio. Here a span of up to
// kPooled output steps is taken through all rows: two rows of y are in the cache at any time, z never leaves the registers.

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
using V = aasist::Vector<float>::type;
constexpr int64_t kLanes = aasist::Vector<float>::kLanes;
constexpr int64_t kPooled = 64;  // at most

constexpr float kScale = 1.0507009873554805f, kAlpha = 1.6732632423543772f;  // of SELU

// exp(x) for x <= 0: 2^n times a polynomial on [-ln 2 / 2, ln 2 / 2], within 2 units in the last place.
V Exp(V x) {
  typedef int32_t Ints __attribute__((vector_size(aasist::kVectorBytes)));
  x = x < -87.0f ? V{} - 87.0f : x;  // so written, NaN stays
  const Ints n = __builtin_convertvector(x * 1.44269504f - 0.5f, Ints);  // rounds towards zero
  const V whole = __builtin_convertvector(n, V);
  const V r = x - whole * 0.693359375f + whole * 2.12194440e-4f;
  V p = V{} + 1.9875691500e-4f;
  for (const float c : {1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f}) {
    p = p * r + c;
  }
  p = p * r * r + r + 1.0f;
  const Ints power = (n + 127) << 23;
  return p * reinterpret_cast<const V&>(power);
}

V Selu(V x) { return kScale * (x > 0.0f ? x : kAlpha * (Exp(x > 0.0f ? V{} : x) - 1.0f)); }

struct Shape {
  int64_t batch, rows, steps, channels, features;
  int64_t padded;  // features, rounded up to pairs of vectors
  int64_t stride;  // from one step of y to the next
  bool shortcut;
  int64_t pooled() const { return steps / kWidth; }
};

struct Weights {
  AlignedVector<float> conv1, bias1, conv2, bias2, shortcut;
};

class Span {
 public:
  Span(const Shape& s, const Weights& w, int64_t pooled) : s_(s), w_(w) {
    // z of step t needs y of t - 1 to t + 1, which need x of t - 2 to t + 2; a last tile may reach beyond the span.
    const int64_t steps = RoundUp(kWidth * pooled + 2, kTileSteps);
    x_.resize(3 * (steps + 2) * s.channels);
    y_.resize(2 * YSize(steps));
    steps_ = steps;
  }

  // Output steps [begin, end) of one clip. `valid` are its first step that is there and the one behind the last.
  void Run(const float* x, const int32_t* valid, int64_t begin, int64_t end, float* out) {
    const int64_t first = kWidth * begin, count = kWidth * (end - begin);
    for (int64_t row = 0; row <= s_.rows; ++row) {
      // y of row r sees rows r - 1 and r of x.
      CopyRow(x, row, first - 2, count + 4);
      MakeRow(row, first - 1, count + 2, valid);
      if (row > 0) Finish(row - 1, begin, end, out);
    }
  }

 private:
  float* XRow(int64_t row) { return x_.data() + row % 3 * (steps_ + 2) * s_.channels; }
  float* YRow(int64_t row) { return y_.data() + row % 2 * YSize(steps_); }
  int64_t YSize(int64_t steps) const { return (steps - 1) * s_.stride + s_.padded; }

  void CopyRow(const float* x, int64_t row, int64_t first, int64_t count) {
    if (row >= s_.rows) return;
    float* to = XRow(row);
    const int64_t begin = std::max<int64_t>(first, 0), end = std::min(first + count, s_.steps);
    std::fill_n(to, (begin - first) * s_.channels, 0.0f);
    std::copy_n(x + (row * s_.steps + begin) * s_.channels, (end - begin) * s_.channels,
                to + (begin - first) * s_.channels);
    std::fill(to + (end - first) * s_.channels, to + (steps_ + 2) * s_.channels, 0.0f);
  }

  void MakeRow(int64_t row, int64_t first, int64_t count, const int32_t* valid) {
    const int64_t size = kWidth * s_.channels * s_.padded;
    float* y = YRow(row);
    for (int64_t t = 0; t < count; t += kTileSteps) {
      for (int64_t f = 0; f < s_.padded; f += 2 * kLanes) {
        Source<float> sources[2];
        int64_t met = 0;
        if (row > 0) sources[met++] = {XRow(row - 1), w_.conv1.data() + f, s_.channels};
        if (row < s_.rows) sources[met++] = {XRow(row), w_.conv1.data() + size + f, s_.channels};
        V sum[kTileSteps][2];
        aasist::Tile(sources, met, t, s_.padded, w_.bias1.data() + f, sum);
        for (int64_t i = 0; i < kTileSteps; ++i) {
          for (int64_t v = 0; v < 2; ++v) Store(y + (t + i) * s_.stride + f + v * kLanes, Selu(sum[i][v]));
        }
      }
    }
    // Outside the recording the second convolution sees zeros, not what the first makes of them.
    for (int64_t t = 0; t < count; ++t) {
      const int64_t step = first + t;
      if (step < std::max<int64_t>(0, valid[0]) || step >= std::min<int64_t>(s_.steps, valid[1])) {
        std::fill_n(y + t * s_.stride, s_.stride, 0.0f);
      }
    }
  }

  void Finish(int64_t row, int64_t begin, int64_t end, float* out) {
    const int64_t size = kWidth * s_.stride * s_.padded;
    const float* x = XRow(row) + s_.channels;  // from the step before the first on
    for (int64_t t = 0; t < end - begin; t += kTileSteps / kWidth) {
      for (int64_t f = 0; f < s_.padded; f += 2 * kLanes) {
        V sum[kTileSteps][2];
        const Source<float> sources[] = {{YRow(row), w_.conv2.data() + f, s_.stride},
                                         {YRow(row + 1), w_.conv2.data() + size + f, s_.stride},
                                         {x, w_.shortcut.data() + f, s_.channels}};
        aasist::Tile(sources, s_.shortcut ? 3 : 2, kWidth * t, s_.padded, w_.bias2.data() + f, sum);
        for (int64_t p = 0; p < kTileSteps / kWidth && t + p < end - begin; ++p) {
          float pooled[2 * kLanes];
          for (int64_t v = 0; v < 2; ++v) {
            V largest{};
            for (int64_t i = 0; i < kWidth; ++i) {
              V z = sum[kWidth * p + i][v];
              if (!s_.shortcut) z += Identity(x, kWidth * (t + p) + i + 1, f + v * kLanes);
              // The second test lets NaN through, as a maximum must.
              largest = i == 0 ? z : ((z > largest) | (z != z) ? z : largest);
            }
            Store(pooled + v * kLanes, largest);
          }
          float* to = out + (row * s_.pooled() + begin + t + p) * s_.features + f;
          std::copy_n(pooled, std::min(2 * kLanes, s_.features - f), to);
        }
      }
    }
  }

  V Identity(const float* x, int64_t step, int64_t feature) const {
    if (feature + kLanes <= s_.channels) return Load(x + step * s_.channels + feature);
    V value{};
    for (int64_t lane = 0; feature + lane < s_.channels; ++lane) value[lane] = x[step * s_.channels + feature + lane];
    return value;
  }

  const Shape& s_;
  const Weights& w_;
  int64_t steps_;
  AlignedVector<float> x_, y_;
};

ffi::Error Handle(ffi::ThreadPool pool, ffi::Buffer<ffi::F32> x, ffi::Buffer<ffi::S32> valid,
                  ffi::Buffer<ffi::F32> kernel1, ffi::Buffer<ffi::F32> bias1, ffi::Buffer<ffi::F32> kernel2,
                  ffi::Buffer<ffi::F32> bias2, ffi::Buffer<ffi::F32> shortcut, ffi::Result<ffi::Buffer<ffi::F32>> out) {
  const auto in = x.dimensions();
  Shape s{in[0], in[1], in[2], in[3], static_cast<int64_t>(bias1.element_count()), 0, 0, shortcut.element_count() > 0};
  s.padded = aasist::PaddedFeatures<float>(s.features);
  // Where one pair of vectors holds all features, what a step writes beyond them is overwritten by the next one.
  s.stride = s.padded == 2 * kLanes ? s.features : s.padded;
  // The second kernel's inputs are the features of the first, rows of zeros for those that are only padding.
  Weights w{aasist::PadRows(kernel1.typed_data(), 2 * kWidth * s.channels, s.features), aasist::PadRows(bias1.typed_data(), 1, s.features),
            AlignedVector<float>(2 * kWidth * s.stride * s.padded), aasist::PadRows(bias2.typed_data(), 1, s.features),
            aasist::PadRows(shortcut.typed_data(), s.shortcut ? kWidth * s.channels : 0, s.features)};
  for (int64_t tap = 0; tap < 2 * kWidth; ++tap) {
    for (int64_t c = 0; c < s.features; ++c) {
      std::copy_n(kernel2.typed_data() + (tap * s.features + c) * s.features, s.features,
                  w.conv2.begin() + (tap * s.stride + c) * s.padded);
    }
  }
  // Short spans where there would be too few of them for all threads.
  const int64_t share = (s.batch * s.pooled() + aasist::kParts - 1) / aasist::kParts;
  const int64_t pooled = std::min(kPooled, RoundUp(share, kTileSteps / kWidth));
  const int64_t spans = (s.pooled() + pooled - 1) / pooled;
  aasist::ForParts(pool, s.batch * spans, [&](int64_t, int64_t begin, int64_t end) {
    Span span(s, w, pooled);
    for (int64_t item = begin; item < end; ++item) {
      const int64_t clip = item / spans, first = item % spans * pooled;
      span.Run(x.typed_data() + clip * s.rows * s.steps * s.channels, valid.typed_data() + 2 * clip, first,
               std::min(first + pooled, s.pooled()),
               out->typed_data() + clip * s.rows * s.pooled() * s.features);
    }
  });
  return ffi::Error::Success();
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(AasistResidualBlock, Handle,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ffi::Buffer<ffi::F32>>()
                                  .Arg<ffi::Buffer<ffi::S32>>()
                                  .Arg<ffi::Buffer<ffi::F32>>()
                                  .Arg<ffi::Buffer<ffi::F32>>()
                                  .Arg<ffi::Buffer<ffi::F32>>()
                                  .Arg<ffi::Buffer<ffi::F32>>()
                                  .Arg<ffi::Buffer<ffi::F32>>()
                                  .Ret<ffi::Buffer<ffi::F32>>());
