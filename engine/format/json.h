#pragma once

#include <arrow/memory_pool.h>
#include <arrow/type.h>

#include <memory>
#include <nlohmann/json_fwd.hpp>

#include "base/status.h"
#include "format/decoder.h"

namespace frazil {

// How JSON rows are read where the schema does not say it.
struct JsonOptions {
  // Digits of a time beyond the column's unit ("...123456789Z" for microseconds): false rejects the row when
  // they are not zero, true cuts them (towards the past).
  bool truncate_times = false;
};

// Reads the options from a plan's format object {"kind":"json","truncate_times":bool,"skip_null_rows":bool}.
// An unknown key or a wrong type is a config error.
Result<JsonOptions> ParseJsonOptions(const nlohmann::json& format);

// Makes the decoder of one JSON object a row. `schema` holds the columns to decode, in the order wanted.
//
// Field metadata: "fz:source" = where the value is: a dotted path `user.id`, a JSON pointer `/user/a.b`, or a
// JSON list of keys `["user","a.b"]`; without it, the column's name as one key. "fz:default" = JSON text of
// the value taken when the field is missing. "fz:time_unit" = unit of numbers in a time column: s, ms, us, ns
// (date32 also d), or iso for text only. "fz:rest" = the column has the members of the row that no other
// column reads as a whole, as a JSON object (json_rest.h). Inside structs the same keys hold, except that a
// source is one key.
//
// A row is rejected iff it is not valid UTF-8, its brackets or strings do not close, a raw control character
// stands in a string, bytes follow the object, an object's keys, colons and commas do not alternate on the
// way to a column, it nests deeper than limits::kJsonDepth, or a *read* column cannot be decoded. Values that
// no column reads are skipped and not validated further. Of duplicate keys the last one counts (each has to
// be readable). A missing
// field is its default, else null, else the row is rejected; an explicit null never takes the default.
//
// Types: bool; integers (range checked; 1.0 and 1e3 count as integers, 1.5 does not); float and double
// (nearest value; overflow rejects); decimals (exact, from numbers or strings; digits that do not fit the
// scale reject unless zero); string; binary (base64); date32; time; timestamp (ISO 8601 text: with an offset
// converted to UTC, without one taken as UTC; or numbers by fz:time_unit); duration (numbers by fz:time_unit,
// else in the column's unit; or ISO 8601 text); list; struct; map with string keys (of equal keys the first
// place and the last value); null. Anything else is a config error here.
//
// An empty row and one without bytes (a Kafka tombstone) are rejected: sources that know blank lines or
// tombstones leave them out. `pool` holds the columns and outlives the decoder and every batch of it.
Result<std::unique_ptr<Decoder>> MakeJsonDecoder(std::shared_ptr<arrow::Schema> schema, JsonOptions options,
                                                 arrow::MemoryPool* pool);

}  // namespace frazil
