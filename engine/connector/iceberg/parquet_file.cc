#include "connector/iceberg/parquet_file.h"

#include <parquet/arrow/schema.h>
#include <parquet/exception.h>

#include <exception>
#include <utility>

namespace frazil::iceberg {
namespace {

// Passes on to a real file writer and lets the open row group be seen, whose size Arrow's own writer does not
// tell.
class WatchedContents : public parquet::ParquetFileWriter::Contents {
 public:
  WatchedContents(std::unique_ptr<parquet::ParquetFileWriter> inner,
                  std::shared_ptr<parquet::schema::GroupNode> schema, parquet::RowGroupWriter** group)
      : Contents(std::move(schema), nullptr), inner_(std::move(inner)), group_(group) {}

  void Close() override {
    inner_->Close();
    file_metadata_ = inner_->metadata();
  }
  parquet::RowGroupWriter* AppendRowGroup() override { return *group_ = inner_->AppendRowGroup(); }
  parquet::RowGroupWriter* AppendBufferedRowGroup() override {
    return *group_ = inner_->AppendBufferedRowGroup();
  }
  int64_t num_rows() const override { return inner_->num_rows(); }
  int num_columns() const override { return inner_->num_columns(); }
  int num_row_groups() const override { return inner_->num_row_groups(); }
  const std::shared_ptr<parquet::WriterProperties>& properties() const override {
    return inner_->properties();
  }
  void AddKeyValueMetadata(const std::shared_ptr<const arrow::KeyValueMetadata>& metadata) override {
    inner_->AddKeyValueMetadata(metadata);
  }

 private:
  std::unique_ptr<parquet::ParquetFileWriter> inner_;
  parquet::RowGroupWriter** group_;
};

}  // namespace

ParquetFile::ParquetFile(std::shared_ptr<DataFolder> folder, std::string name,
                         std::shared_ptr<const std::vector<Leaf>> leaves, int64_t row_group_bytes,
                         arrow::MemoryPool* pool)
    : pool_(pool),
      folder_(std::move(folder)),
      name_(std::move(name)),
      leaves_(std::move(leaves)),
      row_group_bytes_(row_group_bytes),
      counts_(leaves_->size()) {}

Result<std::unique_ptr<ParquetFile>> ParquetFile::Open(std::shared_ptr<DataFolder> folder, std::string name,
                                                       std::shared_ptr<arrow::Schema> schema,
                                                       std::shared_ptr<const std::vector<Leaf>> leaves,
                                                       const EncodingChooser& encodings,
                                                       int64_t row_group_bytes, arrow::MemoryPool* pool) {
  std::unique_ptr<ParquetFile> file(new ParquetFile(folder, std::move(name), leaves, row_group_bytes, pool));
  FZ_ASSIGN(const auto properties, encodings.Properties(&file->pool_));
  const auto arrow_properties = parquet::ArrowWriterProperties::Builder().build();
  std::shared_ptr<parquet::SchemaDescriptor> descriptor;
  FZ_TRY(parquet::arrow::ToParquetSchema(schema.get(), *properties, *arrow_properties, &descriptor));
  const auto root = std::static_pointer_cast<parquet::schema::GroupNode>(descriptor->schema_root());
  if (descriptor->num_columns() != static_cast<int>(leaves->size())) {
    return Error(ErrorKind::kInternal,
                 "writing " + file->name_ + ": Parquet has other columns than the schema's leaves");
  }
  for (int i = 0; i < descriptor->num_columns(); ++i) {
    const Leaf& leaf = (*leaves)[static_cast<size_t>(i)];
    const auto* column = descriptor->Column(i);
    if (column->path()->ToDotString() == leaf.path && column->schema_node()->field_id() == leaf.field_id)
      continue;
    return Error(ErrorKind::kInternal, "writing " + file->name_ + ": Parquet calls column \"" + leaf.path +
                                           "\" \"" + column->path()->ToDotString() + "\"");
  }
  file->output_ = folder->Create(file->name_);
  try {
    auto inner = parquet::ParquetFileWriter::Open(file->output_, root, properties);
    auto outer = std::make_unique<parquet::ParquetFileWriter>();
    outer->Open(std::make_unique<WatchedContents>(std::move(inner), root, &file->group_));
    FZ_TRY(parquet::arrow::FileWriter::Make(&file->pool_, std::move(outer), schema, arrow_properties,
                                            &file->writer_));
  } catch (const std::exception& error) {
    return file->Failed(Status::IOError(error.what()));
  }
  return file;
}

ParquetFile::~ParquetFile() {
  if (closed_) return;
  group_ = nullptr;
  if (output_ != nullptr) (void)output_->Abort();
  try {
    writer_.reset();  // Parquet closes in its destructor, into the aborted stream
  } catch (const std::exception&) {
  }
  output_.reset();
  (void)folder_->Remove(name_);
}

Status ParquetFile::Failed(const Status& status) const {
  const std::string where = "writing " + folder_->Uri(name_);
  if (KindOf(status) != ErrorKind::kInternal) return Prefixed(status, where);
  return Error(ErrorKind::kSink, where + ": " + MessageOf(status), status.IsIOError());
}

int64_t ParquetFile::RowGroupBytes() const {
  if (group_ == nullptr) return 0;
  const auto buffered = group_->estimated_buffered_stats();
  return group_->total_compressed_bytes() + buffered.value_bytes + buffered.dict_bytes +
         buffered.def_level_bytes + buffered.rep_level_bytes;
}

int64_t ParquetFile::encoded() const { return output_->Tell().ValueOr(0) + RowGroupBytes(); }

Status ParquetFile::Write(const arrow::RecordBatch& batch) {
  if (batch.num_rows() == 0) return Status::OK();
  try {
    if (group_ == nullptr || RowGroupBytes() >= row_group_bytes_) {
      if (const Status status = writer_->NewBufferedRowGroup(); !status.ok()) return Failed(status);
    }
    if (const Status status = writer_->WriteRecordBatch(batch); !status.ok()) return Failed(status);
  } catch (const std::exception& error) {
    return Failed(Status::IOError(error.what()));
  }
  rows_ += batch.num_rows();
  return CountLeaves(batch, *leaves_, &counts_);
}

Result<DataFile> ParquetFile::Close() {
  DataFile out;
  out.name = name_;
  try {
    const Status status = writer_->Close();
    group_ = nullptr;
    if (!status.ok()) return Failed(status);
    auto position = output_->Tell();
    if (!position.ok()) return Failed(position.status());
    out.bytes = *position;
    if (const Status closed = output_->Close(); !closed.ok()) return Failed(closed);
    FZ_ASSIGN(out.metrics, ReadMetrics(*writer_->metadata(), *leaves_, counts_));
  } catch (const std::exception& error) {
    return Failed(Status::IOError(error.what()));
  }
  if (out.metrics.rows != rows_) {
    return Failed(Status::Invalid("the file holds ", out.metrics.rows, " rows and was given ", rows_));
  }
  closed_ = true;
  writer_.reset();
  return out;
}

}  // namespace frazil::iceberg
