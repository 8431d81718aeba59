#include "format/debezium_messages.h"

#include <arrow/util/key_value_metadata.h>

#include <algorithm>
#include <functional>

#include "base/batch.h"
#include "format/avro_messages.h"
#include "format/debezium_column.h"
#include "format/debezium_events.h"
#include "format/debezium_rows.h"
#include "format/json_column.h"
#include "format/json_object.h"
#include "format/proto_messages.h"

namespace frazil {
namespace {

using Field = std::shared_ptr<arrow::Field>;

// What makes the reader of events of a schema (debezium_events.h).
using OpenReader = std::function<Result<std::unique_ptr<MessageReader>>(std::shared_ptr<arrow::Schema>)>;
// What is read of a column of the table.
using ReadColumn = std::function<Result<Field>(const arrow::Field&, const DebeziumOptions&)>;

// The column with the placeholder for values that were not sent.
Result<Field> Marked(const arrow::Field& field, const DebeziumOptions& options) {
  auto metadata =
      field.metadata() == nullptr ? std::make_shared<arrow::KeyValueMetadata>() : field.metadata()->Copy();
  if (!options.unavailable.empty()) {
    FZ_TRY(metadata->Set(kUnavailableMetadata, options.unavailable));
    FZ_TRY(metadata->Set(kUnavailableUuidMetadata, options.unavailable_uuid));
    const auto& keep = options.keep;
    if (std::find(keep.begin(), keep.end(), field.name()) != keep.end()) {
      FZ_TRY(metadata->Set(kKeptMetadata, "true"));
    }
  }
  return field.WithMetadata(metadata->size() == 0 ? nullptr : std::move(metadata));
}

// The same in Protobuf, where a time is a number of which no schema says the unit: as of JSON without one.
Result<Field> MarkedNumbers(const arrow::Field& field, const DebeziumOptions& options) {
  DebeziumOptions only_units = options;
  only_units.unavailable.clear();
  FZ_ASSIGN(const Field made, DebeziumField(field, nullptr, only_units));
  return Marked(*made, options);
}

// Columns of the envelope are null where a message has a field without presence at its zero: Debezium has no
// log position, time or name that is zero or empty. Places within a file of MySQL's log may be.
Result<std::shared_ptr<arrow::Schema>> WithNullsForZeros(const arrow::Schema& events) {
  arrow::FieldVector fields;
  for (const Field& field : events.fields()) {
    const std::string where = JsonMetadata(*field, kEnvelopeMetadata);
    if (where.empty() || !field->nullable()) {
      fields.push_back(field);
      continue;
    }
    FZ_ASSIGN(const auto keys, ParseJsonSource(where));
    if (keys.back() == "pos" || keys.back() == "row") {
      fields.push_back(field);
      continue;
    }
    auto metadata = field->metadata()->Copy();
    FZ_TRY(metadata->Set(kZeroIsNullMetadata, "true"));
    fields.push_back(field->WithMetadata(std::move(metadata)));
  }
  return arrow::schema(std::move(fields));
}

class DebeziumMessages : public Decoder {
 public:
  DebeziumMessages(std::shared_ptr<arrow::Schema> schema, DebeziumOptions options, arrow::MemoryPool* pool)
      : schema_(std::move(schema)), options_(std::move(options)), pool_(pool) {}

  Status Start(const ReadColumn& read, const OpenReader& open) {
    if (schema_->GetFieldIndex(std::string(kKindColumn)) < 0)
      return Error(ErrorKind::kInternal, "change events without a kind column");
    for (const auto& name : options_.key) {
      if (schema_->GetFieldIndex(name) >= 0) continue;
      return Error(ErrorKind::kConfig, "key column \"" + name + "\" is not among those that are read");
    }
    const auto column = [&](const arrow::Field& field, const std::string&) { return read(field, options_); };
    FZ_ASSIGN(auto events, DebeziumEventSchema(*schema_, options_, column));
    FZ_ASSIGN(messages_, open(std::move(events)));
    return Status::OK();
  }

  Result<bool> ready(const RawBatch& raw) override { return messages_->ready(raw); }
  bool may_wait() const override { return true; }
  std::string condition() const override { return messages_->condition(); }

  Result<Decoded> decode(const RawBatch& raw) override {
    Decoded out;
    std::vector<int32_t> messages;  // of the events
    std::vector<std::pair<int64_t, RejectedRow>> rejected;
    const auto reject = [&](int64_t row, const JsonFailure& failure) {
      rejected.emplace_back(row, RejectedMessage(raw, row, failure));
    };
    FZ_TRY(messages_->Begin(raw.rows()));
    for (int64_t i = 0; i < raw.rows(); ++i) {
      if (raw.length[static_cast<size_t>(i)] == RawBatch::kNullRow) {
        ++out.dropped;
        continue;
      }
      JsonFailure failure;
      FZ_ASSIGN(const bool good, messages_->Read(raw.row(i), failure));
      if (good) {
        messages.push_back(static_cast<int32_t>(i));
      } else {
        reject(i, OfTable(std::move(failure)));
      }
    }
    FZ_ASSIGN(const auto events, messages_->Finish());
    FZ_ASSIGN(DebeziumRows made, MakeDebeziumRows(*events, schema_, options_, pool_));
    if (made.stop >= 0) return StoppedAt(raw, messages[static_cast<size_t>(made.stop)]);
    for (const auto& bad : made.bad) {
      JsonFailure failure;
      failure.column = bad.column;
      failure.reason = bad.reason;
      reject(messages[static_cast<size_t>(bad.event)], failure);
    }
    out.dropped += static_cast<int64_t>(made.dropped.size());
    out.rows = std::move(made.rows);
    bool all = static_cast<int64_t>(made.events.size()) == raw.rows();
    for (size_t i = 0; i < made.events.size(); ++i) {
      out.kept.push_back(messages[static_cast<size_t>(made.events[i])]);
      all = all && out.kept.back() == static_cast<int32_t>(i);
    }
    if (all) out.kept.clear();
    std::stable_sort(rejected.begin(), rejected.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    for (auto& [row, each] : rejected) out.rejected.push_back(std::move(each));
    return out;
  }

 private:
  // Names the column of the table instead of the event's.
  JsonFailure OfTable(JsonFailure failure) const {
    if (failure.column == kOpField) failure.column = options_.unwrapped ? "__op" : "op";
    if (failure.column == kDeletedField) failure.column = "__deleted";
    const bool side = failure.column == kBeforeField || failure.column == kAfterField;
    if (options_.unwrapped || !side || failure.path.size() < 2) return failure;
    const std::string inside = failure.path.substr(1);
    if (const std::string column = DebeziumColumnAt(*schema_, inside); !column.empty()) {
      // What remains of the path says more than the column only behind the column's name.
      if (inside == column) {
        failure.path.clear();
      } else {
        failure.reason = "at " + failure.column + failure.path + ": " + failure.reason;
        failure.path.clear();
      }
      failure.column = column;
    }
    return failure;
  }

  std::shared_ptr<arrow::Schema> schema_;
  DebeziumOptions options_;
  arrow::MemoryPool* pool_;
  std::unique_ptr<MessageReader> messages_;
};

}  // namespace

Result<std::unique_ptr<Decoder>> MakeDebeziumAvroDecoder(std::shared_ptr<arrow::Schema> schema,
                                                         DebeziumOptions options, std::string registry,
                                                         SchemaDesk desk, arrow::MemoryPool* pool) {
  auto made = std::make_unique<DebeziumMessages>(std::move(schema), std::move(options), pool);
  const auto open = [&](std::shared_ptr<arrow::Schema> events) -> Result<std::unique_ptr<MessageReader>> {
    return AvroMessages::Make(std::move(events), std::move(registry), std::move(desk), pool);
  };
  FZ_TRY(made->Start(Marked, open));
  return made;
}

Result<std::unique_ptr<Decoder>> MakeDebeziumProtobufDecoder(std::shared_ptr<arrow::Schema> schema,
                                                             DebeziumOptions options, std::string registry,
                                                             SchemaDesk desk, arrow::MemoryPool* pool) {
  auto made = std::make_unique<DebeziumMessages>(std::move(schema), std::move(options), pool);
  const auto open = [&](std::shared_ptr<arrow::Schema> events) -> Result<std::unique_ptr<MessageReader>> {
    FZ_ASSIGN(auto columns, WithNullsForZeros(*events));
    return ProtoMessages::Make(std::move(columns), std::move(registry), std::move(desk), pool);
  };
  FZ_TRY(made->Start(MarkedNumbers, open));
  return made;
}

}  // namespace frazil
