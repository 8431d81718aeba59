#include "format/avro.h"

#include "format/avro_messages.h"

namespace frazil {
namespace {

class AvroDecoder : public Decoder {
 public:
  explicit AvroDecoder(std::unique_ptr<AvroMessages> messages) : messages_(std::move(messages)) {}

  Result<bool> ready(const RawBatch& raw) override { return messages_->ready(raw); }
  bool may_wait() const override { return true; }
  std::string condition() const override { return messages_->condition(); }

  Result<Decoded> decode(const RawBatch& raw) override {
    Decoded out;
    bool gaps = false;
    FZ_TRY(messages_->Begin(raw.rows()));
    for (int64_t i = 0; i < raw.rows(); ++i) {
      JsonFailure failure;
      bool good = false;
      if (raw.length[static_cast<size_t>(i)] == RawBatch::kNullRow) {
        failure.reason = "the row has no value (a tombstone)";
      } else {
        FZ_ASSIGN(good, messages_->Read(raw.row(i), failure));
      }
      if (good) [[likely]] {
        if (gaps) out.kept.push_back(static_cast<int32_t>(i));
        continue;
      }
      // Kept rows are listed from the first gap on; before it the list would only say "all".
      for (int64_t before = 0; !gaps && before < i; ++before)
        out.kept.push_back(static_cast<int32_t>(before));
      gaps = true;
      out.rejected.push_back(RejectedMessage(raw, i, failure));
    }
    FZ_ASSIGN(out.rows, messages_->Finish());
    return out;
  }

 private:
  std::unique_ptr<AvroMessages> messages_;
};

}  // namespace

Result<std::unique_ptr<Decoder>> MakeAvroDecoder(std::shared_ptr<arrow::Schema> schema, std::string registry,
                                                 SchemaDesk desk, arrow::MemoryPool* pool) {
  FZ_ASSIGN(auto messages, AvroMessages::Make(std::move(schema), std::move(registry), std::move(desk), pool));
  return std::make_unique<AvroDecoder>(std::move(messages));
}

}  // namespace frazil
