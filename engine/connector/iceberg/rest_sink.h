#pragma once

#include <memory>
#include <nlohmann/json.hpp>

#include "base/status.h"
#include "connector/iceberg/rest_columns.h"
#include "connector/sink.h"

namespace frazil::iceberg {

constexpr int64_t kRestWaitingBytes = 16 << 20;  // bytes of rows that wait for columns; past it no input is
                                                 // taken

// The sink of one table to which columns are added while it is written: what of the rest has a column goes
// there (rest_columns.h). Rows that need a column that is not there wait (waiting_rows.h), and all behind
// them, so that rows of a key stay in order; the column is asked for (SinkContext::want_table of table "")
// and open_table() tells that it is there. Rows that wait are in the checkpoint. Options are those of the
// table's sink, and "drift".
Result<std::unique_ptr<Sink>> MakeRestSink(const nlohmann::json& options,
                                           std::shared_ptr<const RestPolicies> policies,
                                           const SinkContext& context);

}  // namespace frazil::iceberg
