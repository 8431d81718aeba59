#pragma once

#include <arrow/memory_pool.h>
#include <arrow/record_batch.h>
#include <librdkafka/rdkafka.h>

#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "connector/kafka/options.h"
#include "connector/source.h"

namespace frazil::kafka {

struct RecordDeleter {
  void operator()(rd_kafka_message_t* record) const { rd_kafka_message_destroy(record); }
};
using Record = std::unique_ptr<rd_kafka_message_t, RecordDeleter>;

// Fields of the metadata columns, in the order of the options: _key binary, _topic string, _partition int32,
// _offset int64, _timestamp timestamp[ms, UTC], _headers list<struct<key string, value binary>>.
std::shared_ptr<arrow::Schema> MetadataSchema(const std::vector<MetadataColumn>& columns);

// Copies records of one partition into one padded block, with the metadata columns. Tombstones follow the
// policy; a value over limits::kRowBytesMax is rejected. `place` is the partition's name. An error is
// kConnect (headers that cannot be read) or Arrow's (memory).
Result<RawBatch> CopyRecords(const std::vector<Record>& records, const Options& options,
                             const std::string& place, arrow::MemoryPool* pool);

}  // namespace frazil::kafka
