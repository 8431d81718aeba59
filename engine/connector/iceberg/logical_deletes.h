#pragma once

#include <arrow/array/builder_binary.h>
#include <arrow/array/builder_primitive.h>
#include <arrow/memory_pool.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "connector/iceberg/data_writer.h"

namespace frazil::iceberg {

// A data file that deletes name.
struct DeletesFile {
  std::string path;  // URI
  int32_t spec_id = 0;
  std::string partition;  // PartitionText
};

// Rows of data files that an epoch takes away. They go into the token as what they mean (file, row, key), not
// as files of deletes: the committer makes these for the table as it finds it.
class LogicalDeletes {
 public:
  explicit LogicalDeletes(arrow::MemoryPool* pool) : pool_(pool), files_(pool), rows_(pool), keys_(pool) {}

  // `key` is the encoded key of the row. Errors: no memory; over 2 GiB of keys.
  Status add(RowPlace place, std::string_view key);
  int64_t size() const { return rows_.length(); }
  int64_t bytes() const;

  // What was added, and nothing is left here.
  struct Taken {
    std::vector<DeletesFile> files;                 // that have deletes
    std::shared_ptr<arrow::UInt32Array> file, row;  // `file` is an index of `files`
    std::shared_ptr<arrow::BinaryArray> key;
  };
  // `describe` tells of a file by the number it has in places.
  template <typename Describe>
  Result<Taken> take(Describe describe) {
    Taken taken;
    std::shared_ptr<arrow::UInt32Array> numbers;
    FZ_TRY(files_.Finish(&numbers));
    FZ_TRY(rows_.Finish(&taken.row));
    FZ_TRY(keys_.Finish(&taken.key));
    FZ_ASSIGN(const auto distinct, number(*numbers, &taken));
    for (const uint32_t file : distinct) taken.files.push_back(describe(file));
    return taken;
  }

 private:
  // Numbers files anew, from 0 on; gives those there are, in that order.
  Result<std::vector<uint32_t>> number(const arrow::UInt32Array& files, Taken* taken);

  arrow::MemoryPool* pool_;
  arrow::UInt32Builder files_, rows_;
  arrow::BinaryBuilder keys_;
};

// Deletes beyond so many bytes are put into a file: tokens are read and written whole.
constexpr int64_t kInlineDeletesBytes = 256 << 10;

// Deletes as an object of the token: {"count":n,"files":[{"path","spec_id","partition"}],"rows":"..."}.
// `rows` is base64 of an Arrow IPC stream (zstd) of columns file: uint32, row: uint32, key: binary, ordered
// by file and row. If that is large it is written to the file `name`, and its URI is "rows_path" instead. Any
// thread.
Result<std::string> DeletesText(const LogicalDeletes::Taken& deletes, DataFolder* folder,
                                const std::string& name, arrow::MemoryPool* pool);

}  // namespace frazil::iceberg
