#include "connector/memory/sink.h"

#include <arrow/io/memory.h>
#include <arrow/ipc/writer.h>
#include <arrow/util/base64.h>

#include <utility>

#include "base/limits.h"

namespace frazil {
namespace {

class MemorySink : public Sink {
 public:
  explicit MemorySink(const SinkContext& context) : context_(context) {}

  void begin(Epoch) override {}

  Status write(const Batch& batch) override {
    if (batch.rows() == 0) return Status::OK();
    const auto columns = VisibleColumns(batch);
    if (writer_ == nullptr) {
      FZ_ASSIGN(output_, arrow::io::BufferOutputStream::Create(4096, context_.pool));
      auto options = arrow::ipc::IpcWriteOptions::Defaults();
      options.memory_pool = context_.pool;
      FZ_ASSIGN(writer_, arrow::ipc::MakeStreamWriter(output_, columns->schema(), options));
    }
    FZ_TRY(writer_->WriteRecordBatch(*columns));
    rows_ += batch.rows();
    if (bytes() <= limits::kMemorySinkBytes) return Status::OK();
    return Error(ErrorKind::kUser, "writing to memory: the rows of one checkpoint take more than " +
                                       std::to_string(limits::kMemorySinkBytes) +
                                       " bytes; checkpoint more often, or write to files or a table");
  }

  arrow::Future<Token> prepare(Epoch) override { return arrow::Future<Token>::MakeFinished(Finish()); }

  int64_t bytes() const override { return output_ == nullptr ? 0 : output_->Tell().ValueOr(0); }

 private:
  Result<Token> Finish() {
    if (rows_ == 0) return Token();
    FZ_TRY(writer_->Close());
    writer_.reset();
    FZ_ASSIGN(const auto data, std::exchange(output_, nullptr)->Finish());
    const nlohmann::json token = {{"v", 1},
                                  {"rows", std::exchange(rows_, 0)},
                                  {"ipc", arrow::util::base64_encode(std::string_view(*data))}};
    return token.dump();
  }

  SinkContext context_;
  std::shared_ptr<arrow::io::BufferOutputStream> output_;
  std::shared_ptr<arrow::ipc::RecordBatchWriter> writer_;
  int64_t rows_ = 0;
};

}  // namespace

Result<std::unique_ptr<Sink>> MakeMemorySink(const nlohmann::json&, const SinkContext& context) {
  return std::make_unique<MemorySink>(context);
}

}  // namespace frazil
