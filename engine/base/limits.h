#pragma once

#include <cstdint>

// Every bound of the engine: name, unit, and why it has this value. Bounds a user may set have their default here.
namespace frazil::limits {

constexpr int64_t kBatchRows = 16 * 1024;              // rows; fits L2 with ten columns
constexpr int64_t kBatchBytes = 2 << 20;               // bytes
constexpr int64_t kChunkBytes = 1 << 20;               // bytes read from a source at once
constexpr int64_t kRowBytesMax = 16 << 20;             // bytes of one encoded row (a JSON line, a Kafka payload)
constexpr int64_t kRejectedRawBytes = 64 << 10;        // bytes of a rejected row kept in `raw`; its length is kept whole
constexpr int64_t kChannelBytes = 2 << 20;             // bytes of credit of a channel
constexpr int64_t kRowGroupBytes = 16 << 20;           // encoded bytes at which a Parquet row group is closed
constexpr int64_t kFileBytes = 256 << 20;              // encoded bytes at which a data file is closed
constexpr int64_t kPageBytes = 256 << 10;              // encoded bytes of a Parquet page; open writers hold one a column
constexpr int64_t kEncodingSampleRows = 4096;          // rows looked at to choose a column's encoding
constexpr int32_t kOpenWriters = 64;                   // open partition writers of one sink in one worker
constexpr int64_t kOpenWriterBytes = 32 << 20;         // bytes buffered in all of them
constexpr int64_t kPendingRows = 4096;                 // rows of a partition gathered before they are encoded
constexpr int64_t kPendingBytes = 16 << 20;            // bytes of gathered rows of all partitions of a sink
constexpr int64_t kPendingSlices = 64 * 1024;          // pieces of batches in them
constexpr int32_t kClosingFiles = 16;                  // files of a sink being closed at once; then write() waits
constexpr int64_t kConsoleRows = 1000;                 // rows of an epoch and worker that the console sink prints
constexpr int64_t kConsoleBytes = 1 << 20;             // bytes of them; its tokens are kept in the checkpoint
constexpr int64_t kMemorySinkBytes = 64 << 20;         // bytes of an epoch and worker in the memory sink
constexpr int32_t kIoThreads = 2;                      // threads for uploads and closing files
constexpr int32_t kJsonDepth = 64;                     // nesting of a JSON row
constexpr int kExprDepth = 256;                        // nesting of an expression; binding it recurses
constexpr int32_t kWorkers = 256;                      // workers of one process
constexpr int64_t kKafkaPrefetchBytes = 16 << 20;      // bytes prefetched by librdkafka, all partitions together
constexpr int64_t kSourcePartitions = 100'000;         // partitions of one source

}  // namespace frazil::limits
