#pragma once

#include "format/json_index.h"
#include "format/raw_batch.h"

namespace frazil {

// The rows of one batch, to be read in order. Where rows follow each other with a line end and nothing but
// white space between, many are indexed by one call of simdjson's first stage, which costs less than a call
// for each. No row can reach into its neighbour that way: a line end within a string or a character is an
// error of that stage, and then these rows are indexed one by one; and a row counts as read only if it took
// its own tokens, all of them and no other. Not thread-safe.
class JsonRows {
 public:
  // Begins a batch, which has to stay until the last row is read.
  Status Begin(const RawBatch& raw);

  // A cursor at row i, or nullptr if it is not indexed together with others; i grows from call to call. What
  // is read there is right if Took() says so, and means nothing otherwise: then StartAlone() tells what is
  // wrong.
  JsonCursor* Start(int64_t i);
  bool Took(int64_t i) const {
    return together_at_.IsBetween(place(i) + raw_->length[static_cast<size_t>(i)]);
  }

  // Indexes row i by itself, with a reason if it is not JSON on this level. The cursor is valid until the
  // next call.
  bool StartAlone(int64_t i, JsonCursor* cursor, JsonFailure& failure);

  // Gives memory back when a long row has passed.
  Status Shrink() { return alone_.Shrink(); }

 private:
  int64_t block_end(int64_t first) const;
  bool IsApart(int64_t i) const;
  uint32_t place(int64_t i) const { return raw_->offset[static_cast<size_t>(i)] - block_offset_; }

  const RawBatch* raw_ = nullptr;
  JsonIndex alone_, together_;
  JsonCursor together_at_;
  const uint32_t* began_ = nullptr;  // where the row at hand begins in it
  int64_t end_ = 0;                  // rows before it were tried together
  bool indexed_ = false;             // and those at hand could be
  uint32_t block_offset_ = 0;        // in the data, of the text of together_
};

}  // namespace frazil
