#pragma once

#include <arrow/result.h>
#include <arrow/status.h>

#include <string>

namespace frazil {

using Status = arrow::Status;
template <typename T>
using Result = arrow::Result<T>;

// Who has to act on an error. It rides on Arrow's Status as a detail, so errors pass through Arrow calls
// unchanged.
enum class ErrorKind { kUser, kConfig, kConnect, kDecode, kState, kSink, kInternal };

// Makes an error of a kind. The text says what is wrong, with which value, where, and what to do.
Status Error(ErrorKind kind, std::string message, bool retryable = false);

// Makes an error of kind kUser that has its own class in frazil.errors ("ColumnNotFound", "TypeMismatch",
// ...). Further lines of the text (what is there, what to do) are separated by '\n'.
Status NamedError(std::string name, std::string message);

// The name given to NamedError, or "".
std::string NameOf(const Status& status);

// The kind of an error; what Arrow itself raised counts as kInternal.
ErrorKind KindOf(const Status& status);

// "user", "config", "connect", "decode", "state", "sink" or "internal".
const char* KindName(ErrorKind kind);

// True if the same call may succeed later without any change (a broker that is away, a time-out).
bool IsRetryable(const Status& status);

// The message without Arrow's code in front.
std::string MessageOf(const Status& status);

// The same error (kind, name and retryable kept) with `where` and ": " put in front of its message.
Status Prefixed(const Status& status, const std::string& where);

}  // namespace frazil

// Returns early with the error of a Status (or of a Result, dropping its value).
#define FZ_TRY(expression) ARROW_RETURN_NOT_OK(expression)
// Declares or assigns `left` from a Result, or returns early with its error.
#define FZ_ASSIGN(left, expression) ARROW_ASSIGN_OR_RAISE(left, expression)
