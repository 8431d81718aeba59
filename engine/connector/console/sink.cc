#include "connector/console/sink.h"

#include <algorithm>
#include <utility>

#include "base/limits.h"
#include "format/json_encode.h"

namespace frazil {
namespace {

class ConsoleSink : public Sink {
 public:
  void begin(Epoch) override {}

  Status write(const Batch& batch) override {
    int64_t row = 0;
    const auto columns = batch.rows() == 0 ? nullptr : VisibleColumns(batch);
    // Row by row, so that one batch of long rows cannot pass the bound by much.
    while (row < batch.rows() && shown_ < limits::kConsoleRows &&
           static_cast<int64_t>(lines_.size()) < limits::kConsoleBytes) {
      FZ_TRY(AppendJsonLines(*columns->Slice(row, 1), &lines_));
      ++row;
      ++shown_;
    }
    rows_ += batch.rows();
    return Status::OK();
  }

  arrow::Future<Token> prepare(Epoch) override {
    if (rows_ == 0) return arrow::Future<Token>::MakeFinished(Token());
    const nlohmann::json token = {
        {"v", 1}, {"rows", rows_}, {"lines", std::exchange(lines_, {})}, {"more", rows_ - shown_}};
    rows_ = shown_ = 0;
    return arrow::Future<Token>::MakeFinished(token.dump());
  }

  int64_t bytes() const override { return static_cast<int64_t>(lines_.capacity()); }

 private:
  std::string lines_;
  int64_t rows_ = 0;
  int64_t shown_ = 0;
};

}  // namespace

Result<std::unique_ptr<Sink>> MakeConsoleSink(const nlohmann::json&, const SinkContext&) {
  return std::make_unique<ConsoleSink>();
}

}  // namespace frazil
