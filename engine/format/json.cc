#include "format/json.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/limits.h"
#include "format/json_object.h"
#include "format/json_rows.h"

namespace frazil {
namespace {

class JsonDecoder : public Decoder {
 public:
  JsonDecoder(std::shared_ptr<arrow::Schema> schema, std::unique_ptr<JsonObject> columns)
      : schema_(std::move(schema)), columns_(std::move(columns)) {}

  Result<Decoded> decode(const RawBatch& raw) override {
    Decoded out;
    gaps_ = false;
    FZ_TRY(rows_.Begin(raw));
    FZ_TRY(columns_->Reserve(raw.rows()));
    int64_t good = 0;
    for (int64_t i = 0; i < raw.rows(); ++i) {
      const bool null = raw.length[static_cast<size_t>(i)] == RawBatch::kNullRow;
      JsonFailure failure;
      if (null ? failure.Because("the row has no value (a tombstone)") : Row(raw, i, good, failure))
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
    FZ_TRY(rows_.Shrink());
    return out;
  }

 private:
  // Lists the kept rows from the first gap on; before it the list would only say "all".
  void KeepBefore(int64_t good, Decoded* out) {
    if (gaps_) return;
    gaps_ = true;
    for (int64_t i = 0; i < good; ++i) out->kept.push_back(static_cast<int32_t>(i));
  }

  // Reads row i behind `good` others.
  bool Row(const RawBatch& raw, int64_t i, int64_t good, JsonFailure& failure) {
    if (JsonCursor* cursor = rows_.Start(i)) [[likely]] {
      if (cursor->Peek() == '{' && columns_->Read(*cursor, failure) && rows_.Took(i)) [[likely]] {
        return true;
      }
      if (!failure.fatal.ok()) return false;
      failure = {};
      columns_->Truncate(good);
    }
    return Alone(raw, i, failure);
  }

  bool Alone(const RawBatch& raw, int64_t i, JsonFailure& failure) {
    if (raw.row(i).size() > static_cast<size_t>(limits::kRowBytesMax)) {
      return failure.Because("longer than " + std::to_string(limits::kRowBytesMax) + " bytes");
    }
    JsonCursor cursor;
    if (!rows_.StartAlone(i, &cursor, failure)) return false;
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
  JsonRows rows_;
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
