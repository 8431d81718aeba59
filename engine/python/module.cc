#include "python/module.h"

#include <arrow/compute/initialize.h>
#include <arrow/config.h>
#include <arrow/filesystem/s3fs.h>
#include <librdkafka/rdkafka.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/string.h>
#include <simdjson.h>

#include <map>
#include <string>

namespace frazil::python {
namespace {

// Versions of what the engine is linked to, by name; `simdjson` is the one that is really bound.
std::map<std::string, std::string> Versions() {
  return {{"arrow", arrow::GetBuildInfo().version_string},
          {"librdkafka", rd_kafka_version_str()},
          {"simdjson", std::to_string(simdjson::SIMDJSON_VERSION_MAJOR) + "." +
                           std::to_string(simdjson::SIMDJSON_VERSION_MINOR)},
          {"simdjson_implementation", simdjson::get_active_implementation()->name()}};
}

}  // namespace
}  // namespace frazil::python

NB_MODULE(_engine, m) {
  using namespace frazil::python;
  if (auto status = arrow::compute::Initialize(); !status.ok()) {
    throw std::runtime_error("loading Arrow's compute functions: " + status.ToString());
  }
  init_aggregate(m);
  init_capsule(m);
  init_connector(m);
  init_decode(m);
  init_expr(m);
  init_iceberg(m);
  init_job(m);
  init_kafka(m);
  init_lookup(m);
  init_sink(m);
  init_time(m);
  m.def("versions", &Versions);
  m.def("finalize", [] {
    if (arrow::fs::IsS3Initialized()) (void)arrow::fs::FinalizeS3();
  });
}
