// Gradients of a two-dimensional convolution (stride 1) of one input channel, for the input, the kernel and the bias,
// in one reading of the output's gradient:
//
//   dx[b, r, s]  = sum over i, j, d of dy[b, r - i + pad_rows, s - j + pad_steps, d] * kernel[i, j, d]
//   dk[i, j, d]  = sum over b, f, t of x[b, f + i - pad_rows, t + j - pad_steps] * dy[b, f, t, d]
//   db[d]        = sum over b, f, t of dy[b, f, t, d]
//
// A part has some rows of the input: it reads the rows of dy that they met, those at its ends as its neighbours do, so
// nobody else writes where it writes. Kernels have up to two rows of up to four taps, so that what a time step sends back
// to its taps is one vector; features are a multiple of eight. Where an index is given, dy is that of the pooled
// output and is spread over time on the way (see tile.h). `pad_rows` is less than `height`, so that every row of dy met
// some row of the input.

#include <vector>

#include "parts.h"
#include "tile.h"

namespace {

namespace ffi = xla::ffi;

constexpr int64_t kLanes = 8;
constexpr int64_t kTaps = 4;
constexpr int64_t kHeight = 2;
constexpr int64_t kSteps = 128;

struct Shape {
  int64_t batch, rows_in, steps_in;  // of x
  int64_t rows, steps, features;     // of dy
  int64_t height, width, pad_rows, pad_steps;
};

template <typename T>
struct Vectors {
  typedef T Eight __attribute__((vector_size(kLanes * sizeof(T)), aligned(alignof(T))));
  typedef T Taps __attribute__((vector_size(kTaps * sizeof(T)), aligned(alignof(T))));
};

// dk[i, j, d] += sum over t of x[i][t + j] * dy[t, d], and db[d] += sum over t of dy[t, d].
template <typename T>
void AddParameters(const T* const x[kHeight], const T* dy, int64_t steps, int64_t features, T* dk, T* db) {
  using V = typename Vectors<T>::Eight;
  for (int64_t d = 0; d < features; d += kLanes) {
    V sum[kHeight][kTaps] = {}, bias{};
    for (int64_t t = 0; t < steps; ++t) {
      const V g = *reinterpret_cast<const V*>(dy + t * features + d);
      for (int64_t i = 0; i < kHeight; ++i) {
        for (int64_t j = 0; j < kTaps; ++j) sum[i][j] += x[i][t + j] * g;
      }
      bias += g;
    }
    for (int64_t i = 0; i < kHeight; ++i) {
      for (int64_t j = 0; j < kTaps; ++j) *reinterpret_cast<V*>(dk + (i * kTaps + j) * features + d) += sum[i][j];
    }
    *reinterpret_cast<V*>(db + d) += bias;
  }
}

// dx[i][t + j] += sum over d of dy[t, d] * kernel[d, i, j]. `carry` is what earlier steps still owe to the next ones.
template <typename T>
void AddInputs(const T* dy, const T* kernel, int64_t steps, int64_t features, T* const dx[kHeight],
               typename Vectors<T>::Taps carry[kHeight]) {
  using V = typename Vectors<T>::Eight;
  using Taps = typename Vectors<T>::Taps;
  for (int64_t t = 0; t < steps; ++t) {
    V sums[4] = {};
    for (int64_t d = 0; d < features; d += 4) {
      for (int64_t k = 0; k < 4; ++k) {
        sums[k] += dy[t * features + d + k] * *reinterpret_cast<const V*>(kernel + (d + k) * kHeight * kTaps);
      }
    }
    const V all = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    for (int64_t i = 0; i < kHeight; ++i) {
      carry[i] += reinterpret_cast<const Taps*>(&all)[i];
      dx[i][t] += carry[i][0];
      carry[i] = Taps{carry[i][1], carry[i][2], carry[i][3], T(0)};
    }
  }
}

// Rows [begin, end) of one clip's input. A part's sums are (kHeight, kTaps, features), the bias's, and a place for
// sums that are another part's.
template <typename T>
class Rows {
 public:
  Rows(const Shape& s, const T* kernel, T* total)
      : s_(s),
        kernel_(kernel),
        total_(total),
        length_(s.steps_in + 2 * s.pad_steps + kTaps),
        inputs_(kHeight * length_),
        gradients_(kHeight * length_),
        zeros_(length_),
        unused_(length_),
        unpooled_(kSteps * s.features),
        elsewhere_(kHeight * kTaps * s.features) {}

  void Run(const T* x, const T* dy, const uint8_t* index, int64_t begin, int64_t end, T* dx) {
    const int64_t pooled = s_.steps / aasist::kWidth;
    for (int64_t f = begin + s_.pad_rows - s_.height + 1; f < end + s_.pad_rows; ++f) {
      const int64_t newest = f + s_.height - 1 - s_.pad_rows;
      if (newest >= begin && newest < end) Begin(x + newest * s_.steps_in, newest);
      if (f >= 0 && f < s_.rows) {
        const int64_t from = f * (index == nullptr ? s_.steps : pooled) * s_.features;
        Row(f, dy + from, index == nullptr ? nullptr : index + from, pooled, begin, end);
      }
      const int64_t oldest = f - s_.pad_rows;
      if (oldest >= begin && oldest < end) {
        std::copy_n(Gradient(oldest) + s_.pad_steps, s_.steps_in, dx + oldest * s_.steps_in);
      }
    }
  }

 private:
  T* Input(int64_t row) { return inputs_.data() + row % kHeight * length_; }
  T* Gradient(int64_t row) { return gradients_.data() + row % kHeight * length_; }

  void Begin(const T* x, int64_t row) {
    std::copy_n(x, s_.steps_in, Input(row) + s_.pad_steps);
    std::fill_n(Gradient(row), length_, T(0));
  }

  void Row(int64_t f, const T* dy, const uint8_t* index, int64_t pooled, int64_t begin, int64_t end) {
    const T* x[kHeight];
    T* gradient[kHeight];
    for (int64_t i = 0; i < kHeight; ++i) {
      const int64_t row = f + i - s_.pad_rows;
      const bool mine = i < s_.height && row >= begin && row < end;
      x[i] = mine ? Input(row) : zeros_.data();
      gradient[i] = mine ? Gradient(row) : unused_.data();
    }
    // The first row of the input that a row of dy met counts its bias.
    const int64_t first_met = f + std::max<int64_t>(0, s_.pad_rows - f) - s_.pad_rows;
    T* const bias = first_met >= begin && first_met < end ? total_ + kHeight * kTaps * s_.features : elsewhere_.data();
    typename Vectors<T>::Taps carry[kHeight] = {};
    for (int64_t first = 0; first < s_.steps; first += kSteps) {
      const int64_t steps = std::min(kSteps, s_.steps - first);
      const T* run = dy + first * s_.features;
      if (index != nullptr) {
        aasist::CopyUnpooled(index, dy, first, steps, pooled, s_.features, unpooled_.data(), s_.features);
        run = unpooled_.data();
      }
      const T* inputs[] = {x[0] + first, x[1] + first};
      T* const gradients[] = {gradient[0] + first, gradient[1] + first};
      AddParameters(inputs, run, steps, s_.features, total_, bias);
      AddInputs(run, kernel_, steps, s_.features, gradients, carry);
    }
    for (int64_t i = 0; i < kHeight; ++i) {
      for (int64_t j = 0; j < kTaps - 1; ++j) gradient[i][s_.steps + j] += carry[i][j];
    }
  }

  const Shape& s_;
  const T* kernel_;
  T* total_;
  int64_t length_;
  std::vector<T> inputs_, gradients_, zeros_, unused_, unpooled_, elsewhere_;
};

template <typename T>
ffi::Error OneChannel(ffi::ThreadPool& pool, const Shape& s, const T* x, const T* kernel, const T* dy,
                      const uint8_t* index, T* dx, T* dk, T* db) {
  // (features, kHeight, kTaps): a feature's taps side by side, zeros for those that there are not.
  std::vector<T> taps(s.features * kHeight * kTaps);
  for (int64_t i = 0; i < s.height; ++i) {
    for (int64_t j = 0; j < s.width; ++j) {
      for (int64_t d = 0; d < s.features; ++d) {
        taps[(d * kHeight + i) * kTaps + j] = kernel[(i * s.width + j) * s.features + d];
      }
    }
  }
  const int64_t bias = kHeight * kTaps * s.features, size = bias + s.features;
  std::vector<T> totals(aasist::kParts * size);
  const int64_t x_size = s.rows_in * s.steps_in;
  const int64_t dy_size = s.rows * (index == nullptr ? s.steps : s.steps / aasist::kWidth) * s.features;
  aasist::ForParts(pool, s.batch * s.rows_in, [&](int64_t part, int64_t begin, int64_t end) {
    Rows<T> rows(s, taps.data(), totals.data() + part * size);
    while (begin < end) {
      const int64_t clip = begin / s.rows_in, first = begin % s.rows_in;
      const int64_t last = std::min(s.rows_in, first + end - begin);
      rows.Run(x + clip * x_size, dy + clip * dy_size, index == nullptr ? nullptr : index + clip * dy_size, first, last,
               dx + clip * x_size);
      begin += last - first;
    }
  });
  auto sum = [&](int64_t place) {
    T total = 0;
    for (int64_t part = 0; part < aasist::kParts; ++part) total += totals[part * size + place];
    return total;
  };
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

template <typename T>
ffi::Error HandleAs(ffi::ThreadPool& pool, const Shape& shape, ffi::AnyBuffer& x, ffi::AnyBuffer& kernel,
                    ffi::AnyBuffer& dy, const uint8_t* index, ffi::AnyBuffer& dx, ffi::AnyBuffer& dk,
                    ffi::AnyBuffer& db) {
  return OneChannel<T>(pool, shape, x.typed_data<T>(), kernel.typed_data<T>(), dy.typed_data<T>(), index,
                       dx.typed_data<T>(), dk.typed_data<T>(), db.typed_data<T>());
}

ffi::Error Handle(ffi::ThreadPool pool, ffi::AnyBuffer x, ffi::AnyBuffer kernel, ffi::AnyBuffer dy,
                  ffi::AnyBuffer index, ffi::Result<ffi::AnyBuffer> dx, ffi::Result<ffi::AnyBuffer> dk, ffi::Result<ffi::AnyBuffer> db,
                  int64_t pad_rows, int64_t pad_steps) {
  const auto in = x.dimensions(), out = dy.dimensions(), taps = kernel.dimensions();
  const bool pooled = index.element_count() > 0;
  const int64_t steps = pooled ? in[2] + 2 * pad_steps - taps[1] + 1 : out[2];
  const Shape shape{in[0], in[1], in[2], out[1], steps, out[3], taps[0], taps[1], pad_rows, pad_steps};
  const uint8_t* places = pooled ? index.typed_data<uint8_t>() : nullptr;
  if (x.element_type() == ffi::F32) return HandleAs<float>(pool, shape, x, kernel, dy, places, *dx, *dk, *db);
  return HandleAs<double>(pool, shape, x, kernel, dy, places, *dx, *dk, *db);
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(AasistOneChannel, Handle,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Ret<ffi::AnyBuffer>()
                                  .Ret<ffi::AnyBuffer>()
                                  .Ret<ffi::AnyBuffer>()
                                  .Attr<int64_t>("pad_rows")
                                  .Attr<int64_t>("pad_steps"));
