#pragma once

#include <arrow/buffer.h>
#include <arrow/util/future.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/batch.h"
#include "connector/sink.h"
#include "connector/source.h"

namespace frazil {

// Rows of a source as the connector gave them, since the job started; read = good + rejected + dropped. A
// good one may have given two rows of changes; a dropped one says nothing (a tombstone of Debezium).
struct RowCounts {
  int64_t read = 0;
  int64_t good = 0;
  int64_t rejected = 0;
  int64_t dropped = 0;
  int64_t bytes = 0;
};

// A state file of an operator of this worker; those of one epoch come in their order. Any thread.
using StateFileMade =
    std::function<void(const std::string& node, bool full, std::shared_ptr<arrow::Buffer> file)>;

// What one stage replica answers to a barrier. The tokens complete later, on the I/O pool.
struct EpochPart {
  struct SourceState {
    std::vector<PartitionPosition> positions;
    RowCounts counts;
    std::map<std::string, RowCounts> partitions;  // the same by partition, without bytes
    std::string example;                          // the first row that was rejected in this epoch, and why
  };
  struct PendingToken {
    std::string sink;  // node id
    arrow::Future<Token> token;
  };
  int worker = 0;
  int stage = 0;
  Epoch epoch = 0;
  std::map<std::string, SourceState> sources;  // by node id
  // An operator whose state is being saved: what changed since the last epoch, or everything. Its files are
  // given as they are made (StateFileMade); then this is done.
  struct PendingState {
    std::string node;
    bool full = false;
    arrow::Future<> saved;
  };
  std::vector<PendingToken> tokens;
  std::vector<PendingState> states;
  // Largest event time so far by partition, by event_time node.
  std::map<std::string, std::map<std::string, Timestamp>> frontiers;
  // Late rows since the job started, by the node that refused them.
  std::map<std::string, int64_t> late;
  // Rows that were given to a step in which some may fail, since the job started, by node.
  struct StepState {
    int64_t given = 0;
    int64_t good = 0;
    int64_t failed = 0;
    std::string example;  // the first that failed in this epoch, and why
  };
  std::map<std::string, StepState> steps;
};

}  // namespace frazil
