#pragma once

#include <arrow/record_batch.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "base/status.h"

namespace frazil {

// Canonical encoding of keys, version 1: per column a tag byte (0 null, 1 value), then fixed-width little
// endian, or a 4-byte length and the bytes. Integers of every width are 64 bits, so widening a key keeps it;
// -0.0 is 0.0 and every NaN is one NaN; decimals are the unscaled 128 bits; timestamps, times and durations
// are microseconds, and those that are no whole ones are refused. Nulls are equal.
constexpr int kKeyEncodingVersion = 1;
// XXH3-64 with seed 0 of the encoding. The upper 10 bits are the key group (room for 15), tables use the
// low 32.
constexpr int kKeyHashVersion = 1;
constexpr int kKeyGroups = 1024;  // a power of two, fixed when a pipeline is created

// Hash of the key of every row. Errors: those of KeyCodec (key_codec.h).
Result<std::vector<uint64_t>> HashKeys(const std::vector<std::shared_ptr<arrow::Array>>& columns,
                                       int64_t rows);

// The key group of a hash, and the worker that owns a group: contiguous ranges of groups.
constexpr int GroupOf(uint64_t hash) { return static_cast<int>(hash >> 54); }
constexpr int WorkerOf(int group, int workers) { return group * workers / kKeyGroups; }

// First and last key group of a worker.
constexpr std::pair<int, int> GroupsOf(int worker, int workers) {
  const auto first = [&](int w) { return (w * kKeyGroups + workers - 1) / workers; };
  return {first(worker), first(worker + 1) - 1};
}

}  // namespace frazil
