// Adds batches of 16 Ki rows to groups drawn at random and prints CPU nanoseconds a row. Not part of the
// suite. usage: aggregate_bench [GROUPS]
#include <sys/resource.h>

#include <cstdio>
#include <cstdlib>
#include <vector>

#include "aggregate/aggregate.h"
#include "aggregate/test_values.h"
#include "base/limits.h"

namespace {

double CpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
}

void Measure(const char* name, const arrow::DataTypeVector& types, const nlohmann::json& options,
             size_t groups) {
  constexpr int64_t kRows = frazil::limits::kBatchRows;
  constexpr int kRounds = 100;
  frazil::Random random(1);
  const auto aggregate = frazil::MakeAggregate(name, types, options).ValueOrDie();
  arrow::ArrayVector inputs;
  for (const auto& type : types) inputs.push_back(frazil::RandomArray(type, random, kRows, 0, false));
  const auto words = static_cast<size_t>(aggregate->width()) / 8;
  std::vector<uint64_t> memory(groups * words);
  std::vector<std::byte*> accs;
  std::vector<frazil::OrderKey> order;
  for (size_t i = 0; i < groups; ++i) aggregate->create(reinterpret_cast<std::byte*>(&memory[i * words]));
  for (int64_t i = 0; i < kRows; ++i) {
    const auto group = static_cast<size_t>(frazil::Between(random, 0, static_cast<int64_t>(groups) - 1));
    accs.push_back(reinterpret_cast<std::byte*>(&memory[group * words]));
    order.push_back({i, 0, i});
  }
  frazil::AggregateEffects effects;
  const double begin = CpuSeconds();
  for (int round = 0; round < kRounds; ++round) {
    const auto status = aggregate->add(accs, 0, inputs, {order}, &effects);
    if (!status.ok()) std::exit(std::fprintf(stderr, "%s\n", status.message().c_str()));
  }
  std::printf("%-24s %-14s %6.2f ns a row, %3d bytes and %lld on the heap a group\n", name,
              types.empty() ? "" : types[0]->ToString().c_str(),
              (CpuSeconds() - begin) * 1e9 / (static_cast<double>(kRows) * kRounds), aggregate->width(),
              static_cast<long long>(effects.heap_bytes) / static_cast<long long>(groups));
  for (size_t i = 0; i < groups; ++i) aggregate->destroy(reinterpret_cast<std::byte*>(&memory[i * words]));
}

}  // namespace

int main(int argc, char** argv) {
  const auto groups = static_cast<size_t>(argc > 1 ? std::atoi(argv[1]) : 1000);
  const auto i64 = arrow::int64(), f64 = arrow::float64(), text = arrow::utf8();
  const auto decimal = arrow::decimal128(12, 2);
  Measure("count", {}, {}, groups);
  for (const auto& type : {i64, f64, decimal}) {
    for (const char* name : {"sum", "mean", "min", "variance"}) Measure(name, {type}, {}, groups);
  }
  for (const auto& type : {i64, text}) {
    for (const char* name :
         {"min", "last", "count_distinct", "approx_count_distinct", "top_k", "most_common"}) {
      Measure(name, {type}, {}, groups);
    }
  }
  Measure("arg_max", {text, f64}, {}, groups);
  Measure("quantile", {f64}, {{"q", 0.5}}, groups);
  return 0;
}
