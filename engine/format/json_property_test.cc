// Random JSON documents, decoded and compared with a slow reference on nlohmann::json; and damaged rows,
// which must come out the same alone as among others.
#include <arrow/array.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>

#include "format/json.h"

namespace frazil {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kDocuments = 3000;
constexpr int kBatchRows = 100;

struct Maker {
  std::mt19937_64 random;
  explicit Maker(uint64_t seed) : random(seed) {}

  int below(int n) { return static_cast<int>(random() % static_cast<uint64_t>(n)); }
  bool one_in(int n) { return below(n) == 0; }

  std::string text() {
    static const std::vector<std::string> pieces = {
        "a", "\"", "\\", "/", "\n", "\x01", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80",
        "{", "}",  "[",  ",", ":",  " ",    "word",     "0123456789"};
    std::string made;
    for (int i = below(12); i > 0; --i)
      made += pieces[static_cast<size_t>(below(static_cast<int>(pieces.size())))];
    if (one_in(20)) made += std::string(200, 'x');
    return made;
  }

  Json number() {
    switch (below(4)) {
      case 0:
        return static_cast<int64_t>(random());
      case 1:
        return below(1000) - 500;
      case 2:
        return static_cast<double>(below(100'000)) / 100;
      default:
        return std::ldexp(static_cast<double>(random()), below(400) - 200);
    }
  }

  Json any(int depth) {
    switch (below(depth > 4 ? 4 : 6)) {
      case 0:
        return nullptr;
      case 1:
        return one_in(2);
      case 2:
        return number();
      case 3:
        return text();
      case 4: {
        Json list = Json::array();
        for (int i = below(4); i > 0; --i) list.push_back(any(depth + 1));
        return list;
      }
      default: {
        Json object = Json::object();
        for (int i = below(4); i > 0; --i) object[text()] = any(depth + 1);
        return object;
      }
    }
  }

  // A value that fits `type`, now and then null.
  Json of(const arrow::DataType& type, bool nullable) {
    if (nullable && one_in(6)) return nullptr;
    switch (type.id()) {
      case arrow::Type::BOOL:
        return one_in(2);
      case arrow::Type::INT64:
        return static_cast<int64_t>(random()) >> below(63);
      case arrow::Type::UINT64:
        return random() >> below(63);
      case arrow::Type::INT8:
        return below(256) - 128;
      case arrow::Type::DOUBLE:
        return number();
      case arrow::Type::STRING:
        return text();
      case arrow::Type::LIST: {
        Json list = Json::array();
        for (int i = below(4); i > 0; --i) list.push_back(of(*type.field(0)->type(), true));
        return list;
      }
      case arrow::Type::MAP: {
        Json object = Json::object();
        for (int i = below(4); i > 0; --i)
          object[text()] = of(*static_cast<const arrow::MapType&>(type).item_type(), true);
        return object;
      }
      default:
        return object(type.fields());
    }
  }

  Json object(const arrow::FieldVector& fields) {
    Json made = Json::object();
    std::vector<std::shared_ptr<arrow::Field>> order = fields;
    if (one_in(3)) std::shuffle(order.begin(), order.end(), random);
    for (const auto& one : order) {
      if (one_in(3)) made["other " + text()] = any(0);
      if (one->nullable() && one_in(8)) continue;
      made[one->name()] = of(*one->type(), one->nullable());
    }
    return made;
  }

  // The text of a document with random whitespace, escapes and, at the top, earlier values of duplicate keys.
  std::string written(const Json& document) {
    const std::string plain = document.dump(one_in(4) ? 2 : -1, ' ', one_in(2));
    if (!one_in(5) || document.empty()) return plain;
    const auto first = document.begin();
    return "{" + Json(first.key()).dump() + ":" +
           (first.key() != "id" && one_in(2) ? "null" : Json(first.value()).dump()) + "," + plain.substr(1);
  }

  std::string damaged(std::string row) {
    if (row.empty()) return row;
    const auto at = static_cast<size_t>(below(static_cast<int>(row.size())));
    switch (below(5)) {
      case 0:
        row.erase(at, 1);
        break;
      case 1:
        row[at] = static_cast<char>(below(256));
        break;
      case 2:
        row.resize(at);
        break;
      case 3:
        row.insert(at, 1, "{}[]\",:\\ 0n\xff"[below(12)]);
        break;
      default:
        row += row.substr(at);
        break;
    }
    return row;
  }
};

arrow::FieldVector Fields() {
  auto inner = arrow::struct_(
      {arrow::field("n", arrow::int64()), arrow::field("s", arrow::utf8()),
       arrow::field("deep", arrow::list(arrow::struct_({arrow::field("f", arrow::float64())})))});
  return {arrow::field("id", arrow::int64(), false),
          arrow::field("big", arrow::uint64()),
          arrow::field("small", arrow::int8()),
          arrow::field("f", arrow::float64()),
          arrow::field("ok", arrow::boolean()),
          arrow::field("text", arrow::utf8()),
          arrow::field("list", arrow::list(arrow::utf8())),
          arrow::field("in", inner),
          arrow::field("map", arrow::map(arrow::utf8(), arrow::int64()))};
}

RawBatch Rows(const std::vector<std::string>& rows, const char* between = "") {
  RawBatch raw;
  std::string bytes;
  for (const auto& row : rows) {
    raw.offset.push_back(static_cast<uint32_t>(bytes.size()));
    raw.length.push_back(static_cast<uint32_t>(row.size()));
    bytes += row + between;
  }
  bytes.append(kRawPadding, '\0');
  raw.data = arrow::Buffer::FromString(std::move(bytes));
  return raw;
}

// The reference: what Arrow holds, back to JSON.
Json Back(const arrow::Array& array, int64_t i) {
  if (array.IsNull(i)) return nullptr;
  switch (array.type_id()) {
    case arrow::Type::BOOL:
      return static_cast<const arrow::BooleanArray&>(array).Value(i);
    case arrow::Type::INT64:
      return static_cast<const arrow::Int64Array&>(array).Value(i);
    case arrow::Type::UINT64:
      return static_cast<const arrow::UInt64Array&>(array).Value(i);
    case arrow::Type::INT8:
      return static_cast<const arrow::Int8Array&>(array).Value(i);
    case arrow::Type::DOUBLE:
      return static_cast<const arrow::DoubleArray&>(array).Value(i);
    case arrow::Type::STRING:
      return static_cast<const arrow::StringArray&>(array).GetString(i);
    case arrow::Type::MAP: {
      const auto& map = static_cast<const arrow::MapArray&>(array);
      Json made = Json::object();
      for (auto at = map.value_offset(i); at < map.value_offset(i + 1); ++at)
        made[Back(*map.keys(), at).get<std::string>()] = Back(*map.items(), at);
      return made;
    }
    case arrow::Type::LIST: {
      const auto& list = static_cast<const arrow::ListArray&>(array);
      Json made = Json::array();
      for (auto at = list.value_offset(i); at < list.value_offset(i + 1); ++at)
        made.push_back(Back(*list.values(), at));
      return made;
    }
    default: {
      const auto& structs = static_cast<const arrow::StructArray&>(array);
      Json made = Json::object();
      for (int at = 0; at < structs.num_fields(); ++at)
        made[structs.type()->field(at)->name()] = Back(*structs.field(at), i);
      return made;
    }
  }
}

// What a document should become: only the fields of the type, missing ones null.
Json Wanted(const Json& value, const arrow::DataType& type) {
  if (value.is_null()) return nullptr;
  if (type.id() == arrow::Type::DOUBLE) return value.get<double>();
  if (type.id() == arrow::Type::LIST) {
    Json made = Json::array();
    for (const auto& one : value) made.push_back(Wanted(one, *type.field(0)->type()));
    return made;
  }
  if (type.id() != arrow::Type::STRUCT) return value;
  Json made = Json::object();
  for (const auto& field : type.fields()) {
    made[field->name()] =
        value.contains(field->name()) ? Wanted(value[field->name()], *field->type()) : Json(nullptr);
  }
  return made;
}

class JsonProperty : public ::testing::TestWithParam<uint64_t> {};

TEST_P(JsonProperty, EqualsTheReference) {
  Maker maker(GetParam());
  const auto fields = Fields();
  const auto type = arrow::struct_(fields);
  auto decoder = MakeJsonDecoder(arrow::schema(fields), {}, arrow::default_memory_pool()).ValueOrDie();
  for (int done = 0; done < kDocuments; done += kBatchRows) {
    std::vector<Json> documents;
    std::vector<std::string> rows;
    for (int i = 0; i < kBatchRows; ++i) {
      documents.push_back(maker.object(fields));
      rows.push_back(maker.written(documents.back()));
    }
    const auto decoded = decoder->decode(Rows(rows, done / kBatchRows % 2 == 0 ? "\n" : "")).ValueOrDie();
    ASSERT_TRUE(decoded.rejected.empty())
        << decoded.rejected[0].column << ": " << decoded.rejected[0].reason << "\n"
        << decoded.rejected[0].raw;
    ASSERT_TRUE(decoded.rows->ValidateFull().ok());
    const auto structs = decoded.rows->ToStructArray().ValueOrDie();
    for (int i = 0; i < kBatchRows; ++i) {
      ASSERT_EQ(Back(*structs, i).dump(), Wanted(documents[static_cast<size_t>(i)], *type).dump())
          << rows[static_cast<size_t>(i)];
    }
  }
}

TEST_P(JsonProperty, ARowAloneEqualsTheRowAmongOthers) {
  Maker maker(GetParam());
  const auto fields = Fields();
  const auto schema = arrow::schema(fields);
  auto batch_decoder = MakeJsonDecoder(schema, {}, arrow::default_memory_pool()).ValueOrDie();
  int bad = 0;
  for (int round = 0; round < 10; ++round) {
    std::vector<std::string> rows;
    for (int i = 0; i < kBatchRows; ++i) {
      rows.push_back(maker.written(maker.object(fields)));
      if (maker.one_in(2)) rows.back() = maker.damaged(rows.back());
    }
    const auto whole = batch_decoder->decode(Rows(rows, round % 2 == 0 ? "" : "\n")).ValueOrDie();
    ASSERT_TRUE(whole.rows->ValidateFull().ok());
    int64_t good = 0;
    size_t rejected = 0;
    auto single_decoder = MakeJsonDecoder(schema, {}, arrow::default_memory_pool()).ValueOrDie();
    for (const auto& row : rows) {
      const auto alone = single_decoder->decode(Rows({row})).ValueOrDie();
      if (alone.rejected.empty()) {
        ASSERT_LT(good, whole.rows->num_rows());
        ASSERT_TRUE(alone.rows->Equals(*whole.rows->Slice(good, 1))) << row;
        ++good;
      } else {
        ASSERT_LT(rejected, whole.rejected.size());
        ASSERT_EQ(alone.rejected[0].reason, whole.rejected[rejected].reason) << row;
        ASSERT_EQ(alone.rejected[0].column, whole.rejected[rejected].column);
        ++rejected;
      }
      bad += Json::accept(row) ? 0 : 1;
    }
    ASSERT_EQ(good, whole.rows->num_rows());
    ASSERT_EQ(rejected, whole.rejected.size());
  }
  EXPECT_GT(bad, 100);  // else the damage is none
}

INSTANTIATE_TEST_SUITE_P(Seeds, JsonProperty, ::testing::Values(1, 2, 3, 4));

}  // namespace
}  // namespace frazil
