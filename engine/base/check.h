#pragma once

#include "base/status.h"

// FZ_CHECK stays on in release: a broken invariant of ours ends the job with an error, never the host
// process. Only for functions that return Status or Result. User input can never trigger it. FZ_DCHECK is the
// same in builds with FZ_DCHECK_ON and costs nothing elsewhere.
#define FZ_STRINGIFY_(x) #x
#define FZ_STRINGIFY(x) FZ_STRINGIFY_(x)
#define FZ_CHECK(condition)                                                                                \
  do {                                                                                                     \
    if (!(condition)) [[unlikely]]                                                                         \
      return ::frazil::Error(::frazil::ErrorKind::kInternal,                                               \
                             "broken invariant `" #condition "` at " __FILE__                              \
                             ":" FZ_STRINGIFY(__LINE__) "; this is a defect of frazil, please report it"); \
  } while (false)
#ifdef FZ_DCHECK_ON
#define FZ_DCHECK(condition) FZ_CHECK(condition)
#else
#define FZ_DCHECK(condition) \
  do {                       \
  } while (false)
#endif
