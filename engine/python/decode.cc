#include <nanobind/stl/map.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "format/avro_encode.h"
#include "format/registry.h"
#include "python/capsule.h"
#include "python/error.h"
#include "python/module.h"

namespace frazil::python {
namespace {

// Messages as a decoder gets them; None is one without a value.
RawBatch Raw(const std::vector<nb::object>& messages) {
  RawBatch raw;
  std::string bytes;
  for (const auto& message : messages) {
    raw.offset.push_back(static_cast<uint32_t>(bytes.size()));
    raw.position.push_back(static_cast<int64_t>(raw.position.size()));
    if (message.is_none()) {
      raw.length.push_back(RawBatch::kNullRow);
      continue;
    }
    const auto data = nb::cast<nb::bytes>(message);
    raw.length.push_back(static_cast<uint32_t>(data.size()));
    bytes.append(data.c_str(), data.size());
    bytes.push_back('\n');
  }
  bytes.append(kRawPadding, ' ');
  raw.data = arrow::Buffer::FromString(std::move(bytes));
  return raw;
}

// Decodes messages once: the rows, which message each came from (empty: one from each), and of the bad ones
// the number, column and reason.
nb::tuple Decode(const std::string& format, nb::handle schema, const std::vector<nb::object>& messages,
                 const std::string& kind, const std::map<int, std::vector<std::string>>& schemas) {
  const auto json = nlohmann::json::parse(format, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) ThrowIfError(Error(ErrorKind::kConfig, "the format is not JSON"));
  SchemaBoard board({});
  const std::string registry = json.value("registry", "");
  for (const auto& [id, texts] : schemas) {
    board.give(registry, id, {RegisteredSchema::State::kKnown, kind, texts, ""});
  }
  const auto columns = ImportSchema(schema);
  auto decoder =
      ValueOrThrow(MakeDecoder(json, columns, arrow::default_memory_pool(), SchemaDesk{&board, {}}));
  const RawBatch raw = Raw(messages);
  if (!ValueOrThrow(decoder->ready(raw))) ThrowIfError(Error(ErrorKind::kConfig, decoder->condition()));
  const Decoded decoded = ValueOrThrow(decoder->decode(raw));
  ThrowIfError(decoded.rows->ValidateFull());
  std::vector<std::tuple<int64_t, std::string, std::string>> bad;
  for (const auto& row : decoded.rejected) bad.emplace_back(row.position, row.column, row.reason);
  return nb::make_tuple(BatchCarrier{decoded.rows}, decoded.kept, bad);
}

// Rows as Avro messages of a schema, as a sink writes them.
std::vector<nb::bytes> EncodeAvro(const std::vector<std::string>& texts, int32_t id, nb::handle data) {
  const auto batches = ImportBatches(data);
  std::vector<nb::bytes> messages;
  for (const auto& batch : batches) {
    const auto encoder = ValueOrThrow(AvroEncoder::Make(*batch->schema(), texts, id));
    ThrowIfError(encoder->Begin(*batch));
    for (int64_t row = 0; row < batch->num_rows(); ++row) {
      std::string message;
      ThrowIfError(encoder->Append(row, &message));
      messages.emplace_back(message.data(), message.size());
    }
  }
  return messages;
}

// Raises why rows of these columns cannot be written with a schema.
void CheckAvro(const std::vector<std::string>& texts, nb::handle columns) {
  ThrowIfError(AvroEncoder::Make(*ImportSchema(columns), texts, 0).status());
}

}  // namespace

void init_decode(nb::module_& m) {
  m.def("decode", &Decode, nb::arg("format"), nb::arg("schema"), nb::arg("messages"),
        nb::arg("kind") = "AVRO", nb::arg("schemas") = std::map<int, std::vector<std::string>>{});
  m.def("encode_avro", &EncodeAvro, nb::arg("texts"), nb::arg("id"), nb::arg("data"));
  m.def("check_avro", &CheckAvro, nb::arg("texts"), nb::arg("columns"));
}

}  // namespace frazil::python
