#pragma once

#include <arrow/api.h>

#include <atomic>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "operator/batch_function.h"
#include "operator/changes/kept_values.h"
#include "operator/operator.h"
#include "operator/ordered/keyed_state.h"

namespace frazil {

// Hidden column of a source of changes: where in the database's log an event stands (int64, may be null). It
// only has to rise over the events of one key.
constexpr const char* kLogPositionColumn = "__fz_log_position";

// The input without the hidden column.
Result<std::shared_ptr<arrow::Schema>> SentSchema(const arrow::Schema& input);

// Puts the newest value of its key in the place of one that the database did not send, because it had not
// changed (PostgreSQL's TOAST). Such values are known by a text that stands for them. Behind an exchange by
// the key, and the events of a key are in their order.
//
// Of each key the values of these columns are kept, until it is deleted; of a deleted key, where in the log
// that was. An event before that place, which a connector that was restarted writes again, has nothing to
// take its values from: it is a delete, as the one that is to come once more. Any other event whose values
// are not known is an error. A truncate (truncate.h) passes by, and what is kept stays: the next event of a
// key that was there is an insert, which has all values, or one of before that comes again.
class UnsentValues : public Operator {
 public:
  // Reads {"keys": [...], "columns": [...], "stand_ins": [...]}: columns of text or bytes, and the texts that
  // stand for values.
  static Result<std::unique_ptr<UnsentValues>> Make(const nlohmann::json& spec,
                                                    const std::shared_ptr<arrow::Schema>& input,
                                                    const OperatorContext& context);

  Result<Progress> process(Batch batch, Output& out) override;
  Result<Progress> resume(Output& out) override { return emit(out); }

  bool stateful() const override { return true; }
  Status freeze(bool full) override { return kept_->freeze(full); }
  Result<bool> save(int64_t rows_max, StateRows* rows) override { return kept_->save(rows_max, rows); }
  Status restore(const std::shared_ptr<arrow::RecordBatch>& rows) override;
  int64_t state_bytes() const override { return bytes_.load(std::memory_order_relaxed); }

 private:
  struct Column {
    int place;
    bool large;  // offsets of 64 bits
    bool nullable;
    std::shared_ptr<arrow::Array> given;            // of the batch at hand
    std::unique_ptr<arrow::ArrayBuilder> filled{};  // of the rows at hand, from the first that was filled on
  };

  UnsentValues(KeyColumns keys, std::unique_ptr<KeptValues> kept, const OperatorContext& context)
      : keys_(std::move(keys)), kept_(std::move(kept)), pool_(context.pool), encoded_(context.pool) {}

  Result<Progress> emit(Output& out);
  Result<Batch> fill();
  Status take(int64_t row);
  Status give(int64_t row);
  Status start(Column* column, int64_t row);
  Status make_delete(int64_t row);
  Result<Batch> assemble(int64_t end);
  bool stands_in(std::string_view value) const;
  KeptValues::Value nothing(const Column& column) const;
  int64_t position(int64_t row) const;
  Status unknown(int64_t row, size_t column) const;

  const KeyColumns keys_;
  std::unique_ptr<KeptValues> kept_;
  arrow::MemoryPool* const pool_;
  std::shared_ptr<arrow::Schema> input_, output_;
  std::vector<Column> columns_;
  std::vector<std::string> key_names_, stand_ins_;
  int position_place_ = -1;
  // The batch at hand: rows before begin_ are given.
  Batch batch_;
  EncodedKeys encoded_;
  std::vector<uint8_t> kinds_;
  bool other_kinds_ = false;
  int64_t begin_ = 0;
  int64_t filled_bytes_ = 0;
  std::vector<KeptValues::Value> values_;  // of the row at hand
  std::vector<uint8_t> unsent_;
  std::atomic<int64_t> bytes_{0};
};

}  // namespace frazil
