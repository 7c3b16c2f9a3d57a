// Gradient of max-pooling over time by 3: dx[row, 3 t + k, c] = g[row, t, c] where index[row, t, c] is k, else 0.

#include "handler.h"
#include "parallel_for.h"
#include "rows.h"

namespace {

namespace ffi = xla::ffi;

using aasist::AtPlace;
using aasist::kEight;
using aasist::kWidth;

template <typename T>
ffi::Error Unpool(ffi::ThreadPool& pool, ffi::AnyBuffer& index, ffi::AnyBuffer& g, ffi::AnyBuffer& dx) {
  const auto pooled = g.dimensions(), shape = dx.dimensions();
  const int64_t rows = shape[0] * shape[1], steps = shape[2], thirds = pooled[2], channels = shape[3];
  const uint8_t* places = index.typed_data<uint8_t>();
  const T* from = g.typed_data<T>();
  T* to = dx.typed_data<T>();
  aasist::ParallelFor(pool, rows, [=](int64_t, int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      for (int64_t p = 0; p < thirds; ++p) {
        const int64_t at = (row * thirds + p) * channels;
        for (int64_t k = 0; k < kWidth; ++k) {
          T* step = to + (row * steps + kWidth * p + k) * channels;
          int64_t c = 0;
          for (; c + kEight <= channels; c += kEight) {
            aasist::EightAt(step + c) = AtPlace(places + at + c, from + at + c, k, aasist::EightOf<T>{});
          }
          for (; c < channels; ++c) step[c] = AtPlace(places + at + c, from + at + c, k, aasist::OneOf<T>{});
        }
      }
      std::fill(to + (row * steps + kWidth * thirds) * channels, to + (row + 1) * steps * channels, T(0));
    }
  });
  return ffi::Error::Success();
}

ffi::Error Handle(ffi::ThreadPool pool, ffi::AnyBuffer index, ffi::AnyBuffer g, ffi::Result<ffi::AnyBuffer> dx) {
  return aasist::ForType(g, [&](auto number) { return Unpool<decltype(number)>(pool, index, g, *dx); });
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(AasistJaxUnpool, Handle, (aasist::Buffers<2, 1>()));
