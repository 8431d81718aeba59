#pragma once

#include <cstdint>

#include "base/batch.h"

namespace frazil {

enum class FrameKind : uint8_t {
  kBatch,
  kWatermark,  // no in-bound row before `watermark` will follow
  kBarrier,    // every row of `epoch` has been sent
  kEnd,        // no batch will follow; watermarks and barriers still may
};

// A message on a channel. It carries who sent it and its number, so that the same protocol serves threads
// and, later, processes. The schema is the edge's, fixed by the plan, and never in a frame.
struct Frame {
  int32_t attempt = 0;
  int32_t edge = 0;
  int32_t from = 0;  // worker
  int32_t to = 0;    // worker
  int64_t sequence = 0;
  FrameKind kind = FrameKind::kBatch;
  Batch batch;
  int64_t bytes = 0;
  Epoch epoch = 0;
  Timestamp watermark = kWatermarkMin;
};

}  // namespace frazil
