#pragma once

#include <memory>

#include "base/status.h"
#include "connector/iceberg/options.h"
#include "connector/iceberg/table_sink.h"
#include "connector/sink.h"

namespace frazil::iceberg {

// The sink of an Iceberg table whose rows replace each other by a key. Behind an exchange by that key. Takes
// rows with kinds (kKindColumn): a row that came takes the place of the one with its key, one
// that went takes it away; of rows without kinds each has come. So the last change of a key counts, whatever
// the batches: of several in one batch only the last is written, and a row written in an epoch and replaced
// in the same is deleted in that epoch's token.
//
// With options.order_by a row that is older than the newest one of its key does nothing, whether that row is
// there or gone. A truncate (truncate.h) takes away all rows that are not newer than it, and older ones that
// come later do nothing; it needs options.order_by, and no options.deleted. With options.deleted rows that go
// stay: the row that says so takes the place of the one with its key, with true in that column.
//
// The token is {"v":2,"table","files","deletes","unknown","older"}: new data files as in an append; what it
// takes away, see logical_deletes.h, there also for rows of its own files; how many deletes named a key that
// was not there; how many rows were older. The index (upsert_index.h) is its state; it is of the same barrier
// as the token.
//
// options.seed is a local file, an Arrow IPC stream, of rows as the index saves them: what the table has of
// others. Each worker takes the keys of its own key groups. Ids of files in it are below 2^34.
//
// Errors of write(): a row without a value in a key column or in order_by (kUser); those of the data writer.
Result<std::unique_ptr<TableSink>> MakeUpsertSink(WriterOptions options, const SinkContext& context);

}  // namespace frazil::iceberg
