#include "state/key.h"

#include <arrow/array.h>

#include "state/key_codec.h"

namespace frazil {

Result<std::vector<uint64_t>> HashKeys(const std::vector<std::shared_ptr<arrow::Array>>& columns,
                                       int64_t rows) {
  arrow::DataTypeVector types;
  for (const auto& column : columns) types.push_back(column->type());
  FZ_ASSIGN(const KeyCodec codec, KeyCodec::Make(std::move(types)));
  EncodedKeys keys;
  FZ_TRY(codec.encode(columns, rows, &keys));
  return std::vector<uint64_t>(keys.hashes().begin(), keys.hashes().end());
}

}  // namespace frazil
