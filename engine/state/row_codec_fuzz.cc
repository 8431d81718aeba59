// Any bytes as the state of a key: an error, or columns that are whole.
#include <arrow/api.h>

#include <cstdlib>

#include "state/row_codec.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto codec = frazil::RowCodec::Make(
      {arrow::field("b", arrow::boolean()), arrow::field("i", arrow::int64()),
       arrow::field("s", arrow::utf8()), arrow::field("l", arrow::list(arrow::list(arrow::large_utf8()))),
       arrow::field("m", arrow::map(arrow::utf8(), arrow::float32())),
       arrow::field("t", arrow::struct_({arrow::field("x", arrow::float64(), false),
                                         arrow::field("y", arrow::fixed_size_list(arrow::int8(), 3))}))});
  if (!codec.ok()) std::abort();
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const std::string_view half = bytes.substr(0, size / 2);
  for (const auto& rows : {std::vector<std::string_view>{bytes}, {half, "", bytes.substr(half.size())}}) {
    const auto columns = codec->decode(rows, arrow::default_memory_pool());
    if (!columns.ok()) continue;
    std::string again, before;
    for (const auto row : rows) before += row;
    for (const auto& column : *columns) {
      if (!column->ValidateFull().ok() || column->length() != static_cast<int64_t>(rows.size())) std::abort();
    }
    for (size_t i = 0; i < rows.size(); ++i) {
      if (rows[i].empty()) continue;
      if (!codec->encode(*columns, static_cast<int64_t>(i), &again).ok()) std::abort();
    }
    if (again != before) std::abort();
  }
  return 0;
}
