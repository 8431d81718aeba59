#pragma once

#include <arrow/memory_pool.h>
#include <arrow/type.h>

#include <memory>

#include "base/status.h"
#include "format/decoder.h"

namespace frazil {

// Makes the decoder of JSON in the wire format of Confluent's serializers: a zero byte, four bytes of the id
// of its JSON Schema, one object. The object is read as json.h says; the id is not looked up, since JSON says
// by itself what it holds. A message without that header is rejected. `pool` holds the columns and outlives
// the decoder and every batch of it.
Result<std::unique_ptr<Decoder>> MakeRegisteredJsonDecoder(std::shared_ptr<arrow::Schema> schema,
                                                           arrow::MemoryPool* pool);

}  // namespace frazil
