// Vectors of the width that the processor has.
#ifndef AASIST_JAX_NATIVE_VECTORS_H_
#define AASIST_JAX_NATIVE_VECTORS_H_

#include <cstdint>
#include <new>
#include <vector>

namespace aasist {

#if defined(AASIST_VECTOR_BYTES)  // by tests: the compiler makes do with the vectors that there are
constexpr int64_t kVectorBytes = AASIST_VECTOR_BYTES;
#elif defined(__AVX512F__)
constexpr int64_t kVectorBytes = 64;
#elif defined(__AVX__)
constexpr int64_t kVectorBytes = 32;
#else
constexpr int64_t kVectorBytes = 16;
#endif

template <typename T>
struct Vector {
  typedef T type __attribute__((vector_size(kVectorBytes), aligned(alignof(T))));
  static constexpr int64_t kLanes = kVectorBytes / sizeof(T);
};

template <typename T>
typename Vector<T>::type Load(const T* from) {
  return *reinterpret_cast<const typename Vector<T>::type*>(from);
}

template <typename T>
void Store(T* to, typename Vector<T>::type value) {
  *reinterpret_cast<typename Vector<T>::type*>(to) = value;
}

// Where a maximum moves on to the next value: where that is larger, or NaN, which a maximum must let through.
template <typename V>
auto MovesOn(V largest, V next) {
  return (next > largest) | (next != next);
}

// Eight numbers side by side: their count divides that of channels more often.
constexpr int64_t kEight = 8;
template <typename T>
struct EightOf {
  typedef T type __attribute__((vector_size(kEight * sizeof(T)), aligned(alignof(T))));
};
template <typename T>
struct OneOf {
  using type = T;
};
template <typename T>
using Eight = typename EightOf<T>::type;

template <typename T>
Eight<T>& EightAt(T* at) {
  return *reinterpret_cast<Eight<T>*>(at);
}
template <typename T>
const Eight<T>& EightAt(const T* at) {
  return *reinterpret_cast<const Eight<T>*>(at);
}

// Memory whose vectors do not lie across two cache lines.
template <typename T>
struct Aligned {
  using value_type = T;
  Aligned() = default;
  template <typename U>
  Aligned(const Aligned<U>&) {}
  T* allocate(size_t n) { return static_cast<T*>(operator new(n * sizeof(T), std::align_val_t(64))); }
  void deallocate(T* p, size_t) { operator delete(p, std::align_val_t(64)); }
  template <typename U>
  bool operator==(const Aligned<U>&) const {
    return true;
  }
  template <typename U>
  bool operator!=(const Aligned<U>&) const {
    return false;
  }
};
template <typename T>
using AlignedVector = std::vector<T, Aligned<T>>;

inline int64_t RoundUp(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

}  // namespace aasist

#endif  // AASIST_JAX_NATIVE_VECTORS_H_
