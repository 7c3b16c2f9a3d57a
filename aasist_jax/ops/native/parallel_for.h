// A loop over items, cut into a fixed number of chunks that the threads of XLA's pool share.
#ifndef AASIST_JAX_NATIVE_PARALLEL_FOR_H_
#define AASIST_JAX_NATIVE_PARALLEL_FOR_H_

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>

#include "xla/ffi/api/ffi.h"

namespace aasist {

// The same on every machine: sums over chunks are then the same to the bit on any number of cores.
constexpr int64_t kChunks = 16;

// Calls function(chunk, begin, end) for kChunks shares of `items` and returns when all are done. The calling thread
// computes chunks too, so it never waits for a thread that may not come.
inline void ParallelFor(xla::ffi::ThreadPool& pool, int64_t items,
                        const std::function<void(int64_t chunk, int64_t begin, int64_t end)>& function) {
  struct Shared {
    std::atomic<int64_t> next{0};
    std::mutex mutex;
    std::condition_variable all_done;
    int64_t done = 0;
  };
  auto shared = std::make_shared<Shared>();
  // `function` lives until all chunks are done; a thread that comes later finds none left and does not touch it.
  auto take_chunks = [shared, items, &function] {
    for (int64_t chunk; (chunk = shared->next.fetch_add(1)) < kChunks;) {
      function(chunk, items * chunk / kChunks, items * (chunk + 1) / kChunks);
      std::lock_guard<std::mutex> lock(shared->mutex);
      if (++shared->done == kChunks) shared->all_done.notify_all();
    }
  };
  const int64_t threads = std::min<int64_t>(pool.num_threads(), kChunks);
  for (int64_t i = 1; i < threads; ++i) pool.Schedule([take_chunks] { take_chunks(); });
  take_chunks();
  std::unique_lock<std::mutex> lock(shared->mutex);
  shared->all_done.wait(lock, [&] { return shared->done == kChunks; });
}

// What the chunks' totals, `size` numbers each, come to at one place.
template <typename T>
T SumOfChunks(const T* totals, int64_t size, int64_t place) {
  T sum = 0;
  for (int64_t chunk = 0; chunk < kChunks; ++chunk) sum += totals[chunk * size + place];
  return sum;
}

}  // namespace aasist

#endif  // AASIST_JAX_NATIVE_PARALLEL_FOR_H_
