#include "base/schema_text.h"

#include <arrow/io/memory.h>
#include <arrow/ipc/dictionary.h>
#include <arrow/ipc/reader.h>
#include <arrow/ipc/writer.h>
#include <arrow/util/base64.h>

#include <utility>

namespace frazil {

Result<std::string> SchemaText(const arrow::Schema& schema) {
  FZ_ASSIGN(const auto bytes, arrow::ipc::SerializeSchema(schema));
  return arrow::util::base64_encode(bytes->ToString());
}

Result<std::shared_ptr<arrow::Schema>> ParseSchema(const std::string& base64) {
  FZ_ASSIGN(std::string bytes, arrow::util::base64_decode(base64));
  arrow::io::BufferReader reader(arrow::Buffer::FromString(std::move(bytes)));
  arrow::ipc::DictionaryMemo dictionaries;
  return arrow::ipc::ReadSchema(&reader, &dictionaries);
}

}  // namespace frazil
