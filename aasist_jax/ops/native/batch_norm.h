// Batch norm over (places, channels), a run of places that fits in the first-level cache at a time, eight channels side
// by side: the sums that it needs, and its gradient. `channels` is a multiple of eight.
#ifndef AASIST_JAX_NATIVE_BATCH_NORM_H_
#define AASIST_JAX_NATIVE_BATCH_NORM_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "vectors.h"

namespace aasist {

constexpr int64_t kRun = 128;

// Mean, and sum of squared deviations from it. A run's mean is taken first, its deviations in a second look at the
// cache; runs and chunks are then joined (Chan, Golub & LeVeque, 1983).
template <typename T>
class Moments {
 public:
  explicit Moments(int64_t channels)
      : mean_(channels), squares_(channels), run_mean_(channels), run_squares_(channels) {}

  void AddRun(const T* x, int64_t count) {
    const int64_t channels = mean_.size();
    for (int64_t c = 0; c < channels; c += kEight) {
      Eight<T> sum{}, square{};
      for (int64_t i = 0; i < count; ++i) sum += EightAt(x + i * channels + c);
      const Eight<T> middle = sum / T(count);
      for (int64_t i = 0; i < count; ++i) {
        const Eight<T> apart = EightAt(x + i * channels + c) - middle;
        square += apart * apart;
      }
      EightAt(run_mean_.data() + c) = middle;
      EightAt(run_squares_.data() + c) = square;
    }
    Join(T(count), run_mean_, run_squares_);
  }

  void Join(const Moments& other) { Join(other.count_, other.mean_, other.squares_); }

  void Copy(T* mean, T* squares) const {
    std::copy(mean_.begin(), mean_.end(), mean);
    std::copy(squares_.begin(), squares_.end(), squares);
  }

 private:
  void Join(T count, const std::vector<T>& mean, const std::vector<T>& squares) {
    if (count == 0) return;
    const T all = count_ + count;
    for (size_t c = 0; c < mean_.size(); ++c) {
      const T apart = mean[c] - mean_[c];
      mean_[c] += apart * (count / all);
      squares_[c] += squares[c] + apart * apart * (count_ * (count / all));
    }
    count_ = all;
  }

  std::vector<T> mean_, squares_, run_mean_, run_squares_;
  T count_ = 0;
};

// total: sum(g), then sum(g * normalized).
template <typename T>
void AddGradientSums(const T* x, const T* g, int64_t count, int64_t channels, const T* mean, const T* inverse,
                     T* total) {
  for (int64_t c = 0; c < channels; c += kEight) {
    const Eight<T> middle = EightAt(mean + c);
    Eight<T> sum{}, product{};
    for (int64_t i = 0; i < count; ++i) {
      const Eight<T> value = EightAt(g + i * channels + c);
      sum += value;
      product += value * (EightAt(x + i * channels + c) - middle);
    }
    EightAt(total + c) += sum;
    EightAt(total + channels + c) += product * EightAt(inverse + c);
  }
}

// What the gradient for the input is made of, per channel.
template <typename T>
struct Normalization {
  const T *mean, *inverse, *factor, *mean_g, *mean_product;
};

// dx = factor * (g - mean_g - normalized * mean_product)
template <typename T>
void InputGradient(const T* x, const T* g, int64_t count, int64_t channels, const Normalization<T>& n, T* dx) {
  for (int64_t c = 0; c < channels; c += kEight) {
    const Eight<T> middle = EightAt(n.mean + c), scale = EightAt(n.factor + c), shift = EightAt(n.mean_g + c);
    const Eight<T> slope = EightAt(n.inverse + c) * EightAt(n.mean_product + c);
    for (int64_t i = 0; i < count; ++i) {
      const int64_t at = i * channels + c;
      EightAt(dx + at) = scale * (EightAt(g + at) - shift - (EightAt(x + at) - middle) * slope);
    }
  }
}

}  // namespace aasist

#endif  // AASIST_JAX_NATIVE_BATCH_NORM_H_
