// Any bytes as a key of some columns, which the first byte chooses: an error, or columns that are encoded to
// the same bytes.
#include <arrow/type.h>

#include <cstdlib>

#include "state/key_codec.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  static const arrow::DataTypeVector kKeys[] = {
      {arrow::utf8(), arrow::int64()},
      {arrow::int8(), arrow::float32(), arrow::large_binary()},
      {arrow::timestamp(arrow::TimeUnit::SECOND, "UTC"), arrow::decimal128(9, 2)},
      {arrow::boolean(), arrow::time32(arrow::TimeUnit::MILLI), arrow::fixed_size_binary(2)},
      {arrow::float64(), arrow::duration(arrow::TimeUnit::NANO), arrow::uint16(), arrow::date32()}};
  static const std::vector<frazil::KeyCodec> kCodecs = [] {
    std::vector<frazil::KeyCodec> codecs;
    for (const auto& types : kKeys) codecs.push_back(frazil::KeyCodec::Make(types).ValueOrDie());
    return codecs;
  }();
  const auto& codec = kCodecs[data[0] % kCodecs.size()];
  const std::string_view key(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto columns = codec.decode({&key, 1}, arrow::default_memory_pool());
  if (!columns.ok()) return 0;
  for (const auto& column : *columns) {
    if (!column->ValidateFull().ok()) std::abort();
  }
  frazil::EncodedKeys again;
  if (!codec.encode(*columns, 1, &again).ok() || again.key(0) != key) std::abort();
  return 0;
}
