// A two-dimensional convolution (stride 1) of one input channel with batch norm behind it in training. The convolution,
// y = conv(x) + bias, is cheaper to compute again than to store: for the moments of y, for the sums of its gradient,
// and for the gradients, each in one reading of the gradient of batch norm's output, from which dy is made on the way:
//
//   dx[b, r, s]  = sum over i, j, d of dy[b, r - i + pad_rows, s - j + pad_steps, d] * kernel[i, j, d]
//   dk[i, j, d]  = sum over b, f, t of x[b, f + i - pad_rows, t + j - pad_steps] * dy[b, f, t, d]
//   db[d]        = sum over b, f, t of dy[b, f, t, d]
//
// For the gradients a chunk has some rows of the input: it reads the rows of dy that they met, those at its ends as its
// neighbours do, so nobody else writes where it writes. Kernels have up to two rows of up to three taps; features are a
// multiple of eight. `pad_rows` is less than `height`, so that every row of dy met some row of the input.

#include <vector>

#include "batch_norm.h"
#include "handler.h"
#include "parallel_for.h"

namespace {

namespace ffi = xla::ffi;

using aasist::Eight;
using aasist::EightAt;
using aasist::kEight;
using aasist::kRun;

constexpr int64_t kTaps = 3;
constexpr int64_t kHeight = 2;
constexpr int64_t kPaddedTaps = kEight / kHeight;  // what a time step sends back to its taps is then one vector
constexpr int64_t kSums = 4;                       // that do not wait for each other

struct Shape {
  int64_t batch, rows_in, steps_in;  // of x
  int64_t rows, steps, features;     // of dy
  int64_t height, width, pad_rows, pad_steps;
};

template <typename T>
struct TapsOf {
  typedef T type __attribute__((vector_size(kPaddedTaps * sizeof(T)), aligned(alignof(T))));
};
template <typename T>
using Taps = typename TapsOf<T>::type;

// The convolution's output, a run of a row at a time.
template <typename T>
class Output {
 public:
  Output(const Shape& s, const T* kernel, const T* bias)
      : s_(s),
        bias_(bias),
        length_(s.steps_in + 2 * s.pad_steps + kTaps),
        rows_(kHeight * length_),
        kernel_(kHeight * kTaps * s.features) {
    // Taps that there are not are zeros, so that their number is known to the compiler.
    for (int64_t i = 0; i < s.height; ++i) {
      std::copy_n(kernel + i * s.width * s.features, s.width * s.features, kernel_.data() + i * kTaps * s.features);
    }
  }

  // Takes the rows of one clip's input that row f of the output sees, each with its padding.
  void Begin(const T* x, int64_t f) {
    for (int64_t i = 0; i < s_.height; ++i) {
      const int64_t row = f + i - s_.pad_rows;
      T* to = rows_.data() + i * length_ + s_.pad_steps;
      if (row < 0 || row >= s_.rows_in) {
        std::fill_n(to, s_.steps_in, T(0));
      } else {
        std::copy_n(x + row * s_.steps_in, s_.steps_in, to);
      }
    }
  }

  const T* Row(int64_t i) const { return rows_.data() + i * length_; }

  void Run(int64_t first, int64_t steps, T* y) const {
    const T* x[] = {Row(0) + first, Row(1) + first};
    for (int64_t d = 0; d < s_.features; d += kEight) {
      Eight<T> taps[kHeight][kTaps];
      for (int64_t k = 0; k < kHeight * kTaps; ++k)
        taps[k / kTaps][k % kTaps] = EightAt(kernel_.data() + k * s_.features + d);
      const Eight<T> bias = EightAt(bias_ + d);
      for (int64_t t = 0; t < steps; ++t) {
        Eight<T> sum = bias;
        for (int64_t i = 0; i < kHeight; ++i) {
          for (int64_t j = 0; j < kTaps; ++j) sum += x[i][t + j] * taps[i][j];
        }
        EightAt(y + t * s_.features + d) = sum;
      }
    }
  }

 private:
  const Shape& s_;
  const T* bias_;
  int64_t length_;
  std::vector<T> rows_, kernel_;
};

// Calls function(row, first, steps, y) for runs of the output's rows [begin, end), counted over all clips.
template <typename T, typename Function>
void ForRuns(const Shape& s, const T* x, const T* kernel, const T* bias, int64_t begin, int64_t end,
             const Function& function) {
  Output<T> output(s, kernel, bias);
  std::vector<T> y(kRun * s.features);
  for (int64_t row = begin; row < end; ++row) {
    output.Begin(x + row / s.rows * s.rows_in * s.steps_in, row % s.rows);
    for (int64_t first = 0; first < s.steps; first += kRun) {
      const int64_t steps = std::min(kRun, s.steps - first);
      output.Run(first, steps, y.data());
      function(row, first, steps, y.data());
    }
  }
}

// dk[i, j, d] += sum over t of x[i][t + j] * dy[t, d], and db[d] += sum over t of dy[t, d].
template <typename T>
void AddParameters(const T* const x[kHeight], const T* dy, int64_t steps, int64_t features, T* dk, T* db) {
  for (int64_t d = 0; d < features; d += kEight) {
    Eight<T> sum[kHeight][kTaps] = {}, bias{};
    for (int64_t t = 0; t < steps; ++t) {
      const Eight<T> g = EightAt(dy + t * features + d);
      for (int64_t i = 0; i < kHeight; ++i) {
        for (int64_t j = 0; j < kTaps; ++j) sum[i][j] += x[i][t + j] * g;
      }
      bias += g;
    }
    for (int64_t i = 0; i < kHeight; ++i) {
      for (int64_t j = 0; j < kTaps; ++j) EightAt(dk + (i * kTaps + j) * features + d) += sum[i][j];
    }
    EightAt(db + d) += bias;
  }
}

// dx[i][t + j] += sum over d of dy[t, d] * kernel[d, i, j]. `carry` is what earlier steps still owe to the next ones.
template <typename T>
void AddInputs(const T* dy, const T* kernel, int64_t steps, int64_t features, T* const dx[kHeight],
               Taps<T> carry[kHeight]) {
  for (int64_t t = 0; t < steps; ++t) {
    Eight<T> sums[kSums] = {};
    for (int64_t d = 0; d < features; d += kSums) {
      for (int64_t k = 0; k < kSums; ++k) {
        sums[k] += dy[t * features + d + k] * EightAt(kernel + (d + k) * kEight);
      }
    }
    const Eight<T> all = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    for (int64_t i = 0; i < kHeight; ++i) {
      carry[i] += reinterpret_cast<const Taps<T>*>(&all)[i];
      dx[i][t] += carry[i][0];
      carry[i] = Taps<T>{carry[i][1], carry[i][2], carry[i][3], T(0)};
    }
  }
}

// Rows [begin, end) of one clip's input. A chunk's sums are (kHeight, kTaps, features), then the bias's. `taps` are
// those of a feature side by side.
template <typename T>
class Rows {
 public:
  Rows(const Shape& s, const T* kernel, const T* kernel_bias, const T* taps,
       const aasist::Normalization<T>& normalization, T* total)
      : s_(s),
        output_(s, kernel, kernel_bias),
        taps_(taps),
        normalization_(normalization),
        total_(total),
        length_(s.steps_in + 2 * s.pad_steps + kTaps),
        gradients_(kHeight * length_),
        zeros_(length_),
        unused_(length_),
        run_(kRun * s.features),
        elsewhere_(s.features) {}

  // `g` is the gradient of batch norm's output.
  void Run(const T* x, const T* g, int64_t begin, int64_t end, T* dx) {
    for (int64_t f = begin + s_.pad_rows - s_.height + 1; f < end + s_.pad_rows; ++f) {
      const int64_t newest = f + s_.height - 1 - s_.pad_rows;
      if (newest >= begin && newest < end) std::fill_n(Gradient(newest), length_, T(0));
      if (f >= 0 && f < s_.rows) {
        output_.Begin(x, f);
        Row(f, g + f * s_.steps * s_.features, begin, end);
      }
      const int64_t oldest = f - s_.pad_rows;
      if (oldest >= begin && oldest < end) {
        std::copy_n(Gradient(oldest) + s_.pad_steps, s_.steps_in, dx + oldest * s_.steps_in);
      }
    }
  }

 private:
  T* Gradient(int64_t row) { return gradients_.data() + row % kHeight * length_; }

  void Row(int64_t f, const T* g, int64_t begin, int64_t end) {
    const T* x[kHeight];
    T* gradient[kHeight];
    for (int64_t i = 0; i < kHeight; ++i) {
      const int64_t row = f + i - s_.pad_rows;
      const bool mine = i < s_.height && row >= begin && row < end;
      x[i] = mine ? output_.Row(i) : zeros_.data();
      gradient[i] = mine ? Gradient(row) : unused_.data();
    }
    // The first row of the input that a row of dy met counts its bias.
    const int64_t first_met = std::max<int64_t>(0, f - s_.pad_rows);
    T* const bias = first_met >= begin && first_met < end ? total_ + kHeight * kTaps * s_.features : elsewhere_.data();
    Taps<T> carry[kHeight] = {};
    for (int64_t first = 0; first < s_.steps; first += kRun) {
      const int64_t steps = std::min(kRun, s_.steps - first);
      output_.Run(first, steps, run_.data());
      aasist::InputGradient(run_.data(), g + first * s_.features, steps, s_.features, normalization_, run_.data());
      const T* inputs[] = {x[0] + first, x[1] + first};
      T* const gradients[] = {gradient[0] + first, gradient[1] + first};
      AddParameters(inputs, run_.data(), steps, s_.features, total_, bias);
      AddInputs(run_.data(), taps_, steps, s_.features, gradients, carry);
    }
    for (int64_t i = 0; i < kHeight; ++i) {
      for (int64_t j = 0; j < kTaps - 1; ++j) gradient[i][s_.steps + j] += carry[i][j];
    }
  }

  const Shape& s_;
  Output<T> output_;
  const T* taps_;
  const aasist::Normalization<T>& normalization_;
  T* total_;
  int64_t length_;
  std::vector<T> gradients_, zeros_, unused_, run_, elsewhere_;
};

template <typename T>
ffi::Error Gradients(ffi::ThreadPool& pool, const Shape& s, const T* x, const T* kernel, const T* kernel_bias,
                     const T* g, const aasist::Normalization<T>& normalization, T* dx, T* dk, T* db) {
  // (features, kHeight, kPaddedTaps): zeros for the taps that there are not.
  std::vector<T> taps(s.features * kEight);
  for (int64_t i = 0; i < s.height; ++i) {
    for (int64_t j = 0; j < s.width; ++j) {
      for (int64_t d = 0; d < s.features; ++d) {
        taps[d * kEight + i * kPaddedTaps + j] = kernel[(i * s.width + j) * s.features + d];
      }
    }
  }
  const int64_t bias = kHeight * kTaps * s.features, size = bias + s.features;
  std::vector<T> totals(aasist::kChunks * size);
  const int64_t x_size = s.rows_in * s.steps_in, g_size = s.rows * s.steps * s.features;
  aasist::ParallelFor(pool, s.batch * s.rows_in, [&](int64_t chunk, int64_t begin, int64_t end) {
    Rows<T> rows(s, kernel, kernel_bias, taps.data(), normalization, totals.data() + chunk * size);
    while (begin < end) {
      const int64_t clip = begin / s.rows_in, first = begin % s.rows_in;
      const int64_t last = std::min(s.rows_in, first + end - begin);
      rows.Run(x + clip * x_size, g + clip * g_size, first, last, dx + clip * x_size);
      begin += last - first;
    }
  });
  auto sum = [&](int64_t place) { return aasist::SumOfChunks(totals.data(), size, place); };
  for (int64_t d = 0; d < s.features; ++d) {
    for (int64_t i = 0; i < s.height; ++i) {
      for (int64_t j = 0; j < s.width; ++j) {
        dk[(i * s.width + j) * s.features + d] = sum((i * kTaps + j) * s.features + d);
      }
    }
    db[d] = sum(bias + d);
  }
  return ffi::Error::Success();
}

Shape ShapeOf(ffi::AnyBuffer& x, ffi::AnyBuffer& kernel, int64_t pad_rows, int64_t pad_steps) {
  const auto in = x.dimensions(), taps = kernel.dimensions();
  const int64_t rows = in[1] + 2 * pad_rows - taps[0] + 1, steps = in[2] + 2 * pad_steps - taps[1] + 1;
  return {in[0], in[1], in[2], rows, steps, taps[3], taps[0], taps[1], pad_rows, pad_steps};
}

ffi::Error HandleGradients(ffi::ThreadPool pool, ffi::AnyBuffer x, ffi::AnyBuffer kernel, ffi::AnyBuffer bias,
                           ffi::AnyBuffer g, ffi::AnyBuffer mean, ffi::AnyBuffer inverse, ffi::AnyBuffer factor,
                           ffi::AnyBuffer mean_g, ffi::AnyBuffer mean_product, ffi::Result<ffi::AnyBuffer> dx,
                           ffi::Result<ffi::AnyBuffer> dk, ffi::Result<ffi::AnyBuffer> db, int64_t pad_rows,
                           int64_t pad_steps) {
  return aasist::ForType(x, [&](auto number) {
    using T = decltype(number);
    const aasist::Normalization<T> normalization{mean.typed_data<T>(), inverse.typed_data<T>(), factor.typed_data<T>(),
                                                 mean_g.typed_data<T>(), mean_product.typed_data<T>()};
    return Gradients<T>(pool, ShapeOf(x, kernel, pad_rows, pad_steps), x.typed_data<T>(), kernel.typed_data<T>(),
                        bias.typed_data<T>(), g.typed_data<T>(), normalization, dx->typed_data<T>(),
                        dk->typed_data<T>(), db->typed_data<T>());
  });
}

ffi::Error HandleMoments(ffi::ThreadPool pool, ffi::AnyBuffer x, ffi::AnyBuffer kernel, ffi::AnyBuffer bias,
                         ffi::Result<ffi::AnyBuffer> mean, ffi::Result<ffi::AnyBuffer> squares, int64_t pad_rows,
                         int64_t pad_steps) {
  const Shape s = ShapeOf(x, kernel, pad_rows, pad_steps);
  return aasist::ForType(x, [&](auto number) {
    using T = decltype(number);
    std::vector<aasist::Moments<T>> chunks(aasist::kChunks, aasist::Moments<T>(s.features));
    aasist::ParallelFor(pool, s.batch * s.rows, [&](int64_t chunk, int64_t begin, int64_t end) {
      ForRuns(s, x.typed_data<T>(), kernel.typed_data<T>(), bias.typed_data<T>(), begin, end,
              [&](int64_t, int64_t, int64_t steps, const T* y) { chunks[chunk].AddRun(y, steps); });
    });
    for (int64_t chunk = 1; chunk < aasist::kChunks; ++chunk) chunks[0].Join(chunks[chunk]);
    chunks[0].Copy(mean->typed_data<T>(), squares->typed_data<T>());
    return ffi::Error::Success();
  });
}

ffi::Error HandleSums(ffi::ThreadPool pool, ffi::AnyBuffer x, ffi::AnyBuffer kernel, ffi::AnyBuffer bias,
                      ffi::AnyBuffer g, ffi::AnyBuffer mean, ffi::AnyBuffer inverse, ffi::Result<ffi::AnyBuffer> sums,
                      ffi::Result<ffi::AnyBuffer> products, int64_t pad_rows, int64_t pad_steps) {
  const Shape s = ShapeOf(x, kernel, pad_rows, pad_steps);
  return aasist::ForType(x, [&](auto number) {
    using T = decltype(number);
    const int64_t size = 2 * s.features;
    std::vector<T> totals(aasist::kChunks * size);
    aasist::ParallelFor(pool, s.batch * s.rows, [&](int64_t chunk, int64_t begin, int64_t end) {
      ForRuns(s, x.typed_data<T>(), kernel.typed_data<T>(), bias.typed_data<T>(), begin, end,
              [&](int64_t row, int64_t first, int64_t steps, const T* y) {
                aasist::AddGradientSums(y, g.typed_data<T>() + (row * s.steps + first) * s.features, steps, s.features,
                                        mean.typed_data<T>(), inverse.typed_data<T>(), totals.data() + chunk * size);
              });
    });
    for (int64_t d = 0; d < s.features; ++d) {
      sums->typed_data<T>()[d] = aasist::SumOfChunks(totals.data(), size, d);
      products->typed_data<T>()[d] = aasist::SumOfChunks(totals.data(), size, s.features + d);
    }
    return ffi::Error::Success();
  });
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(AasistJaxOneChannelNormalized, HandleGradients,
                              (aasist::Buffers<9, 3>().Attr<int64_t>("pad_rows").Attr<int64_t>("pad_steps")));

XLA_FFI_DEFINE_HANDLER_SYMBOL(AasistJaxOneChannelMoments, HandleMoments,
                              (aasist::Buffers<3, 2>().Attr<int64_t>("pad_rows").Attr<int64_t>("pad_steps")));

XLA_FFI_DEFINE_HANDLER_SYMBOL(AasistJaxOneChannelSums, HandleSums,
                              (aasist::Buffers<6, 2>().Attr<int64_t>("pad_rows").Attr<int64_t>("pad_steps")));
