#include "connector/iceberg/sink.h"

#include <arrow/util/future.h>

#include <utility>
#include <vector>

#include "connector/iceberg/conform.h"
#include "connector/iceberg/data_writer.h"
#include "connector/iceberg/file_entry.h"
#include "connector/iceberg/options.h"
#include "connector/iceberg/rest_columns.h"
#include "connector/iceberg/rest_sink.h"
#include "connector/iceberg/route_sink.h"
#include "connector/iceberg/table_sink.h"
#include "connector/iceberg/upsert_sink.h"

namespace frazil::iceberg {
namespace {

class IcebergSink : public TableSink {
 public:
  IcebergSink(std::unique_ptr<DataWriter> writer, arrow::MemoryPool* pool)
      : writer_(std::move(writer)),
        pool_(pool),
        conformer_(writer_->options().schema, pool, writer_->options().left_out,
                   writer_->options().narrowed) {}

  void begin(Epoch epoch) override { writer_->begin(epoch); }

  Status write(const Batch& batch) override {
    if (batch.rows() == 0) return Status::OK();
    FZ_ASSIGN(const auto rows, conformer_.Conform(batch.columns));
    return writer_->write(rows);
  }

  arrow::Future<Token> prepare(Epoch epoch) override {
    if (const Status status = writer_->finish(epoch); !status.ok()) {
      return arrow::Future<Token>::MakeFinished(status);
    }
    auto files = writer_->take_closed();
    if (files.empty()) return arrow::Future<Token>::MakeFinished(Token());
    return arrow::All(std::move(files))
        .Then([table = writer_->options().table_uuid](
                  const std::vector<Result<ClosedFile>>& all) -> Result<Token> {
          FZ_ASSIGN(const auto entries, EntriesOf(all));
          return TokenOf(entries, table);
        });
  }

  int64_t bytes() const override { return writer_->bytes(); }
  DataWriter& writer() override { return *writer_; }

  Status alter(const WriterOptions& options) override {
    FZ_TRY(writer_->alter(options));
    conformer_ =
        Conformer(writer_->options().schema, pool_, writer_->options().left_out, writer_->options().narrowed);
    return Status::OK();
  }

 private:
  std::unique_ptr<DataWriter> writer_;
  arrow::MemoryPool* pool_;
  Conformer conformer_;
};

}  // namespace

Result<std::unique_ptr<TableSink>> MakeTableSink(const nlohmann::json& options, const SinkContext& context) {
  FZ_ASSIGN(auto parsed, ParseWriterOptions(options));
  if (!parsed.key.empty()) return MakeUpsertSink(std::move(parsed), context);
  FZ_ASSIGN(auto writer, DataWriter::Make(std::move(parsed), context));
  return std::make_unique<IcebergSink>(std::move(writer), context.pool);
}

Result<std::unique_ptr<Sink>> MakeIcebergSink(const nlohmann::json& options, const SinkContext& context) {
  if (options.is_object() && options.contains("route")) return MakeRouteSink(options, context);
  FZ_ASSIGN(auto policies, ParseRestPolicies(options));
  if (policies != nullptr) return MakeRestSink(options, std::move(policies), context);
  return MakeTableSink(options, context);
}

}  // namespace frazil::iceberg
