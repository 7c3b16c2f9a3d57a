// Batch norm over (places, channels), behind which may stand SELU: the sums that it needs, and its gradient.
//
// Everything is one reading of memory, a run of places that fits in the first-level cache at a time, eight channels
// side by side. `channels` is a multiple of eight.

#include <vector>

#include "parts.h"

namespace {

namespace ffi = xla::ffi;

constexpr int64_t kLanes = 8;
constexpr int64_t kRun = 128;
constexpr double kScale = 1.0507009873554805, kAlpha = 1.6732632423543772;  // of SELU

template <typename T>
struct Vector {
  typedef T type __attribute__((vector_size(kLanes * sizeof(T)), aligned(alignof(T))));
};
template <typename T>
using V = typename Vector<T>::type;

template <typename T>
V<T> Load(const T* from) {
  return *reinterpret_cast<const V<T>*>(from);
}
template <typename T>
void Store(T* to, V<T> value) {
  *reinterpret_cast<V<T>*>(to) = value;
}

// The gradient for the input of SELU, from that for its output and the output itself.
template <typename T>
V<T> ThroughSelu(V<T> dy, V<T> y) {
  return dy * (y > T(0) ? V<T>{} + T(kScale) : y + T(kScale * kAlpha));
}

// Mean, and sum of squared deviations from it. A run's mean is taken first, its deviations in a second look at the
// cache; runs and parts are then joined (Chan, Golub & LeVeque, 1983).
template <typename T>
struct Moments {
  std::vector<T> mean, squares;
  T count = 0;
  explicit Moments(int64_t channels) : mean(channels), squares(channels) {}

  void Join(T other_count, const T* other_mean, const T* other_squares) {
    const T all = count + other_count;
    if (other_count == 0) return;
    for (size_t c = 0; c < mean.size(); ++c) {
      const T apart = other_mean[c] - mean[c];
      mean[c] += apart * (other_count / all);
      squares[c] += other_squares[c] + apart * apart * (count * (other_count / all));
    }
    count = all;
  }
};

template <typename T>
ffi::Error BatchMoments(ffi::ThreadPool& pool, ffi::AnyBuffer& x, T* mean, T* squares) {
  const int64_t channels = x.dimensions().back(), places = x.element_count() / channels;
  const T* data = x.typed_data<T>();
  std::vector<Moments<T>> parts(aasist::kParts, Moments<T>(channels));
  aasist::ForParts(pool, places, [&](int64_t part, int64_t begin, int64_t end) {
    std::vector<T> run_mean(channels), run_squares(channels);
    for (int64_t first = begin; first < end; first += kRun) {
      const int64_t count = std::min(kRun, end - first);
      for (int64_t c = 0; c < channels; c += kLanes) {
        const T* from = data + first * channels + c;
        V<T> sum{}, square{};
        for (int64_t i = 0; i < count; ++i) sum += Load(from + i * channels);
        const V<T> middle = sum / T(count);
        for (int64_t i = 0; i < count; ++i) {
          const V<T> apart = Load(from + i * channels) - middle;
          square += apart * apart;
        }
        Store(run_mean.data() + c, middle);
        Store(run_squares.data() + c, square);
      }
      parts[part].Join(T(count), run_mean.data(), run_squares.data());
    }
  });
  for (int64_t part = 1; part < aasist::kParts; ++part) {
    parts[0].Join(parts[part].count, parts[part].mean.data(), parts[part].squares.data());
  }
  std::copy_n(parts[0].mean.data(), channels, mean);
  std::copy_n(parts[0].squares.data(), channels, squares);
  return ffi::Error::Success();
}

// sum(g) and sum(g * normalized) over all places, where g is dy, or its gradient through SELU if `y` is given.
template <typename T>
ffi::Error GradientSums(ffi::ThreadPool& pool, int64_t places, int64_t channels, const T* x, const T* y, const T* dy,
                        const T* mean, const T* inverse, T* sums, T* products) {
  std::vector<T> totals(aasist::kParts * 2 * channels);
  aasist::ForParts(pool, places, [&](int64_t part, int64_t begin, int64_t end) {
    T* total = totals.data() + part * 2 * channels;
    for (int64_t first = begin; first < end; first += kRun) {
      const int64_t count = std::min(kRun, end - first);
      for (int64_t c = 0; c < channels; c += kLanes) {
        const V<T> middle = Load(mean + c), factor = Load(inverse + c);
        V<T> sum{}, product{};
        for (int64_t i = 0; i < count; ++i) {
          const int64_t at = (first + i) * channels + c;
          V<T> g = Load(dy + at);
          if (y != nullptr) g = ThroughSelu<T>(g, Load(y + at));
          sum += g;
          product += g * (Load(x + at) - middle);
        }
        Store(total + c, Load(total + c) + sum);
        Store(total + channels + c, Load(total + channels + c) + product * factor);
      }
    }
  });
  for (int64_t c = 0; c < channels; ++c) {
    sums[c] = products[c] = 0;
    for (int64_t part = 0; part < aasist::kParts; ++part) {
      sums[c] += totals[part * 2 * channels + c];
      products[c] += totals[part * 2 * channels + channels + c];
    }
  }
  return ffi::Error::Success();
}

// dx = factor * (g - mean_g - normalized * mean_product)
template <typename T>
ffi::Error InputGradient(ffi::ThreadPool& pool, int64_t places, int64_t channels, const T* x, const T* y, const T* dy,
                         const T* mean, const T* inverse, const T* factor, const T* mean_g, const T* mean_product,
                         T* dx) {
  aasist::ForParts(pool, places, [&](int64_t, int64_t begin, int64_t end) {
    for (int64_t first = begin; first < end; first += kRun) {
      const int64_t count = std::min(kRun, end - first);
      for (int64_t c = 0; c < channels; c += kLanes) {
        const V<T> middle = Load(mean + c), scale = Load(factor + c), shift = Load(mean_g + c);
        const V<T> slope = Load(inverse + c) * Load(mean_product + c);
        for (int64_t i = 0; i < count; ++i) {
          const int64_t at = (first + i) * channels + c;
          V<T> g = Load(dy + at);
          if (y != nullptr) g = ThroughSelu<T>(g, Load(y + at));
          Store(dx + at, scale * (g - shift - (Load(x + at) - middle) * slope));
        }
      }
    }
  });
  return ffi::Error::Success();
}

ffi::Error HandleMoments(ffi::ThreadPool pool, ffi::AnyBuffer x, ffi::Result<ffi::AnyBuffer> mean,
                         ffi::Result<ffi::AnyBuffer> squares) {
  if (x.element_type() == ffi::F32) {
    return BatchMoments(pool, x, mean->typed_data<float>(), squares->typed_data<float>());
  }
  return BatchMoments(pool, x, mean->typed_data<double>(), squares->typed_data<double>());
}

template <typename T>
ffi::Error SumsOf(ffi::ThreadPool& pool, ffi::AnyBuffer& x, ffi::AnyBuffer& y, ffi::AnyBuffer& dy,
                  ffi::AnyBuffer& mean, ffi::AnyBuffer& inverse, ffi::AnyBuffer& sums, ffi::AnyBuffer& products,
                  bool selu) {
  const int64_t channels = x.dimensions().back();
  return GradientSums<T>(pool, x.element_count() / channels, channels, x.typed_data<T>(),
                         selu ? y.typed_data<T>() : nullptr, dy.typed_data<T>(), mean.typed_data<T>(),
                         inverse.typed_data<T>(), sums.typed_data<T>(), products.typed_data<T>());
}

ffi::Error HandleSums(ffi::ThreadPool pool, ffi::AnyBuffer x, ffi::AnyBuffer y, ffi::AnyBuffer dy, ffi::AnyBuffer mean,
                      ffi::AnyBuffer inverse, ffi::Result<ffi::AnyBuffer> sums, ffi::Result<ffi::AnyBuffer> products,
                      bool selu) {
  if (x.element_type() == ffi::F32) return SumsOf<float>(pool, x, y, dy, mean, inverse, *sums, *products, selu);
  return SumsOf<double>(pool, x, y, dy, mean, inverse, *sums, *products, selu);
}

template <typename T>
ffi::Error GradientOf(ffi::ThreadPool& pool, ffi::AnyBuffer& x, ffi::AnyBuffer& y, ffi::AnyBuffer& dy,
                      ffi::AnyBuffer& mean, ffi::AnyBuffer& inverse, ffi::AnyBuffer& factor, ffi::AnyBuffer& mean_g,
                      ffi::AnyBuffer& mean_product, ffi::AnyBuffer& dx, bool selu) {
  const int64_t channels = x.dimensions().back();
  return InputGradient<T>(pool, x.element_count() / channels, channels, x.typed_data<T>(),
                          selu ? y.typed_data<T>() : nullptr, dy.typed_data<T>(), mean.typed_data<T>(),
                          inverse.typed_data<T>(), factor.typed_data<T>(), mean_g.typed_data<T>(),
                          mean_product.typed_data<T>(), dx.typed_data<T>());
}

ffi::Error HandleGradient(ffi::ThreadPool pool, ffi::AnyBuffer x, ffi::AnyBuffer y, ffi::AnyBuffer dy,
                          ffi::AnyBuffer mean, ffi::AnyBuffer inverse, ffi::AnyBuffer factor, ffi::AnyBuffer mean_g,
                          ffi::AnyBuffer mean_product, ffi::Result<ffi::AnyBuffer> dx, bool selu) {
  if (x.element_type() == ffi::F32) {
    return GradientOf<float>(pool, x, y, dy, mean, inverse, factor, mean_g, mean_product, *dx, selu);
  }
  return GradientOf<double>(pool, x, y, dy, mean, inverse, factor, mean_g, mean_product, *dx, selu);
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
                                  .Arg<ffi::AnyBuffer>()
                                  .Ret<ffi::AnyBuffer>()
                                  .Ret<ffi::AnyBuffer>()
                                  .Attr<bool>("selu"));

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
                                  .Arg<ffi::AnyBuffer>()
                                  .Ret<ffi::AnyBuffer>()
                                  .Attr<bool>("selu"));
