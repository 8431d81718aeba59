#pragma once

#include <memory>
#include <nlohmann/json.hpp>

#include "base/status.h"
#include "operator/batch_function.h"
#include "operator/failed_rows.h"

namespace frazil {

// Stands before the sink of a table, where it is known where rows come from, and lets through those that the
// table takes; the others fail, with what the sink would say: null in a required column, a value outside the
// range of its column, no value in a key column or in order_by, or one that names no table. In a stream of
// changes a row that the table does not take becomes a delete of its key (see KeepChanges); one without a key
// goes.
//
// `table` are the options of the sink as ParseWriterOptions reads them, or, with "route" in it, of one with
// many tables, of which only names, key and order are checked; {"name"} is what people call it. Errors of
// process(): what is wrong with columns as such (kUser), which no row is to blame for.
Result<std::unique_ptr<Operator>> MakeConstraints(const nlohmann::json& table, bool whole,
                                                  std::unique_ptr<FailedRows> failed,
                                                  const OperatorContext& context);

}  // namespace frazil
