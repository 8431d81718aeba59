#pragma once

#include <memory>
#include <nlohmann/json.hpp>

#include "base/status.h"
#include "connector/iceberg/data_writer.h"
#include "connector/sink.h"

namespace frazil::iceberg {

// The sink of one table: one of its own, that of a rest_sink.h, or of the many of a route_sink.h, which asks
// its writer to give memory back.
class TableSink : public Sink {
 public:
  virtual DataWriter& writer() = 0;
  // The table has the columns of these options now: rows that come go into files that have them.
  virtual Status alter(const WriterOptions& options) = 0;
};

// Options are those of ParseWriterOptions; see sink.h.
Result<std::unique_ptr<TableSink>> MakeTableSink(const nlohmann::json& options, const SinkContext& context);

}  // namespace frazil::iceberg
