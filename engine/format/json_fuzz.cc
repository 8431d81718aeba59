// Any bytes as JSON rows: never a crash, valid columns, and each row decodes alone as it does among others.
// The input is a byte that picks the schema and whether line feeds stand between the rows, then rows
// separated by line feeds.
#include <arrow/util/key_value_metadata.h>

#include <cstdlib>
#include <string_view>

#include "format/json.h"

namespace {

using arrow::field;

std::shared_ptr<arrow::Field> With(const char* name, std::shared_ptr<arrow::DataType> type, const char* key,
                                   const char* value, bool nullable = true) {
  return field(name, std::move(type), nullable, arrow::key_value_metadata({key}, {value}));
}

std::shared_ptr<arrow::Schema> Schema(int which) {
  const auto inner = arrow::struct_({field("a", arrow::int16()), field("b", arrow::utf8(), false)});
  switch (which % 5) {
    case 0:
      return arrow::schema({field("a", arrow::int64(), false), field("b", arrow::utf8()),
                            field("c", arrow::float64()), field("d", arrow::boolean()),
                            field("e", arrow::uint8())});
    case 1:
      return arrow::schema({field("a", arrow::decimal128(20, 4)), field("b", arrow::decimal256(50, 10)),
                            field("c", arrow::float32()), field("d", arrow::binary()),
                            field("e", arrow::date32()),
                            With("f", arrow::timestamp(arrow::TimeUnit::NANO, "UTC"), "fz:time_unit", "s"),
                            field("g", arrow::time32(arrow::TimeUnit::SECOND)),
                            field("h", arrow::duration(arrow::TimeUnit::MILLI))});
    case 2:
      return arrow::schema({field("a", arrow::list(arrow::int32())), field("b", inner),
                            field("c", arrow::list(inner)),
                            field("d", arrow::map(arrow::utf8(), arrow::list(arrow::utf8()))),
                            field("e", arrow::large_list(arrow::large_utf8())), field("f", arrow::null())});
    case 3: {
      const auto rest = With("rest", arrow::utf8(), "fz:rest", "true");
      return arrow::schema(
          {field("a", arrow::int64()), field("b", arrow::struct_({field("a", arrow::int16()), rest})), rest});
    }
    default:
      return arrow::schema({With("x", arrow::int64(), "fz:source", "a.b"), With("y", inner, "fz:source", "a"),
                            With("z", arrow::utf8(), "fz:default", "\"none\"", false),
                            With("w", arrow::list(arrow::utf8()), "fz:source", "/a/b~1c")});
  }
}

void Require(bool condition) {
  if (!condition) std::abort();
}

frazil::RawBatch Rows(const std::vector<std::string_view>& rows, std::string_view between = {}) {
  frazil::RawBatch raw;
  std::string bytes;
  for (const auto row : rows) {
    raw.offset.push_back(static_cast<uint32_t>(bytes.size()));
    raw.length.push_back(static_cast<uint32_t>(row.size()));
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
  const auto schema = Schema(data[0]);
  const frazil::JsonOptions options{.truncate_times = (data[0] & 64) != 0};
  auto decoder = frazil::MakeJsonDecoder(schema, options, arrow::default_memory_pool()).ValueOrDie();
  const auto whole = decoder->decode(Rows(rows, (data[0] & 128) != 0 ? "\n" : "")).ValueOrDie();
  Require(whole.rows->ValidateFull().ok());
  Require(whole.rows->num_rows() + static_cast<int64_t>(whole.rejected.size()) ==
          static_cast<int64_t>(rows.size()));
  auto single = frazil::MakeJsonDecoder(schema, options, arrow::default_memory_pool()).ValueOrDie();
  int64_t good = 0;
  size_t rejected = 0;
  for (const auto row : rows) {
    const auto alone = single->decode(Rows({row})).ValueOrDie();
    if (alone.rejected.empty()) {
      Require(alone.rows->Equals(*whole.rows->Slice(good++, 1), false,
                                 arrow::EqualOptions::Defaults().nans_equal(true)));
    } else {
      Require(alone.rejected[0].reason == whole.rejected[rejected++].reason);
    }
  }
  return 0;
}
