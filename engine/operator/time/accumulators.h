#pragma once

#include <arrow/record_batch.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "aggregate/aggregate.h"
#include "base/batch.h"
#include "expr/expr.h"
#include "state/table.h"

namespace frazil {

// The aggregates of one operator: their accumulators stand behind each other in a row of a table. Immutable
// but for the count of bytes on the heap; one thread.
class Accumulators {
 public:
  // Reads the node's "aggregates": [{"name","fn","args":[EXPR],"filter":EXPR|null,"options"}], bound to rows.
  // `changes`: they can retract.
  static Result<Accumulators> OfRows(const nlohmann::json& aggregates, const arrow::Schema& input,
                                     bool changes = false);
  // The same aggregates over what save() of the former gave: fields of its saved_fields().
  static Result<Accumulators> OfSaved(const nlohmann::json& aggregates, const arrow::Schema& saved);

  int32_t width() const { return width_; }
  bool needs_order() const { return needs_order_; }
  // Bytes on the heap of accumulators that were made here.
  int64_t heap_bytes() const { return heap_bytes_; }

  void create(std::byte* payload) const;
  void destroy(std::byte* payload);

  // Adds row i of the batch to payloads[i]; null leaves the row out.
  Status add(const Batch& batch, std::span<std::byte* const> payloads, std::span<const OrderKey> order,
             arrow::MemoryPool* pool);
  // Adds row i to added[i] and takes it away again from taken[i], all rows that are added first.
  Status change(const Batch& batch, std::span<std::byte* const> added, std::span<std::byte* const> taken,
                arrow::MemoryPool* pool);
  // add, piece by piece: what is added of the rows, computed once; then some rows of it, payloads and
  // order having one for each of these.
  struct Inputs {
    std::vector<arrow::ArrayVector> arguments;               // of each aggregate
    std::vector<std::shared_ptr<arrow::BooleanArray>> kept;  // by its filter; null: all
  };
  Result<Inputs> evaluate(const Batch& batch, arrow::MemoryPool* pool) const;
  Status add(const Inputs& inputs, std::span<const int32_t> rows, std::span<std::byte* const> payloads,
             std::span<const OrderKey> order, arrow::MemoryPool* pool);
  // True if accumulators own nothing on the heap: the bytes of one may be copied, and finished.
  bool plain() const;

  // One column per aggregate, and back.
  Result<arrow::ArrayVector> save(std::span<std::byte* const> payloads, arrow::MemoryPool* pool) const;
  Status merge(std::span<std::byte* const> payloads, const arrow::ArrayVector& saved);
  // An error that is about one accumulator sets `failed` to its number.
  Result<arrow::ArrayVector> finish(std::span<std::byte* const> payloads, arrow::MemoryPool* pool,
                                    int64_t* failed) const;

  // Fields of save(), which know the types of the arguments; and of finish().
  arrow::FieldVector saved_fields() const;
  arrow::FieldVector result_fields() const;

  // Row of the last call's batch that an error is about, if it is about one.
  int64_t failed_row() const { return failed_; }

 private:
  struct Each {
    std::string name;
    std::unique_ptr<Aggregate> aggregate;
    arrow::DataTypeVector types;
    std::vector<BoundExpr> arguments;
    std::optional<BoundExpr> filter;
    int32_t offset = 0;
  };

  Status append(const nlohmann::json& spec, Each each, bool changes);
  Status done(Status status, const Each& each, const AggregateEffects& effects);
  Status add_to(const Each& each, const arrow::ArrayVector& inputs, const arrow::BooleanArray* kept,
                std::span<std::byte* const> payloads, std::span<const OrderKey> order, bool retract = false);

  std::vector<Each> all_;
  int32_t width_ = 0;
  bool needs_order_ = false;
  int64_t heap_bytes_ = 0;
  int64_t failed_ = -1;
};

}  // namespace frazil
