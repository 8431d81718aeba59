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

// Makes an encoder with the first rows: their columns are not known before.
Result<AvroEncoder*> AvroOf(const MessageSchema& schema, const arrow::RecordBatch& rows,
                            std::unique_ptr<AvroEncoder>* made) {
  if (*made == nullptr) {
    FZ_ASSIGN(*made, AvroEncoder::Make(*rows.schema(), schema.texts, schema.id));
  }
  FZ_TRY((*made)->Begin(rows));
  return made->get();
}

}  // namespace

void MessageBatch::Encoded::clear() {
  text.clear();
  end.clear();
  tail = 0;
}

std::string_view MessageBatch::Encoded::at(size_t row) const {
  const size_t begin = row == 0 ? 0 : end[row - 1];
  return std::string_view(text).substr(begin, end[row] - begin - tail);
}

MessageBatch::MessageBatch(MessageForm form, int64_t bytes_max, arrow::MemoryPool* pool)
    : form_(std::move(form)), bytes_max_(bytes_max), keys_(pool), values_(pool) {}

Status MessageBatch::add(const Batch& batch) {
  const auto rows = VisibleColumns(batch);
  const auto kinds_column = batch.columns->GetColumnByName(std::string(kKindColumn));
  const auto* kinds = static_cast<const arrow::UInt8Array*>(kinds_column.get());
  FZ_TRY(encode_values(*rows, kinds));
  FZ_TRY(encode_keys(*rows));
  for (int64_t row = 0; row < rows->num_rows(); ++row) {
    const auto at = static_cast<size_t>(row);
    const auto kind = kinds == nullptr ? RowKind::kInsert : static_cast<RowKind>(kinds->Value(row));
    if (kind == RowKind::kUpdateBefore) continue;
    const bool keyed = !form_.key.empty() && !key_is_null_[at];
    if (!keyed && kinds != nullptr) {
      return Error(ErrorKind::kUser,
                   "writing changes to Kafka: a row has no value in its key; filter those rows out, or give "
                   "them a key");
    }
    const std::string_view key = keyed ? row_keys_.at(at) : std::string_view();
    const std::string_view value = row_values_.at(at);
    FZ_TRY(add_message(row, keyed ? &key : nullptr, kind == RowKind::kDelete ? nullptr : &value));
  }
  return Status::OK();
}

Status MessageBatch::encode_values(const arrow::RecordBatch& rows, const arrow::UInt8Array* kinds) {
  row_values_.clear();
  if (form_.value_schema == nullptr) {
    FZ_TRY(AppendJsonLines(rows, &row_values_.text));
    row_values_.tail = 1;
    for (size_t at = 0; (at = row_values_.text.find('\n', at)) != std::string::npos;) {
      row_values_.end.push_back(++at);
    }
    return Status::OK();
  }
  FZ_ASSIGN(AvroEncoder* const avro, AvroOf(*form_.value_schema, rows, &value_avro_));
  for (int64_t row = 0; row < rows.num_rows(); ++row) {
    const auto kind = kinds == nullptr ? RowKind::kInsert : static_cast<RowKind>(kinds->Value(row));
    // Of a row that is gone only the key is known.
    if (kind == RowKind::kInsert || kind == RowKind::kUpdateAfter) {
      FZ_TRY(avro->Append(row, &row_values_.text));
    }
    row_values_.push();
  }
  return Status::OK();
}

Status MessageBatch::encode_keys(const arrow::RecordBatch& rows) {
  row_keys_.clear();
  key_is_null_.assign(static_cast<size_t>(rows.num_rows()), false);
  if (form_.key.empty()) return Status::OK();
  arrow::FieldVector fields;
  arrow::ArrayVector columns;
  for (const std::string& name : form_.key) {
    const int at = rows.schema()->GetFieldIndex(name);
    if (at < 0) return Error(ErrorKind::kInternal, "the rows have no key column " + name);
    fields.push_back(rows.schema()->field(at));
    columns.push_back(rows.column(at));
  }
  const auto only = arrow::RecordBatch::Make(arrow::schema(std::move(fields)), rows.num_rows(), columns);
  for (int64_t row = 0; columns.size() == 1 && row < rows.num_rows(); ++row) {
    key_is_null_[static_cast<size_t>(row)] = columns.front()->IsNull(row);
  }
  if (form_.key_schema == nullptr) return encode_key_texts(*only);
  FZ_ASSIGN(AvroEncoder* const avro, AvroOf(*form_.key_schema, *only, &key_avro_));
  for (int64_t row = 0; row < rows.num_rows(); ++row) {
    if (!key_is_null_[static_cast<size_t>(row)]) FZ_TRY(avro->Append(row, &row_keys_.text));
    row_keys_.push();
  }
  return Status::OK();
}

Status MessageBatch::encode_key_texts(const arrow::RecordBatch& columns) {
  const auto first = columns.column(0);
  const bool alone = columns.num_columns() == 1;
  const bool bytes = alone && IsBytes(*first->type());
  std::string text;
  if (!bytes) FZ_TRY(AppendJsonLines(columns, &text));
  std::string head;  // of a line with one column: {"id":
  AppendJsonString(form_.key.front(), &head);
  const size_t head_size = head.size() + 2;
  std::string_view lines = text;
  for (int64_t row = 0; row < columns.num_rows(); ++row) {
    if (bytes) {
      if (const auto key = BytesAt(*first, row); key.has_value()) row_keys_.text.append(*key);
    } else {
      std::string_view key = NextLine(&lines);
      if (alone) {
        key = key.substr(head_size, key.size() - head_size - 1);
        if (key.starts_with('"')) key = key.substr(1, key.size() - 2);
      }
      row_keys_.text.append(key);
    }
    row_keys_.push();
  }
  return Status::OK();
}

Status MessageBatch::add_message(int64_t row, const std::string_view* key, const std::string_view* value) {
  const auto size =
      static_cast<int64_t>((key == nullptr ? 0 : key->size()) + (value == nullptr ? 0 : value->size())) +
      kOverheadBytes;
  if (size > bytes_max_) {
    std::string shown;  // of what is text
    if (key != nullptr ? form_.key_schema == nullptr : form_.value_schema == nullptr) {
      shown = ": " + std::string((key != nullptr ? *key : *value).substr(0, 100));
    }
    return Error(ErrorKind::kUser,
                 "writing to Kafka: row " + std::to_string(row) + " of a batch makes a message of " +
                     std::to_string(size) + " bytes, more than max_message=" + std::to_string(bytes_max_) +
                     shown + "\nleave columns out, or raise max_message and the topic's max.message.bytes");
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
