#include "base/status.h"

#include <memory>
#include <utility>

namespace frazil {
namespace {

constexpr const char* kDetailId = "frazil";

class Detail : public arrow::StatusDetail {
 public:
  Detail(ErrorKind kind, bool retryable, std::string name = "")
      : kind_(kind), retryable_(retryable), name_(std::move(name)) {}
  const char* type_id() const override { return kDetailId; }
  std::string ToString() const override { return KindName(kind_); }
  ErrorKind kind() const { return kind_; }
  bool retryable() const { return retryable_; }
  const std::string& name() const { return name_; }

 private:
  ErrorKind kind_;
  bool retryable_;
  std::string name_;
};

const Detail* DetailOf(const Status& status) {
  const auto& detail = status.detail();
  if (detail == nullptr || std::string_view(detail->type_id()) != kDetailId) return nullptr;
  return static_cast<const Detail*>(detail.get());
}

}  // namespace

Status Error(ErrorKind kind, std::string message, bool retryable) {
  return Status(arrow::StatusCode::UnknownError, std::move(message),
                std::make_shared<Detail>(kind, retryable));
}

Status NamedError(std::string name, std::string message) {
  return Status(arrow::StatusCode::UnknownError, std::move(message),
                std::make_shared<Detail>(ErrorKind::kUser, false, std::move(name)));
}

std::string NameOf(const Status& status) {
  const Detail* detail = DetailOf(status);
  return detail == nullptr ? "" : detail->name();
}

ErrorKind KindOf(const Status& status) {
  const Detail* detail = DetailOf(status);
  return detail == nullptr ? ErrorKind::kInternal : detail->kind();
}

const char* KindName(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kUser:
      return "user";
    case ErrorKind::kConfig:
      return "config";
    case ErrorKind::kConnect:
      return "connect";
    case ErrorKind::kDecode:
      return "decode";
    case ErrorKind::kState:
      return "state";
    case ErrorKind::kSink:
      return "sink";
    case ErrorKind::kInternal:
      return "internal";
  }
  return "internal";
}

bool IsRetryable(const Status& status) {
  const Detail* detail = DetailOf(status);
  return detail != nullptr && detail->retryable();
}

std::string MessageOf(const Status& status) { return status.message(); }

Status Prefixed(const Status& status, const std::string& where) {
  return Status(arrow::StatusCode::UnknownError, where + ": " + status.message(),
                std::make_shared<Detail>(KindOf(status), IsRetryable(status), NameOf(status)));
}

}  // namespace frazil
