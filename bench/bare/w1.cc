// W1 without an engine: seven columns -> amount > 10 -> total -> Parquet. Usage: input.h.
#include <arrow/compute/api.h>
#include <arrow/compute/initialize.h>

#include "input.h"

namespace bare {
namespace {

constexpr int64_t kBatchRows = 16 * 1024;

std::shared_ptr<arrow::Schema> OutputSchema() {
  const auto time = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
  return arrow::schema({arrow::field("id", arrow::int64()), arrow::field("ts", time),
                        arrow::field("user", arrow::utf8()), arrow::field("page", arrow::utf8()),
                        arrow::field("country", arrow::utf8()), arrow::field("amount", arrow::float64()),
                        arrow::field("quantity", arrow::int64()), arrow::field("total", arrow::float64())});
}

class Loop {
 public:
  explicit Loop(const std::string& path) : out_(path, *OutputSchema(), {"id", "ts"}, {"amount", "total"}) {
    Check(arrow::compute::Initialize());
  }

  void Begin(int /*partitions*/) {}

  void Row(const char* data, size_t size, size_t capacity, int /*partition*/) {
    auto document = parser_.iterate(data, size, capacity);
    auto object = document.get_object();
    Check(id_.Append(object["id"].get_int64()));
    Check(ts_.Append(object["ts"].get_int64().value() * 1000));
    Check(user_.Append(std::string_view(object["user"].get_string())));
    Check(page_.Append(std::string_view(object["page"].get_string())));
    Check(country_.Append(std::string_view(object["country"].get_string())));
    Check(amount_.Append(object["amount"].get_double()));
    Check(quantity_.Append(object["quantity"].get_int64()));
    if (id_.length() >= kBatchRows) Flush();
  }

  void Finish() {
    Flush();
    out_.close();
  }

 private:
  void Flush() {
    const int64_t rows = id_.length();
    if (rows == 0) return;
    auto schema = OutputSchema();
    arrow::ArrayVector columns{Get(id_.Finish()),      Get(ts_.Finish()),      Get(user_.Finish()),
                               Get(page_.Finish()),    Get(country_.Finish()), Get(amount_.Finish()),
                               Get(quantity_.Finish())};
    auto batch = arrow::RecordBatch::Make(Get(schema->RemoveField(7)), rows, columns);
    auto mask = Get(arrow::compute::CallFunction("greater", {columns[5], arrow::Datum(10.0)}));
    auto kept = Get(arrow::compute::Filter(batch, mask)).record_batch();
    auto total = Get(arrow::compute::CallFunction(
        "multiply", {kept->column(5), Get(arrow::compute::Cast(*kept->column(6), arrow::float64()))}));
    columns = kept->columns();
    columns.push_back(total.make_array());
    out_.write(*arrow::RecordBatch::Make(schema, kept->num_rows(), columns));
  }

  simdjson::ondemand::parser parser_;
  arrow::Int64Builder id_, quantity_;
  arrow::TimestampBuilder ts_{arrow::timestamp(arrow::TimeUnit::MICRO, "UTC"), arrow::default_memory_pool()};
  arrow::StringBuilder user_, page_, country_;
  arrow::DoubleBuilder amount_;
  File out_;
};

}  // namespace
}  // namespace bare

int main(int argc, char** argv) { return bare::Main<bare::Loop>(argc, argv); }
