#include <nanobind/stl/string.h>

#include <memory>
#include <string>

#include "connector/iceberg/transforms.h"
#include "python/capsule.h"
#include "python/error.h"
#include "python/module.h"

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

}  // namespace

void init_iceberg(nb::module_& m) {
  m.def("iceberg_transform", &IcebergTransform, nb::arg("name"), nb::arg("param"), nb::arg("data"));
}

}  // namespace frazil::python
