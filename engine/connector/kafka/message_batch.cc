#include "connector/kafka/message_batch.h"

#include <arrow/array.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "connector/kafka/sink.h"
#include "format/json_encode.h"

namespace frazil::kafka {
namespace {

// Bytes that librdkafka counts for a message besides key and value (its headers are none).
constexpr int64_t kOverheadBytes = 100;

// Takes the next line off the text, without its end. JSON has no line end within.
std::string_view NextLine(std::string_view* text) {
  const size_t end = std::min(text->find('\n'), text->size() - 1);
  const std::string_view line = text->substr(0, end);
  text->remove_prefix(end + 1);
  return line;
}

// Whether values of the type are keys as they are.
bool IsBytes(const arrow::DataType& type) { return arrow::is_base_binary_like(type.id()); }

std::optional<std::string_view> BytesAt(const arrow::Array& array, int64_t row) {
  if (array.IsNull(row)) return std::nullopt;
  if (arrow::is_large_binary_like(array.type_id())) {
    return static_cast<const arrow::LargeBinaryArray&>(array).GetView(row);
  }
  return static_cast<const arrow::BinaryArray&>(array).GetView(row);
}

}  // namespace

MessageBatch::MessageBatch(std::vector<std::string> key, int64_t bytes_max, arrow::MemoryPool* pool)
    : key_(std::move(key)), bytes_max_(bytes_max), keys_(pool), values_(pool) {}

Status MessageBatch::add(const Batch& batch) {
  const auto rows = VisibleColumns(batch);
  const auto kinds_column = batch.columns->GetColumnByName(std::string(kKindColumn));
  const auto* kinds = static_cast<const arrow::UInt8Array*>(kinds_column.get());
  text_.clear();
  FZ_TRY(AppendJsonLines(*rows, &text_));
  FZ_TRY(encode_keys(*rows));
  std::string_view lines = text_;
  for (int64_t row = 0; row < rows->num_rows(); ++row) {
    const std::string_view value = NextLine(&lines);
    const auto kind = kinds == nullptr ? RowKind::kInsert : static_cast<RowKind>(kinds->Value(row));
    if (kind == RowKind::kUpdateBefore) continue;
    const auto at = static_cast<size_t>(row);
    std::string_view key;
    const bool keyed = !key_.empty() && !key_is_null_[at];
    if (keyed) {
      const size_t begin = at == 0 ? 0 : key_end_[at - 1];
      key = std::string_view(key_text_).substr(begin, key_end_[at] - begin);
    } else if (kinds != nullptr) {
      return Error(ErrorKind::kUser,
                   "writing changes to Kafka: a row has no value in its key; filter those rows out, or give "
                   "them a key");
    }
    FZ_TRY(add_message(row, keyed ? &key : nullptr, kind == RowKind::kDelete ? nullptr : &value));
  }
  return Status::OK();
}

Status MessageBatch::encode_keys(const arrow::RecordBatch& rows) {
  key_text_.clear();
  key_end_.clear();
  key_is_null_.assign(static_cast<size_t>(rows.num_rows()), false);
  if (key_.empty()) return Status::OK();
  arrow::FieldVector fields;
  arrow::ArrayVector columns;
  for (const std::string& name : key_) {
    const int at = rows.schema()->GetFieldIndex(name);
    if (at < 0) return Error(ErrorKind::kInternal, "the rows have no key column " + name);
    fields.push_back(rows.schema()->field(at));
    columns.push_back(rows.column(at));
  }
  const bool bytes = columns.size() == 1 && IsBytes(*columns.front()->type());
  std::string text;
  if (!bytes) {
    const auto only = arrow::RecordBatch::Make(arrow::schema(fields), rows.num_rows(), columns);
    FZ_TRY(AppendJsonLines(*only, &text));
  }
  std::string head;  // of a line with one column: {"id":
  AppendJsonString(key_.front(), &head);
  const size_t head_size = head.size() + 2;
  std::string_view lines = text;
  for (int64_t row = 0; row < rows.num_rows(); ++row) {
    if (bytes) {
      const auto key = BytesAt(*columns.front(), row);
      key_is_null_[static_cast<size_t>(row)] = !key.has_value();
      if (key.has_value()) key_text_.append(*key);
    } else {
      std::string_view key = NextLine(&lines);
      if (columns.size() == 1) {
        key_is_null_[static_cast<size_t>(row)] = columns.front()->IsNull(row);
        key = key.substr(head_size, key.size() - head_size - 1);
        if (key.starts_with('"')) key = key.substr(1, key.size() - 2);
      }
      key_text_.append(key);
    }
    key_end_.push_back(key_text_.size());
  }
  return Status::OK();
}

Status MessageBatch::add_message(int64_t row, const std::string_view* key, const std::string_view* value) {
  const auto size =
      static_cast<int64_t>((key == nullptr ? 0 : key->size()) + (value == nullptr ? 0 : value->size())) +
      kOverheadBytes;
  if (size > bytes_max_) {
    const std::string_view shown = key != nullptr ? *key : *value;
    return Error(ErrorKind::kUser,
                 "writing to Kafka: row " + std::to_string(row) + " of a batch makes a message of " +
                     std::to_string(size) + " bytes, more than max_message=" + std::to_string(bytes_max_) +
                     ": " + std::string(shown.substr(0, 100)) +
                     "\nleave columns out, or raise max_message and the topic's max.message.bytes");
  }
  FZ_TRY(key == nullptr ? keys_.AppendNull() : keys_.Append(*key));
  return value == nullptr ? values_.AppendNull() : values_.Append(*value);
}

Result<std::shared_ptr<arrow::RecordBatch>> MessageBatch::take() {
  std::shared_ptr<arrow::Array> keys, values;
  FZ_TRY(keys_.Finish(&keys));
  FZ_TRY(values_.Finish(&values));
  const int64_t count = keys->length();
  return arrow::RecordBatch::Make(StagedSchema(), count, {std::move(keys), std::move(values)});
}

}  // namespace frazil::kafka
