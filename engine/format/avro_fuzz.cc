// Any schema and any bytes as Avro: never a crash, valid columns, every message accounted for, and each
// decodes alone as it does among others. The input is a byte that picks the columns, the text of a schema up
// to the first zero byte, then messages, each behind a byte with its length; they get the header with the id.
// Where the schema takes the columns too, rows that were read are written with it and read again the same.
#include <arrow/util/key_value_metadata.h>

#include <cstdlib>
#include <string_view>

#include "base/batch.h"
#include "format/avro.h"
#include "format/avro_encode.h"
#include "format/avro_schema.h"
#include "format/debezium_messages.h"

namespace {

using arrow::field;

constexpr int32_t kId = 1;

void Require(bool condition) {
  if (!condition) std::abort();
}

std::shared_ptr<arrow::Schema> Columns() {
  const auto source = [](const char* keys) { return arrow::key_value_metadata({"fz:source"}, {keys}); };
  return arrow::schema(
      {field("i", arrow::int32()), field("d", arrow::float64()), field("m", arrow::decimal128(12, 2)),
       field("w", arrow::decimal256(50, 4)),
       field("s", arrow::utf8(), true, arrow::key_value_metadata({"fz:default"}, {"\"none\""})),
       field("b", arrow::large_binary()), field("x", arrow::fixed_size_binary(4)),
       field("t", arrow::timestamp(arrow::TimeUnit::MICRO, "UTC")), field("day", arrow::date32()),
       field("at", arrow::time64(arrow::TimeUnit::MICRO)),
       field("iv", arrow::duration(arrow::TimeUnit::MICRO)),
       field("l", arrow::list(arrow::struct_(
                      {field("a", arrow::int64(), false), field("n", arrow::list(arrow::utf8()))}))),
       field("k", arrow::map(arrow::utf8(), arrow::int64())),
       field("deep", arrow::utf8(), true, source(R"(["r","s"])"))});
}

std::shared_ptr<arrow::Schema> Table() {
  return arrow::schema({field("id", arrow::int64(), false), field("s", arrow::utf8()),
                        field("l", arrow::list(arrow::int32())),
                        field(std::string(frazil::kKindColumn), arrow::uint8(), false)});
}

std::unique_ptr<frazil::Decoder> Decoder(uint8_t how, frazil::SchemaBoard* board) {
  const frazil::SchemaDesk desk{board, {}};
  if ((how & 1) == 0) {
    return frazil::MakeAvroDecoder(Columns(), "r", desk, arrow::default_memory_pool()).ValueOrDie();
  }
  frazil::DebeziumOptions options;
  options.key = {"id"};
  options.unwrapped = (how & 2) != 0;
  options.full_before = !options.unwrapped && (how & 4) != 0;
  options.unavailable = "__debezium_unavailable_value";
  return frazil::MakeDebeziumAvroDecoder(Table(), options, "r", desk, arrow::default_memory_pool())
      .ValueOrDie();
}

frazil::RawBatch Rows(const std::vector<std::string>& rows) {
  frazil::RawBatch raw;
  std::string bytes;
  for (const auto& row : rows) {
    raw.offset.push_back(static_cast<uint32_t>(bytes.size()));
    raw.length.push_back(static_cast<uint32_t>(row.size()));
    bytes += row;
  }
  bytes.append(frazil::kRawPadding, '\0');
  raw.data = arrow::Buffer::FromString(std::move(bytes));
  return raw;
}

frazil::Decoded Decode(frazil::Decoder* decoder, const std::vector<std::string>& rows) {
  const auto raw = Rows(rows);
  Require(decoder->ready(raw).ValueOrDie());
  auto decoded = decoder->decode(raw).ValueOrDie();
  Require(decoded.rows->ValidateFull().ok());
  return decoded;
}

// The columns that the record of a schema has, if it is one.
std::shared_ptr<arrow::RecordBatch> Own(const arrow::RecordBatch& rows, const std::string& schema) {
  const auto parsed = frazil::ParseAvroSchema({schema});
  if (!parsed.ok()) return nullptr;
  arrow::FieldVector fields;
  arrow::ArrayVector columns;
  for (const auto& field : parsed->at(parsed->root).fields) {
    const int at = rows.schema()->GetFieldIndex(field.name);
    if (at < 0) continue;
    fields.push_back(rows.schema()->field(at));
    columns.push_back(rows.column(at));
  }
  return arrow::RecordBatch::Make(arrow::schema(fields), rows.num_rows(), columns);
}

void WriteAgain(const arrow::RecordBatch& rows, const std::string& schema, frazil::Decoder* decoder) {
  const auto own = Own(rows, schema);
  if (own == nullptr) return;
  const auto made = frazil::AvroEncoder::Make(*own->schema(), {schema}, kId);
  if (!made.ok()) return;
  Require((*made)->Begin(*own).ok());
  std::vector<std::string> messages;
  for (int64_t row = 0; row < own->num_rows(); ++row) {
    // A null where the schema has none, of a field that was not in it, or a text that is no symbol.
    if (!(*made)->Append(row, &messages.emplace_back()).ok()) return;
  }
  const auto again = Own(*Decode(decoder, messages).rows, schema);
  Require(again->Equals(*own, false, arrow::EqualOptions::Defaults().nans_equal(true)));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::string schema(rest.substr(0, rest.find('\0')));
  rest.remove_prefix(std::min(rest.size(), schema.size() + 1));
  std::vector<std::string> rows;
  while (!rest.empty()) {
    const std::string_view body = rest.substr(1, static_cast<uint8_t>(rest[0]));
    rest.remove_prefix(1 + body.size());
    rows.push_back(std::string("\0\0\0\0\1", 5) + std::string(body));
  }
  frazil::SchemaBoard board({});
  board.give("r", kId, {frazil::RegisteredSchema::State::kKnown, "AVRO", {schema}, ""});
  const auto together = Decoder(data[0], &board);
  const auto whole = Decode(together.get(), rows);
  const auto single = Decoder(data[0], &board);
  if ((data[0] & 1) == 0) WriteAgain(*whole.rows, schema, single.get());
  int64_t good = 0, dropped = 0;
  size_t rejected = 0;
  for (const auto& row : rows) {
    const auto alone = Decode(single.get(), {row});
    const int64_t count = alone.rows->num_rows();
    Require(count <= 2 && (count > 0) + alone.rejected.size() + static_cast<size_t>(alone.dropped) == 1);
    dropped += alone.dropped;
    if (!alone.rejected.empty()) {
      Require(rejected < whole.rejected.size());
      Require(alone.rejected[0].reason == whole.rejected[rejected++].reason);
    }
    Require(alone.rows->Equals(*whole.rows->Slice(good, count), false,
                               arrow::EqualOptions::Defaults().nans_equal(true)));
    good += count;
  }
  Require(good == whole.rows->num_rows() && rejected == whole.rejected.size() && dropped == whole.dropped);
  return 0;
}
