#include "format/json.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/limits.h"
#include "format/json_object.h"

namespace frazil {
namespace {

class JsonDecoder : public Decoder {
 public:
  JsonDecoder(std::shared_ptr<arrow::Schema> schema, std::unique_ptr<JsonObject> columns)
      : schema_(std::move(schema)), columns_(std::move(columns)) {}

  Result<Decoded> decode(const RawBatch& raw) override {
    Decoded out;
    FZ_TRY(Prepare(raw));
    int64_t good = 0;
    for (int64_t i = 0; i < raw.rows(); ++i) {
      const bool null = raw.length[static_cast<size_t>(i)] == RawBatch::kNullRow;
      JsonFailure failure;
      if (null ? failure.Because("the row has no value (a tombstone)") : Row(raw.row(i), failure))
          [[likely]] {
        if (gaps_) out.kept.push_back(static_cast<int32_t>(i));
        ++good;
        continue;
      }
      FZ_TRY(failure.fatal);
      columns_->Truncate(good);
      KeepBefore(good, &out);
      out.rejected.push_back(Rejected(raw, i, failure));
    }
    FZ_ASSIGN(auto columns, columns_->Finish());
    out.rows = arrow::RecordBatch::Make(schema_, good, std::move(columns));
    FZ_TRY(index_.Shrink());
    return out;
  }

 private:
  Status Prepare(const RawBatch& raw) {
    gaps_ = false;
    size_t longest = 0;
    for (const uint32_t length : raw.length) {
      if (length != RawBatch::kNullRow) longest = std::max<size_t>(longest, length);
    }
    FZ_TRY(index_.Reserve(std::min(longest, static_cast<size_t>(limits::kRowBytesMax))));
    return columns_->Reserve(raw.rows());
  }

  // Lists the kept rows from the first gap on; before it the list would only say "all".
  void KeepBefore(int64_t good, Decoded* out) {
    if (gaps_) return;
    gaps_ = true;
    for (int64_t i = 0; i < good; ++i) out->kept.push_back(static_cast<int32_t>(i));
  }

  bool Row(std::string_view row, JsonFailure& failure) {
    if (row.size() > static_cast<size_t>(limits::kRowBytesMax)) {
      return failure.Because("longer than " + std::to_string(limits::kRowBytesMax) + " bytes");
    }
    JsonCursor cursor;
    if (!index_.Start(row, &cursor, failure)) return false;
    if (cursor.Peek() != '{') return cursor.Expected("object", failure);
    if (!columns_->Read(cursor, failure)) return false;
    return cursor.AtEnd() || cursor.Expected("the end of the row", failure);
  }

  static RejectedRow Rejected(const RawBatch& raw, int64_t i, JsonFailure& failure) {
    RejectedRow row;
    row.place = raw.place;
    row.position = raw.position.empty() ? i : raw.position[static_cast<size_t>(i)];
    row.column = failure.column;
    row.reason =
        failure.path.empty() ? failure.reason : "at " + failure.column + failure.path + ": " + failure.reason;
    if (raw.length[static_cast<size_t>(i)] == RawBatch::kNullRow) return row;
    const std::string_view bytes = raw.row(i);
    row.raw.assign(bytes.substr(0, static_cast<size_t>(limits::kRejectedRawBytes)));
    row.raw_bytes = static_cast<int64_t>(bytes.size());
    return row;
  }

  std::shared_ptr<arrow::Schema> schema_;
  std::unique_ptr<JsonObject> columns_;
  JsonIndex index_;
  bool gaps_ = false;
};

}  // namespace

Result<JsonOptions> ParseJsonOptions(const nlohmann::json& format) {
  JsonOptions options;
  for (const auto& [key, value] : format.items()) {
    bool* flag = key == "truncate_times" ? &options.truncate_times : nullptr;
    if (flag == nullptr) {
      if (key == "kind") continue;
      return Error(ErrorKind::kConfig,
                   "unknown option \"" + key + "\" of format json\n  known are: truncate_times");
    }
    if (!value.is_boolean()) {
      return Error(ErrorKind::kConfig,
                   "option \"" + key + "\" of format json: expected true or false, got " + value.dump());
    }
    *flag = value.get<bool>();
  }
  return options;
}

Result<std::unique_ptr<Decoder>> MakeJsonDecoder(std::shared_ptr<arrow::Schema> schema, JsonOptions options,
                                                 arrow::MemoryPool* pool) {
  FZ_ASSIGN(auto columns, JsonObject::Make(schema->fields(), options, pool, 1, /*root=*/true));
  return std::make_unique<JsonDecoder>(std::move(schema), std::move(columns));
}

}  // namespace frazil
