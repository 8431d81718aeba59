#include <arrow/util/thread_pool.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "connector/registry.h"
#include "python/capsule.h"
#include "python/error.h"
#include "python/module.h"

namespace frazil::python {
namespace {

Result<std::string> Run(const nlohmann::json& node,
                        const std::vector<std::shared_ptr<arrow::RecordBatch>>& batches, Epoch epoch,
                        int worker, int io_threads) {
  std::shared_ptr<arrow::internal::ThreadPool> io;
  if (io_threads > 0) {
    FZ_ASSIGN(io, arrow::internal::ThreadPool::Make(io_threads));
  }
  FZ_ASSIGN(const auto sink, MakeSink(node, {.worker = worker, .io = io.get()}));
  sink->begin(epoch);
  for (const auto& batch : batches) FZ_TRY(sink->write(Batch{batch}));
  return sink->prepare(epoch).result();
}

// Writes batches as one epoch of a sink that no pipeline runs; its token. For tests, and for files made
// beforehand.
std::string WriteSink(const std::string& connector, const std::string& options, nb::handle data,
                      int64_t epoch, int worker, int io_threads) {
  const nlohmann::json node = {
      {"name", connector},
      {"connector", connector},
      {"options", nlohmann::json::parse(options, nullptr, /*allow_exceptions=*/false)}};
  const auto batches = ImportBatches(data);
  Result<std::string> token = "";
  {
    const nb::gil_scoped_release release;
    token = Run(node, batches, epoch, worker, io_threads);
  }
  return ValueOrThrow(std::move(token));
}

}  // namespace

void init_sink(nb::module_& m) {
  m.def("write_sink", &WriteSink, nb::arg("connector"), nb::arg("options"), nb::arg("data"),
        nb::arg("epoch") = 1, nb::arg("worker") = 0, nb::arg("io_threads") = 0);
}

}  // namespace frazil::python
