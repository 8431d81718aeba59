// Any bytes as Protobuf messages: never a crash, valid columns, every message accounted for, and each decodes
// alone as it does among others. The input is a byte that picks what the schema is: 0 the one below, read
// into columns of all kinds, 1 the text up to the first zero byte, resolved to the same columns. Then
// messages follow, each behind a byte with its length.
#include <arrow/util/key_value_metadata.h>

#include <cstdlib>
#include <string_view>

#include "base/batch.h"
#include "format/protobuf.h"

namespace {

using arrow::field;

// M and, inside it, an item that holds itself.
constexpr const char* kSchema = R"({"messages": [
 {"name": "M", "fields": [
  {"number": 1, "name": "i", "type": "int32", "label": "implicit"},
  {"number": 2, "name": "d", "type": "double", "label": "optional", "oneof": 0},
  {"number": 3, "name": "s", "type": "string", "label": "optional", "oneof": 0, "default": "bm9uZQ=="},
  {"number": 4, "name": "b", "type": "bytes", "label": "implicit"},
  {"number": 5, "name": "e", "type": "enum", "label": "implicit", "of": 0},
  {"number": 6, "name": "l", "type": "message", "label": "repeated", "of": 1},
  {"number": 7, "name": "k", "type": "message", "label": "map", "of": 2},
  {"number": 8, "name": "t", "type": "message", "label": "optional", "of": 3},
  {"number": 9, "name": "iv", "type": "message", "label": "optional", "of": 4},
  {"number": 10, "name": "m", "type": "message", "label": "optional", "of": 5},
  {"number": 11, "name": "w", "type": "message", "label": "optional", "of": 6},
  {"number": 12, "name": "day", "type": "message", "label": "optional", "of": 7},
  {"number": 13, "name": "at", "type": "message", "label": "optional", "of": 8},
  {"number": 14, "name": "g", "type": "group", "label": "optional", "of": 1},
  {"number": 15, "name": "n", "type": "sint64", "label": "repeated"},
  {"number": 300, "name": "f", "type": "fixed32", "label": "repeated"},
  {"number": 301, "name": "r", "type": "message", "label": "optional", "of": 1},
  {"number": 302, "name": "u", "type": "uint64", "label": "required"}]},
 {"name": "Item", "fields": [
  {"number": 1, "name": "a", "type": "int64", "label": "implicit"},
  {"number": 2, "name": "n", "type": "string", "label": "repeated"},
  {"number": 3, "name": "self", "type": "message", "label": "optional", "of": 1},
  {"number": 4, "name": "s", "type": "string", "label": "optional"}]},
 {"name": "M.KEntry", "fields": [
  {"number": 1, "name": "key", "type": "string", "label": "implicit"},
  {"number": 2, "name": "value", "type": "message", "label": "optional", "of": 1}]},
 {"name": "google.protobuf.Timestamp", "fields": []},
 {"name": "google.protobuf.Duration", "fields": []},
 {"name": "confluent.type.Decimal", "fields": []},
 {"name": "google.protobuf.Int64Value", "fields": [
  {"number": 1, "name": "value", "type": "int64", "label": "implicit"}]},
 {"name": "google.type.Date", "fields": []},
 {"name": "google.type.TimeOfDay", "fields": []}],
 "enums": [{"name": "E", "values": [["A", 0], ["B", 1], ["C", -1]]}], "roots": {"0": 0}})";

void Require(bool condition) {
  if (!condition) std::abort();
}

std::shared_ptr<arrow::Schema> Columns() {
  const auto source = [](const char* keys) { return arrow::key_value_metadata({"fz:source"}, {keys}); };
  const auto unsent = arrow::key_value_metadata({"fz:unavailable"}, {"__"});
  const auto item = arrow::struct_({field("a", arrow::int64(), false), field("n", arrow::list(arrow::utf8())),
                                    field("self", arrow::struct_({field("a", arrow::int32())}))});
  return arrow::schema({
      field("i", arrow::int32()),
      field("d", arrow::float64()),
      field("s", arrow::utf8(), true, unsent),
      field("b", arrow::large_binary()),
      field("e", arrow::utf8()),
      field("l", arrow::list(item)),
      field("k", arrow::map(arrow::utf8(), item)),
      field("t", arrow::timestamp(arrow::TimeUnit::MICRO, "UTC")),
      field("iv", arrow::duration(arrow::TimeUnit::MILLI)),
      field("m", arrow::decimal128(12, 2)),
      field("w", arrow::decimal256(50, 4)),
      field("day", arrow::date32()),
      field("at", arrow::time64(arrow::TimeUnit::NANO)),
      field("g", item),
      field("n", arrow::list(arrow::int32()), true, unsent),
      field("f", arrow::large_list(arrow::float32())),
      field("u", arrow::int64(), true),
      field("deep", arrow::utf8(), true, source(R"(["r","self","s"])")),
      field("none", arrow::utf8(), true, arrow::key_value_metadata({"fz:default"}, {"\"none\""})),
  });
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
  auto decoded = decoder->decode(Rows(rows)).ValueOrDie();
  Require(decoded.rows->ValidateFull().ok());
  return decoded;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  std::string schema(kSchema);
  if ((data[0] & 1) != 0) {
    schema.assign(rest.substr(0, rest.find('\0')));
    rest.remove_prefix(std::min(rest.size(), schema.size() + 1));
  }
  std::vector<std::string> rows;
  while (!rest.empty()) {
    const std::string_view body = rest.substr(1, static_cast<uint8_t>(rest[0]));
    rest.remove_prefix(1 + body.size());
    rows.emplace_back(body);
  }
  auto* const pool = arrow::default_memory_pool();
  auto together = frazil::MakeProtobufDecoder(Columns(), schema, pool);
  if (!together.ok()) return 0;
  const auto whole = Decode(together->get(), rows);
  const auto single = frazil::MakeProtobufDecoder(Columns(), schema, pool).ValueOrDie();
  int64_t good = 0;
  size_t rejected = 0;
  for (const auto& row : rows) {
    const auto alone = Decode(single.get(), {row});
    const int64_t count = alone.rows->num_rows();
    Require(count + static_cast<int64_t>(alone.rejected.size()) == 1);
    if (!alone.rejected.empty()) {
      Require(rejected < whole.rejected.size());
      Require(alone.rejected[0].reason == whole.rejected[rejected++].reason);
    }
    Require(alone.rows->Equals(*whole.rows->Slice(good, count), false,
                               arrow::EqualOptions::Defaults().nans_equal(true)));
    good += count;
  }
  Require(good == whole.rows->num_rows() && rejected == whole.rejected.size());
  return 0;
}
