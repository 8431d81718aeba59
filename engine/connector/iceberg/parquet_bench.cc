// Measures the writer on rows like those of the events benchmark: CPU seconds per million rows, and bytes per
// row. Usage: parquet_bench <folder> [rows] [partitions] [metrics JSON]
#include <arrow/api.h>
#include <arrow/compute/initialize.h>
#include <arrow/io/memory.h>
#include <arrow/ipc/writer.h>
#include <arrow/util/base64.h>
#include <arrow/util/key_value_metadata.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <nlohmann/json.hpp>
#include <random>
#include <string>

#include "base/limits.h"
#include "connector/iceberg/sink.h"

namespace frazil::iceberg {
namespace {

double CpuSeconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

std::shared_ptr<arrow::Field> Field(const std::string& name, std::shared_ptr<arrow::DataType> type, int id) {
  return arrow::field(name, std::move(type), true,
                      arrow::key_value_metadata({"PARQUET:field_id"}, {std::to_string(id)}));
}

std::shared_ptr<arrow::Schema> Schema() {
  return arrow::schema({Field("id", arrow::int64(), 1),
                        Field("ts", arrow::timestamp(arrow::TimeUnit::MICRO, "UTC"), 2),
                        Field("user", arrow::utf8(), 3), Field("page", arrow::utf8(), 4),
                        Field("country", arrow::utf8(), 5), Field("amount", arrow::float64(), 6),
                        Field("quantity", arrow::int64(), 7), Field("device", arrow::utf8(), 8)});
}

// Zipf-like by inverse transform of a bounded Pareto: close enough in its number of distinct values.
class Skewed {
 public:
  Skewed(int64_t count, double exponent) : count_(static_cast<double>(count)), power_(1 - exponent) {}
  int64_t operator()(std::mt19937_64& random) {
    const double u = std::uniform_real_distribution<>(0, 1)(random);
    const double x = std::pow(u * (std::pow(count_, power_) - 1) + 1, 1 / power_);
    return static_cast<int64_t>(x) * 7919 % static_cast<int64_t>(count_);
  }

 private:
  double count_;
  double power_;
};

Status Append(arrow::RecordBatchBuilder* builder, int64_t id, std::mt19937_64& random) {
  static const char* const kDevices[] = {"mobile", "desktop", "tablet", "tv", "console"};
  static Skewed users(100'000, 1.1), pages(10'000, 1.05), countries(200, 1.2);
  static std::lognormal_distribution<> amounts(3, 1);
  char text[64];
  FZ_TRY(builder->GetFieldAs<arrow::Int64Builder>(0)->Append(id));
  const int64_t delay = static_cast<int64_t>(random() % 10 < 2 ? random() % 5000 : random() % 100);
  FZ_TRY(builder->GetFieldAs<arrow::TimestampBuilder>(1)->Append((1'767'225'600'000 + id - delay) * 1000));
  std::snprintf(text, sizeof(text), "user_%08lld", static_cast<long long>(users(random)));
  FZ_TRY(builder->GetFieldAs<arrow::StringBuilder>(2)->Append(text));
  const auto page = static_cast<long long>(pages(random));
  std::snprintf(text, sizeof(text), "/shop/category-%02lld/product-%06lld.html", page % 97, page);
  FZ_TRY(builder->GetFieldAs<arrow::StringBuilder>(3)->Append(text));
  std::snprintf(text, sizeof(text), "C%03lld", static_cast<long long>(countries(random)));
  FZ_TRY(builder->GetFieldAs<arrow::StringBuilder>(4)->Append(text));
  FZ_TRY(builder->GetFieldAs<arrow::DoubleBuilder>(5)->Append(std::round(amounts(random) * 100) / 100));
  FZ_TRY(builder->GetFieldAs<arrow::Int64Builder>(6)->Append(static_cast<int64_t>(random() % 20 + 1)));
  return builder->GetFieldAs<arrow::StringBuilder>(7)->Append(kDevices[random() % 5]);
}

Result<std::vector<Batch>> Rows(int64_t rows) {
  std::mt19937_64 random(42);
  FZ_ASSIGN(auto builder, arrow::RecordBatchBuilder::Make(Schema(), arrow::default_memory_pool()));
  std::vector<Batch> batches;
  for (int64_t id = 0; id < rows; ++id) {
    if (random() % 4 == 0) continue;  // what a filter drops, as in the benchmark
    FZ_TRY(Append(builder.get(), id, random));
    if (builder->GetField(0)->length() < limits::kBatchRows * 3 / 4 && id + 1 < rows) continue;
    FZ_ASSIGN(auto batch, builder->Flush());
    batches.push_back(Batch{batch});
  }
  return batches;
}

Status Run(const std::string& folder, int64_t rows, int partitions, const std::string& metrics) {
  FZ_ASSIGN(const auto batches, Rows(rows));
  FZ_ASSIGN(const auto schema, arrow::ipc::SerializeSchema(*Schema()));
  nlohmann::json options = {{"location", folder},
                            {"schema", arrow::util::base64_encode(schema->ToString())},
                            {"metrics", nlohmann::json::parse(metrics)}};
  if (partitions > 1) {
    options["partition"] = {
        {{"source", "user"}, {"name", "user"}, {"transform", "bucket"}, {"param", partitions}}};
  }
  for (int round = 0; round < 3; ++round) {
    FZ_ASSIGN(const auto sink, MakeIcebergSink(options, {}));
    sink->begin(round);
    const double begin = CpuSeconds();
    int64_t held = 0;
    for (const Batch& batch : batches) {
      FZ_TRY(sink->write(batch));
      held = std::max(held, sink->bytes());
    }
    const auto prepared = sink->prepare(round);
    FZ_ASSIGN(const Token token, prepared.result());
    const double cpu = CpuSeconds() - begin;
    int64_t bytes = 0;
    int64_t written = 0;
    const auto files = nlohmann::json::parse(token)["files"];
    for (const auto& file : files) {
      bytes += file["bytes"].get<int64_t>();
      written += file["rows"].get<int64_t>();
    }
    std::printf(
        "%lld of %lld rows, %zu files: %.3f CPU s per million input rows, %.2f bytes a row, %.1f MB held\n",
        static_cast<long long>(written), static_cast<long long>(rows), files.size(),
        cpu * 1e6 / static_cast<double>(rows), static_cast<double>(bytes) / static_cast<double>(written),
        static_cast<double>(held) / 1e6);
  }
  return Status::OK();
}

}  // namespace
}  // namespace frazil::iceberg

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: parquet_bench <folder> [rows] [partitions] [metrics JSON]\n");
    return 2;
  }
  auto status = arrow::compute::Initialize();
  if (status.ok()) {
    status = frazil::iceberg::Run(argv[1], argc > 2 ? std::atoll(argv[2]) : 1'000'000,
                                  argc > 3 ? std::atoi(argv[3]) : 1, argc > 4 ? argv[4] : "{}");
  }
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
