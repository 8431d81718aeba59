#pragma once

#include <arrow/io/memory.h>
#include <arrow/ipc/reader.h>
#include <arrow/table.h>
#include <arrow/util/base64.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "connector/sink.h"

namespace frazil {

// For tests: the rows in a token of the memory sink; null if it prepared none.
inline Result<std::shared_ptr<arrow::Table>> TokenRows(const Token& token) {
  if (token.empty()) return nullptr;
  const auto text = nlohmann::json::parse(token).at("ipc").get<std::string>();
  FZ_ASSIGN(std::string bytes, arrow::util::base64_decode(text));
  auto input = std::make_shared<arrow::io::BufferReader>(arrow::Buffer::FromString(std::move(bytes)));
  FZ_ASSIGN(const auto reader, arrow::ipc::RecordBatchStreamReader::Open(std::move(input)));
  FZ_ASSIGN(auto table, reader->ToTable());
  return table->CombineChunks();
}

}  // namespace frazil
