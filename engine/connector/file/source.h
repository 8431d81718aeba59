#pragma once

#include <memory>
#include <nlohmann/json.hpp>

#include "connector/source.h"

namespace frazil {

// Reads files of a local disk or of S3: JSON lines as bytes for a decoder, Parquet as columns. Options: see
// connector/file/options.h; positions: connector/file/position.h. A partition is a lane: files read as one
// sequence.
//
// A bounded run reads the files there were at discover(), up to the sizes they had. An unbounded one looks
// every watch_every_ms; a new file that sorts before the last one read is read after all that are there.
// Files must be complete when they appear and must not change until they are read; a plain text file may grow
// by whole lines. `schema`: all columns, metadata (_path, _offset) included. Errors of listing and options
// are kind kConfig, of changed files kState, of the store kConnect.
Result<std::unique_ptr<Source>> MakeFileSource(const nlohmann::json& options,
                                               std::shared_ptr<arrow::Schema> schema,
                                               arrow::MemoryPool* pool);
Result<std::unique_ptr<Enumerator>> MakeFileEnumerator(const nlohmann::json& options);

namespace file {
// The source with another size of chunks, for tests.
Result<std::unique_ptr<Source>> MakeSourceOfChunks(const nlohmann::json& options,
                                                   std::shared_ptr<arrow::Schema> schema,
                                                   arrow::MemoryPool* pool, int64_t chunk_bytes);
}  // namespace file

}  // namespace frazil
