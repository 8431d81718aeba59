#include "format/debezium.h"

#include <arrow/api.h>
#include <arrow/compute/api.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/batch.h"
#include "base/limits.h"
#include "format/connect_schema.h"
#include "format/debezium_envelope.h"
#include "format/debezium_events.h"
#include "format/debezium_rows.h"
#include "format/json.h"
#include "format/json_column.h"

namespace frazil {
namespace {

using Json = nlohmann::json;

constexpr size_t kSchemaTexts = 256;  // schemas of messages remembered by one decoder
constexpr size_t kReaders = 32;       // ways to read a row, of as many different schemas

// The JSON decoder of one way to read events, and the messages of the batch at hand that it is to read.
struct Reader {
  std::unique_ptr<Decoder> json;
  std::vector<int32_t> messages;
  std::vector<std::string_view> payloads;
};

// What a text of a schema comes to.
struct Shape {
  std::shared_ptr<Reader> reader;  // null if it does not go with the columns: then why
  std::string column;
  std::string reason;
  bool known = true;  // false: the registry may have it one day
};

// The schema of the row in the schema of an event, nullptr if there is none.
const Json* FieldNamed(const Json& type, std::string_view name) {
  const auto fields = type.find("fields");
  if (fields == type.end() || !fields->is_array()) return nullptr;
  for (const Json& field : *fields) {
    if (field.is_object() && field.value("field", Json()) == name) return &field;
  }
  return nullptr;
}

class DebeziumDecoder : public Decoder {
 public:
  DebeziumDecoder(std::shared_ptr<arrow::Schema> schema, DebeziumOptions options, arrow::MemoryPool* pool)
      : schema_(std::move(schema)), options_(std::move(options)), pool_(pool) {}

  // Messages have the ids of their schemas.
  void Register(std::string registry, SchemaDesk desk) {
    registry_ = registry;
    schemas_ = std::make_unique<SchemasOfBatch>(std::move(registry), std::move(desk));
  }

  Result<bool> ready(const RawBatch& raw) override {
    if (schemas_ == nullptr) return true;
    return schemas_->Gather(raw);
  }
  bool may_wait() const override { return schemas_ != nullptr; }
  std::string condition() const override { return schemas_ == nullptr ? "" : schemas_->waits(); }

  // Makes the reader of messages without a schema, and so finds what is wrong with the columns.
  Status Start() {
    if (schema_->GetFieldIndex(std::string(kKindColumn)) < 0)
      return Error(ErrorKind::kInternal, "debezium-json without a kind column");
    for (const auto& name : options_.key) {
      if (schema_->GetFieldIndex(name) >= 0) continue;
      return Error(ErrorKind::kConfig, "key column \"" + name + "\" is not among those that are read");
    }
    FZ_ASSIGN(const Shape* const plain, ShapeOf({}));
    if (plain->reader != nullptr) return Status::OK();
    return Error(ErrorKind::kConfig, "field \"" + plain->column + "\": " + plain->reason);
  }

  Result<Decoded> decode(const RawBatch& raw) override {
    Decoded out;
    out_ = &out;
    raw_ = &raw;
    std::vector<std::shared_ptr<Reader>> used;
    for (int64_t i = 0; i < raw.rows(); ++i) {
      DebeziumMessage message;
      FZ_ASSIGN(const Shape* const shape, Take(i, &message));
      if (message.kind == DebeziumMessage::Kind::kTombstone) {
        ++out.dropped;
        continue;
      }
      if (shape->reader == nullptr) {
        Reject(i, shape->column, shape->reason);
        continue;
      }
      Reader& reader = *shape->reader;
      if (reader.messages.empty()) used.push_back(shape->reader);
      reader.messages.push_back(static_cast<int32_t>(i));
      reader.payloads.push_back(message.payload);
    }
    arrow::RecordBatchVector batches;
    std::vector<int32_t> of;
    Status done = Status::OK();
    for (const auto& reader : used) {
      if (done.ok()) done = Read(reader.get(), &batches, &of);
      reader->messages.clear();
      reader->payloads.clear();
    }
    FZ_TRY(done);
    FZ_TRY(Join(batches, std::move(of)));
    std::stable_sort(rejected_.begin(), rejected_.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    for (auto& [row, rejected] : rejected_) out.rejected.push_back(std::move(rejected));
    rejected_.clear();
    FZ_TRY(unwrapper_.Shrink());
    return out;
  }

 private:
  // The events' schema for the JSON decoder, with what the message's schema says of the columns.
  Result<std::shared_ptr<arrow::Schema>> EventSchema(const Json* type, Shape* clash) const {
    const auto column = [&](const arrow::Field& field,
                            const std::string& side) -> Result<std::shared_ptr<arrow::Field>> {
      const Json* row = type == nullptr || side.empty() ? type : FieldNamed(*type, side);
      FZ_ASSIGN(const std::string source, DebeziumSource(field));
      auto made = DebeziumField(field, row == nullptr ? nullptr : FieldNamed(*row, source), options_);
      if (made.ok()) return made;
      if (clash->reason.empty()) *clash = {nullptr, field.name(), MessageOf(made.status())};
      return field.Copy();
    };
    return DebeziumEventSchema(*schema_, options_, column);
  }

  // Takes a message apart, and gives the shape of its schema; nullptr of a tombstone.
  Result<const Shape*> Take(int64_t row, DebeziumMessage* message) {
    if (schemas_ == nullptr) {
      *message = unwrapper_.Take(*raw_, row);
      if (message->kind == DebeziumMessage::Kind::kTombstone) return nullptr;
      return ShapeOf(message->schema);
    }
    int32_t id = 0;
    if (raw_->length[static_cast<size_t>(row)] == RawBatch::kNullRow) {
      message->kind = DebeziumMessage::Kind::kTombstone;
    } else if (!TakeSchemaId(raw_->row(row), &id, &message->payload)) {
      headless_ = {nullptr, "", NoSchemaId(raw_->row(row))};
      return &headless_;
    } else if (message->payload == "null") {
      message->kind = DebeziumMessage::Kind::kTombstone;
    }
    if (message->kind == DebeziumMessage::Kind::kTombstone) return nullptr;
    return ShapeOfId(id);
  }

  // Of the text of a schema. Valid until the next call.
  Result<const Shape*> ShapeOf(std::string_view schema) {
    if (last_ != nullptr && last_->first == schema) return &last_->second;
    return Remembered(schema, [&] { return MakeShape(schema); });
  }

  // Of the id of one.
  Result<const Shape*> ShapeOfId(int32_t id) {
    if (last_ != nullptr && last_id_ == id && last_->second.known) [[likely]]
      return &last_->second;
    const std::string name = std::to_string(id);
    const auto found = shapes_.find(name);
    const RegisteredSchema* const schema = schemas_->at(id);
    if (schema == nullptr) return Error(ErrorKind::kInternal, "a message whose schema was not asked for");
    if (found != shapes_.end() && !found->second.known && schema->state == RegisteredSchema::State::kKnown) {
      last_ = nullptr;
      shapes_.erase(found);
    }
    last_id_ = id;
    return Remembered(name, [&] { return MakeRegistered(id, *schema); });
  }

  template <typename Make>
  Result<const Shape*> Remembered(std::string_view name, Make make) {
    auto found = shapes_.find(name);
    if (found == shapes_.end()) {
      if (shapes_.size() >= kSchemaTexts) Forget();
      FZ_ASSIGN(Shape made, make());
      found = shapes_.emplace(std::string(name), std::move(made)).first;
    }
    last_ = &*found;
    return &found->second;
  }

  Result<Shape> MakeShape(std::string_view schema) {
    if (schema.empty()) return MakeTyped(nullptr);
    const Json type = Json::parse(schema, nullptr, /*allow_exceptions=*/false);
    if (type.is_discarded()) return Shape{nullptr, "", "the schema in the message cannot be read"};
    return MakeTyped(&type);
  }

  Result<Shape> MakeRegistered(int32_t id, const RegisteredSchema& schema) {
    const std::string name = "schema " + std::to_string(id) + " of " + registry_;
    if (schema.state != RegisteredSchema::State::kKnown) {
      return Shape{nullptr, "", name + ": " + schema.reason, /*known=*/false};
    }
    const bool connect = schema.kind == "KCONNECT";
    if (schema.kind != "JSON" && !connect) {
      const char* advice = schema.kind == "AVRO"       ? "\n  read with format=\"debezium-avro\""
                           : schema.kind == "PROTOBUF" ? "\n  read with format=\"debezium-protobuf\""
                                                       : "";
      return Shape{nullptr, "", name + " is " + schema.kind + ", not JSON" + advice};
    }
    const std::string text = schema.texts.empty() ? "" : schema.texts.back();
    const Json parsed = Json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (parsed.is_discarded()) return Shape{nullptr, "", name + ": the text is not JSON"};
    if (connect) return MakeTyped(&parsed);
    const auto type = ConnectSchemaOf(parsed);
    if (!type.ok()) return Shape{nullptr, "", name + ": " + MessageOf(type.status())};
    return MakeTyped(&*type);
  }

  Result<Shape> MakeTyped(const Json* type) {
    Shape shape;
    FZ_ASSIGN(auto events, EventSchema(type, &shape));
    if (!shape.reason.empty()) return shape;
    const std::string name = events->ToString(/*show_metadata=*/true);
    auto found = readers_.find(name);
    if (found == readers_.end()) {
      if (readers_.size() >= kReaders) Forget();
      auto reader = std::make_shared<Reader>();
      auto json = MakeJsonDecoder(events, JsonOptions(), pool_);
      if (!json.ok() && type != nullptr) return Shape{nullptr, "", MessageOf(json.status())};
      FZ_ASSIGN(reader->json, std::move(json));
      found = readers_.emplace(name, std::move(reader)).first;
    }
    shape.reader = found->second;
    return shape;
  }

  void Forget() {
    readers_.clear();
    shapes_.clear();
    last_ = nullptr;
  }

  // The messages of a reader as rows of their own; `position` is the number of the message in the batch.
  Result<RawBatch> Payloads(const Reader& reader) const {
    RawBatch rows;
    rows.position.assign(reader.messages.begin(), reader.messages.end());
    size_t bytes = 0;
    bool inside = false;
    for (size_t i = 0; i < reader.messages.size(); ++i) {
      const std::string_view whole = raw_->row(reader.messages[i]);
      inside = inside || whole.size() != reader.payloads[i].size();
      bytes += reader.payloads[i].size() + 1;
    }
    rows.length.reserve(reader.messages.size());
    rows.offset.reserve(reader.messages.size());
    if (!inside) {
      rows.data = raw_->data;
      for (const int32_t message : reader.messages) {
        rows.offset.push_back(raw_->offset[static_cast<size_t>(message)]);
        rows.length.push_back(raw_->length[static_cast<size_t>(message)]);
      }
      return rows;
    }
    // Taken out of their wrappers they stand line after line, as the decoder reads them fastest.
    FZ_ASSIGN(auto data, arrow::AllocateBuffer(static_cast<int64_t>(bytes) + kRawPadding, pool_));
    uint8_t* const begin = data->mutable_data();
    uint32_t at = 0;
    for (const std::string_view payload : reader.payloads) {
      rows.offset.push_back(at);
      rows.length.push_back(static_cast<uint32_t>(payload.size()));
      std::memcpy(begin + at, payload.data(), payload.size());
      at += static_cast<uint32_t>(payload.size());
      begin[at++] = '\n';
    }
    std::memset(begin + at, 0, kRawPadding);
    rows.data = std::move(data);
    return rows;
  }

  Status Read(Reader* reader, arrow::RecordBatchVector* batches, std::vector<int32_t>* of) {
    FZ_ASSIGN(const RawBatch rows, Payloads(*reader));
    FZ_ASSIGN(const Decoded decoded, reader->json->decode(rows));
    for (const RejectedRow& row : decoded.rejected) Reject(row);
    const auto message = [&](int64_t event) {
      const auto row = static_cast<size_t>(event);
      return reader->messages[decoded.kept.empty() ? row : static_cast<size_t>(decoded.kept[row])];
    };
    FZ_ASSIGN(DebeziumRows made, MakeDebeziumRows(*decoded.rows, schema_, options_, pool_));
    if (made.stop >= 0) return StoppedAt(*raw_, message(made.stop));
    for (const auto& bad : made.bad) Reject(message(bad.event), bad.column, bad.reason);
    out_->dropped += static_cast<int64_t>(made.dropped.size());
    for (const int32_t event : made.events) of->push_back(message(event));
    batches->push_back(std::move(made.rows));
    return Status::OK();
  }

  // Puts the rows of several readers into the order of their messages.
  Status Join(const arrow::RecordBatchVector& batches, std::vector<int32_t> of) {
    if (batches.empty()) {
      FZ_ASSIGN(out_->rows, arrow::RecordBatch::MakeEmpty(schema_, pool_));
      return Status::OK();
    }
    if (batches.size() == 1) {
      out_->rows = batches.front();
    } else {
      FZ_ASSIGN(auto all, arrow::ConcatenateRecordBatches(batches, pool_));
      std::vector<int32_t> order(of.size());
      std::iota(order.begin(), order.end(), 0);
      std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
        return of[static_cast<size_t>(a)] < of[static_cast<size_t>(b)];
      });
      const auto indices =
          std::make_shared<arrow::Int32Array>(static_cast<int64_t>(order.size()), arrow::Buffer::Wrap(order));
      arrow::compute::ExecContext context(pool_);
      context.set_use_threads(false);
      FZ_ASSIGN(arrow::Datum taken,
                arrow::compute::Take(arrow::Datum(all), arrow::Datum(indices),
                                     arrow::compute::TakeOptions::NoBoundsCheck(), &context));
      out_->rows = taken.record_batch();
      std::sort(of.begin(), of.end());
    }
    bool all = static_cast<int64_t>(of.size()) == raw_->rows();
    for (size_t i = 0; all && i < of.size(); ++i) all = of[i] == static_cast<int32_t>(i);
    if (!all) out_->kept = std::move(of);
    return Status::OK();
  }

  // A message that the JSON decoder rejected: names the column of the table instead of the event's.
  void Reject(const RejectedRow& row) {
    std::string column = row.column;
    std::string reason = row.reason;
    const std::string path = "at " + column + ".";
    if (column == kOpField) {
      column = options_.unwrapped ? "__op" : "op";
    } else if (column == kDeletedField) {
      column = "__deleted";
    } else if ((column == kBeforeField || column == kAfterField) && !options_.unwrapped &&
               reason.starts_with(path)) {
      const std::string found = DebeziumColumnAt(*schema_, std::string_view(reason).substr(path.size()));
      if (!found.empty()) column = found;
      // What remains of the path says more than the column only behind the column's name.
      const std::string plain = path + column + ": ";
      if (reason.starts_with(plain)) reason = reason.substr(plain.size());
    }
    Reject(row.position, column, reason);
  }

  void Reject(int64_t message, const std::string& column, const std::string& reason) {
    RejectedRow row;
    row.place = raw_->place;
    row.position = raw_->position.empty() ? message : raw_->position[static_cast<size_t>(message)];
    row.column = column;
    row.reason = reason;
    const std::string_view bytes = raw_->row(message);
    row.raw.assign(bytes.substr(0, static_cast<size_t>(limits::kRejectedRawBytes)));
    row.raw_bytes = static_cast<int64_t>(bytes.size());
    rejected_.emplace_back(message, std::move(row));
  }

  std::shared_ptr<arrow::Schema> schema_;
  DebeziumOptions options_;
  arrow::MemoryPool* pool_;
  DebeziumUnwrapper unwrapper_;
  std::string registry_;
  int32_t last_id_ = -1;                              // of last_, if it has one
  std::unique_ptr<SchemasOfBatch> schemas_;           // null if schemas are in the messages
  Shape headless_;                                    // of the message at hand, which has no id
  std::map<std::string, Shape, std::less<>> shapes_;  // by text of the schema, or its id
  const std::pair<const std::string, Shape>* last_ = nullptr;
  std::map<std::string, std::shared_ptr<Reader>> readers_;  // by the schema for the JSON decoder
  // Of the batch at hand.
  const RawBatch* raw_ = nullptr;
  Decoded* out_ = nullptr;
  std::vector<std::pair<int64_t, RejectedRow>> rejected_;
};

}  // namespace

Result<std::unique_ptr<Decoder>> MakeDebeziumDecoder(std::shared_ptr<arrow::Schema> schema,
                                                     DebeziumOptions options, arrow::MemoryPool* pool,
                                                     std::string registry, SchemaDesk desk) {
  auto made = std::make_unique<DebeziumDecoder>(std::move(schema), std::move(options), pool);
  if (!registry.empty()) made->Register(std::move(registry), std::move(desk));
  FZ_TRY(made->Start());
  return made;
}

}  // namespace frazil
