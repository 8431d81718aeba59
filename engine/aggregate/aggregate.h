#pragma once

#include <arrow/array.h>
#include <arrow/memory_pool.h>
#include <arrow/type.h>

#include <compare>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string_view>

#include "base/status.h"

namespace frazil {

// Where a row stands in the one total order of rows. It says who wins a tie and how lists are ordered, so
// that neither depends on which row came first.
struct OrderKey {
  int64_t time;        // event time, microseconds
  uint64_t partition;  // hash of the name of source and partition
  int64_t position;    // in the partition
  auto operator<=>(const OrderKey&) const = default;
};
static_assert(sizeof(OrderKey) == 24);

// What is known of the rows given to Aggregate::add beside the arguments.
struct AggregateRows {
  std::span<const OrderKey> order;  // one a row; may be empty if needs_order() is false
};

// What a call did beside its result. Counts are added to, so one object may serve many calls.
struct AggregateEffects {
  int64_t heap_bytes = 0;  // bytes by which the heap of the accumulators grew (negative: shrank)
  int64_t failed = -1;     // on an error that is about one row's accumulator: the row's number in the call
};

// One aggregate function on given types with given options: a description without state of its own, so one
// object serves any number of groups and threads. The state of a group is an accumulator: width() bytes,
// aligned to 8, inside a row of the caller's table, which the caller may move by memcpy.
//
// All work is by batch: the accumulator of row i is accs[i] + offset, for all rows one offset. Null arguments
// are left out; a group without values gives null (counts give 0). The result does not depend on how rows
// were split over calls and accumulators nor on the order of add and merge. The exceptions are floats whose
// sums leave the range in which they are exact (see double_double.h).
//
// Errors in add, merge and finish end the pipeline: the result would be wrong. The accumulators of a failed
// call may have part of its rows; all that may be done with them is destroy. Texts name the function, not the
// column nor the group, which the caller puts in front (AggregateEffects::failed says which group).
class Aggregate {
 public:
  virtual ~Aggregate() = default;

  virtual int32_t width() const = 0;  // bytes, a multiple of 8
  // Makes an accumulator without values of uninitialised bytes. Allocates nothing.
  virtual void create(std::byte* acc) const = 0;
  // Frees what the accumulator owns on the heap. Its bytes are uninitialised then.
  virtual void destroy(std::byte* /*acc*/) const {}
  // Bytes the accumulator owns on the heap; 0 for those of plain bytes.
  virtual int64_t heap_bytes(const std::byte* /*acc*/) const { return 0; }
  // True if add needs AggregateRows::order.
  virtual bool needs_order() const { return false; }

  // Adds row i of the inputs (one array per argument, accs.size() rows each) to accs[i]. Where accs[i] is
  // null, the row is left out (a filter of the aggregate).
  virtual Status add(std::span<std::byte* const> accs, int32_t offset, const arrow::ArrayVector& inputs,
                     const AggregateRows& rows, AggregateEffects* effects) const = 0;

  // Takes row i of the inputs away from accs[i] again, which was added to it: the result is that of the rows
  // that are left. Only of aggregates made for changes. Errors: a value that is not there.
  virtual Status retract(std::span<std::byte* const> accs, int32_t offset, const arrow::ArrayVector& inputs,
                         AggregateEffects* effects) const;

  // Accumulators as a column, for the exchange and for checkpoints: fixed_size_binary or binary, no nulls.
  // Each value begins with a version byte.
  virtual std::shared_ptr<arrow::DataType> saved_type() const = 0;
  virtual Result<std::shared_ptr<arrow::Array>> save(std::span<const std::byte* const> accs, int32_t offset,
                                                     arrow::MemoryPool* pool) const = 0;
  // Adds saved[i] to into[i] (left out where that is null). The same accumulator may occur many times. What
  // was saved may come from a damaged file: an error of kind kState, never a crash.
  virtual Status merge(std::span<std::byte* const> into, int32_t offset, const arrow::Array& saved,
                       AggregateEffects* effects) const = 0;

  virtual std::shared_ptr<arrow::DataType> result_type() const = 0;
  virtual bool result_nullable() const { return true; }
  // The results, one per accumulator. Changes nothing: it may be called again after more rows.
  virtual Result<std::shared_ptr<arrow::Array>> finish(std::span<const std::byte* const> accs, int32_t offset,
                                                       arrow::MemoryPool* pool,
                                                       AggregateEffects* effects) const = 0;
};

// An entry of the table in registry.cc.
struct AggregateFunction;

// The aggregate of that name on arguments of these types. Options are an object; an unknown one is an error.
// `changes` makes one that can retract; its state has another form.
// Errors are the plan's: TypeMismatch, or kUser for an unknown function, number of arguments, or option, or
// one that cannot retract.
Result<std::unique_ptr<Aggregate>> MakeAggregate(std::string_view name, const arrow::DataTypeVector& inputs,
                                                 const nlohmann::json& options = nlohmann::json::object(),
                                                 bool changes = false);

}  // namespace frazil
