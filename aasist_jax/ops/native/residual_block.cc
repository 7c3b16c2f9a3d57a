// A residual block of the encoder in evaluation mode, float32, from its input to its pooled output in one go:
//
//   y = SELU(conv1(x))                       kernel (2, 3), padding (1, 1), batch norm folded in
//   z = conv2(y) + shortcut(x)               kernel (2, 3), padding (0, 1); shortcut: identity, or kernel (1, 3)
//   out[t] = max(z[3 t], z[3 t + 1], z[3 t + 2])
//
// Layer by layer, y and z of the first block alone are some 65 MB each for four seconds of audio. Here a span of up to
// kPooled output steps is taken through all rows, two at a time: four rows of y are in the cache, z is never stored.

#include "parallel_for.h"
#include "selu.h"
#include "winograd.h"

namespace {

namespace ffi = xla::ffi;

using aasist::AlignedVector;
using aasist::kMaxHeight;
using aasist::kMaxTerms;
using aasist::kSpan;
using aasist::kWidth;
using aasist::Load;
using aasist::Source;
using aasist::Store;
using V = aasist::Vector<float>::type;
constexpr int64_t kLanes = aasist::Vector<float>::kLanes;
constexpr int64_t kPooled = kSpan - 2;  // at most: y has a tile more on either side
constexpr int64_t kRows = 4;            // of y: two that have just been made, and the two before them

// exp(x) for x <= 0: 2^n times a polynomial on [-ln 2 / 2, ln 2 / 2], within 2 units in the last place.
V Exp(V x) {
  typedef int32_t Ints __attribute__((vector_size(aasist::kVectorBytes)));
  x = x < -87.0f ? V{} - 87.0f : x;                                      // so written, NaN stays
  const Ints n = __builtin_convertvector(x * 1.44269504f - 0.5f, Ints);  // rounds towards zero
  const V whole = __builtin_convertvector(n, V);
  const V r = x - whole * 0.693359375f + whole * 2.12194440e-4f;
  V p = V{} + 1.9875691500e-4f;
  for (const float c : {1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f}) {
    p = p * r + c;
  }
  p = p * r * r + r + 1.0f;
  const Ints power = (n + 127) << 23;
  return p * (V)power;
}

V Selu(V x) {
  const V negative = float(aasist::kSeluAlpha) * (Exp(x > 0.0f ? V{} : x) - 1.0f);
  return float(aasist::kSeluScale) * (x > 0.0f ? x : negative);
}

struct Shape {
  int64_t batch, rows, steps, channels, features;
  int64_t padded;  // features, rounded up to whole vectors
  bool shortcut;
  int64_t pooled() const { return steps / kWidth; }
};

struct Weights {
  AlignedVector<float> conv1, bias1, conv2, bias2, shortcut;
};

class Span {
 public:
  Span(const Shape& s, const Weights& w)
      : s_(s),
        w_(w),
        x_evaluator_(kMaxHeight, s.rows, s.steps, s.channels),
        shortcut_evaluator_(1, s.rows, s.steps, s.channels),
        x_(kMaxTerms, s.channels),
        y_(kMaxTerms, s.features),
        shortcuts_(kMaxHeight, s.channels),
        y_products_(kMaxHeight, s.channels, s.padded),
        z_products_(kMaxHeight, s.features, s.padded),
        // What a step writes beyond its features is overwritten by the next one, but for the last.
        row_size_(kWidth * kSpan * s.features + s.padded),
        rows_(kRows * row_size_) {}

  // Output steps [begin, end) of one clip. `valid` are its first step that is there and the one behind the last.
  void Run(const float* x, const int32_t* valid, int64_t begin, int64_t end, float* out) {
    for (int64_t row = 0; row <= s_.rows; row += kMaxHeight) {
      MakeRows(row, x, valid, begin - 1, end - begin + 2);
      // A row of z sees the row of y with its number and the next.
      if (row > 0) Finish(row - kMaxHeight, kMaxHeight, x, begin, end, out);
    }
    if (s_.rows % kMaxHeight) Finish(s_.rows - 1, 1, x, begin, end, out);
  }

 private:
  float* Row(int64_t row) { return rows_.data() + row % kRows * row_size_; }

  // `count` tiles, from `first` on, of two rows of y, or of one where there is no second.
  void MakeRows(int64_t row, const float* x, const int32_t* valid, int64_t first, int64_t count) {
    const int64_t rows = std::min(kMaxHeight, s_.rows + 1 - row);
    x_evaluator_.Run(x, row - 1, first, count, x_[0]);
    y_products_.Run(x_, w_.conv1.data(), rows, count);
    const int64_t there = std::max<int64_t>(0, valid[0]), gone = std::min<int64_t>(s_.steps, valid[1]);
    for (int64_t i = 0; i < rows; ++i) {
      float* to = Row(row + i);
      for (int64_t p = 0; p < count; ++p) {
        // Backwards: what a step writes beyond its features is then overwritten by the next step's first ones.
        for (int64_t f = s_.padded - kLanes; f >= 0; f -= kLanes) {
          alignas(64) V y[kWidth];
          aasist::TileOutputs(y_products_[i], p, s_.padded, f, y);
          for (int64_t k = 0; k < kWidth; ++k) {
            Store(to + (kWidth * p + k) * s_.features + f, Selu(y[k] + Load(w_.bias1.data() + f)));
          }
        }
      }
      // Outside the recording the second convolution sees zeros, not what the first makes of them.
      for (int64_t t = 0; t < kWidth * count; ++t) {
        const int64_t step = kWidth * first + t;
        if (step < there || step >= gone) std::fill_n(to + t * s_.features, s_.features, 0.0f);
      }
    }
  }

  // `number` rows of z, pooled.
  void Finish(int64_t row, int64_t number, const float* x, int64_t begin, int64_t end, float* out) {
    const float* y[kMaxTerms];
    // A tile of y is there before the first one of z, which sees its last step.
    for (int64_t i = 0; i < kMaxTerms; ++i) y[i] = Row(row + i) + (kWidth - 1) * s_.features;
    aasist::EvaluateTiles(y, kMaxHeight, s_.features, end - begin, y_[0]);
    Source<float> shortcuts[kMaxHeight];
    for (int64_t i = 0; i < number && s_.shortcut; ++i) {
      shortcut_evaluator_.Run(x, row + i, begin, end - begin, shortcuts_[i]);
      shortcuts[i] = {shortcuts_[i], w_.shortcut.data(), s_.channels};
    }
    z_products_.Run(y_, w_.conv2.data(), number, end - begin, s_.shortcut ? shortcuts : nullptr);
    for (int64_t i = 0; i < number; ++i) {
      const float* x_row = x + ((row + i) * s_.steps + kWidth * begin) * s_.channels;
      float* to = out + ((row + i) * s_.pooled() + begin) * s_.features;
      for (int64_t p = 0; p < end - begin; ++p) {
        for (int64_t f = 0; f < s_.padded; f += kLanes) {
          alignas(64) V z[kWidth];
          V largest{};
          aasist::TileOutputs(z_products_[i], p, s_.padded, f, z);
          for (int64_t k = 0; k < kWidth; ++k) {
            if (!s_.shortcut) z[k] += aasist::LoadFeatures(x_row + (kWidth * p + k) * s_.channels, f, s_.channels);
            largest = k == 0 ? z[k] : (aasist::MovesOn<V>(largest, z[k]) ? z[k] : largest);
          }
          aasist::StoreFeatures(largest + Load(w_.bias2.data() + f), f, s_.features, to + p * s_.features);
        }
      }
    }
  }

  const Shape& s_;
  const Weights& w_;
  aasist::RowsEvaluator<float> x_evaluator_, shortcut_evaluator_;
  aasist::Planes<float> x_, y_, shortcuts_;
  aasist::RowProducts<float> y_products_, z_products_;
  int64_t row_size_;
  AlignedVector<float> rows_;
};

ffi::Error Handle(ffi::ThreadPool pool, ffi::Buffer<ffi::F32> x, ffi::Buffer<ffi::S32> valid,
                  ffi::Buffer<ffi::F32> kernel1, ffi::Buffer<ffi::F32> bias1, ffi::Buffer<ffi::F32> kernel2,
                  ffi::Buffer<ffi::F32> bias2, ffi::Buffer<ffi::F32> shortcut, ffi::Result<ffi::Buffer<ffi::F32>> out) {
  const auto in = x.dimensions();
  Shape s{in[0], in[1], in[2], in[3], static_cast<int64_t>(bias1.element_count()), 0, shortcut.element_count() > 0};
  s.padded = aasist::PaddedFeatures<float>(s.features);
  const Weights w{aasist::EvaluateKernel(kernel1.typed_data(), kMaxHeight, s.channels, s.features),
                  aasist::PadFeatures(bias1.typed_data(), s.features),
                  aasist::EvaluateKernel(kernel2.typed_data(), kMaxHeight, s.features, s.features),
                  aasist::PadFeatures(bias2.typed_data(), s.features),
                  aasist::EvaluateKernel(shortcut.typed_data(), 1, s.shortcut ? s.channels : 0, s.features)};
  // Short spans where there would be too few of them for all threads.
  const int64_t share = (s.batch * s.pooled() + aasist::kChunks - 1) / aasist::kChunks;
  const int64_t pooled = std::clamp<int64_t>(share, 1, kPooled);
  const int64_t spans = (s.pooled() + pooled - 1) / pooled;
  aasist::ParallelFor(pool, s.batch * spans, [&](int64_t, int64_t begin, int64_t end) {
    Span span(s, w);
    for (int64_t item = begin; item < end; ++item) {
      const int64_t clip = item / spans, first = item % spans * pooled;
      span.Run(x.typed_data() + clip * s.rows * s.steps * s.channels, valid.typed_data() + 2 * clip, first,
               std::min(first + pooled, s.pooled()), out->typed_data() + clip * s.rows * s.pooled() * s.features);
    }
  });
  return ffi::Error::Success();
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(AasistJaxResidualBlock, Handle,
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
