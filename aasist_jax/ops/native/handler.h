// What the handlers that XLA calls have in common: buffers of float32 or float64.
#ifndef AASIST_JAX_NATIVE_HANDLER_H_
#define AASIST_JAX_NATIVE_HANDLER_H_

#include "xla/ffi/api/ffi.h"

namespace aasist {

// Calls `function` with a number of the type that `x` holds.
template <typename Function>
xla::ffi::Error ForType(const xla::ffi::AnyBuffer& x, const Function& function) {
  return x.element_type() == xla::ffi::F32 ? function(float{}) : function(double{});
}

// A handler that takes XLA's threads, then so many buffers, then gives so many.
template <int arguments, int results>
auto Buffers() {
  if constexpr (results > 0) {
    return Buffers<arguments, results - 1>().template Ret<xla::ffi::AnyBuffer>();
  } else if constexpr (arguments > 0) {
    return Buffers<arguments - 1, 0>().template Arg<xla::ffi::AnyBuffer>();
  } else {
    return xla::ffi::Ffi::Bind().Ctx<xla::ffi::ThreadPool>();
  }
}

}  // namespace aasist

#endif  // AASIST_JAX_NATIVE_HANDLER_H_
