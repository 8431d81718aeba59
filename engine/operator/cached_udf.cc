#include "operator/cached_udf.h"

#include <arrow/api.h>

#include <algorithm>
#include <atomic>
#include <utility>

#include "base/limits.h"

namespace frazil {
namespace {

std::atomic<int64_t> instances{0};

std::shared_ptr<arrow::Schema> EntrySchema() {
  return arrow::schema(
      {arrow::field("key", arrow::binary(), false), arrow::field("value", arrow::binary(), false)});
}

std::shared_ptr<arrow::KeyValueMetadata> Asked(const std::string& what, const std::string& node,
                                               const std::string& instance, bool full) {
  return arrow::KeyValueMetadata::Make({"what", "node", "instance", "full"},
                                       {what, node, instance, full ? "1" : "0"});
}

// The function as it is called with rows.
CallUdf::Spec ForRows(CallUdf::Spec spec, const std::string& node, const std::string& instance) {
  spec.kinds = true;
  spec.function = [function = spec.function, metadata = Asked("rows", node, instance, false)](
                      const std::shared_ptr<arrow::RecordBatch>& arguments) {
    return function(arguments->ReplaceSchemaMetadata(metadata));
  };
  return spec;
}

}  // namespace

CachedUdf::CachedUdf(CallUdf::Spec spec, const std::string& node, arrow::MemoryPool* pool)
    : reference_(spec.reference),
      function_(spec.function),
      node_(node),
      instance_(std::to_string(instances.fetch_add(1))),
      pool_(pool),
      call_(ForRows(std::move(spec), node_, instance_), pool) {}

Result<std::shared_ptr<arrow::RecordBatch>> CachedUdf::ask(
    const std::string& what, bool full, const std::shared_ptr<arrow::RecordBatch>& rows) const {
  const auto metadata = Asked(what, node_, instance_, full);
  auto answer = function_(rows->ReplaceSchemaMetadata(metadata));
  if (!answer.ok()) return Prefixed(answer.status(), "the cache of " + reference_);
  return answer;
}

Status CachedUdf::freeze(bool full) {
  FZ_ASSIGN(const auto none, arrow::RecordBatch::MakeEmpty(EntrySchema(), pool_));
  FZ_ASSIGN(frozen_, ask("save", full, none));
  given_ = 0;
  if (!frozen_->schema()->Equals(*EntrySchema(), /*check_metadata=*/false)) {
    return Error(ErrorKind::kInternal, "the cache of " + reference_ + " is " + frozen_->schema()->ToString());
  }
  return Status::OK();
}

Result<bool> CachedUdf::save(int64_t rows_max, StateRows* rows) {
  const int64_t left = frozen_ == nullptr ? 0 : frozen_->num_rows() - given_;
  if (left == 0) {
    frozen_ = nullptr;
    return true;
  }
  const auto& values = static_cast<const arrow::BinaryArray&>(*frozen_->column(1));
  const int64_t row_bytes = std::max<int64_t>(values.total_values_length() / frozen_->num_rows(), 1);
  const int64_t fitting = std::max<int64_t>(limits::kBatchBytes / row_bytes, 1);
  const auto slice = frozen_->Slice(given_, std::min({left, rows_max, fitting}));
  FZ_ASSIGN(const auto hash, arrow::MakeArrayOfNull(arrow::uint64(), slice->num_rows(), pool_));
  FZ_ASSIGN(auto made, slice->AddColumn(0, arrow::field("hash", arrow::uint64()), hash));
  rows->push_back(std::move(made));
  given_ += slice->num_rows();
  return false;
}

Status CachedUdf::restore(const std::shared_ptr<arrow::RecordBatch>& rows) {
  const bool fits = rows->num_columns() == 3 && rows->column(1)->type_id() == arrow::Type::BINARY &&
                    rows->column(2)->type_id() == arrow::Type::BINARY && rows->column(1)->null_count() == 0 &&
                    rows->column(2)->null_count() == 0;
  if (!fits) {
    return Error(ErrorKind::kState,
                 "restoring the cache of " + reference_ + ": it is " + rows->schema()->ToString());
  }
  const auto entries = arrow::RecordBatch::Make(EntrySchema(), rows->num_rows(),
                                                arrow::ArrayVector{rows->column(1), rows->column(2)});
  return ask("restore", false, entries).status();
}

}  // namespace frazil
