#include "python/capsule.h"

#include <arrow/c/bridge.h>
#include <nanobind/stl/string.h>

#include "python/error.h"

namespace frazil::python {
namespace {

constexpr const char* kSchemaName = "arrow_schema";
constexpr const char* kArrayName = "arrow_array";
constexpr const char* kStreamName = "arrow_array_stream";

// The capsule owns the C structure; whoever imports it moves the content out and leaves release null.
template <typename T>
nb::object MakeCapsule(std::unique_ptr<T> value, const char* name) {
  PyObject* capsule = PyCapsule_New(value.get(), name, [](PyObject* self) {
    auto* owned = static_cast<T*>(PyCapsule_GetPointer(self, PyCapsule_GetName(self)));
    if (owned->release != nullptr) owned->release(owned);
    delete owned;
  });
  if (capsule == nullptr) nb::raise_python_error();
  value.release();
  return nb::steal(capsule);
}

template <typename T>
T* Unwrap(nb::handle capsule, const char* name) {
  auto* pointer = static_cast<T*>(PyCapsule_GetPointer(capsule.ptr(), name));
  if (pointer == nullptr) nb::raise_python_error();
  return pointer;
}

void Require(nb::handle object, const char* method) {
  if (nb::hasattr(object, method)) return;
  const std::string type = nb::cast<std::string>(nb::handle(Py_TYPE(object.ptr())).attr("__name__"));
  throw nb::type_error(
      ("expected Arrow data (an object with " + std::string(method) + "), got " + type).c_str());
}

nb::object ExportSchemaCapsule(const arrow::Schema& schema) {
  auto out = std::make_unique<ArrowSchema>();
  ThrowIfError(arrow::ExportSchema(schema, out.get()));
  return MakeCapsule(std::move(out), kSchemaName);
}

nb::tuple ExportBatchCapsules(const arrow::RecordBatch& batch) {
  auto array = std::make_unique<ArrowArray>();
  auto schema = std::make_unique<ArrowSchema>();
  ThrowIfError(arrow::ExportRecordBatch(batch, array.get(), schema.get()));
  nb::object schema_capsule = MakeCapsule(std::move(schema), kSchemaName);
  return nb::make_tuple(schema_capsule, MakeCapsule(std::move(array), kArrayName));
}

nb::object ExportStreamCapsule(const BatchesCarrier& carrier) {
  auto reader = ValueOrThrow(arrow::RecordBatchReader::Make(carrier.batches, carrier.schema));
  auto out = std::make_unique<ArrowArrayStream>();
  ThrowIfError(arrow::ExportRecordBatchReader(std::move(reader), out.get()));
  return MakeCapsule(std::move(out), kStreamName);
}

}  // namespace

std::shared_ptr<arrow::Schema> ImportSchema(nb::handle object) {
  Require(object, "__arrow_c_schema__");
  nb::object capsule = object.attr("__arrow_c_schema__")();
  return ValueOrThrow(arrow::ImportSchema(Unwrap<ArrowSchema>(capsule, kSchemaName)));
}

std::shared_ptr<arrow::RecordBatch> ImportBatch(nb::handle object) {
  Require(object, "__arrow_c_array__");
  nb::object pair = object.attr("__arrow_c_array__")();
  nb::object schema = pair[0];
  nb::object array = pair[1];
  return ValueOrThrow(arrow::ImportRecordBatch(Unwrap<ArrowArray>(array, kArrayName),
                                               Unwrap<ArrowSchema>(schema, kSchemaName)));
}

std::vector<std::shared_ptr<arrow::RecordBatch>> ImportBatches(nb::handle object) {
  Require(object, "__arrow_c_stream__");
  nb::object capsule = object.attr("__arrow_c_stream__")();
  auto reader = ValueOrThrow(arrow::ImportRecordBatchReader(Unwrap<ArrowArrayStream>(capsule, kStreamName)));
  return ValueOrThrow(reader->ToRecordBatches());
}

void init_capsule(nb::module_& m) {
  nb::class_<SchemaCarrier>(m, "ArrowSchema").def("__arrow_c_schema__", [](const SchemaCarrier& self) {
    return ExportSchemaCapsule(*self.schema);
  });
  nb::class_<BatchCarrier>(m, "ArrowBatch")
      .def_prop_ro("num_rows", [](const BatchCarrier& self) { return self.batch->num_rows(); })
      .def("__arrow_c_schema__",
           [](const BatchCarrier& self) { return ExportSchemaCapsule(*self.batch->schema()); })
      .def(
          "__arrow_c_array__",
          [](const BatchCarrier& self, nb::handle) { return ExportBatchCapsules(*self.batch); },
          nb::arg("requested_schema") = nb::none());
  nb::class_<BatchesCarrier>(m, "ArrowBatches")
      .def("__arrow_c_schema__", [](const BatchesCarrier& self) { return ExportSchemaCapsule(*self.schema); })
      .def(
          "__arrow_c_stream__",
          [](const BatchesCarrier& self, nb::handle) { return ExportStreamCapsule(self); },
          nb::arg("requested_schema") = nb::none());
}

}  // namespace frazil::python
