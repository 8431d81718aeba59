// Any bytes as a saved accumulator of any function (the first byte says which): never a crash; what merge
// takes can be saved again, and finished or refused.
#include <arrow/builder.h>
#include <arrow/compute/initialize.h>

#include <cstdlib>

#include "aggregate/aggregate.h"

namespace {

using frazil::Aggregate;

std::vector<std::unique_ptr<Aggregate>> AllAggregates() {
  std::vector<std::unique_ptr<Aggregate>> all;
  const auto make = [&](const char* name, const arrow::DataTypeVector& types, const char* options = "{}") {
    all.push_back(frazil::MakeAggregate(name, types, nlohmann::json::parse(options)).ValueOrDie());
  };
  make("count", {});
  for (const auto& type : {arrow::int64(), arrow::float64(), arrow::decimal128(9, 2)}) {
    for (const char* name : {"sum", "mean", "min", "variance"}) make(name, {type});
    make("quantile", {type}, R"({"q": [0, 0.5, 1], "max_bins": 64})");
  }
  for (const auto& type : {arrow::int16(), arrow::float64(), arrow::utf8(), arrow::boolean()}) {
    for (const char* name :
         {"max", "first", "count_distinct", "collect_list", "collect_set", "top_k", "most_common"}) {
      make(name, {type});
    }
    make("last", {type}, R"({"ignore_nulls": false})");
    make("collect_list", {type}, R"({"ignore_nulls": false})");
    make("arg_min", {type, arrow::utf8()});
    make("top_k", {type, arrow::float32()}, R"({"k": 3})");
  }
  make("approx_count_distinct", {arrow::utf8()}, R"({"bits": 4})");
  return all;
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  if (!arrow::compute::Initialize().ok()) std::abort();
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto all = AllAggregates();
  if (size == 0) return 0;
  const Aggregate& aggregate = *all[data[0] % all.size()];
  std::string bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  std::shared_ptr<arrow::Array> saved;
  if (aggregate.saved_type()->id() == arrow::Type::BINARY) {
    arrow::BinaryBuilder builder;
    if (!builder.Append(bytes).ok() || !builder.Finish(&saved).ok()) std::abort();
  } else {
    arrow::FixedSizeBinaryBuilder builder(aggregate.saved_type());
    bytes.resize(static_cast<size_t>(builder.byte_width()));
    if (!builder.Append(bytes).ok() || !builder.Finish(&saved).ok()) std::abort();
  }
  std::vector<uint64_t> memory(static_cast<size_t>(aggregate.width()) / 8);
  auto* acc = reinterpret_cast<std::byte*>(memory.data());
  aggregate.create(acc);
  frazil::AggregateEffects effects;
  const auto status = aggregate.merge({&acc, 1}, 0, *saved, &effects);
  if (effects.heap_bytes != aggregate.heap_bytes(acc)) std::abort();
  if (status.ok()) {
    const std::byte* const done = acc;
    if (!aggregate.save({&done, 1}, 0, arrow::default_memory_pool()).ok()) std::abort();
    const auto result = aggregate.finish({&done, 1}, 0, arrow::default_memory_pool(), &effects);
    if (result.ok() && !(*result)->ValidateFull().ok()) std::abort();
  }
  aggregate.destroy(acc);
  return 0;
}
