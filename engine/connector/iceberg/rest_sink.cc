#include "connector/iceberg/rest_sink.h"

#include <arrow/util/future.h>

#include <atomic>
#include <string>
#include <utility>
#include <vector>

#include "connector/iceberg/table_sink.h"
#include "connector/iceberg/waiting_rows.h"

namespace frazil::iceberg {
namespace {

constexpr const char* kTable = "";  // there is one

class RestSink : public Sink {
 public:
  RestSink(std::unique_ptr<TableSink> table, std::unique_ptr<RestColumns> columns,
           std::vector<std::string> key, const SinkContext& context)
      : table_(std::move(table)),
        columns_(std::move(columns)),
        key_(std::move(key)),
        context_(context),
        waiting_(context.worker, context.state) {}

  void begin(Epoch epoch) override { table_->begin(epoch); }

  Status write(const Batch& batch) override {
    if (batch.rows() == 0) return Status::OK();
    FZ_ASSIGN(auto rows, expand(batch.columns));
    if (rows != nullptr && !waiting_.waits(kTable)) {
      Batch expanded = batch;
      expanded.columns = std::move(rows);
      return table_->write(expanded);
    }
    waiting_.add(kTable, batch.columns);
    count();
    return Status::OK();
  }

  arrow::Future<Token> prepare(Epoch epoch) override { return table_->prepare(epoch); }
  int64_t bytes() const override { return table_->bytes() + waiting_bytes_.load(std::memory_order_relaxed); }
  bool full() const override { return waiting_.bytes() > kRestWaitingBytes; }

  Status open_table(const std::string& /*table*/, const nlohmann::json& options) override {
    FZ_ASSIGN(const auto parsed, ParseWriterOptions(options));
    FZ_TRY(table_->alter(parsed));
    FZ_TRY(columns_->answer(*table_->writer().options().schema, options));
    for (auto& rows : waiting_.take(kTable)) FZ_TRY(write(Batch{std::move(rows)}));
    count();
    return Status::OK();
  }

  bool stateful() const override { return true; }
  Status freeze(bool full) override {
    waiting_.freeze(full);
    saving_ = table_->stateful();
    return saving_ ? table_->freeze(full) : Status::OK();
  }
  Result<bool> save(int64_t rows_max, arrow::RecordBatchVector* rows) override {
    if (!saving_) return waiting_.save(rows_max, rows);
    FZ_ASSIGN(const bool whole, table_->save(rows_max, rows));
    saving_ = !whole;
    return false;
  }
  Status restore(const std::shared_ptr<arrow::RecordBatch>& rows) override {
    if (!WaitingRows::IsSaved(*rows->schema())) return table_->restore(rows);
    FZ_TRY(waiting_.restore(
        *rows, [this](const auto& table, const auto& batch) -> Result<std::shared_ptr<arrow::RecordBatch>> {
          FZ_ASSIGN(auto own, WaitingRowsOf(context_, table, key_, batch));
          if (own != nullptr) FZ_TRY(expand(own).status());  // what they need is asked for at once
          return own;
        }));
    if (!waiting_.tables().empty() && context_.want_table) context_.want_table(kTable, nullptr);
    return Status::OK();
  }
  int64_t state_bytes() const override {
    return table_->state_bytes() + waiting_bytes_.load(std::memory_order_relaxed);
  }

 private:
  // The rows with fields in columns of their own; null if they need some that the table does not have. These
  // have been asked for.
  Result<std::shared_ptr<arrow::RecordBatch>> expand(const std::shared_ptr<arrow::RecordBatch>& rows) {
    WantedColumns wanted;
    FZ_ASSIGN(auto expanded, columns_->unpack(rows, &wanted));
    if (!wanted.empty() && context_.want_table) context_.want_table(kTable, wanted);
    return expanded;
  }
  void count() { waiting_bytes_.store(waiting_.bytes(), std::memory_order_relaxed); }

  std::unique_ptr<TableSink> table_;
  std::unique_ptr<RestColumns> columns_;
  const std::vector<std::string> key_;
  SinkContext context_;
  WaitingRows waiting_;
  bool saving_ = false;  // the table's own state is
  std::atomic<int64_t> waiting_bytes_{0};
};

}  // namespace

Result<std::unique_ptr<Sink>> MakeRestSink(const nlohmann::json& options,
                                           std::shared_ptr<const RestPolicies> policies,
                                           const SinkContext& context) {
  FZ_ASSIGN(auto table, MakeTableSink(options, context));
  const WriterOptions& parsed = table->writer().options();
  auto columns = std::make_unique<RestColumns>(std::move(policies), parsed.schema.get(), parsed.deleted,
                                               !parsed.key.empty() && parsed.deleted.empty(), context.pool);
  auto key = parsed.key;
  return std::make_unique<RestSink>(std::move(table), std::move(columns), std::move(key), context);
}

}  // namespace frazil::iceberg
