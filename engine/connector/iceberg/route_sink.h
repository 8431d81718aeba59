#pragma once

#include <memory>
#include <nlohmann/json.hpp>

#include "base/status.h"
#include "connector/sink.h"

namespace frazil::iceberg {

constexpr int64_t kRouteGatherBytes = 8 << 20;    // bytes of rows gathered before they are put apart by table
constexpr int64_t kRouteGatherRows = 256 << 10;   // rows of them
constexpr int64_t kRouteWriterBytes = 64 << 20;   // bytes in the writers of all tables of one sink and worker
constexpr int64_t kRouteOpeningBytes = 16 << 20;  // bytes of rows that wait for tables being made; past it no
                                                  // input is taken
constexpr int64_t kRouteFailedBytes =
    64 << 20;  // bytes of rows that wait for tables that cannot be opened; past it the run ends

// A sink with many tables: rows go to the table of their values in some columns (route_names.h), each with a
// sink and a token of its own. Options: {"route":{"columns","tables_max","keep"},"key",
// "tables":{"public/orders":{options of that table's sink}}}; not `keep`: the columns of the route are not
// written. The token is {"v":1,"tables":{"public/orders":"token of that table"}}.
//
// A table that is not among the options is asked for (SinkContext::want_table) with its first row, and its
// rows wait (waiting_rows.h) until open_table(); rows of others flow on. A table that cannot be opened
// (fail_table()) holds up nobody, until more than kRouteFailedBytes wait: then write() gives an error with
// the reason. Where fields become columns while it writes (rest_columns.h), rows that need one wait like this
// too, with all that come behind them for that table. What tables hold together is bounded, however many they
// are: those that were written to least recently close their files early. So many tables mean small files,
// never more memory.
Result<std::unique_ptr<Sink>> MakeRouteSink(const nlohmann::json& options, const SinkContext& context);

}  // namespace frazil::iceberg
