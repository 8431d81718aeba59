#include "connector/file/row_file.h"

#include <parquet/arrow/writer.h>

#include <exception>
#include <string>

#include "base/batch.h"
#include "base/limits.h"
#include "format/json_encode.h"

namespace frazil {
namespace {

class JsonRowFile : public RowFile {
 public:
  explicit JsonRowFile(std::shared_ptr<arrow::io::OutputStream> output) : output_(std::move(output)) {}

  Status Write(const std::shared_ptr<arrow::RecordBatch>& batch) override {
    FZ_TRY(AppendJsonLines(*batch, &text_));
    return static_cast<int64_t>(text_.size()) < limits::kChunkBytes ? Status::OK() : Drain();
  }
  Status Close() override {
    FZ_TRY(Drain());
    return output_->Close();
  }
  int64_t held() const override { return static_cast<int64_t>(text_.capacity()); }

 private:
  Status Drain() {
    FZ_TRY(output_->Write(text_.data(), static_cast<int64_t>(text_.size())));
    text_.clear();
    return Status::OK();
  }

  std::shared_ptr<arrow::io::OutputStream> output_;
  std::string text_;
};

class ParquetRowFile : public RowFile {
 public:
  ParquetRowFile(std::shared_ptr<arrow::io::OutputStream> output, arrow::MemoryPool* pool)
      : pool_(pool), output_(std::move(output)) {}

  Status Write(const std::shared_ptr<arrow::RecordBatch>& batch) override {
    if (writer_ == nullptr) FZ_TRY(Open(*batch->schema()));
    try {
      if (group_bytes_ >= limits::kRowGroupBytes) {
        FZ_TRY(writer_->NewBufferedRowGroup());
        group_bytes_ = 0;
      }
      group_bytes_ += BatchBytes(Batch{batch});
      return writer_->WriteRecordBatch(*batch);
    } catch (const std::exception& error) {
      return Status::IOError(error.what());
    }
  }
  Status Close() override {
    try {
      if (writer_ != nullptr) FZ_TRY(writer_->Close());
      return output_->Close();
    } catch (const std::exception& error) {
      return Status::IOError(error.what());
    }
  }
  int64_t held() const override { return pool_.bytes_allocated(); }

 private:
  Status Open(const arrow::Schema& schema) {
    auto properties = parquet::WriterProperties::Builder()
                          .memory_pool(&pool_)
                          ->compression(arrow::Compression::ZSTD)
                          ->compression_level(1)
                          ->data_pagesize(limits::kPageBytes)
                          ->max_row_group_length(INT64_C(1) << 40)
                          ->created_by("frazil")
                          ->build();
    const auto stored = parquet::ArrowWriterProperties::Builder().store_schema()->build();
    FZ_ASSIGN(writer_,
              parquet::arrow::FileWriter::Open(schema, &pool_, output_, std::move(properties), stored));
    return Status::OK();
  }

  arrow::ProxyMemoryPool pool_;
  std::shared_ptr<arrow::io::OutputStream> output_;
  std::unique_ptr<parquet::arrow::FileWriter> writer_;
  int64_t group_bytes_ = 0;
};

}  // namespace

std::unique_ptr<RowFile> MakeJsonRowFile(std::shared_ptr<arrow::io::OutputStream> output) {
  return std::make_unique<JsonRowFile>(std::move(output));
}

std::unique_ptr<RowFile> MakeParquetRowFile(std::shared_ptr<arrow::io::OutputStream> output,
                                            arrow::MemoryPool* pool) {
  return std::make_unique<ParquetRowFile>(std::move(output), pool);
}

}  // namespace frazil
