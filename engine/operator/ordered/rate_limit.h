#pragma once

#include <atomic>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "operator/batch_function.h"
#include "operator/operator.h"
#include "operator/ordered/expiring_keys.h"
#include "operator/ordered/keyed_state.h"
#include "operator/time/row_time.h"

namespace frazil {

// Keeps a row if fewer than `limit` rows of its key were kept in the time `per` before it; a row that is just
// `per` before it does not count. The others are set aside. Behind a Reorder.
//
// State is the times of the rows of each key that were kept lately, at most `limit`; a key is forgotten when
// no row to come can see them.
//
// As a checkpoint the state is rows of (hash, key, kept): kept is a list of times, us.
class RateLimit : public Operator {
 public:
  // Reads {"keys","time","limit","per_us"}.
  static Result<std::unique_ptr<RateLimit>> Make(const nlohmann::json& spec, const arrow::Schema& input,
                                                 const OperatorContext& context);
  ~RateLimit() override;

  Result<Progress> process(Batch batch, Output& out) override;
  Result<Progress> advance(int port, Timestamp to, Output& out) override;
  void set_aside(Output* aside) override { aside_ = aside; }

  bool stateful() const override { return true; }
  Status freeze(bool full) override;
  Result<bool> save(int64_t rows_max, StateRows* rows) override;
  Status restore(const std::shared_ptr<arrow::RecordBatch>& rows) override;
  int64_t state_bytes() const override { return bytes_.load(std::memory_order_relaxed); }

 private:
  // Payload of the table: a ring of times, the oldest first.
  struct Kept {
    Timestamp* times;
    int64_t capacity;
    int64_t first;
    int64_t count;

    Timestamp& at(int64_t i) { return times[(first + i) % capacity]; }
  };

  RateLimit(KeyColumns keys, RowTime time, int64_t limit, int64_t per, std::unique_ptr<StateTable> table,
            const OperatorContext& context)
      : keys_(std::move(keys)),
        time_(time),
        limit_(limit),
        per_(per),
        pool_(context.pool),
        kept_(context.kept()),
        table_(std::move(table)),
        expiring_(per),
        encoded_(context.pool) {}

  static Kept* KeptOf(std::byte* payload) { return reinterpret_cast<Kept*>(payload); }
  // False if the row is one too many.
  Result<bool> take(Kept* kept, Timestamp time);
  Status grow(Kept* kept, int64_t capacity);
  void free(Kept* kept);
  Status save_rows(const std::vector<std::byte*>& payloads);
  Timestamp over(std::byte* payload) const;
  void count_bytes();

  const KeyColumns keys_;
  const RowTime time_;
  const int64_t limit_;
  const int64_t per_;  // us
  arrow::MemoryPool* const pool_;
  arrow::MemoryPool* const kept_;  // of what stays
  std::unique_ptr<StateTable> table_;
  ExpiringKeys expiring_;
  int64_t ring_bytes_ = 0;
  Output* aside_ = nullptr;
  StateRows saved_;  // made, and not yet given
  EncodedKeys encoded_;
  std::atomic<int64_t> bytes_{0};
};

}  // namespace frazil
