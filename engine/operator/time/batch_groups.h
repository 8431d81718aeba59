#pragma once

#include <arrow/array.h>
#include <arrow/buffer.h>

#include <array>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "base/batch.h"
#include "state/key_codec.h"
#include "state/table.h"

namespace frazil {

// The rows of one batch by key, pane and floor (see WindowPartial), each group with a payload. Where batches
// have hardly two rows of a group, rows are not grouped but each is a group of its own: grouping would cost
// more than it saves behind it. Nothing but memory is kept between batches. One thread; errors are those of
// KeyCodec::encode, and no memory.
class BatchGroups {
 public:
  static Result<BatchGroups> Make(arrow::DataTypeVector key_types, int32_t payload_bytes,
                                  arrow::MemoryPool* pool);

  // Groups some rows of a batch, given in rising order; keys, panes and floors are those of all its rows.
  // What the calls below give is valid until the next call.
  Status group(const arrow::ArrayVector& keys, std::span<const Timestamp> panes,
               std::span<const Timestamp> floors, std::span<const int32_t> rows);

  // The payload of each row's group; null for rows that were left out.
  std::span<std::byte* const> of_rows() const { return of_rows_; }
  // The payloads of all groups, uninitialised by group(); a row of each, and the hash of its key. Groups of a
  // pane and floor stand together.
  std::span<std::byte* const> payloads() const { return groups_; }
  std::span<const int32_t> rows() const { return row_of_; }
  std::span<const uint64_t> hashes() const { return hashes_; }

 private:
  // Rows of one pane and floor.
  struct Place {
    std::pair<Timestamp, Timestamp> name;
    std::unique_ptr<StateTable> table;
    std::vector<int32_t> rows;
  };

  BatchGroups(KeyCodec keys, KeyCodec wide, int32_t payload_bytes, arrow::MemoryPool* pool)
      : keys_(std::move(keys)),
        wide_(std::move(wide)),
        payload_bytes_(payload_bytes),
        pool_(pool),
        encoded_(pool),
        wide_encoded_(pool) {}

  Result<bool> find_places(std::span<const Timestamp> panes, std::span<const Timestamp> floors,
                           std::span<const int32_t> rows);
  Status group_place(StateTable* table, const EncodedKeys& keys, std::span<const int32_t> rows);
  Status group_many(const arrow::ArrayVector& keys, std::span<const Timestamp> panes,
                    std::span<const Timestamp> floors, std::span<const int32_t> rows);
  Status leave_apart(std::span<const int32_t> rows);
  Result<std::unique_ptr<StateTable>> table() const;
  void judge(size_t rows);
  void trim();

  KeyCodec keys_;
  KeyCodec wide_;  // with pane and floor
  int32_t payload_bytes_;
  arrow::MemoryPool* pool_;
  EncodedKeys encoded_, wide_encoded_;
  std::vector<Place> places_;
  size_t places_used_ = 0;
  std::unique_ptr<StateTable> many_;
  std::unique_ptr<arrow::ResizableBuffer> apart_;  // payloads of rows that are not grouped

  // Of the batch at hand.
  std::vector<std::byte*> of_rows_, groups_, found_;
  std::vector<int32_t> row_of_;
  std::vector<uint64_t> hashes_;
  std::vector<uint8_t> inserted_;

  // What grouping gave lately.
  int64_t seen_rows_ = 0, seen_groups_ = 0;
  int seen_batches_ = 0;
  int batches_needed_ = 0;  // to judge by
  int apart_batches_ = 0;   // still to come without grouping
};

}  // namespace frazil
