#include <arrow/util/thread_pool.h>
#include <nanobind/stl/string.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "connector/iceberg/sink.h"
#include "connector/iceberg/transforms.h"
#include "python/capsule.h"
#include "python/error.h"
#include "python/module.h"

namespace frazil::python {
namespace {

Result<std::string> WriteFiles(const std::string& options,
                               const std::vector<std::shared_ptr<arrow::RecordBatch>>& batches, Epoch epoch,
                               int worker, int io_threads) {
  const auto json = nlohmann::json::parse(options, nullptr, /*allow_exceptions=*/false);
  std::shared_ptr<arrow::internal::ThreadPool> io;
  if (io_threads > 0) {
    FZ_ASSIGN(io, arrow::internal::ThreadPool::Make(io_threads));
  }
  FZ_ASSIGN(const auto sink, iceberg::MakeIcebergSink(json, {.worker = worker, .io = io.get()}));
  sink->begin(epoch);
  for (const auto& batch : batches) FZ_TRY(sink->write(Batch{batch}));
  return sink->prepare(epoch).result();
}

// Writes batches as one epoch of an Iceberg sink; the token.
std::string WriteIcebergFiles(const std::string& options, nb::handle data, int64_t epoch, int worker,
                              int io_threads) {
  const auto batches = ImportBatches(data);
  Result<std::string> token = "";
  {
    const nb::gil_scoped_release release;
    token = WriteFiles(options, batches, epoch, worker, io_threads);
  }
  return ValueOrThrow(std::move(token));
}

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
  m.def("write_iceberg_files", &WriteIcebergFiles, nb::arg("options"), nb::arg("data"), nb::arg("epoch") = 1,
        nb::arg("worker") = 0, nb::arg("io_threads") = 0);
  m.def("iceberg_transform", &IcebergTransform, nb::arg("name"), nb::arg("param"), nb::arg("data"));
}

}  // namespace frazil::python
