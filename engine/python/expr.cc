// Expressions: their types at plan time, and values for tests.
#include "expr/expr.h"

#include <arrow/io/memory.h>
#include <arrow/ipc/dictionary.h>
#include <arrow/ipc/reader.h>
#include <arrow/ipc/writer.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>

#include "expr/function.h"
#include "python/capsule.h"
#include "python/error.h"

namespace frazil::python {
namespace {

// The field (name "") that the expression gives on a schema, both as IPC schemas.
nb::bytes BindExpr(std::string_view expression, nb::bytes schema, const std::string& where) {
  arrow::io::BufferReader input(
      std::make_shared<arrow::Buffer>(reinterpret_cast<const uint8_t*>(schema.c_str()), schema.size()));
  arrow::ipc::DictionaryMemo memo;
  const auto read = ValueOrThrow(arrow::ipc::ReadSchema(&input, &memo));
  const BoundExpr bound = ValueOrThrow(Bind(expression, *read, where));
  const auto out = ValueOrThrow(
      arrow::ipc::SerializeSchema(*arrow::schema({arrow::field("", bound.type(), bound.nullable())})));
  return nb::bytes(reinterpret_cast<const char*>(out->data()), static_cast<size_t>(out->size()));
}

// Values of the expression for a batch, as a batch of one column named "".
BatchCarrier EvalExpr(std::string_view expression, nb::handle batch) {
  const auto rows = ImportBatch(batch);
  const BoundExpr bound = ValueOrThrow(Bind(expression, *rows->schema()));
  Result<std::shared_ptr<arrow::Array>> values = [&] {
    nb::gil_scoped_release release;
    return bound.Evaluate(*rows);
  }();
  const auto array = ValueOrThrow(std::move(values));
  return {arrow::RecordBatch::Make(arrow::schema({arrow::field("", bound.type(), bound.nullable())}),
                                   array->length(), {array})};
}

// (name, signature, spelling, doc, example, result) of each function.
nb::list FunctionTable() {
  nb::list table;
  for (const expr::Function& function : expr::Functions()) {
    table.append(nb::make_tuple(function.name, function.signature, function.spelling, function.doc,
                                function.example, function.result));
  }
  return table;
}

}  // namespace

void init_expr(nb::module_& m) {
  m.def("bind_expr", &BindExpr, nb::arg("expression"), nb::arg("schema"), nb::arg("where") = "the stream");
  m.def("eval_expr", &EvalExpr, nb::arg("expression"), nb::arg("batch"));
  m.def("functions", &FunctionTable);
}

}  // namespace frazil::python
