// Gradients of a shortcut of one channel, a convolution z = conv(x) of three taps over time, from the gradient g of z
// max-pooled over time by three, which went to the step of z that `index` tells:
//
//   dx[b, r, s] = sum over j, d of dz[b, r, s + 1 - j, d] * kernel[j, d]
//   dk[j, d]    = sum over b, r, t of x[b, r, t + j - 1] * dz[b, r, t, d]
//
// A pooled step has three steps of z, which see five of x. Features are a multiple of eight.

#include <vector>

#include "handler.h"
#include "parallel_for.h"
#include "rows.h"

namespace {

namespace ffi = xla::ffi;

using aasist::Eight;
using aasist::EightAt;
using aasist::kEight;
using aasist::kWidth;

constexpr int64_t kSeen = 2 * kWidth - 1;

struct Shape {
  int64_t batch, rows, steps, features;
  int64_t pooled() const { return steps / kWidth; }
};

template <typename T>
T Sum(const Eight<T>& x) {
  return ((x[0] + x[4]) + (x[2] + x[6])) + ((x[1] + x[5]) + (x[3] + x[7]));
}

// One row; x has a zero before its first step. Adds to dk.
template <typename T>
void Row(const Shape& s, const T* x, const T* kernel, const uint8_t* index, const T* g, T* dx, T* dk) {
  Eight<T> sent[kSeen] = {};  // to the five steps of x, to be summed over features
  for (int64_t p = 0; p < s.pooled(); ++p, index += s.features, g += s.features) {
    for (int64_t d = 0; d < s.features; d += kEight) {
      for (int64_t k = 0; k < kWidth; ++k) {
        const Eight<T> dz = aasist::AtPlace(index + d, g + d, k, aasist::EightOf<T>{});
        for (int64_t j = 0; j < kWidth; ++j) {
          EightAt(dk + j * s.features + d) += x[kWidth * p + k + j] * dz;
          sent[k + j] += dz * EightAt(kernel + j * s.features + d);
        }
      }
    }
    // The next pooled step sends to the last two of these, too.
    for (int64_t k = p == 0 ? 1 : 0; k < kWidth; ++k) dx[kWidth * p + k - 1] = Sum<T>(sent[k]);
    for (int64_t k = 0; k < kSeen; ++k) sent[k] = k + kWidth < kSeen ? sent[k + kWidth] : Eight<T>{};
  }
  for (int64_t step = std::max<int64_t>(0, kWidth * s.pooled() - 1); step < s.steps; ++step) {
    const int64_t k = step - (kWidth * s.pooled() - 1);
    dx[step] = k < kSeen - kWidth ? Sum<T>(sent[k]) : T(0);
  }
}

template <typename T>
ffi::Error Gradients(ffi::ThreadPool& pool, const Shape& s, const T* x, const T* kernel, const uint8_t* index,
                     const T* g, T* dx, T* dk) {
  const int64_t size = kWidth * s.features;
  std::vector<T> totals(aasist::kChunks * size);
  aasist::ParallelFor(pool, s.batch * s.rows, [&](int64_t chunk, int64_t begin, int64_t end) {
    std::vector<T> padded(s.steps + 2), row_dk(size);
    for (int64_t row = begin; row < end; ++row) {
      std::copy_n(x + row * s.steps, s.steps, padded.begin() + 1);
      std::fill(row_dk.begin(), row_dk.end(), T(0));
      const int64_t from = row * s.pooled() * s.features;
      Row(s, padded.data(), kernel, index + from, g + from, dx + row * s.steps, row_dk.data());
      for (int64_t i = 0; i < size; ++i) totals[chunk * size + i] += row_dk[i];
    }
  });
  for (int64_t i = 0; i < size; ++i) dk[i] = aasist::SumOfChunks(totals.data(), size, i);
  return ffi::Error::Success();
}

ffi::Error Handle(ffi::ThreadPool pool, ffi::AnyBuffer x, ffi::AnyBuffer kernel, ffi::AnyBuffer index, ffi::AnyBuffer g,
                  ffi::Result<ffi::AnyBuffer> dx, ffi::Result<ffi::AnyBuffer> dk) {
  const auto in = x.dimensions();
  const Shape s{in[0], in[1], in[2], kernel.dimensions()[2]};
  return aasist::ForType(x, [&](auto number) {
    using T = decltype(number);
    return Gradients<T>(pool, s, x.typed_data<T>(), kernel.typed_data<T>(), index.typed_data<uint8_t>(),
                        g.typed_data<T>(), dx->typed_data<T>(), dk->typed_data<T>());
  });
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(AasistJaxPooledShortcut, Handle, (aasist::Buffers<4, 2>()));
