#pragma once

#include <arrow/record_batch.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "aggregate/function.h"

namespace frazil {

// The name of aggregates that a user's function computes; they are not in the table of functions.
constexpr std::string_view kUserAggregate = "user_defined";

// Computes for many accumulators in one call. What it is given is a batch of one row, of which each column is
// a list:
//   what     (int8, no list) kAdd, kMerge or kFinish
//   states   the state of each accumulator, null if it has none yet
//   offsets  (int32) where the rows, or the other states, of each begin, and their number
//   rows     of kAdd: the arguments of each row
//   others   of kMerge: states
// The answer has `states`, or of kFinish `results`, one of each accumulator. Any thread.
using UserFunction =
    std::function<Result<std::shared_ptr<arrow::RecordBatch>>(const std::shared_ptr<arrow::RecordBatch>&)>;
enum UserCall : int8_t { kUserAdd = 0, kUserMerge = 1, kUserFinish = 2 };

// The functions that aggregates made from now on find by their option `function`. Any thread.
void SetUserFunction(const std::string& name, UserFunction function);
void DropUserFunction(const std::string& name);

// An aggregate with the options function (name), state and result (schemas of one column). Its function is
// looked up when it is made; without one, it knows types only.
Result<AggregatePtr> MakeUserAggregate(AggregateCall& call);

}  // namespace frazil
