#pragma once

#include <arrow/buffer.h>
#include <arrow/record_batch.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/batch.h"
#include "base/status.h"

namespace frazil {

// A partition is an order domain: its rows have positions and are read in position order. It is apart from the worker
// that reads it and from the task that decodes it.
struct Partition {
  std::string name;   // stable over runs: "orders-3", a lane's name
  std::string start;  // position to begin at when the checkpoint knows none: connector's own JSON, with "v"
  std::string end;    // bounded runs: position to stop before; empty = unbounded. Same JSON
};

// A partition given to a worker, at the position to read next.
struct Assignment {
  int32_t ordinal = 0;  // number of the partition in this run, by order of admission
  std::string name;
  std::string position;  // connector's JSON
  std::string end;       // connector's JSON, empty = unbounded
};

struct PartitionPosition {
  std::string name;
  std::string position;  // next to read, connector's JSON
  int64_t lag = -1;      // rows (Kafka) or bytes (files) between here and the end known now; -1 = unknown
};

// Readable bytes after the last row of a RawBatch, for simdjson.
constexpr int64_t kRawPadding = 64;

// Rows as bytes, all from one partition, in position order. Row i is data[offset[i] .. offset[i] + length[i]); a length
// of kNullRow is a row without bytes (a Kafka tombstone). kRawPadding more bytes after the last row are readable; their
// content is any.
struct RawBatch {
  static constexpr uint32_t kNullRow = 0xffffffff;
  std::shared_ptr<arrow::Buffer> data;
  std::vector<uint32_t> offset;
  std::vector<uint32_t> length;
  std::vector<int64_t> position;  // per row: Kafka offset, byte offset of the line in its file
  // Where the rows are, for people: a file path, "orders-3". Shown in errors and `.rejected`.
  std::string place;
  // Metadata columns by name (key, offset, timestamp, ...), one value per row; may be null.
  std::shared_ptr<arrow::RecordBatch> metadata;
  // Rows the connector itself could not read (a line over the limit): already described, not in the rows above.
  std::vector<struct RejectedRow> rejected;

  int64_t rows() const { return static_cast<int64_t>(offset.size()); }
  std::string_view row(int64_t i) const {
    return {reinterpret_cast<const char*>(data->data()) + offset[static_cast<size_t>(i)],
            length[static_cast<size_t>(i)]};
  }
};

// A row that could not be decoded. `raw` is cut at limits::kRejectedRawBytes, raw_bytes is the whole length.
struct RejectedRow {
  std::string place;
  int64_t position = 0;
  std::string reason;  // what was expected and what was found
  std::string column;  // empty if the row as a whole is bad
  std::string raw;
  int64_t raw_bytes = 0;
};

// What one poll gave. Everything in it is from one partition.
struct Poll {
  enum class Kind { kRows, kIdle, kEnd };  // kEnd: every assigned partition has reached its end
  Kind kind = Kind::kIdle;
  // Exactly one of the two for kRows: bytes for the decoder, or columns that need none (Parquet, generator, memory).
  std::optional<RawBatch> raw;
  std::shared_ptr<arrow::RecordBatch> columns;
  Origin origin;
};

struct Budget {
  int64_t rows = 0;
  int64_t bytes = 0;
};

// Reads partitions in one worker. Every method is called by that worker's thread, except where it is said.
class Source {
 public:
  virtual ~Source() = default;

  // Takes partitions to read, before the first poll and at later barriers when new ones are admitted. `waker` (given
  // once, may be called from any thread at any time until the source is destroyed) tells the worker that poll() may
  // have rows again after it said kIdle.
  virtual Status assign(const std::vector<Assignment>& partitions, std::function<void()> waker) = 0;

  // Gives the next rows of some assigned partition, about as much as `budget`; never blocks for more than a read of
  // local data or one object request. Errors end the run; waiting for a broker that is away is kIdle.
  virtual Result<Poll> poll(const Budget& budget) = 0;

  // Positions next to read, of every assigned partition, after what poll() has given.
  virtual std::vector<PartitionPosition> positions() const = 0;

  // Every table has the rows below these positions: the source may forget them. For lag tools; default nothing.
  virtual Status committed(const std::vector<PartitionPosition>& positions);

  // What is worth telling a person while waiting ("broker 127.0.0.1:9092 is away since 5 s"); empty if all is well.
  virtual std::string condition() const { return {}; }
};

// Finds the partitions of a source. Called by the control thread only.
class Enumerator {
 public:
  virtual ~Enumerator() = default;

  // Names the partitions whose position the checkpoint has, before the first discover() of a restored run: any other
  // partition is new since then and starts at its first row, whatever the start option says. Default nothing.
  virtual void known(const std::vector<std::string>&) {}

  // All partitions there are now, by name order. `bounded`: fill Partition::end with the position at this moment.
  virtual Result<std::vector<Partition>> discover(bool bounded) = 0;
};

inline Status Source::committed(const std::vector<PartitionPosition>&) { return Status::OK(); }

}  // namespace frazil
