#pragma once

#include <span>
#include <string>
#include <string_view>

#include "aggregate/aggregate.h"

// What the files of the functions share with the registry.
namespace frazil {

// Bounds of what a group keeps.
constexpr int64_t kGroupBytes =
    16 << 20;  // bytes of values (and 8 to 32 for each), unless max_bytes is given
constexpr int64_t kGroupBytesMax = 1 << 30;  // largest max_bytes; values are addressed by 32 bits
constexpr int64_t kTopValues = 10'000;       // largest k of top_k and most_common
constexpr int64_t kQuantiles = 100;          // quantiles asked of one sketch

using AggregatePtr = std::unique_ptr<Aggregate>;

// Of ValueType::Of (value.h), for errors.
constexpr const char* kAnyValueExpected = "a number, bool, string, binary, date, time or duration";

// A function that is being made: what a factory sees. Factories check types and take every option they know;
// the registry has checked the number of arguments and refuses what was not taken.
class AggregateCall {
 public:
  AggregateCall(std::string_view name, const arrow::DataTypeVector& inputs, nlohmann::json options,
                bool changes)
      : name_(name), inputs_(inputs), options_(std::move(options)), changes_(changes) {}

  const std::string& name() const { return name_; }
  size_t args() const { return inputs_.size(); }
  const std::shared_ptr<arrow::DataType>& type(size_t index = 0) const { return inputs_[index]; }
  // Whether it has to retract.
  bool changes() const { return changes_; }
  // "sum(float64)"; what runtime errors begin with.
  std::string text() const;

  // TypeMismatch: "sum takes a number or a duration, got string".
  Status mismatch(const char* expected, size_t index = 0) const;

  // Take an option away, or give its default. Errors: not of that type, out of the range.
  Result<bool> take_bool(const char* option, bool otherwise);
  Result<int64_t> take_int(const char* option, int64_t otherwise, int64_t min, int64_t max);
  Result<double> take_number(const char* option, double otherwise, double min, double max);
  Result<std::string> take_choice(const char* option, const char* otherwise, std::span<const char* const> of);
  // Takes an option as it is; null if it was not given.
  nlohmann::json take(const char* option);
  Status refused(const char* option, const std::string& why) const;
  const nlohmann::json& left() const { return options_; }

 private:
  std::string name_;
  const arrow::DataTypeVector& inputs_;
  nlohmann::json options_;
  bool changes_;
};

struct AggregateFunction {
  const char* name;
  int args_min;
  int args_max;
  Result<AggregatePtr> (*make)(AggregateCall& call);
  bool retracts;          // can be made for changes
  const char* signature;  // argument types and result, for the documentation
  const char* options;    // names with defaults, or ""
  const char* doc;        // one line
};

// The table, in the order of the documentation.
std::span<const AggregateFunction> AggregateFunctions();

// Factories, a file per family.
Result<AggregatePtr> MakeCount(AggregateCall& call);
Result<AggregatePtr> MakeSum(AggregateCall& call);
Result<AggregatePtr> MakeMean(AggregateCall& call);
Result<AggregatePtr> MakeMin(AggregateCall& call);
Result<AggregatePtr> MakeMax(AggregateCall& call);
Result<AggregatePtr> MakeAny(AggregateCall& call);
Result<AggregatePtr> MakeAll(AggregateCall& call);
Result<AggregatePtr> MakeVariance(AggregateCall& call);
Result<AggregatePtr> MakeStddev(AggregateCall& call);
Result<AggregatePtr> MakeFirst(AggregateCall& call);
Result<AggregatePtr> MakeLast(AggregateCall& call);
Result<AggregatePtr> MakeArgMin(AggregateCall& call);
Result<AggregatePtr> MakeArgMax(AggregateCall& call);
Result<AggregatePtr> MakeCountDistinct(AggregateCall& call);
Result<AggregatePtr> MakeApproxCountDistinct(AggregateCall& call);
Result<AggregatePtr> MakeQuantile(AggregateCall& call);
Result<AggregatePtr> MakeTopK(AggregateCall& call);
Result<AggregatePtr> MakeMostCommon(AggregateCall& call);
Result<AggregatePtr> MakeCollectList(AggregateCall& call);
Result<AggregatePtr> MakeCollectSet(AggregateCall& call);

}  // namespace frazil
