#pragma once

#include <arrow/memory_pool.h>
#include <arrow/record_batch.h>
#include <arrow/type.h>

#include <array>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <vector>

#include "base/batch.h"
#include "operator/time/row_time.h"
#include "state/held_rows.h"
#include "state/key_codec.h"

namespace frazil {

// Rows of a batch that a join gives, at least, however wide they are.
constexpr int64_t kJoinRowsMin = 256;

// What a join is told of one of its inputs, bound to it.
struct JoinInput {
  // Reads {"keys":["user"],"time":{"column","minus_us"}}.
  static Result<JoinInput> Make(const nlohmann::json& spec, const std::shared_ptr<arrow::Schema>& schema);

  arrow::ArrayVector keys_of(const arrow::RecordBatch& rows) const;
  // By row: true if none of its keys is null.
  std::vector<uint8_t> keyed(const arrow::RecordBatch& rows) const;

  std::shared_ptr<arrow::Schema> schema;
  std::vector<int> keys;  // columns
  arrow::DataTypeVector key_types;
  RowTime time;
};

// An input with the codec of its keys.
struct BoundInput {
  JoinInput input;
  KeyCodec keys;
};
// Both inputs of a join; reads {"left","right"}, see JoinInput. Errors (kConfig): keys of different types.
Result<std::array<BoundInput, 2>> BindJoinInputs(const nlohmann::json& spec,
                                                 const std::vector<std::shared_ptr<arrow::Schema>>& inputs);

// The rows that a join keeps of one input, by number. A number stays that of its row, wherever the row is
// moved, until the row is let go. Rows have the columns of the input, then their order mark. One thread.
class JoinSide {
 public:
  JoinSide(const std::shared_ptr<arrow::Schema>& input, arrow::MemoryPool* pool);

  // Columns of the rows.
  const std::shared_ptr<arrow::Schema>& schema() const { return rows_.schema(); }
  // A batch of the input with its order mark as the last column; zeros if it has none.
  Result<std::shared_ptr<arrow::RecordBatch>> with_order(const Batch& batch) const;

  // Keeps the rows `which` of a batch of schema(); gives their numbers, in the order of `which`.
  Result<std::vector<uint32_t>> hold(const std::shared_ptr<arrow::RecordBatch>& rows,
                                     std::span<const int32_t> which);
  Status release(uint32_t number);
  Result<std::shared_ptr<arrow::RecordBatch>> gather(std::span<const uint32_t> numbers) const;
  // True if the order mark of a row is behind that of another one.
  bool is_behind(uint32_t number, uint32_t other) const;

  // For a checkpoint: the numbers of rows that came since settle(), or of all.
  std::vector<uint32_t> unsaved() const;
  std::vector<uint32_t> all() const;
  // They are in a checkpoint now. Writes blocks together if most of their rows are gone, or if they are many
  // and small.
  Status settle();

  int64_t size() const { return rows_.size(); }
  int64_t row_bytes() const { return rows_.bytes(); }  // of the columns
  int64_t bytes() const;

 private:
  struct Slot {
    HeldRow row;
    bool held = false;
    bool unsaved = false;
  };

  const uint8_t* order_of(uint32_t number) const;
  Status pack();

  arrow::MemoryPool* const pool_;
  HeldRows rows_;
  int64_t holds_ = 0;              // blocks that came since they were written together
  std::vector<Slot> slots_;        // by number
  std::vector<uint32_t> free_;     // numbers
  std::vector<uint32_t> arrived_;  // since settle(); some are gone, and may be there twice
};

}  // namespace frazil
