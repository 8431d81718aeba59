#include "connector/file/parquet_reader.h"

#include <arrow/api.h>
#include <arrow/compute/api.h>
#include <arrow/io/interfaces.h>
#include <parquet/arrow/reader.h>
#include <parquet/arrow/schema.h>
#include <parquet/exception.h>
#include <parquet/file_reader.h>

#include <algorithm>

#include "base/limits.h"

namespace frazil::file {
namespace {

constexpr int64_t kColumnBufferBytes = 256 << 10;  // bytes read ahead of each column of a local file

// True if every value of `from` is a value of `to`.
bool Holds(const arrow::DataType& to, const arrow::DataType& from) {
  if (to.Equals(from)) return true;
  using arrow::Type;
  const auto signed_rank = [](const arrow::DataType& type) {
    return arrow::is_signed_integer(type.id()) ? arrow::bit_width(type.id()) : 0;
  };
  if (arrow::is_integer(from.id()) && signed_rank(to) > 0) {
    return arrow::is_signed_integer(from.id()) ? arrow::bit_width(from.id()) <= signed_rank(to)
                                               : arrow::bit_width(from.id()) < signed_rank(to);
  }
  if (arrow::is_unsigned_integer(from.id()) && arrow::is_unsigned_integer(to.id())) {
    return arrow::bit_width(from.id()) <= arrow::bit_width(to.id());
  }
  if (to.id() == Type::DOUBLE) return from.id() == Type::FLOAT || from.id() == Type::HALF_FLOAT;
  if (to.id() == Type::LARGE_STRING) return from.id() == Type::STRING;
  if (to.id() == Type::LARGE_BINARY) return from.id() == Type::BINARY || from.id() == Type::STRING;
  if (to.id() == Type::STRING) return from.id() == Type::LARGE_STRING;
  if (to.id() == Type::TIMESTAMP && from.id() == Type::TIMESTAMP) {
    const auto& a = static_cast<const arrow::TimestampType&>(to);
    const auto& b = static_cast<const arrow::TimestampType&>(from);
    return a.timezone().empty() == b.timezone().empty() && a.unit() >= b.unit();
  }
  return false;
}

void AddLeaves(const parquet::arrow::SchemaField& field, std::vector<int>* leaves) {
  if (field.column_index >= 0) leaves->push_back(field.column_index);
  for (const auto& child : field.children) AddLeaves(child, leaves);
}

class ParquetReader : public FileReader {
 public:
  explicit ParquetReader(ParquetReaderOptions options) : options_(std::move(options)), next_(options_.row) {}

  Status Open() {
    parquet::ReaderProperties properties(options_.pool);
    const bool local = options_.fs->type_name() == "local";
    if (local) {
      properties.enable_buffered_stream();
      properties.set_buffer_size(kColumnBufferBytes);
    }
    parquet::ArrowReaderProperties arrow_properties(/*use_threads=*/false);
    arrow_properties.set_pre_buffer(!local);
    arrow_properties.set_batch_size(limits::kBatchRows);
    FZ_ASSIGN(auto file, options_.fs->OpenInputFile(options_.file.path));
    parquet::arrow::FileReaderBuilder builder;
    FZ_TRY(builder.Open(std::move(file), properties));
    builder.memory_pool(options_.pool);
    builder.properties(arrow_properties);
    FZ_ASSIGN(reader_, builder.Build());
    FZ_TRY(Match());
    rows_ = reader_->parquet_reader()->metadata()->num_rows();
    if (next_ > rows_) {
      return Error(ErrorKind::kState, "the position is at row " + std::to_string(next_) + " of " +
                                          std::to_string(rows_) +
                                          "\n  put the file back as it was, or start the pipeline anew");
    }
    return Status::OK();
  }

  Result<Read> read(const Budget& budget, bool) override {
    Read read;
    if (next_ >= rows_) {
      read.kind = Read::Kind::kEnd;
      return read;
    }
    while (left_ == nullptr || left_->num_rows() == 0) FZ_TRY(Advance());
    const int64_t rows = std::min(left_->num_rows(), std::max<int64_t>(budget.rows, 1));
    FZ_ASSIGN(read.columns, Conform(*left_->Slice(0, rows)));
    read.kind = Read::Kind::kRows;
    left_ = rows == left_->num_rows() ? nullptr : left_->Slice(rows);
    next_ += rows;
    return read;
  }

  int64_t next() const override { return next_; }
  bool ended() const override { return next_ >= rows_; }
  int64_t read_bytes() const override { return options_.file.size; }

 private:
  bool IsMetadata(const arrow::Field& field) const {
    return (options_.options.with_path && field.name() == "_path") ||
           (options_.options.with_offset && field.name() == "_offset");
  }

  // Finds the file's columns for the schema and checks their types.
  Status Match() {
    for (const auto& field : options_.schema->fields()) {
      if (IsMetadata(*field)) continue;
      const parquet::arrow::SchemaField* found = nullptr;
      for (const auto& candidate : reader_->manifest().schema_fields) {
        if (candidate.field->name() == field->name()) found = &candidate;
      }
      if (found == nullptr) {
        if (field->nullable()) continue;
        return Error(ErrorKind::kConfig,
                     "there is no column \"" + field->name() + "\", which is not nullable");
      }
      if (!Holds(*field->type(), *found->field->type())) {
        return Error(ErrorKind::kConfig, "column \"" + field->name() + "\": expected " +
                                             field->type()->ToString() + ", got " +
                                             found->field->type()->ToString() +
                                             "\n  declare the type of the file and cast in the pipeline");
      }
      AddLeaves(*found, &leaves_);
    }
    return Status::OK();
  }

  // Gets the next batch of the row group being read, or opens the group that holds row `next_`.
  Status Advance() {
    if (batches_ != nullptr) {
      FZ_TRY(batches_->ReadNext(&left_));
      if (left_ != nullptr) return Status::OK();
      batches_ = nullptr;
    }
    const auto metadata = reader_->parquet_reader()->metadata();
    int64_t begin = 0;
    for (int group = 0; group < metadata->num_row_groups(); ++group) {
      const int64_t rows = metadata->RowGroup(group)->num_rows();
      if (next_ < begin + rows) {
        FZ_ASSIGN(batches_, reader_->GetRecordBatchReader({group}, leaves_));
        return Skip(next_ - begin);
      }
      begin += rows;
    }
    return Error(ErrorKind::kDecode, "row groups hold fewer rows than the file says");
  }

  Status Skip(int64_t rows) {
    while (rows > 0) {
      FZ_TRY(batches_->ReadNext(&left_));
      if (left_ == nullptr) return Error(ErrorKind::kDecode, "a row group holds fewer rows than it says");
      const int64_t cut = std::min(rows, left_->num_rows());
      left_ = left_->Slice(cut);
      rows -= cut;
    }
    return Status::OK();
  }

  // The batch with the columns of the schema, in its order and of its types.
  Result<std::shared_ptr<arrow::RecordBatch>> Conform(const arrow::RecordBatch& batch) const {
    arrow::ArrayVector columns;
    for (const auto& field : options_.schema->fields()) {
      if (IsMetadata(*field)) {
        FZ_ASSIGN(auto column, Metadata(*field, batch.num_rows()));
        columns.push_back(std::move(column));
        continue;
      }
      auto column = batch.GetColumnByName(field->name());
      if (column == nullptr) {
        FZ_ASSIGN(column, arrow::MakeArrayOfNull(field->type(), batch.num_rows(), options_.pool));
      }
      if (!field->nullable() && column->null_count() > 0) {
        return Error(ErrorKind::kDecode,
                     "rows from " + std::to_string(next_) + ": column \"" + field->name() +
                         "\": null where the column is not nullable\n  declare the column nullable");
      }
      if (!column->type()->Equals(*field->type())) {
        FZ_ASSIGN(auto cast, arrow::compute::Cast(column, field->type()));
        column = cast.make_array();
      }
      columns.push_back(std::move(column));
    }
    return arrow::RecordBatch::Make(options_.schema, batch.num_rows(), std::move(columns));
  }

  Result<std::shared_ptr<arrow::Array>> Metadata(const arrow::Field& field, int64_t rows) const {
    if (field.name() == "_path") {
      return arrow::MakeArrayFromScalar(arrow::StringScalar(options_.file.path), rows, options_.pool);
    }
    arrow::Int64Builder numbers(options_.pool);
    FZ_TRY(numbers.Reserve(rows));
    for (int64_t i = 0; i < rows; ++i) numbers.UnsafeAppend(next_ + i);
    return numbers.Finish();
  }

  ParquetReaderOptions options_;
  std::unique_ptr<parquet::arrow::FileReader> reader_;
  std::unique_ptr<arrow::RecordBatchReader> batches_;  // of one row group
  std::shared_ptr<arrow::RecordBatch> left_;           // rows not yet given
  std::vector<int> leaves_;
  int64_t next_ = 0;
  int64_t rows_ = 0;
};

Status InFile(const std::string& path, const Status& status) {
  if (status.ok() || KindOf(status) != ErrorKind::kInternal) return Prefixed(status, path);
  return Error(ErrorKind::kDecode,
               path + ": " + status.message() + "\n  check that it is a whole Parquet file");
}

// Names the file in every error.
class NamedReader : public FileReader {
 public:
  NamedReader(std::unique_ptr<ParquetReader> reader, std::string path)
      : reader_(std::move(reader)), path_(std::move(path)) {}
  Result<Read> read(const Budget& budget, bool wait) override {
    auto read = reader_->read(budget, wait);
    if (!read.ok()) return InFile(path_, read.status());
    return read;
  }
  int64_t next() const override { return reader_->next(); }
  bool ended() const override { return reader_->ended(); }
  int64_t read_bytes() const override { return reader_->read_bytes(); }

 private:
  std::unique_ptr<ParquetReader> reader_;
  std::string path_;
};

}  // namespace

Result<std::unique_ptr<FileReader>> MakeParquetReader(ParquetReaderOptions options) {
  const std::string path = options.file.path;
  auto reader = std::make_unique<ParquetReader>(std::move(options));
  if (auto status = reader->Open(); !status.ok()) return InFile(path, status);
  return std::make_unique<NamedReader>(std::move(reader), path);
}

}  // namespace frazil::file
