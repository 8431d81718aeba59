#pragma once

#include <atomic>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>
#include <vector>

#include "operator/batch_function.h"
#include "operator/operator.h"
#include "operator/ordered/expiring_keys.h"
#include "operator/ordered/keyed_state.h"
#include "operator/time/accumulators.h"
#include "operator/time/row_time.h"
#include "operator/time/window.h"

namespace frazil {

// The columns of the input, then one per aggregate.
Result<std::shared_ptr<arrow::Schema>> RunningSchema(const nlohmann::json& spec, const arrow::Schema& input);

// Gives every row on with the aggregates of all rows of its key up to and with it, in the order of their
// time. Behind a Reorder. With a time to live a row does not see what came before, if no row of the key is
// that near before it; a key is forgotten when no row to come can see it.
//
// As a checkpoint the state is rows of (hash, key, touched, accumulators): the time of the key's last row,
// us.
class Running : public Operator {
 public:
  // Reads {"keys","time","aggregates","ttl_us": n | null}.
  static Result<std::unique_ptr<Running>> Make(const nlohmann::json& spec, const arrow::Schema& input,
                                               const OperatorContext& context);
  ~Running() override;

  Result<Progress> process(Batch batch, Output& out) override;
  Result<Progress> advance(int port, Timestamp to, Output& out) override;

  bool stateful() const override { return true; }
  Status freeze(bool full) override;
  Result<bool> save(int64_t rows_max, StateRows* rows) override;
  Status restore(const std::shared_ptr<arrow::RecordBatch>& rows) override;
  int64_t state_bytes() const override { return bytes_.load(std::memory_order_relaxed); }

 private:
  // Payload of the table; the accumulators stand behind it.
  struct Header {
    Timestamp touched;
    int64_t seen;  // rows of it in the batch at hand
  };

  Running(KeyColumns keys, RowTime time, Accumulators accumulators, const OperatorContext& context)
      : keys_(std::move(keys)),
        time_(time),
        accumulators_(std::move(accumulators)),
        pool_(context.pool),
        kept_(context.kept()),
        encoded_(context.pool) {}

  static Header* HeaderOf(std::byte* payload) { return reinterpret_cast<Header*>(payload); }
  static std::byte* AccumulatorsOf(std::byte* payload) { return payload + sizeof(Header); }

  Status find(const Batch& batch, const std::vector<Timestamp>& times);
  std::vector<std::vector<int32_t>> rounds() const;
  Result<arrow::ArrayVector> results(const Batch& batch, const std::vector<Timestamp>& times);
  Result<arrow::ArrayVector> finish(const std::vector<std::byte*>& accumulators,
                                    const std::vector<int32_t>& rows, const std::vector<Timestamp>& times);
  void touch(std::byte* payload, Timestamp time);
  Status save_rows(const std::vector<std::byte*>& payloads);
  Timestamp over(std::byte* payload) const { return Later(HeaderOf(payload)->touched, *ttl_); }
  void count_bytes();

  const KeyColumns keys_;
  const RowTime time_;
  Accumulators accumulators_;
  std::optional<int64_t> ttl_;  // us
  arrow::MemoryPool* const pool_;
  arrow::MemoryPool* const kept_;  // of what stays
  std::shared_ptr<arrow::Schema> output_, saved_schema_;
  std::unique_ptr<StateTable> table_;
  std::optional<ExpiringKeys> expiring_;  // with a ttl
  StateRows saved_;                       // made, and not yet given
  // Of the batch at hand.
  EncodedKeys encoded_;
  std::vector<std::byte*> payloads_;
  std::vector<uint8_t> inserted_;
  std::atomic<int64_t> bytes_{0};
};

}  // namespace frazil
