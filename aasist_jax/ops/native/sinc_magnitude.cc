// Sinc filters, absolute value and max-pooling, 3 x 3 over filters and time, without the filters' outputs in memory:
//
//   out[b, f, p] = max over i, q < 3 of |sum over k of bank[b, 3 f + q, k] * wave[b, 3 p + i + k]|
//
// A filter is the same forwards and backwards, so the samples that meet the same tap are added first, which leaves half
// the products. Filters lie in lanes so that those of a pool lie in three vectors.

#include <vector>

#include "handler.h"
#include "parallel_for.h"
#include "rows.h"

namespace {

namespace ffi = xla::ffi;

using aasist::AlignedVector;
using aasist::kWidth;
using aasist::Load;

constexpr int64_t kPooled = 32;  // steps whose sums of samples, at 129 taps, are in the first-level cache
// Pooled steps at a time, nine vectors of sums each: within the registers that there are.
constexpr int64_t kSteps = aasist::kVectorBytes == 64 ? 2 : 1;
static_assert(kPooled % kSteps == 0);

struct Shape {
  int64_t batch, samples, banks, filters, taps;
  int64_t rows() const { return filters / kWidth; }
  int64_t pooled() const { return (samples - taps + 1) / kWidth; }
  int64_t half() const { return taps / 2 + 1; }  // taps that differ
};

// (lanes of rows, tap, place in the pool, lane), and one tap more, which is loaded but not used.
template <typename T>
AlignedVector<T> SplitBank(const Shape& s, const T* bank) {
  constexpr int64_t kLanes = aasist::Vector<T>::kLanes;
  const int64_t rows = aasist::RoundUp(s.rows(), kLanes);
  AlignedVector<T> to((rows * s.half() + kLanes) * kWidth);
  for (int64_t row = 0; row < s.rows(); ++row) {
    for (int64_t k = 0; k < s.half(); ++k) {
      for (int64_t q = 0; q < kWidth; ++q) {
        to[((row / kLanes * s.half() + k) * kWidth + q) * kLanes + row % kLanes] =
            bank[(kWidth * row + q) * s.taps + k];
      }
    }
  }
  return to;
}

// What of `count` steps from x on meets each tap.
template <typename T>
void FoldSamples(const Shape& s, const T* x, int64_t count, T* to) {
  for (int64_t t = 0; t < count; ++t, ++x, to += s.half()) {
    for (int64_t k = 0; k < s.half(); ++k) to[k] = x[k] + x[s.taps - 1 - k];
    to[s.half() - 1] = x[s.half() - 1];
  }
}

// `kSteps` pooled steps of as many rows as a vector has lanes.
template <typename T>
void Filter(const T* folded, const T* taps, int64_t half, int64_t stride, T* to) {
  using V = typename aasist::Vector<T>::type;
  constexpr int64_t kLanes = aasist::Vector<T>::kLanes;
  V sum[kSteps * kWidth][kWidth] = {}, tap[kWidth];
  for (int64_t q = 0; q < kWidth; ++q) tap[q] = Load(taps + q * kLanes);
  for (int64_t k = 0; k < half; ++k) {
    for (int64_t i = 0; i < kSteps * kWidth; ++i) {
      const T value = folded[i * half + k];
      for (int64_t q = 0; q < kWidth; ++q) sum[i][q] += value * tap[q];
    }
    // Loaded for the next product, so that GCC keeps them in registers (kernel_gradient.cc).
    taps += kWidth * kLanes;
    for (int64_t q = 0; q < kWidth; ++q) tap[q] = Load(taps + q * kLanes);
  }
  for (int64_t step = 0; step < kSteps; ++step) {
    V largest{};
    for (int64_t i = 0; i < kWidth * kWidth; ++i) {
      const V value = sum[step * kWidth + i / kWidth][i % kWidth];
      const V magnitude = value < 0 ? -value : value;
      largest = aasist::MovesOn<V>(largest, magnitude) ? magnitude : largest;
    }
    aasist::Store(to + step * stride, largest);
  }
}

template <typename T>
ffi::Error Magnitude(ffi::ThreadPool& pool, const Shape& s, const T* wave, const T* bank, T* out) {
  constexpr int64_t kLanes = aasist::Vector<T>::kLanes;
  std::vector<AlignedVector<T>> banks;
  for (int64_t i = 0; i < s.banks; ++i) banks.push_back(SplitBank(s, bank + i * s.filters * s.taps));
  const int64_t rows = aasist::RoundUp(s.rows(), kLanes), spans = (s.pooled() + kPooled - 1) / kPooled;
  aasist::ParallelFor(pool, s.batch * spans, [&](int64_t, int64_t begin, int64_t end) {
    AlignedVector<T> folded(kWidth * kPooled * s.half()), pools(kPooled * rows);
    for (int64_t item = begin; item < end; ++item) {
      const int64_t clip = item / spans, first = item % spans * kPooled, count = std::min(kPooled, s.pooled() - first);
      FoldSamples(s, wave + clip * s.samples + kWidth * first, kWidth * count, folded.data());
      const AlignedVector<T>& taps = banks[s.banks == 1 ? 0 : clip];
      for (int64_t row = 0; row < rows; row += kLanes) {
        for (int64_t p = 0; p < count; p += kSteps) {
          Filter(folded.data() + kWidth * p * s.half(), taps.data() + row * s.half() * kWidth, s.half(), rows,
                 pools.data() + p * rows + row);
        }
      }
      for (int64_t row = 0; row < s.rows(); ++row) {
        T* to = out + (clip * s.rows() + row) * s.pooled() + first;
        for (int64_t p = 0; p < count; ++p) to[p] = pools[p * rows + row];
      }
    }
  });
  return ffi::Error::Success();
}

ffi::Error Handle(ffi::ThreadPool pool, ffi::AnyBuffer wave, ffi::AnyBuffer bank, ffi::Result<ffi::AnyBuffer> out) {
  const auto in = wave.dimensions(), filters = bank.dimensions();
  const Shape s{in[0], in[1], filters[0], filters[1], filters[2]};
  return aasist::ForType(wave, [&](auto number) {
    using T = decltype(number);
    return Magnitude<T>(pool, s, wave.typed_data<T>(), bank.typed_data<T>(), out->typed_data<T>());
  });
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(AasistJaxSincMagnitude, Handle, (aasist::Buffers<2, 1>()));
