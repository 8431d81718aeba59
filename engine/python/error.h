#pragma once

#include <utility>

#include "base/status.h"
#include "python/module.h"

// How an error of the engine becomes an exception of frazil.errors. Both functions need the GIL.
namespace frazil::python {

// Does nothing if OK; else throws the exception that frazil.errors.from_engine makes of the status.
void ThrowIfError(const Status& status);

template <typename T>
T ValueOrThrow(Result<T> result) {
  if (!result.ok()) ThrowIfError(result.status());
  return std::move(result).ValueUnsafe();
}

}  // namespace frazil::python
