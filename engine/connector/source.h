#pragma once

#include <arrow/record_batch.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/batch.h"
#include "base/status.h"
#include "format/raw_batch.h"

namespace frazil {

// A partition is an order domain: its rows have positions and are read in position order. It is apart from
// the worker that reads it and from the task that decodes it.
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

// What one poll gave. Everything in it is from one partition.
struct Poll {
  enum class Kind { kRows, kIdle, kEnd };  // kEnd: every assigned partition has reached its end
  Kind kind = Kind::kIdle;
  // Exactly one of the two for kRows: bytes for the decoder, or columns that need none (Parquet, generator,
  // memory).
  std::optional<RawBatch> raw;
  std::shared_ptr<arrow::RecordBatch> columns;
  Origin origin;
};

struct Budget {
  int64_t rows = 0;
  int64_t bytes = 0;
  std::span<const int32_t> held = {};  // ordinals of partitions that are not to be read now, rising
  Timestamp now = kWatermarkMax;       // by the machine's clock, us
  bool holds(int32_t ordinal) const { return std::binary_search(held.begin(), held.end(), ordinal); }
};

// Reads partitions in one worker. Every method is called by that worker's thread, except where it is said.
class Source {
 public:
  virtual ~Source() = default;

  // Takes partitions to read, before the first poll and at later barriers when new ones are admitted. `waker`
  // (given once, may be called from any thread at any time until the source is destroyed) tells the worker
  // that poll() may have rows again after it said kIdle.
  virtual Status assign(const std::vector<Assignment>& partitions, std::function<void()> waker) = 0;

  // Gives the next rows of some assigned partition, about as much as `budget`; never blocks for more than a
  // read of local data or one object request. Errors end the run; waiting for a broker that is away is kIdle.
  virtual Result<Poll> poll(const Budget& budget) = 0;

  // When poll() may have rows again, us by the machine's clock, where the source knows that; kWatermarkMax.
  virtual Timestamp opens_at() const { return kWatermarkMax; }

  // True if rows of the partition are known to be there that poll() has not given yet.
  virtual bool behind(int32_t ordinal) const = 0;

  // Positions next to read, of every assigned partition, after what poll() has given.
  virtual std::vector<PartitionPosition> positions() const = 0;

  // Every table has the rows below these positions: the source may forget them. For lag tools; default
  // nothing.
  virtual Status committed(const std::vector<PartitionPosition>& positions);

  // What is worth telling a person while waiting ("broker 127.0.0.1:9092 is away since 5 s"); empty if all is
  // well.
  virtual std::string condition() const { return {}; }
};

// Finds the partitions of a source. Called by the control thread only.
class Enumerator {
 public:
  virtual ~Enumerator() = default;

  // Names the partitions that the checkpoint has, with their positions, before each discover() of a restored
  // run: any other partition is new since then and starts at its first row, whatever the start option says.
  // One of them with rows left to read that is not there any more is an error, of discover() or of the source
  // that gets it; discover() names it then. Default nothing.
  virtual Status known(const std::vector<PartitionPosition>&) { return Status::OK(); }

  // All partitions there are now, by name order. `bounded`: fill Partition::end with the position at this
  // moment.
  virtual Result<std::vector<Partition>> discover(bool bounded) = 0;
};

inline Status Source::committed(const std::vector<PartitionPosition>&) { return Status::OK(); }

}  // namespace frazil
