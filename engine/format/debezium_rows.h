#pragma once

#include <arrow/record_batch.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "format/debezium_types.h"
#include "format/raw_batch.h"

namespace frazil {

// Columns of the JSON decoder's batch, beside those of the envelope that are asked for.
constexpr const char* kBeforeField = "before";  // struct of the row's columns; not of unwrapped events
constexpr const char* kAfterField = "after";    // the same
constexpr const char* kOpField = "__fz_op";
constexpr const char* kDeletedField = "__fz_deleted";  // of unwrapped events only

// What change events come to.
struct DebeziumRows {
  struct Bad {
    int64_t event = 0;
    std::string column;
    std::string reason;
  };
  std::shared_ptr<arrow::RecordBatch> rows;  // of the schema given, the kind last
  std::vector<int32_t> events;   // of which event a row is; the two of an update one after the other
  std::vector<Bad> bad;          // in order
  std::vector<int64_t> dropped;  // events without a row
  int64_t stop = -1;             // the first event behind which nothing may be read: a truncate
};

// Why nothing may be read behind a truncate, and what to do.
constexpr const char* kTruncated =
    "the table was truncated: all its rows are gone, and the event has no key\n  rows by key in Iceberg "
    "follow "
    "it with truncates=\"apply\" and order_by= a column of where events stand "
    "(metadata=[\"source.lsn\"]), read from the beginning into a new table\n  truncates=\"skip\" goes on, "
    "and "
    "the rows stay";

// The error that ends a run at a message.
Status StoppedAt(const RawBatch& raw, int64_t message);

// Makes rows of changes of decoded events. An insert or a row read in a snapshot is an insert; an update the
// pair of rows, or the row after if the one before is not there or not whole; one that changes the key a
// delete and an insert; a delete has the columns that the event has, and values that mean nothing (zero, "")
// in columns that may not be null; a truncate has these or null in all columns of the table. `schema` is the
// one of the rows: columns of the table, columns of the envelope (kEnvelopeMetadata), the kind. Not
// thread-safe.
Result<DebeziumRows> MakeDebeziumRows(const arrow::RecordBatch& events,
                                      const std::shared_ptr<arrow::Schema>& schema,
                                      const DebeziumOptions& options, arrow::MemoryPool* pool);

}  // namespace frazil
