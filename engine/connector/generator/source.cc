#include "connector/generator/source.h"

#include <arrow/api.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <optional>
#include <string>
#include <utility>

#include "base/limits.h"

namespace frazil {
namespace {

constexpr int64_t kStartMicros = 1'767'225'600'000'000;  // 2026-01-01T00:00:00Z
constexpr int64_t kUnbounded = INT64_MAX;

struct Options {
  int64_t rows = kUnbounded;  // of all partitions
  double rate = 0;            // rows per second of all partitions; 0 = unpaced
  uint64_t seed = 0;
  int64_t partitions = 1;

  // Rows of one partition.
  int64_t rows_of(int64_t partition) const {
    return rows == kUnbounded ? kUnbounded : (rows - partition + partitions - 1) / partitions;
  }
};

Result<Options> ParseOptions(const nlohmann::json& json) {
  Options options;
  if (json.contains("rows") && !json["rows"].is_null()) options.rows = json["rows"].get<int64_t>();
  if (json.contains("rate") && !json["rate"].is_null()) options.rate = json["rate"].get<double>();
  options.seed = json.value("seed", uint64_t{0});
  options.partitions = json.value("partitions", int64_t{1});
  if (options.partitions < 1 || options.partitions > limits::kSourcePartitions || options.rows < 0 ||
      options.rate < 0) {
    return Error(ErrorKind::kConfig, "generator: rows and rate are not negative, partitions at least 1");
  }
  return options;
}

std::string NameOf(int64_t partition) { return "generator-" + std::to_string(partition); }
std::string PositionOf(int64_t row) { return nlohmann::json{{"v", 1}, {"row", row}}.dump(); }

// splitmix64 of (seed, row, column): independent of order and batch size.
uint64_t Draw(uint64_t seed, int64_t row, uint64_t column) {
  uint64_t z = seed * 0x9e3779b97f4a7c15u + static_cast<uint64_t>(row) * 0xbf58476d1ce4e5b9u +
               column * 0x94d049bb133111ebu;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

// A number below `count`, small ones far likelier (about Zipf with exponent 1).
int64_t Skewed(uint64_t draw, int64_t count) {
  const double unit = static_cast<double>(draw >> 11) * 0x1.0p-53;
  return static_cast<int64_t>(std::pow(static_cast<double>(count), unit)) - 1;
}

std::string Padded(const char* prefix, int64_t number, size_t width) {
  std::string digits = std::to_string(number);
  return prefix + std::string(width - std::min(width, digits.size()), '0') + digits;
}

class Column {
 public:
  Column(std::string name, const Options& options) : name_(std::move(name)), options_(options) {}

  Result<std::shared_ptr<arrow::Array>> make(const std::vector<int64_t>& rows,
                                             arrow::MemoryPool* pool) const {
    if (name_ == "id") return build<arrow::Int64Builder>(rows, pool, [](int64_t row) { return row; });
    if (name_ == "at") return times(rows, pool);
    if (name_ == "amount") {
      return build<arrow::DoubleBuilder>(rows, pool, [&](int64_t row) {
        const double unit = static_cast<double>(draw(row, 6) >> 11) * 0x1.0p-53;
        return std::round(std::exp(6 * unit) * 100) / 100;
      });
    }
    if (name_ == "quantity") {
      return build<arrow::Int64Builder>(
          rows, pool, [&](int64_t row) { return static_cast<int64_t>(1 + draw(row, 7) % 20); });
    }
    if (name_ == "flag") {
      return build<arrow::BooleanBuilder>(rows, pool, [&](int64_t row) { return draw(row, 8) % 10 < 3; });
    }
    return build<arrow::StringBuilder>(rows, pool, [&](int64_t row) { return text(row); });
  }

 private:
  uint64_t draw(int64_t row, uint64_t column) const { return Draw(options_.seed, row, column); }

  std::string text(int64_t row) const {
    static constexpr const char* kDevices[] = {"mobile", "desktop", "tablet", "tv", "console"};
    if (name_ == "user") return Padded("user_", Skewed(draw(row, 2), 100'000), 8);
    if (name_ == "page") return Padded("/product-", Skewed(draw(row, 3), 10'000), 6) + ".html";
    if (name_ == "country") return Padded("C", Skewed(draw(row, 4), 200), 3);
    return kDevices[draw(row, 5) % 5];
  }

  Result<std::shared_ptr<arrow::Array>> times(const std::vector<int64_t>& rows,
                                              arrow::MemoryPool* pool) const {
    arrow::TimestampBuilder builder(arrow::timestamp(arrow::TimeUnit::MICRO, "UTC"), pool);
    FZ_TRY(builder.Reserve(static_cast<int64_t>(rows.size())));
    for (int64_t row : rows) {
      const uint64_t delay = draw(row, 1);
      const int64_t early_ms =
          delay % 5 == 0 ? static_cast<int64_t>(delay / 5 % 5000) : static_cast<int64_t>(delay / 5 % 100);
      builder.UnsafeAppend(kStartMicros + (row - early_ms) * 1000);
    }
    return builder.Finish();
  }

  template <typename Builder, typename Make>
  static Result<std::shared_ptr<arrow::Array>> build(const std::vector<int64_t>& rows,
                                                     arrow::MemoryPool* pool, Make make) {
    Builder builder(pool);
    FZ_TRY(builder.Reserve(static_cast<int64_t>(rows.size())));
    for (int64_t row : rows) FZ_TRY(builder.Append(make(row)));
    return builder.Finish();
  }

  const std::string name_;
  const Options& options_;
};

class GeneratorSource : public Source {
 public:
  GeneratorSource(Options options, std::shared_ptr<arrow::Schema> schema, arrow::MemoryPool* pool)
      : options_(options), schema_(std::move(schema)), pool_(pool) {}

  Status assign(const std::vector<Assignment>& partitions, std::function<void()>) override {
    for (const Assignment& each : partitions) {
      const int64_t next = nlohmann::json::parse(each.position).at("row").get<int64_t>();
      const int64_t number = std::stoll(each.name.substr(each.name.rfind('-') + 1));
      int64_t end = options_.rows_of(number);
      if (!each.end.empty()) end = std::min(end, nlohmann::json::parse(each.end).at("row").get<int64_t>());
      open_.push_back({each, number, next, next, end});
    }
    since_ = std::chrono::steady_clock::now();
    return Status::OK();
  }

  Result<Poll> poll(const Budget& budget) override {
    Poll poll;
    bool left = options_.rows == kUnbounded;
    for (size_t tries = 0; tries < open_.size(); ++tries) {
      Open& open = open_[turn_++ % open_.size()];
      left = left || open.next < open.end;
      const int64_t rows = std::min({open.end - open.next, due(open), budget.rows, limits::kBatchRows});
      if (rows <= 0 || budget.holds(open.assignment.ordinal)) continue;
      return make(open, rows);
    }
    poll.kind = left ? Poll::Kind::kIdle : Poll::Kind::kEnd;
    return poll;
  }

  bool behind(int32_t ordinal) const override {
    return std::any_of(open_.begin(), open_.end(),
                       [&](const Open& open) { return open.assignment.ordinal == ordinal && due(open) > 0; });
  }

  std::vector<PartitionPosition> positions() const override {
    std::vector<PartitionPosition> positions;
    for (const Open& open : open_)
      positions.push_back({open.assignment.name, PositionOf(open.next), due(open)});
    return positions;
  }

 private:
  struct Open {
    Assignment assignment;
    int64_t partition = 0;
    int64_t first = 0;  // where this run began
    int64_t next = 0;
    int64_t end = 0;
  };

  // Rows that the rate allows by now.
  int64_t due(const Open& open) const {
    if (options_.rate <= 0) return open.end - open.next;
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - since_;
    const auto allowed =
        static_cast<int64_t>(elapsed.count() * options_.rate / static_cast<double>(options_.partitions));
    return std::min(open.end, open.first + allowed) - open.next;
  }

  Result<Poll> make(Open& open, int64_t count) {
    std::vector<int64_t> rows(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i) {
      rows[static_cast<size_t>(i)] = (open.next + i) * options_.partitions + open.partition;
    }
    arrow::ArrayVector columns;
    for (const auto& field : schema_->fields()) {
      FZ_ASSIGN(auto column, Column(field->name(), options_).make(rows, pool_));
      columns.push_back(std::move(column));
    }
    Poll poll;
    poll.kind = Poll::Kind::kRows;
    poll.columns = arrow::RecordBatch::Make(schema_, count, std::move(columns));
    poll.origin = {open.assignment.ordinal, open.next, open.next + count};
    open.next += count;
    return poll;
  }

  const Options options_;
  const std::shared_ptr<arrow::Schema> schema_;
  arrow::MemoryPool* const pool_;
  std::vector<Open> open_;
  size_t turn_ = 0;
  std::chrono::steady_clock::time_point since_;
};

class GeneratorEnumerator : public Enumerator {
 public:
  explicit GeneratorEnumerator(Options options) : options_(options) {}
  Result<std::vector<Partition>> discover(bool) override {
    std::vector<Partition> partitions;
    for (int64_t i = 0; i < options_.partitions; ++i) {
      const int64_t rows = options_.rows_of(i);
      partitions.push_back({NameOf(i), PositionOf(0), rows == kUnbounded ? "" : PositionOf(rows)});
    }
    return partitions;
  }

 private:
  const Options options_;
};

}  // namespace

std::shared_ptr<arrow::Schema> GeneratorSchema() {
  return arrow::schema(
      {arrow::field("id", arrow::int64(), false),
       arrow::field("at", arrow::timestamp(arrow::TimeUnit::MICRO, "UTC"), false),
       arrow::field("user", arrow::utf8(), false), arrow::field("page", arrow::utf8(), false),
       arrow::field("country", arrow::utf8(), false), arrow::field("device", arrow::utf8(), false),
       arrow::field("amount", arrow::float64(), false), arrow::field("quantity", arrow::int64(), false),
       arrow::field("flag", arrow::boolean(), false)});
}

Result<std::unique_ptr<Source>> MakeGeneratorSource(const nlohmann::json& options,
                                                    const std::shared_ptr<arrow::Schema>& schema,
                                                    arrow::MemoryPool* pool) {
  FZ_ASSIGN(const Options parsed, ParseOptions(options));
  for (const auto& field : schema->fields()) {
    const auto known = GeneratorSchema()->GetFieldByName(field->name());
    if (known == nullptr || !known->type()->Equals(field->type())) {
      return Error(ErrorKind::kConfig, "generator: no column " + field->ToString() +
                                           "\n  have: " + GeneratorSchema()->ToString());
    }
  }
  return std::make_unique<GeneratorSource>(parsed, schema, pool);
}

Result<std::unique_ptr<Enumerator>> MakeGeneratorEnumerator(const nlohmann::json& options) {
  FZ_ASSIGN(const Options parsed, ParseOptions(options));
  return std::make_unique<GeneratorEnumerator>(parsed);
}

}  // namespace frazil
