// Gradients of a two-dimensional convolution (channels last, stride 1) for its kernel and its bias:
//
//   dk[i, j, c, d] = sum over b, f, t of x[b, f + i - pad_rows, t + j - pad_steps, c] * dy[b, f, t, d]
//   db[d] = sum over b, f, t of dy[b, f, t, d]
//
// The sum runs over a million places while the result has a few thousand numbers, so it is kept in registers, a tile
// of kTile inputs by one or two vectors of features at a time, over runs of kSteps time steps that fit in the
// first-level cache. Where an index is given, dy is that of the pooled output and is spread over time on the way (see
// tile.h). What a kernel row sees at a time step, `width` steps of all channels, lies side by side in memory:
// these are the inputs. Each run starts from zero and is added to its part's total, which keeps rounding errors small.

#include "parts.h"
#include "tile.h"

namespace {

namespace ffi = xla::ffi;

using aasist::Load;
using aasist::RoundUp;
using aasist::Store;
using aasist::Vector;

constexpr int64_t kTile = aasist::kVectorBytes == 64 ? 12 : 4;  // times two vectors: within the registers that there are
constexpr int64_t kSteps = 128;

struct Shape {
  int64_t batch, rows_in, steps_in, channels;  // of x
  int64_t rows, steps, features;               // of dy
  int64_t height, width, pad_rows, pad_steps;
};

// total[k, d] += sum over t of x[t * channels + k] * dy[t, d], for kTile inputs and kVectors vectors of features.
template <typename T, int kVectors>
void AddTile(const T* x, int64_t channels, const T* dy, int64_t features, int64_t steps, T* total) {
  using V = typename Vector<T>::type;
  constexpr int64_t kLanes = Vector<T>::kLanes;
  V sum[kTile][kVectors] = {};
  for (int64_t t = 0; t < steps; ++t) {
    V d[kVectors];
    for (int v = 0; v < kVectors; ++v) d[v] = Load(dy + t * features + v * kLanes);
    for (int64_t k = 0; k < kTile; ++k) {
      for (int v = 0; v < kVectors; ++v) sum[k][v] += x[t * channels + k] * d[v];
    }
  }
  for (int64_t k = 0; k < kTile; ++k) {
    for (int v = 0; v < kVectors; ++v) {
      T* to = total + k * features + v * kLanes;
      Store<T>(to, Load(to) + sum[k][v]);
    }
  }
}

// total[d] += sum over t of dy[t, d], for one vector of features.
template <typename T>
void AddSteps(const T* dy, int64_t features, int64_t steps, T* total) {
  using V = typename Vector<T>::type;
  V sum{};
  for (int64_t t = 0; t < steps; ++t) sum += Load(dy + t * features);
  Store<T>(total, Load(total) + sum);
}

// A part's sums: (height, inputs, features), then the bias's; inputs and features rounded up to tiles and vectors.
template <typename T>
struct Layout {
  explicit Layout(const Shape& s)
      : inputs(RoundUp(s.width * s.channels, kTile)),
        features(RoundUp(s.features, Vector<T>::kLanes)),
        bias(s.height * inputs * features),
        size(bias + features) {}
  int64_t inputs, features, bias, size;
};

template <typename T>
void AddRows(const Shape& s, const Layout<T>& layout, const T* x, const T* dy, const uint8_t* index, int64_t begin,
             int64_t end, T* total) {
  constexpr int64_t kLanes = Vector<T>::kLanes;
  const int64_t features = layout.features;
  // The last tile of the last time step may look beyond it.
  aasist::AlignedVector<T> inputs((kSteps + s.width - 1) * s.channels + kTile), gradients(kSteps * features);
  for (int64_t row = begin; row < end; ++row) {
    const int64_t clip = row / s.rows, f = row % s.rows;
    for (int64_t first = 0; first < s.steps; first += kSteps) {
      const int64_t steps = std::min(kSteps, s.steps - first);
      if (index == nullptr) {
        aasist::CopySteps(dy + row * s.steps * s.features, first, steps, s.steps, s.features, gradients.data(),
                          features);
      } else {
        const int64_t pooled = s.steps / aasist::kWidth, at = row * pooled * s.features;
        aasist::CopyUnpooled(index + at, dy + at, first, steps, pooled, s.features, gradients.data(), features);
      }
      for (int64_t d = 0; d < features; d += kLanes) AddSteps(gradients.data() + d, features, steps, total + layout.bias + d);
      for (int64_t i = 0; i < s.height; ++i) {
        const int64_t input_row = f + i - s.pad_rows;
        if (input_row < 0 || input_row >= s.rows_in) continue;
        aasist::CopySteps(x + (clip * s.rows_in + input_row) * s.steps_in * s.channels, first - s.pad_steps,
                  steps + s.width - 1, s.steps_in, s.channels, inputs.data(), s.channels);
        for (int64_t k = 0; k < layout.inputs; k += kTile) {
          T* tile = total + (i * layout.inputs + k) * features;
          int64_t d = 0;
          for (; d + 2 * kLanes <= features; d += 2 * kLanes) {
            AddTile<T, 2>(inputs.data() + k, s.channels, gradients.data() + d, features, steps, tile + d);
          }
          if (d < features) {
            AddTile<T, 1>(inputs.data() + k, s.channels, gradients.data() + d, features, steps, tile + d);
          }
        }
      }
    }
  }
}

template <typename T>
ffi::Error KernelGradient(ffi::ThreadPool& pool, const Shape& s, const T* x, const T* dy, const uint8_t* index, T* dk,
                          T* db) {
  const Layout<T> layout(s);
  aasist::AlignedVector<T> totals(aasist::kParts * layout.size);
  aasist::ForParts(pool, s.batch * s.rows, [&](int64_t part, int64_t begin, int64_t end) {
    AddRows(s, layout, x, dy, index, begin, end, totals.data() + part * layout.size);
  });
  auto sum = [&](int64_t place) {
    T total = 0;
    for (int64_t part = 0; part < aasist::kParts; ++part) total += totals[part * layout.size + place];
    return total;
  };
  for (int64_t d = 0; d < s.features; ++d) {
    for (int64_t i = 0; i < s.height; ++i) {
      for (int64_t k = 0; k < s.width * s.channels; ++k) {
        dk[(i * s.width * s.channels + k) * s.features + d] = sum((i * layout.inputs + k) * layout.features + d);
      }
    }
    db[d] = sum(layout.bias + d);
  }
  return ffi::Error::Success();
}

template <typename T>
ffi::Error HandleAs(ffi::ThreadPool& pool, const Shape& shape, ffi::AnyBuffer& x, ffi::AnyBuffer& dy,
                    const uint8_t* index, ffi::AnyBuffer& dk, ffi::AnyBuffer& db) {
  return KernelGradient<T>(pool, shape, x.typed_data<T>(), dy.typed_data<T>(), index, dk.typed_data<T>(),
                           db.typed_data<T>());
}

ffi::Error Handle(ffi::ThreadPool pool, ffi::AnyBuffer x, ffi::AnyBuffer dy, ffi::AnyBuffer index,
                  ffi::Result<ffi::AnyBuffer> dk, ffi::Result<ffi::AnyBuffer> db, int64_t pad_rows,
                  int64_t pad_steps) {
  const auto in = x.dimensions(), out = dy.dimensions(), kernel = dk->dimensions();
  const bool pooled = index.element_count() > 0;
  const int64_t steps = pooled ? in[2] + 2 * pad_steps - kernel[1] + 1 : out[2];
  const Shape shape{in[0], in[1], in[2], in[3], out[1], steps, out[3], kernel[0], kernel[1], pad_rows, pad_steps};
  const uint8_t* places = pooled ? index.typed_data<uint8_t>() : nullptr;
  if (x.element_type() == ffi::F32) return HandleAs<float>(pool, shape, x, dy, places, *dk, *db);
  return HandleAs<double>(pool, shape, x, dy, places, *dk, *db);
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(AasistKernelGradient, Handle,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Ret<ffi::AnyBuffer>()
                                  .Ret<ffi::AnyBuffer>()
                                  .Attr<int64_t>("pad_rows")
                                  .Attr<int64_t>("pad_steps"));
