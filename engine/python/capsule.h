#pragma once

#include <arrow/record_batch.h>
#include <arrow/type.h>

#include <memory>
#include <vector>

#include "python/module.h"

// The Arrow PyCapsule interface, the only way in which Arrow data crosses to and from Python (the two sides
// may have different copies of Arrow). Every function holds the GIL and throws a Python exception on error.
namespace frazil::python {

// Imports an object with __arrow_c_schema__ (pyarrow.Schema, polars schema, ...).
std::shared_ptr<arrow::Schema> ImportSchema(nb::handle object);

// Imports an object with __arrow_c_array__ (pyarrow.RecordBatch, a struct array, ...). No copy: the batch
// keeps the object's buffers alive and may be released on any thread.
std::shared_ptr<arrow::RecordBatch> ImportBatch(nb::handle object);

// Imports an object with __arrow_c_stream__ (pyarrow.Table, RecordBatchReader, ...) and reads it to its end.
std::vector<std::shared_ptr<arrow::RecordBatch>> ImportBatches(nb::handle object);

// What the engine gives to Python: pyarrow.schema(x), pyarrow.record_batch(x) and pyarrow.table(x) read them
// without a copy.
struct SchemaCarrier {
  std::shared_ptr<arrow::Schema> schema;
};
struct BatchCarrier {
  std::shared_ptr<arrow::RecordBatch> batch;
};
struct BatchesCarrier {
  std::shared_ptr<arrow::Schema> schema;
  std::vector<std::shared_ptr<arrow::RecordBatch>> batches;
};

}  // namespace frazil::python
