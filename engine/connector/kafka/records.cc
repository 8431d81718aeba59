#include "connector/kafka/records.h"

#include <arrow/buffer.h>
#include <arrow/builder.h>
#include <arrow/type.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"

namespace frazil::kafka {
namespace {

std::shared_ptr<arrow::DataType> HeadersType() {
  return arrow::list(
      arrow::struct_({arrow::field("key", arrow::utf8()), arrow::field("value", arrow::binary())}));
}

std::shared_ptr<arrow::Field> FieldOf(MetadataColumn column) {
  switch (column) {
    case MetadataColumn::kKey:
      return arrow::field("_key", arrow::binary());
    case MetadataColumn::kTopic:
      return arrow::field("_topic", arrow::utf8());
    case MetadataColumn::kPartition:
      return arrow::field("_partition", arrow::int32());
    case MetadataColumn::kOffset:
      return arrow::field("_offset", arrow::int64());
    case MetadataColumn::kTimestamp:
      return arrow::field("_timestamp", arrow::timestamp(arrow::TimeUnit::MILLI, "UTC"));
    case MetadataColumn::kHeaders:
      return arrow::field("_headers", HeadersType());
  }
  return nullptr;
}

template <typename T>
T* As(arrow::ArrayBuilder* builder) {
  return static_cast<T*>(builder);
}

Status AppendHeaders(const rd_kafka_message_t* record, arrow::ListBuilder* list) {
  FZ_TRY(list->Append());
  rd_kafka_headers_t* headers = nullptr;
  const auto found = rd_kafka_message_headers(record, &headers);
  if (found == RD_KAFKA_RESP_ERR__NOENT) return Status::OK();
  if (found != RD_KAFKA_RESP_ERR_NO_ERROR) {
    return Error(ErrorKind::kConnect, std::string("reading record headers: ") + rd_kafka_err2str(found));
  }
  auto* item = As<arrow::StructBuilder>(list->value_builder());
  auto* keys = As<arrow::StringBuilder>(item->field_builder(0));
  auto* values = As<arrow::BinaryBuilder>(item->field_builder(1));
  const char* name = nullptr;
  const void* value = nullptr;
  size_t size = 0;
  for (size_t i = 0; rd_kafka_header_get_all(headers, i, &name, &value, &size) == RD_KAFKA_RESP_ERR_NO_ERROR;
       ++i) {
    FZ_TRY(item->Append());
    FZ_TRY(keys->Append(name));
    if (value == nullptr) {
      FZ_TRY(values->AppendNull());
    } else {
      FZ_TRY(values->Append(static_cast<const uint8_t*>(value), static_cast<int32_t>(size)));
    }
  }
  return Status::OK();
}

Status AppendOne(const rd_kafka_message_t* record, MetadataColumn column, const std::string& topic,
                 arrow::ArrayBuilder* builder) {
  switch (column) {
    case MetadataColumn::kKey:
      if (record->key == nullptr) return builder->AppendNull();
      return As<arrow::BinaryBuilder>(builder)->Append(static_cast<const uint8_t*>(record->key),
                                                       static_cast<int32_t>(record->key_len));
    case MetadataColumn::kTopic:
      return As<arrow::StringBuilder>(builder)->Append(topic);
    case MetadataColumn::kPartition:
      return As<arrow::Int32Builder>(builder)->Append(record->partition);
    case MetadataColumn::kOffset:
      return As<arrow::Int64Builder>(builder)->Append(record->offset);
    case MetadataColumn::kTimestamp: {
      rd_kafka_timestamp_type_t type = RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
      const int64_t ms = rd_kafka_message_timestamp(record, &type);
      if (type == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE || ms < 0) return builder->AppendNull();
      return As<arrow::TimestampBuilder>(builder)->Append(ms);
    }
    case MetadataColumn::kHeaders:
      return AppendHeaders(record, As<arrow::ListBuilder>(builder));
  }
  return Status::OK();
}

Result<std::shared_ptr<arrow::RecordBatch>> Metadata(const std::vector<const rd_kafka_message_t*>& rows,
                                                     const std::vector<MetadataColumn>& columns,
                                                     arrow::MemoryPool* pool) {
  const std::string topic = rows.empty() ? "" : rd_kafka_topic_name(rows[0]->rkt);
  const auto schema = MetadataSchema(columns);
  std::vector<std::shared_ptr<arrow::Array>> arrays;
  for (int i = 0; i < schema->num_fields(); ++i) {
    std::unique_ptr<arrow::ArrayBuilder> builder;
    FZ_TRY(arrow::MakeBuilder(pool, schema->field(i)->type(), &builder));
    FZ_TRY(builder->Reserve(static_cast<int64_t>(rows.size())));
    const auto column = columns[static_cast<size_t>(i)];
    for (const auto* record : rows) FZ_TRY(AppendOne(record, column, topic, builder.get()));
    FZ_ASSIGN(arrays.emplace_back(), builder->Finish());
  }
  return arrow::RecordBatch::Make(schema, static_cast<int64_t>(rows.size()), std::move(arrays));
}

RejectedRow Reject(const rd_kafka_message_t* record, const std::string& place, std::string reason) {
  RejectedRow row;
  row.place = place;
  row.position = record->offset;
  row.reason = std::move(reason);
  row.raw_bytes = static_cast<int64_t>(record->len);
  if (record->payload != nullptr) {
    row.raw.assign(static_cast<const char*>(record->payload),
                   std::min(record->len, static_cast<size_t>(limits::kRejectedRawBytes)));
  }
  return row;
}

}  // namespace

std::shared_ptr<arrow::Schema> MetadataSchema(const std::vector<MetadataColumn>& columns) {
  arrow::FieldVector fields;
  for (const auto column : columns) fields.push_back(FieldOf(column));
  return arrow::schema(std::move(fields));
}

Result<RawBatch> CopyRecords(const std::vector<Record>& records, const Options& options,
                             const std::string& place, arrow::MemoryPool* pool) {
  RawBatch raw;
  raw.place = place;
  std::vector<const rd_kafka_message_t*> rows;
  rows.reserve(records.size());
  int64_t bytes = 0;
  for (const auto& record : records) {
    if (record->payload == nullptr) {
      if (options.tombstones == Tombstones::kSkip) continue;
      if (options.tombstones == Tombstones::kReject) {
        raw.rejected.push_back(
            Reject(record.get(), place,
                   "expected a value, got a tombstone (a record with a key and no value); choose "
                   "tombstones=\"skip\" to leave them out"));
        continue;
      }
    } else if (static_cast<int64_t>(record->len) > limits::kRowBytesMax) {
      std::string reason("expected at most ");
      reason.append(std::to_string(limits::kRowBytesMax))
          .append(" bytes, got ")
          .append(std::to_string(record->len));
      raw.rejected.push_back(Reject(record.get(), place, std::move(reason)));
      continue;
    }
    rows.push_back(record.get());
    bytes += static_cast<int64_t>(record->len) + 1;
  }
  FZ_CHECK(bytes < int64_t{UINT32_MAX} - kRawPadding);
  FZ_ASSIGN(auto data, arrow::AllocateBuffer(bytes + kRawPadding, pool));
  raw.offset.reserve(rows.size());
  raw.length.reserve(rows.size());
  raw.position.reserve(rows.size());
  uint8_t* out = data->mutable_data();
  uint32_t at = 0;
  for (const auto* record : rows) {
    const auto size = static_cast<uint32_t>(record->len);
    raw.offset.push_back(at);
    raw.length.push_back(record->payload == nullptr ? RawBatch::kNullRow : size);
    raw.position.push_back(record->offset);
    if (size > 0) std::memcpy(out + at, record->payload, size);
    at += size;
    out[at++] = '\n';  // rows that are lines are decoded faster
  }
  std::memset(out + at, 0, kRawPadding);
  raw.data = std::move(data);
  if (!options.metadata.empty()) {
    FZ_ASSIGN(raw.metadata, Metadata(rows, options.metadata, pool));
  }
  return raw;
}

}  // namespace frazil::kafka
