#pragma once

#include <memory>

#include "connector/file/file_reader.h"
#include "connector/file/listing.h"

namespace frazil::file {

struct ParquetReaderOptions {
  std::shared_ptr<arrow::fs::FileSystem> fs;
  Entry file;
  int64_t row = 0;                        // to begin at
  std::shared_ptr<arrow::Schema> schema;  // of the source, with metadata columns
  Options options;
  arrow::MemoryPool* pool = nullptr;
};

// Gives the rows of a Parquet file as columns, one row group at a time and of it only the columns of the
// schema. Next to read is a row's number in the file. Columns are matched by name; types have to be the same
// or hold every value (int32 read as int64), else opening is a config error that names file and column. A
// nullable column that the file lacks is null. Nulls in a column that is not nullable are a decode error.
Result<std::unique_ptr<FileReader>> MakeParquetReader(ParquetReaderOptions options);

}  // namespace frazil::file
