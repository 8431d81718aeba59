#pragma once

#include <memory>
#include <nlohmann/json.hpp>

#include "base/status.h"
#include "connector/sink.h"

namespace frazil::iceberg {

// The sink of an Iceberg table: encodes rows into data files (data_writer.h) and tells in its token,
// {"v":1,"files":[...]}, what the committer needs to add them to the table. It never touches the catalog.
// Options are those of ParseWriterOptions; kConfig errors for what is wrong with them. With a key it is that
// of upsert_sink.h; with a route, that of route_sink.h; where columns are added while it writes, that of
// rest_sink.h. Files that no token names are removed when the sink
// is destroyed, as far as that works; the table's orphan removal finds the others.
Result<std::unique_ptr<Sink>> MakeIcebergSink(const nlohmann::json& options, const SinkContext& context);

}  // namespace frazil::iceberg
