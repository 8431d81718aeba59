#include "format/message_reader.h"

#include "base/limits.h"

namespace frazil {
namespace {

class MessageDecoder : public Decoder {
 public:
  explicit MessageDecoder(std::unique_ptr<MessageReader> messages) : messages_(std::move(messages)) {}

  Result<bool> ready(const RawBatch& raw) override { return messages_->ready(raw); }
  bool may_wait() const override { return messages_->may_wait(); }
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
  std::unique_ptr<MessageReader> messages_;
};

}  // namespace

std::unique_ptr<Decoder> MakeMessageDecoder(std::unique_ptr<MessageReader> messages) {
  return std::make_unique<MessageDecoder>(std::move(messages));
}

RejectedRow RejectedMessage(const RawBatch& raw, int64_t i, const JsonFailure& failure) {
  RejectedRow row;
  row.place = raw.place;
  row.position = raw.position.empty() ? i : raw.position[static_cast<size_t>(i)];
  row.column = failure.column;
  row.reason =
      failure.path.empty() ? failure.reason : "at " + failure.column + failure.path + ": " + failure.reason;
  if (raw.length[static_cast<size_t>(i)] == RawBatch::kNullRow) return row;
  const std::string_view bytes = raw.row(i);
  row.raw.assign(bytes.substr(0, static_cast<size_t>(limits::kRejectedRawBytes)));
  row.raw_bytes = static_cast<int64_t>(bytes.size());
  return row;
}

}  // namespace frazil
