#include "connector/iceberg/partitioner.h"

#include <arrow/array.h>
#include <arrow/compute/api_vector.h>
#include <arrow/extension_type.h>
#include <arrow/util/base64.h>
#include <arrow/util/decimal.h>

#include <cstdio>
#include <unordered_map>

#include "base/calendar.h"
#include "base/uuid.h"
#include "connector/iceberg/single_value.h"
#include "connector/iceberg/transforms.h"

namespace frazil::iceberg {
namespace {

using arrow::Type;

constexpr size_t kPathPartBytes = 180;  // of a value in a path; file systems take 255 for "name=value"

// As in application/x-www-form-urlencoded, which Iceberg's writers use for paths.
std::string UrlEscaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (out.size() >= kPathPartBytes) break;  // names are unique without it
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '_' || c == '.' || c == '-';
    if (plain) {
      out.push_back(c);
    } else if (c == ' ') {
      out.push_back('+');
    } else {
      char escaped[4];
      std::snprintf(escaped, sizeof(escaped), "%%%02X", static_cast<unsigned>(static_cast<uint8_t>(c)));
      out += escaped;
    }
  }
  return out;
}

std::string CalendarText(const std::string& transform, int64_t value) {
  char text[48];
  if (transform == "year") {
    std::snprintf(text, sizeof(text), "%04lld", static_cast<long long>(1970 + value));
  } else if (transform == "month") {
    std::snprintf(text, sizeof(text), "%04lld-%02lld", static_cast<long long>(1970 + FloorDivide(value, 12)),
                  static_cast<long long>(value - FloorDivide(value, 12) * 12 + 1));
  } else {
    const int64_t day = FloorDivide(value, 24);
    std::snprintf(text, sizeof(text), "%s-%02lld", IsoDate(day).c_str(),
                  static_cast<long long>(value - day * 24));
  }
  return text;
}

// A partition value as a person reads it in a path.
std::string ValueText(const std::string& transform, const arrow::Scalar& scalar) {
  if (transform == "year" || transform == "month" || transform == "hour") {
    return CalendarText(transform, static_cast<const arrow::Int32Scalar&>(scalar).value);
  }
  switch (scalar.type->id()) {
    case Type::DATE32:
      return IsoDate(static_cast<const arrow::Date32Scalar&>(scalar).value);
    case Type::TIME64:
      return IsoTime(static_cast<const arrow::Time64Scalar&>(scalar).value,
                     static_cast<const arrow::Time64Type&>(*scalar.type).unit());
    case Type::TIMESTAMP: {
      const auto& type = static_cast<const arrow::TimestampType&>(*scalar.type);
      return IsoTimestamp(static_cast<const arrow::TimestampScalar&>(scalar).value, type.unit(),
                          !type.timezone().empty());
    }
    case Type::STRING:
      return static_cast<const arrow::BaseBinaryScalar&>(scalar).value->ToString();
    case Type::BINARY:
    case Type::FIXED_SIZE_BINARY:
      return arrow::util::base64_encode(
          static_cast<const arrow::BaseBinaryScalar&>(scalar).value->ToString());
    case Type::EXTENSION: {
      const auto& storage = *static_cast<const arrow::ExtensionScalar&>(scalar).value;
      return UuidText(static_cast<const arrow::BaseBinaryScalar&>(storage).value->ToString());
    }
    default:
      return scalar.ToString();
  }
}

// Number of each row's value among the distinct ones, null being a value too.
Result<std::shared_ptr<arrow::Int32Array>> Codes(const std::shared_ptr<arrow::Array>& values,
                                                 int64_t* distinct, arrow::MemoryPool* pool) {
  auto storage = values;
  if (values->type_id() == Type::EXTENSION)
    storage = static_cast<const arrow::ExtensionArray&>(*values).storage();
  const arrow::compute::DictionaryEncodeOptions options(arrow::compute::DictionaryEncodeOptions::ENCODE);
  arrow::compute::ExecContext context(pool);
  FZ_ASSIGN(const auto encoded, arrow::compute::DictionaryEncode(storage, options, &context));
  const auto array = encoded.array_as<arrow::DictionaryArray>();
  *distinct = array->dictionary()->length();
  return std::static_pointer_cast<arrow::Int32Array>(array->indices());
}

// Groups of rows by the codes of all fields, numbered by first appearance.
struct Grouping {
  std::vector<int32_t> group;      // per row
  std::vector<int64_t> first_row;  // per group
  std::vector<int64_t> rows;       // per group
  bool ordered = true;             // rows of a group stand together, in order of groups
};

Grouping Group(const std::vector<std::shared_ptr<arrow::Int32Array>>& codes,
               const std::vector<int64_t>& distinct, int64_t rows) {
  std::vector<uint64_t> tuple(static_cast<size_t>(rows), 0);
  for (size_t field = 0; field < codes.size(); ++field) {
    // Renumbering after each field keeps the product far below 2^64.
    std::unordered_map<uint64_t, uint64_t> numbers;
    const int32_t* code = codes[field]->raw_values();
    for (size_t i = 0; i < tuple.size(); ++i) {
      const uint64_t combined =
          tuple[i] * static_cast<uint64_t>(distinct[field]) + static_cast<uint64_t>(code[i]);
      tuple[i] = field == 0 ? combined : numbers.try_emplace(combined, numbers.size()).first->second;
    }
  }
  Grouping out;
  out.group.resize(tuple.size());
  std::unordered_map<uint64_t, int32_t> groups;
  for (size_t i = 0; i < tuple.size(); ++i) {
    const auto [entry, fresh] = groups.try_emplace(tuple[i], static_cast<int32_t>(groups.size()));
    const int32_t group = entry->second;
    if (fresh) {
      out.first_row.push_back(static_cast<int64_t>(i));
      out.rows.push_back(0);
    }
    if (i > 0 && group < out.group[i - 1]) out.ordered = false;
    out.group[i] = group;
    ++out.rows[static_cast<size_t>(group)];
  }
  return out;
}

// The rows of a batch, by group.
Result<std::shared_ptr<arrow::Int64Array>> OrderOf(const Grouping& grouping, arrow::MemoryPool* pool) {
  const auto count = static_cast<int64_t>(grouping.group.size());
  std::vector<int64_t> next(grouping.rows.size(), 0);
  for (size_t i = 1; i < next.size(); ++i) next[i] = next[i - 1] + grouping.rows[i - 1];
  FZ_ASSIGN(auto buffer, arrow::AllocateBuffer(count * static_cast<int64_t>(sizeof(int64_t)), pool));
  auto* indices = reinterpret_cast<int64_t*>(buffer->mutable_data());
  for (size_t i = 0; i < grouping.group.size(); ++i) {
    indices[next[static_cast<size_t>(grouping.group[i])]++] = static_cast<int64_t>(i);
  }
  return std::make_shared<arrow::Int64Array>(count, std::shared_ptr<arrow::Buffer>(std::move(buffer)));
}

Result<std::shared_ptr<arrow::RecordBatch>> Ordered(const std::shared_ptr<arrow::RecordBatch>& batch,
                                                    const std::shared_ptr<arrow::Int64Array>& order,
                                                    arrow::MemoryPool* pool) {
  arrow::compute::ExecContext context(pool);
  FZ_ASSIGN(const auto taken,
            arrow::compute::Take(batch, order, arrow::compute::TakeOptions::NoBoundsCheck(), &context));
  return taken.record_batch();
}

// Equal for equal keys only: lengths stand before values.
std::string KeyId(const PartitionKey& key) {
  std::string id;
  for (const auto& value : key.values) {
    id += value ? std::to_string(value->size()) + ":" + *value : "n";
  }
  return id;
}

}  // namespace

Result<Partitioner> Partitioner::Make(const WriterOptions& options, const arrow::Schema& schema,
                                      arrow::MemoryPool* pool) {
  Partitioner out;
  out.pool_ = pool;
  for (const auto& field : options.partition) {
    const int column = schema.GetFieldIndex(field.source);
    if (const auto type = TransformType(field.transform, field.param, *schema.field(column)->type());
        !type.ok()) {
      return Prefixed(type.status(),
                      "partition field \"" + field.name + "\" of column \"" + field.source + "\"");
    }
    out.fields_.push_back({field, column});
  }
  return out;
}

Result<PartitionKey> Partitioner::KeyAt(const arrow::ArrayVector& values, int64_t row) const {
  PartitionKey key;
  for (size_t i = 0; i < fields_.size(); ++i) {
    if (!key.path.empty()) key.path += "/";
    key.path += UrlEscaped(fields_[i].spec.name) + "=";
    if (fields_[i].spec.transform == "void" || values[i]->IsNull(row)) {
      key.values.push_back(std::nullopt);
      key.path += "null";
      continue;
    }
    FZ_ASSIGN(const auto scalar, values[i]->GetScalar(row));
    FZ_ASSIGN(auto bytes, SingleValue(*scalar));
    key.values.push_back(std::move(bytes));
    key.path += UrlEscaped(ValueText(fields_[i].spec.transform, *scalar));
  }
  return key;
}

Result<PartitionedBatch> Partitioner::Split(const std::shared_ptr<arrow::RecordBatch>& batch) const {
  PartitionedBatch out;
  out.rows = batch;
  if (batch->num_rows() == 0) return out;
  if (fields_.empty()) {
    out.slices.push_back({"", {}, 0, batch->num_rows()});
    return out;
  }
  arrow::ArrayVector values;
  std::vector<std::shared_ptr<arrow::Int32Array>> codes;
  std::vector<int64_t> distinct;
  for (const Field& field : fields_) {
    auto column = Transform(field.spec.transform, field.spec.param, batch->column(field.column), pool_);
    if (!column.ok())
      return Prefixed(column.status(), "partitioning by column \"" + field.spec.source + "\"");
    values.push_back(*column);
    if (field.spec.transform == "void") continue;
    int64_t count = 0;
    FZ_ASSIGN(auto code, Codes(*column, &count, pool_));
    if (count == 1) continue;
    codes.push_back(std::move(code));
    distinct.push_back(count);
  }
  Grouping grouping;
  if (codes.empty()) {
    grouping.first_row = {0};
    grouping.rows = {batch->num_rows()};
  } else {
    grouping = Group(codes, distinct, batch->num_rows());
    if (!grouping.ordered) {
      FZ_ASSIGN(out.order, OrderOf(grouping, pool_));
      FZ_ASSIGN(out.rows, Ordered(batch, out.order, pool_));
    }
  }
  int64_t offset = 0;
  for (size_t i = 0; i < grouping.rows.size(); ++i) {
    FZ_ASSIGN(auto key, KeyAt(values, grouping.first_row[i]));
    std::string id = KeyId(key);
    out.slices.push_back({std::move(id), std::move(key), offset, grouping.rows[i]});
    offset += grouping.rows[i];
  }
  return out;
}

}  // namespace frazil::iceberg
