#pragma once

#include <arrow/type.h>

#include <atomic>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "operator/batch_function.h"
#include "operator/operator.h"
#include "state/held_rows.h"
#include "state/key_codec.h"

namespace frazil {

// Gives changes less often: of each row what changed of it in all, when the watermark passes a multiple of
// `every` (and of what is left when it comes to its end). A row that came and went in between is never given.
// Rows that go are given before those that come, so that a reader never sees two that exclude each other. It
// stands behind an exchange by `keys`, which are a part of what tells rows apart.
//
// As a checkpoint the state is rows of (hash, key, given, before, after): of each row that has changed what
// it was and is, null if it was not there or is no more, hashed by `keys`; both null: it came and went. Of
// one row (key) the last counts. `given` is for how many multiples of `every` all was given when it was
// saved; rows with less than the most are forgotten. One more row, for every worker, has only that.
class HoldChanges : public Operator {
 public:
  // Reads {"keys":["user"],"row":["user","window_start"],"every_us"}; `keys` begin `row`. The kind of a row
  // is the last column of the input.
  static Result<std::unique_ptr<HoldChanges>> Make(const nlohmann::json& spec,
                                                   const std::shared_ptr<arrow::Schema>& input,
                                                   const OperatorContext& context);

  Result<Progress> process(Batch batch, Output& out) override;
  Result<Progress> resume(Output& out) override { return give(out); }
  Result<Progress> advance(int port, Timestamp to, Output& out) override;

  bool stateful() const override { return true; }
  Status restore(const std::shared_ptr<arrow::RecordBatch>& rows) override;
  int64_t state_bytes() const override { return bytes_.load(std::memory_order_relaxed); }

 private:
  // What has become of a row since changes were given last.
  struct Change {
    std::optional<HeldRow> before, after;
    uint64_t hash = 0;
    bool is_new = true;  // since the last checkpoint
  };
  using Changes =
      std::map<std::string, Change, std::less<>>;  // by encoded row: in an order that is always the same

  HoldChanges(int64_t every, std::vector<int> row, size_t keys, KeyCodec codec,
              const std::shared_ptr<arrow::Schema>& input, const OperatorContext& context);

  Result<StateRows> state_changes(bool full) override;
  Status note(RowKind kind, HeldRow row, bool first, Change* change);
  Status release(std::optional<HeldRow>* row);
  Result<Progress> give(Output& out);
  std::vector<const Change*> next_to_give();
  Status forget();
  Status compact();
  Result<std::shared_ptr<arrow::RecordBatch>> gathered(const std::vector<HeldRow>& rows) const;
  Result<std::shared_ptr<arrow::StructArray>> saved_rows(const std::vector<Changes::const_iterator>& changes,
                                                         std::optional<HeldRow> Change::*side) const;
  Result<std::shared_ptr<arrow::RecordBatch>> saved(
      const std::vector<Changes::const_iterator>& changes) const;
  Result<std::vector<std::optional<HeldRow>>> held_again(const arrow::StructArray& rows);
  void count_bytes();

  const int64_t every_;         // us
  const std::vector<int> row_;  // columns that tell rows apart
  const size_t keys_;           // how many of them the exchange goes by
  const KeyCodec codec_;
  const std::shared_ptr<arrow::Schema> output_;
  std::shared_ptr<arrow::Schema> saved_schema_;
  arrow::MemoryPool* const pool_;
  EncodedKeys encoded_;
  HeldRows rows_;  // without their kinds
  Changes changes_;
  int64_t key_bytes_ = 0;  // of changes_
  Timestamp watermark_ = kWatermarkMin;
  int64_t given_ = kWatermarkMin;  // multiples of every_ up to which all was given
  enum class Giving { kNo, kGone, kThere } giving_ = Giving::kNo;
  Changes::const_iterator at_;  // of what is being given
  std::atomic<int64_t> bytes_{0};
};

}  // namespace frazil
