// Any bytes as change events: never a crash, valid columns, every message accounted for, and each decodes
// alone as it does among others. The input is a byte that picks the options and whether line feeds stand
// between the messages, then messages separated by line feeds; an empty one is a tombstone.
#include <arrow/util/key_value_metadata.h>

#include <cstdlib>
#include <string_view>

#include "base/batch.h"
#include "format/debezium.h"

namespace {

using arrow::field;

void Require(bool condition) {
  if (!condition) std::abort();
}

std::shared_ptr<arrow::Schema> Schema() {
  return arrow::schema(
      {field("id", arrow::int64(), false), field("d", arrow::decimal128(12, 2)),
       field("w", arrow::decimal256(50, 4), false), field("s", arrow::utf8(), false),
       field("b", arrow::binary()), field("at", arrow::timestamp(arrow::TimeUnit::MICRO, "UTC")),
       field("day", arrow::date32()), field("t", arrow::time64(arrow::TimeUnit::MICRO)),
       field("iv", arrow::duration(arrow::TimeUnit::MICRO)), field("l", arrow::list(arrow::utf8())),
       field("_lsn", arrow::int64(), true,
             arrow::key_value_metadata({frazil::kEnvelopeMetadata}, {R"(["source","lsn"])"})),
       field(std::string(frazil::kKindColumn), arrow::uint8(), false)});
}

std::unique_ptr<frazil::Decoder> Decoder(uint8_t how) {
  frazil::DebeziumOptions options;
  options.key = {"id"};
  options.unwrapped = (how & 1) != 0;
  options.full_before = (how & 2) != 0;
  options.decimals = static_cast<frazil::DebeziumDecimals>((how >> 2) & 3);
  options.truncates = (how & 16) != 0 ? Truncates::kApply : Truncates::kReject;
  options.unavailable = "__debezium_unavailable_value";
  auto schema = Schema();
  if (options.unwrapped) schema = schema->RemoveField(schema->GetFieldIndex("_lsn")).ValueOrDie();
  return frazil::MakeDebeziumDecoder(schema, options, arrow::default_memory_pool()).ValueOrDie();
}

frazil::RawBatch Rows(const std::vector<std::string_view>& rows, std::string_view between = {}) {
  frazil::RawBatch raw;
  std::string bytes;
  for (const auto row : rows) {
    raw.offset.push_back(static_cast<uint32_t>(bytes.size()));
    raw.length.push_back(row.empty() ? frazil::RawBatch::kNullRow : static_cast<uint32_t>(row.size()));
    bytes += row;
    bytes += between;
  }
  bytes.append(frazil::kRawPadding, '}');
  raw.data = arrow::Buffer::FromString(std::move(bytes));
  return raw;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  std::vector<std::string_view> rows;
  for (size_t cut = 0; cut != std::string_view::npos; rest.remove_prefix(cut + 1)) {
    cut = rest.find('\n');
    rows.push_back(rest.substr(0, cut));
    if (cut == std::string_view::npos) break;
  }
  const auto whole = Decoder(data[0])->decode(Rows(rows, (data[0] & 128) != 0 ? "\n" : "")).ValueOrDie();
  Require(whole.rows->ValidateFull().ok());
  const auto single = Decoder(data[0]);
  int64_t good = 0, dropped = 0;
  size_t rejected = 0;
  for (const auto row : rows) {
    const auto alone = single->decode(Rows({row})).ValueOrDie();
    const int64_t count = alone.rows->num_rows();
    Require(count <= 2 && (count > 0) + alone.rejected.size() + static_cast<size_t>(alone.dropped) == 1);
    dropped += alone.dropped;
    if (!alone.rejected.empty()) {
      Require(rejected < whole.rejected.size());
      Require(alone.rejected[0].reason == whole.rejected[rejected++].reason);
    }
    Require(alone.rows->Equals(*whole.rows->Slice(good, count)));
    good += count;
  }
  Require(good == whole.rows->num_rows() && rejected == whole.rejected.size() && dropped == whole.dropped);
  return 0;
}
