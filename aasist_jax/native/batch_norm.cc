// Batch norm of what lies in memory, each sum and gradient in one reading of it (batch_norm.h).

#include "batch_norm.h"

#include "parts.h"

namespace {

namespace ffi = xla::ffi;

using aasist::kRun;

// Calls work(first, count) for runs of the places [begin, end).
template <typename Work>
void ForRuns(int64_t begin, int64_t end, const Work& work) {
  for (int64_t first = begin; first < end; first += kRun) work(first, std::min(kRun, end - first));
}

template <typename T>
ffi::Error BatchMoments(ffi::ThreadPool& pool, ffi::AnyBuffer& x, ffi::AnyBuffer& mean, ffi::AnyBuffer& squares) {
  const int64_t channels = x.dimensions().back();
  const T* data = x.typed_data<T>();
  auto add = [&](int64_t begin, int64_t end, aasist::Moments<T>& moments) {
    ForRuns(begin, end, [&](int64_t first, int64_t count) { moments.AddRun(data + first * channels, count); });
  };
  aasist::PartMoments(pool, x.element_count() / channels, channels, add, mean.typed_data<T>(), squares.typed_data<T>());
  return ffi::Error::Success();
}

ffi::Error HandleMoments(ffi::ThreadPool pool, ffi::AnyBuffer x, ffi::Result<ffi::AnyBuffer> mean,
                         ffi::Result<ffi::AnyBuffer> squares) {
  if (x.element_type() == ffi::F32) return BatchMoments<float>(pool, x, *mean, *squares);
  return BatchMoments<double>(pool, x, *mean, *squares);
}

template <typename T>
ffi::Error GradientSums(ffi::ThreadPool& pool, ffi::AnyBuffer& x, ffi::AnyBuffer& g, ffi::AnyBuffer& mean,
                        ffi::AnyBuffer& inverse, ffi::AnyBuffer& sums, ffi::AnyBuffer& products) {
  const int64_t channels = x.dimensions().back();
  auto add = [&](int64_t begin, int64_t end, T* total) {
    ForRuns(begin, end, [&](int64_t first, int64_t count) {
      aasist::AddGradientSums(x.typed_data<T>() + first * channels, g.typed_data<T>() + first * channels, count,
                              channels, mean.typed_data<T>(), inverse.typed_data<T>(), total);
    });
  };
  aasist::PartGradientSums(pool, x.element_count() / channels, channels, add, sums.typed_data<T>(),
                           products.typed_data<T>());
  return ffi::Error::Success();
}

ffi::Error HandleSums(ffi::ThreadPool pool, ffi::AnyBuffer x, ffi::AnyBuffer g, ffi::AnyBuffer mean,
                      ffi::AnyBuffer inverse, ffi::Result<ffi::AnyBuffer> sums, ffi::Result<ffi::AnyBuffer> products) {
  if (x.element_type() == ffi::F32) return GradientSums<float>(pool, x, g, mean, inverse, *sums, *products);
  return GradientSums<double>(pool, x, g, mean, inverse, *sums, *products);
}

template <typename T>
ffi::Error InputGradient(ffi::ThreadPool& pool, ffi::AnyBuffer& x, ffi::AnyBuffer& g, ffi::AnyBuffer& mean,
                         ffi::AnyBuffer& inverse, ffi::AnyBuffer& factor, ffi::AnyBuffer& mean_g,
                         ffi::AnyBuffer& mean_product, ffi::AnyBuffer& dx) {
  const int64_t channels = x.dimensions().back();
  const aasist::Normalization<T> normalization{mean.typed_data<T>(), inverse.typed_data<T>(), factor.typed_data<T>(),
                                               mean_g.typed_data<T>(), mean_product.typed_data<T>()};
  aasist::ForParts(pool, x.element_count() / channels, [&](int64_t, int64_t begin, int64_t end) {
    ForRuns(begin, end, [&](int64_t first, int64_t count) {
      const int64_t at = first * channels;
      aasist::InputGradient(x.typed_data<T>() + at, g.typed_data<T>() + at, count, channels, normalization,
                            dx.typed_data<T>() + at);
    });
  });
  return ffi::Error::Success();
}

ffi::Error HandleGradient(ffi::ThreadPool pool, ffi::AnyBuffer x, ffi::AnyBuffer g, ffi::AnyBuffer mean,
                          ffi::AnyBuffer inverse, ffi::AnyBuffer factor, ffi::AnyBuffer mean_g,
                          ffi::AnyBuffer mean_product, ffi::Result<ffi::AnyBuffer> dx) {
  if (x.element_type() == ffi::F32) {
    return InputGradient<float>(pool, x, g, mean, inverse, factor, mean_g, mean_product, *dx);
  }
  return InputGradient<double>(pool, x, g, mean, inverse, factor, mean_g, mean_product, *dx);
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(
    AasistBatchMoments, HandleMoments,
    ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<ffi::AnyBuffer>().Ret<ffi::AnyBuffer>().Ret<ffi::AnyBuffer>());

XLA_FFI_DEFINE_HANDLER_SYMBOL(AasistGradientSums, HandleSums,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Ret<ffi::AnyBuffer>()
                                  .Ret<ffi::AnyBuffer>());

XLA_FFI_DEFINE_HANDLER_SYMBOL(AasistInputGradient, HandleGradient,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Ret<ffi::AnyBuffer>());
