// Work cut into a fixed number of parts, shared by the threads of XLA's pool.
#ifndef AASIST_JAX_NATIVE_PARTS_H_
#define AASIST_JAX_NATIVE_PARTS_H_

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>

#include "xla/ffi/api/ffi.h"

namespace aasist {

// The same on every machine: sums over parts are then the same to the bit on any number of cores.
constexpr int64_t kParts = 16;

// Calls work(part, begin, end) for kParts shares of `items` and returns when all are done. The calling thread works
// too, so it never waits for a thread that may not come.
inline void ForParts(xla::ffi::ThreadPool& pool, int64_t items,
                     const std::function<void(int64_t part, int64_t begin, int64_t end)>& work) {
  struct Shared {
    std::atomic<int64_t> next{0};
    std::mutex mutex;
    std::condition_variable all_done;
    int64_t done = 0;
  };
  auto shared = std::make_shared<Shared>();
  // `work` lives until all parts are done; a thread that comes later finds none left and does not touch it.
  auto take_parts = [shared, items, &work] {
    for (int64_t part; (part = shared->next.fetch_add(1)) < kParts;) {
      work(part, items * part / kParts, items * (part + 1) / kParts);
      std::lock_guard<std::mutex> lock(shared->mutex);
      if (++shared->done == kParts) shared->all_done.notify_all();
    }
  };
  const int64_t threads = std::min<int64_t>(pool.num_threads(), kParts);
  for (int64_t i = 1; i < threads; ++i) pool.Schedule([take_parts] { take_parts(); });
  take_parts();
  std::unique_lock<std::mutex> lock(shared->mutex);
  shared->all_done.wait(lock, [&] { return shared->done == kParts; });
}

// What the parts' totals, `size` numbers each, come to at one place.
template <typename T>
T SumOfParts(const T* totals, int64_t size, int64_t place) {
  T sum = 0;
  for (int64_t part = 0; part < kParts; ++part) sum += totals[part * size + place];
  return sum;
}

}  // namespace aasist

#endif  // AASIST_JAX_NATIVE_PARTS_H_
