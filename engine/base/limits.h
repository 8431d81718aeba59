#pragma once

#include <cstdint>

// Every bound of the engine: name, unit, and why it has this value. Bounds a user may set have their default
// here.
namespace frazil::limits {

constexpr int64_t kBatchRows = 16 * 1024;   // rows; fits L2 with ten columns
constexpr int64_t kBatchBytes = 2 << 20;    // bytes
constexpr int64_t kChunkBytes = 1 << 20;    // bytes read from a source at once
constexpr int64_t kRowBytesMax = 16 << 20;  // bytes of one encoded row (a JSON line, a Kafka payload)
constexpr int64_t kRejectedRawBytes =
    64 << 10;                               // bytes of a rejected row kept in `raw`; its length is kept whole
constexpr int64_t kChannelBytes = 2 << 20;  // bytes of credit of a channel
constexpr int64_t kRowGroupBytes = 16 << 20;  // encoded bytes at which a Parquet row group is closed
constexpr int64_t kFileBytes = 256 << 20;     // encoded bytes at which a data file is closed
constexpr int64_t kPageBytes = 256 << 10;  // encoded bytes of a Parquet page; open writers hold one a column
constexpr int64_t kEncodingSampleRows = 4096;   // rows looked at to choose a column's encoding
constexpr int32_t kOpenWriters = 64;            // open partition writers of one sink in one worker
constexpr int64_t kOpenWriterBytes = 32 << 20;  // bytes buffered in all of them
constexpr int64_t kPendingRows = 4096;          // rows of a partition gathered before they are encoded
constexpr int64_t kPendingBytes = 16 << 20;     // bytes of gathered rows of all partitions of a sink
constexpr int64_t kPendingSlices = 64 * 1024;   // pieces of batches in them
constexpr int32_t kClosingFiles = 16;           // files of a sink being closed at once; then write() waits
constexpr int64_t kConsoleRows = 1000;          // rows of an epoch and worker that the console sink prints
constexpr int64_t kConsoleBytes = 1 << 20;      // bytes of them; its tokens are kept in the checkpoint
constexpr int64_t kMemorySinkBytes = 64 << 20;  // bytes of an epoch and worker in the memory sink
constexpr int64_t kStateFileBytes = 16 << 20;   // bytes of rows in one state file, before compression
constexpr int64_t kSaveRows = 8 * 1024;         // rows of state saved between two batches
constexpr int32_t kIoThreads = 2;               // threads for uploads and closing files
constexpr int32_t kJsonDepth = 64;              // nesting of a JSON row
constexpr int kExprDepth = 256;                 // nesting of an expression; binding it recurses
constexpr int32_t kWorkers = 256;               // workers of one process
constexpr int64_t kKafkaPrefetchBytes = 8
                                        << 20;  // bytes prefetched by one Kafka consumer (source and worker)
constexpr int64_t kKafkaFetchBytesMin =
    16 << 10;  // bytes of a partition in one fetch and in its queue, at least
constexpr int64_t kKafkaFetchBytesMax = 256
                                        << 10;   // bytes of a partition in one fetch; more costs only memory
constexpr int64_t kKafkaRecordBytes = 256;       // bytes per queued record: librdkafka's own overhead
constexpr int64_t kKafkaTimeoutMs = 10'000;      // ms for one question to a broker (metadata, offsets)
constexpr int64_t kKafkaReconnectMs = 2'000;     // ms between attempts to reach a broker, at most
constexpr int64_t kKafkaRefusedMs = 30'000;      // ms a broker may refuse a login that worked before
constexpr int64_t kKafkaTopicMissingMs = 5'000;  // ms a new topic may take to be known to every broker
constexpr int64_t kKafkaFlushMs = 2'000;         // ms the last group offsets may take when a source is closed
constexpr int32_t kKafkaRestarts = 10;           // times a partition is asked for again after an odd answer
constexpr size_t kKafkaLogLines = 32;            // last log lines of a client kept for errors
constexpr size_t kKafkaNotices = 16;             // jumps over lost rows that condition() tells one by one
constexpr size_t kKafkaPollRecords = 16 * 1024;  // records taken out of a partition's queue in one poll
constexpr int64_t kSourcePartitions = 100'000;   // partitions of one source

}  // namespace frazil::limits
