#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "operator/time/partial.h"
#include "state/key_codec.h"
#include "state/table.h"

namespace frazil {

// The first half of an aggregate over sessions: puts rows of one batch and key together that are at most the
// gap apart. Gives one row per key and such run, with the times of its first and last row.
//
// A row is late if it is behind its watermark by more than the lateness, whatever sessions there are: whether
// one that could take it is still open depends on how fast other partitions are read.
class SessionPartial : public Partial {
 public:
  // Reads what PartialSpec does, and "aggregates".
  static Result<std::unique_ptr<SessionPartial>> Make(const nlohmann::json& spec, const arrow::Schema& input,
                                                      const OperatorContext& context);

 private:
  SessionPartial(PartialSpec spec, Accumulators accumulators, KeyCodec keys, const OperatorContext& context)
      : Partial(std::move(spec), std::move(accumulators), context),
        keys_(std::move(keys)),
        encoded_(context.pool) {}

  Result<StateTable*> cleared_table();

  Status assign(const Batch& batch, const arrow::Int64Array& times) override;
  Status aggregate(const Batch& batch, const std::vector<OrderKey>& order, Output& out) override;
  Status sort_by_key();
  void cut();

  const KeyCodec keys_;
  // Of the batch at hand, kept for their memory.
  EncodedKeys encoded_;
  std::unique_ptr<StateTable> table_;  // of keys, with their numbers
  std::vector<std::byte*> of_rows_;    // what the table has of accepted rows; then the group of each row
  std::vector<uint8_t> inserted_;      // by place in accepted_
  std::vector<int32_t> key_, next_;    // number of the key by place in accepted_; place in sorted_ by key
  std::vector<int64_t> time_;          // by row
  std::vector<int32_t> sorted_;        // accepted rows by key, then time
  std::vector<int32_t> begins_;        // of each key in sorted_, and the end
  std::vector<int32_t> run_;           // by place in sorted_
  std::vector<int32_t> samples_;       // a row of each run
  std::vector<int64_t> first_, last_;
  std::vector<std::byte*> groups_;
  std::vector<uint64_t> hashes_;
};

}  // namespace frazil
