// SELU (Klambauer et al., 2017): its constants, and its gradient for a vector.
#ifndef AASIST_JAX_NATIVE_SELU_H_
#define AASIST_JAX_NATIVE_SELU_H_

namespace aasist {

constexpr double kSeluScale = 1.0507009873554805, kSeluAlpha = 1.6732632423543772;

// The gradient for the input, from that for the output and the output itself.
template <typename T, typename V>
V SeluGradient(V dy, V y) {
  return dy * (y > T(0) ? V{} + T(kSeluScale) : y + T(kSeluScale * kSeluAlpha));
}

}  // namespace aasist

#endif  // AASIST_JAX_NATIVE_SELU_H_
