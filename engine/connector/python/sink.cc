#include "connector/python/sink.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "connector/python/writers.h"

namespace frazil {
namespace {

class PythonSink : public Sink {
 public:
  // The writers live as long as the sink.
  PythonSink(std::shared_ptr<WorkerWriters> writers, std::shared_ptr<WriteQueue> queue)
      : writers_(std::move(writers)), queue_(std::move(queue)) {}
  ~PythonSink() override { queue_->close(); }

  void begin(Epoch epoch) override { epoch_ = epoch; }

  Status write(const Batch& batch) override {
    if (batch.rows() == 0) return Status::OK();
    return queue_->put({VisibleColumns(batch), epoch_});
  }

  arrow::Future<Token> prepare(Epoch epoch) override { return queue_->end(epoch); }
  int64_t bytes() const override { return queue_->bytes(); }
  bool full() const override { return queue_->full(); }

 private:
  const std::shared_ptr<WorkerWriters> writers_;
  const std::shared_ptr<WriteQueue> queue_;
  Epoch epoch_ = 0;
};

}  // namespace

Result<std::unique_ptr<Sink>> MakePythonSink(const nlohmann::json& options, const SinkContext& context) {
  FZ_ASSIGN(auto writers, FindWriters(options.value("handle", int64_t{0})));
  auto queue = std::make_shared<WriteQueue>();
  FZ_TRY(writers->open(context.worker, queue));
  return std::make_unique<PythonSink>(std::move(writers), std::move(queue));
}

}  // namespace frazil
