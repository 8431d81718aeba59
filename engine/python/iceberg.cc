#include <arrow/array/builder_binary.h>
#include <arrow/array/builder_primitive.h>
#include <nanobind/stl/string.h>

#include <memory>
#include <string>
#include <utility>

#include "connector/iceberg/transforms.h"
#include "python/capsule.h"
#include "python/error.h"
#include "python/module.h"
#include "state/key_codec.h"

namespace frazil::python {
namespace {

// The partition transform of the first column of a batch, as a batch of one column.
BatchCarrier IcebergTransform(const std::string& name, int64_t param, nb::handle data) {
  const auto batch = ImportBatch(data);
  const auto values =
      ValueOrThrow(iceberg::Transform(name, param, batch->column(0), arrow::default_memory_pool()));
  const auto schema = arrow::schema({arrow::field(batch->schema()->field(0)->name(), values->type())});
  return {arrow::RecordBatch::Make(schema, batch->num_rows(), {values})};
}

// The encoded keys of rows, whose columns are the key's, and their hashes: a batch of two columns.
BatchCarrier EncodeIcebergKeys(nb::handle data) {
  const auto batch = ImportBatch(data);
  const auto encode = [&]() -> Result<arrow::ArrayVector> {
    arrow::DataTypeVector types;
    for (const auto& column : batch->columns()) types.push_back(column->type());
    FZ_ASSIGN(const auto codec, KeyCodec::Make(std::move(types)));
    EncodedKeys keys;
    FZ_TRY(codec.encode(batch->columns(), batch->num_rows(), &keys));
    arrow::BinaryBuilder builder;
    for (int64_t i = 0; i < keys.size(); ++i) FZ_TRY(builder.Append(keys.key(i)));
    arrow::UInt64Builder hashes;
    FZ_TRY(hashes.AppendValues(keys.hashes().data(), keys.size()));
    arrow::ArrayVector columns(2);
    FZ_TRY(builder.Finish(&columns[0]));
    FZ_TRY(hashes.Finish(&columns[1]));
    return columns;
  };
  auto columns = ValueOrThrow(encode());
  const auto schema =
      arrow::schema({arrow::field("key", arrow::binary()), arrow::field("hash", arrow::uint64())});
  return {arrow::RecordBatch::Make(schema, batch->num_rows(), std::move(columns))};
}

}  // namespace

void init_iceberg(nb::module_& m) {
  m.def("iceberg_transform", &IcebergTransform, nb::arg("name"), nb::arg("param"), nb::arg("data"));
  m.def("iceberg_keys", &EncodeIcebergKeys, nb::arg("data"));
}

}  // namespace frazil::python
