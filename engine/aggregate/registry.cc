// The one list of aggregate functions. A new one is an entry here and a factory in a file of its own.
#include <algorithm>

#include "aggregate/function.h"
#include "aggregate/user_aggregate.h"
#include "expr/types.h"

namespace frazil {
namespace {

const AggregateFunction kFunctions[] = {
    {"count", 0, 1, MakeCount, true, "() or (any) -> int64 not null", "",
     "Rows, or rows where the argument is not null."},
    {"sum", 1, 1, MakeSum, true,
     "(integer or bool) -> int64; (float) -> float64; (decimal(p, s)) -> decimal(38, s); (duration) -> "
     "duration",
     "", "Sum; integers and decimals that overflow are an error."},
    {"mean", 1, 1, MakeMean, true,
     "(integer, bool or float) -> float64; (decimal(p, s)) -> decimal(38, min(s + 4, 38)); (duration) -> "
     "duration",
     "", "Arithmetic mean; decimals and durations are rounded, a half to the even neighbour."},
    {"min", 1, 1, MakeMin, false, "(value) -> same", "", "Smallest value; NaN is larger than every number."},
    {"max", 1, 1, MakeMax, false, "(value) -> same", "", "Largest value; NaN is larger than every number."},
    {"any_value", 1, 1, MakeMin, false, "(value) -> same", "", "Some value, the same one in every run."},
    {"any", 1, 1, MakeAny, false, "(bool) -> bool", "", "True if any value is; null without values."},
    {"all", 1, 1, MakeAll, false, "(bool) -> bool", "", "True if all values are; null without values."},
    {"variance", 1, 1, MakeVariance, true, "(number) -> float64", "ddof = 1",
     "Variance, of a sample (ddof = 1; null below two values) or of a population (ddof = 0)."},
    {"stddev", 1, 1, MakeStddev, true, "(number) -> float64", "ddof = 1",
     "Standard deviation, of a sample (ddof = 1; null below two values) or of a population (ddof = 0)."},
    {"first", 1, 1, MakeFirst, false, "(value) -> same", "ignore_nulls = true",
     "Value of the first row by event time, partition, position."},
    {"last", 1, 1, MakeLast, false, "(value) -> same", "ignore_nulls = true",
     "Value of the last row by event time, partition, position."},
    {"arg_min", 2, 2, MakeArgMin, false, "(value, value) -> same as the first", "ignore_nulls = true",
     "First argument where the second is smallest; among equals of the first row."},
    {"arg_max", 2, 2, MakeArgMax, false, "(value, value) -> same as the first", "ignore_nulls = true",
     "First argument where the second is largest; among equals of the last row."},
    {"count_distinct", 1, 1, MakeCountDistinct, false, "(value) -> int64 not null", "max_bytes = 16 MiB",
     "Number of different values, exactly."},
    {"approx_count_distinct", 1, 1, MakeApproxCountDistinct, false, "(value) -> int64 not null", "bits = 12",
     "Number of different values by HyperLogLog of 2^bits bytes; standard error 1.04 / 2^(bits / 2)."},
    {"quantile", 1, 1, MakeQuantile, false,
     "(number) -> float64; (duration) -> same; lists of these for a list of q",
     "q (from 0 to 1, or a list), accuracy = 0.01, max_bins = 2048",
     "Value of rank floor(q * (n - 1)) from 0, within a relative accuracy (DDSketch); the ends are exact."},
    {"top_k", 1, 2, MakeTopK, false, "(value) or (value, value) -> list of the first",
     "k = 10, smallest = false",
     "Largest or smallest values, best first; with a second argument the values where that is largest or "
     "smallest, "
     "among equals of the first rows."},
    {"most_common", 1, 1, MakeMostCommon, false, "(value) -> list of struct {value, count}",
     "k = 10, max_bytes = 16 MiB",
     "Values that occur most often, and how often; among equals the smaller value first."},
    {"collect_list", 1, 1, MakeCollectList, false, "(value) -> list",
     "ignore_nulls = true, max_bytes = 16 MiB", "All values in the order of rows."},
    {"collect_set", 1, 1, MakeCollectSet, false, "(value) -> list", "max_bytes = 16 MiB",
     "Different values, sorted."},
};

std::string Names() {
  std::string names;
  for (const AggregateFunction& function : kFunctions) {
    names += (names.empty() ? "" : ", ") + std::string(function.name);
  }
  return names;
}

std::string RetractingNames() {
  std::string names;
  for (const AggregateFunction& function : kFunctions) {
    if (function.retracts) names += (names.empty() ? "" : ", ") + std::string(function.name);
  }
  return names;
}

std::string Arguments(const AggregateFunction& function) {
  if (function.args_min == function.args_max) {
    return std::to_string(function.args_min) + (function.args_min == 1 ? " argument" : " arguments");
  }
  return std::to_string(function.args_min) + " to " + std::to_string(function.args_max) + " arguments";
}

}  // namespace

std::string AggregateCall::text() const {
  std::string text = name_ + "(";
  for (size_t i = 0; i < inputs_.size(); ++i) text += (i == 0 ? "" : ", ") + expr::TypeName(*inputs_[i]);
  return text + ")";
}

Status AggregateCall::mismatch(const char* expected, size_t index) const {
  const std::string which = inputs_.size() > 1 ? " as argument " + std::to_string(index + 1) : "";
  return NamedError("TypeMismatch",
                    name_ + " takes " + expected + which + ", got " + expr::TypeName(*inputs_[index]));
}

Status AggregateCall::refused(const char* option, const std::string& why) const {
  return Error(ErrorKind::kUser, name_ + ": option \"" + option + "\": " + why);
}

nlohmann::json AggregateCall::take(const char* option) {
  const auto found = options_.find(option);
  if (found == options_.end()) return nullptr;
  nlohmann::json value = *found;
  options_.erase(found);
  return value;
}

Result<bool> AggregateCall::take_bool(const char* option, bool otherwise) {
  const nlohmann::json value = take(option);
  if (value.is_null()) return otherwise;
  if (!value.is_boolean()) return refused(option, "expected true or false, got " + value.dump());
  return value.get<bool>();
}

Result<int64_t> AggregateCall::take_int(const char* option, int64_t otherwise, int64_t min, int64_t max) {
  const nlohmann::json value = take(option);
  if (value.is_null()) return otherwise;
  const bool fits = value.is_number_integer() && (!value.is_number_unsigned() ||
                                                  value.get<uint64_t>() <= static_cast<uint64_t>(INT64_MAX));
  if (!fits || value.get<int64_t>() < min || value.get<int64_t>() > max) {
    return refused(option, "expected an integer from " + std::to_string(min) + " to " + std::to_string(max) +
                               ", got " + value.dump());
  }
  return value.get<int64_t>();
}

Result<double> AggregateCall::take_number(const char* option, double otherwise, double min, double max) {
  const nlohmann::json value = take(option);
  if (value.is_null()) return otherwise;
  if (!value.is_number() || !(value.get<double>() >= min && value.get<double>() <= max)) {
    return refused(option, "expected a number from " + nlohmann::json(min).dump() + " to " +
                               nlohmann::json(max).dump() + ", got " + value.dump());
  }
  return value.get<double>();
}

Result<std::string> AggregateCall::take_choice(const char* option, const char* otherwise,
                                               std::span<const char* const> of) {
  const nlohmann::json value = take(option);
  if (value.is_null()) return std::string(otherwise);
  std::string known;
  for (const char* choice : of) {
    if (value.is_string() && value.get_ref<const std::string&>() == choice) return std::string(choice);
    known += (known.empty() ? "\"" : ", \"") + std::string(choice) + "\"";
  }
  return refused(option, "expected one of " + known + ", got " + value.dump());
}

Status Aggregate::retract(std::span<std::byte* const>, int32_t, const arrow::ArrayVector&,
                          AggregateEffects*) const {
  return Error(ErrorKind::kInternal, "an aggregate that is not made for changes is asked to retract");
}

std::span<const AggregateFunction> AggregateFunctions() { return kFunctions; }

Result<std::unique_ptr<Aggregate>> MakeAggregate(std::string_view name, const arrow::DataTypeVector& inputs,
                                                 const nlohmann::json& options, bool changes) {
  if (name == kUserAggregate) {
    if (changes || inputs.empty() || !options.is_object()) {
      return Error(ErrorKind::kUser, "an aggregate of a function takes rows that stay, and columns of them");
    }
    AggregateCall call(name, inputs, options, changes);
    return MakeUserAggregate(call);
  }
  const auto* found = std::ranges::find(kFunctions, name, [](const AggregateFunction& f) { return f.name; });
  if (found == std::end(kFunctions)) {
    return Error(ErrorKind::kUser,
                 "there is no aggregate function \"" + std::string(name) + "\"; there are " + Names());
  }
  const auto given = static_cast<int>(inputs.size());
  if (given < found->args_min || given > found->args_max) {
    return Error(ErrorKind::kUser,
                 std::string(name) + " takes " + Arguments(*found) + ", got " + std::to_string(given));
  }
  if (!options.is_object() && !options.is_null()) {
    return Error(ErrorKind::kUser, std::string(name) + ": options must be an object, got " + options.dump());
  }
  if (changes && !found->retracts) {
    return Error(ErrorKind::kUser,
                 std::string(name) +
                     " of rows that change: a row that is taken back would have to be taken "
                     "out of it, which can be done with " +
                     RetractingNames());
  }
  AggregateCall call(name, inputs, options.is_null() ? nlohmann::json::object() : options, changes);
  FZ_ASSIGN(auto aggregate, found->make(call));
  if (!call.left().empty()) {
    const std::string known =
        *found->options == '\0' ? "it has none" : "it has " + std::string(found->options);
    return call.refused(call.left().begin().key().c_str(), "there is no such option; " + known);
  }
  return aggregate;
}

}  // namespace frazil
