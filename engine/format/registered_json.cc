#include "format/registered_json.h"

#include <algorithm>

#include "format/json.h"
#include "format/message_reader.h"
#include "format/schema_board.h"

namespace frazil {
namespace {

class RegisteredJsonDecoder : public Decoder {
 public:
  explicit RegisteredJsonDecoder(std::unique_ptr<Decoder> json) : json_(std::move(json)) {}

  Result<Decoded> decode(const RawBatch& raw) override {
    std::vector<std::pair<int64_t, RejectedRow>> rejected;
    const auto reject = [&](int64_t row, const std::string& column, const std::string& reason) {
      JsonFailure failure;
      failure.column = column;
      failure.reason = reason;
      rejected.emplace_back(row, RejectedMessage(raw, row, failure));
    };
    RawBatch objects;  // line after line, as they are read fastest; positions are numbers of messages
    std::string text;
    for (int64_t i = 0; i < raw.rows(); ++i) {
      int32_t id = 0;
      std::string_view object;
      if (raw.length[static_cast<size_t>(i)] == RawBatch::kNullRow) {
        reject(i, "", "the row has no value (a tombstone)");
      } else if (!TakeSchemaId(raw.row(i), &id, &object)) {
        reject(i, "", NoSchemaId(raw.row(i)));
      } else {
        objects.offset.push_back(static_cast<uint32_t>(text.size()));
        objects.length.push_back(static_cast<uint32_t>(object.size()));
        objects.position.push_back(i);
        text += object;
        text += '\n';
      }
    }
    text.append(kRawPadding, ' ');
    objects.data = arrow::Buffer::FromString(std::move(text));
    FZ_ASSIGN(Decoded out, json_->decode(objects));
    for (const RejectedRow& row : out.rejected) reject(row.position, row.column, row.reason);
    std::vector<int32_t> kept;
    for (int64_t i = 0; i < out.rows->num_rows(); ++i) {
      const auto at = static_cast<size_t>(out.kept.empty() ? i : out.kept[static_cast<size_t>(i)]);
      kept.push_back(static_cast<int32_t>(objects.position[at]));
    }
    out.kept.clear();
    if (!rejected.empty()) out.kept = std::move(kept);
    out.rejected.clear();
    std::stable_sort(rejected.begin(), rejected.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    for (auto& [row, each] : rejected) out.rejected.push_back(std::move(each));
    return out;
  }

 private:
  std::unique_ptr<Decoder> json_;
};

}  // namespace

Result<std::unique_ptr<Decoder>> MakeRegisteredJsonDecoder(std::shared_ptr<arrow::Schema> schema,
                                                           arrow::MemoryPool* pool) {
  FZ_ASSIGN(auto json, MakeJsonDecoder(std::move(schema), JsonOptions(), pool));
  return std::make_unique<RegisteredJsonDecoder>(std::move(json));
}

}  // namespace frazil
