#include "connector/iceberg/data_writer.h"

#include <arrow/array/builder_primitive.h>
#include <arrow/compute/api_vector.h>
#include <arrow/util/thread_pool.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "base/check.h"
#include "base/limits.h"
#include "base/uuid.h"
#include "connector/iceberg/conform.h"
#include "connector/iceberg/file_entry.h"
#include "connector/iceberg/parquet_file.h"

namespace frazil::iceberg {
namespace {

// Up to so many partitions, gathering halves the pieces that wait at least.
constexpr int64_t kGatheredPartitions = limits::kPendingSlices / 2;

}  // namespace

Result<std::vector<std::string>> EntriesOf(const std::vector<Result<ClosedFile>>& files) {
  std::vector<std::string> entries;
  for (const auto& file : files) {
    FZ_TRY(file.status());
    entries.push_back(file->entry);
  }
  return entries;
}

void PendingBytes::add(const std::shared_ptr<arrow::RecordBatch>& rows) {
  held_.push_back({rows, BatchBytes(Batch{rows})});
  total_ += held_.back().bytes;
}

int64_t PendingBytes::total() {
  std::erase_if(held_, [this](const Held& held) {
    if (!held.rows.expired()) return false;
    total_ -= held.bytes;
    return true;
  });
  return total_;
}

Result<std::unique_ptr<DataWriter>> DataWriter::Make(WriterOptions options, const SinkContext& context,
                                                     NumberFile number) {
  FZ_ASSIGN(options.schema, StorageSchema(*options.schema));
  FZ_ASSIGN(auto folder, DataFolder::Open(options.location, options.s3));
  FZ_ASSIGN(auto leaves, Leaves(*options.schema, options));
  FZ_ASSIGN(auto partitioner, Partitioner::Make(options, *options.schema, context.pool));
  std::unique_ptr<DataWriter> writer(new DataWriter(context, std::move(options), std::move(folder),
                                                    std::move(leaves), std::move(partitioner),
                                                    std::move(number)));
  FZ_TRY(writer->encodings_.Properties(context.pool).status());  // an unknown compression is told now
  return writer;
}

DataWriter::DataWriter(const SinkContext& context, WriterOptions options, std::shared_ptr<DataFolder> folder,
                       std::vector<Leaf> leaves, Partitioner partitioner, NumberFile number)
    : context_(context),
      options_(std::move(options)),
      folder_(std::move(folder)),
      leaves_(std::make_shared<const std::vector<Leaf>>(leaves)),
      encodings_(std::move(leaves), options_),
      partitioner_(std::move(partitioner)),
      number_(std::move(number)) {}

DataWriter::~DataWriter() {
  partitions_.clear();  // removes the files that are open
  for (auto& closing : closed_) {
    closing.AddCallback([folder = folder_](const Result<ClosedFile>& file) {
      if (file.ok()) (void)folder->Remove(file->name);
    });
  }
}

void DataWriter::begin(Epoch epoch) {
  epoch_ = epoch;
  encodings_.Restart();
}

Status DataWriter::write(const std::shared_ptr<arrow::RecordBatch>& rows, std::vector<RowPlace>* places) {
  if (places != nullptr) places->resize(static_cast<size_t>(rows->num_rows()));
  if (rows->num_rows() == 0) return Status::OK();
  encodings_.Observe(*rows);
  FZ_ASSIGN(const auto split, partitioner_.Split(rows));
  bool kept = false;
  for (const auto& slice : split.slices) {
    OpenPartition& partition = partitions_[slice.id];
    if (partition.name.empty()) FZ_TRY(begin_file(slice, &partition));
    partition.used = ++clock_;
    if (places != nullptr) {
      auto row = static_cast<uint32_t>(partition.placed());
      for (int64_t i = slice.offset; i < slice.offset + slice.length; ++i) {
        const int64_t given = split.order == nullptr ? i : split.order->Value(i);
        (*places)[static_cast<size_t>(given)] = {partition.number, row++};
      }
    }
    partition.pieces.push_back({split.rows, slice.offset, slice.length});
    partition.rows += slice.length;
    ++pieces_;
    if (partition.rows >= limits::kPendingRows) {
      FZ_TRY(encode(slice.id, &partition, /*make_room=*/true));
    } else {
      kept = true;
    }
  }
  if (kept) pending_.add(split.rows);
  // Few rows in each of many partitions are no reason to write files: they are put side by side.
  if (pieces_ > limits::kPendingSlices && static_cast<int64_t>(partitions_.size()) <= kGatheredPartitions) {
    FZ_TRY(gather());
  }
  if (pieces_ > limits::kPendingSlices ||
      (pending_.known() > limits::kPendingBytes && pending_.total() > limits::kPendingBytes)) {
    FZ_TRY(encode_all());
  }
  return shrink();
}

Status DataWriter::alter(const WriterOptions& options) {
  FZ_ASSIGN(auto schema, StorageSchema(*options.schema));
  options_.left_out = options.left_out;
  options_.narrowed = options.narrowed;
  if (schema->Equals(*options_.schema, /*check_metadata=*/true)) return Status::OK();
  FZ_TRY(shed());
  options_.schema = std::move(schema);
  FZ_ASSIGN(auto leaves, Leaves(*options_.schema, options_));
  FZ_ASSIGN(partitioner_, Partitioner::Make(options_, *options_.schema, context_.pool));
  leaves_ = std::make_shared<const std::vector<Leaf>>(leaves);
  encodings_ = EncodingChooser(std::move(leaves), options_);
  return Status::OK();
}

Status DataWriter::finish(Epoch epoch) {
  FZ_CHECK(epoch >= epoch_);
  return shed();
}

Status DataWriter::shed() {
  FZ_TRY(encode_all());
  while (open_ > 0) FZ_TRY(close_one([](const OpenPartition& p) { return -p.used; }));
  FZ_CHECK(partitions_.empty() && pieces_ == 0);
  return Status::OK();
}

Status DataWriter::settle() {
  for (; !closing_.empty(); closing_.pop_front()) FZ_TRY(closing_.front().status());  // waits
  return Status::OK();
}

int64_t DataWriter::count_bytes() {
  (void)pending_.total();
  return bytes();
}

int64_t DataWriter::bytes() const {
  int64_t total = pending_.known() + closing_bytes_->load();
  for (const auto& [id, partition] : partitions_) {
    if (partition.file != nullptr) total += partition.file->memory();
  }
  return total;
}

std::string DataWriter::file_name(const std::string& extension) const {
  char head[80];
  std::snprintf(head, sizeof(head), "%lld-%012lld-%d-", static_cast<long long>(options_.attempt),
                static_cast<long long>(epoch_), context_.worker);
  std::string uuid = RandomUuid();
  uuid.replace(0, options_.scope.size(), options_.scope);
  return head + uuid + extension;
}

Status DataWriter::begin_file(const PartitionSlice& slice, OpenPartition* partition) {
  partition->key = slice.key;
  partition->name = slice.key.path + (slice.key.path.empty() ? "" : "/") + file_name(".parquet");
  if (number_ == nullptr) return Status::OK();
  FZ_ASSIGN(partition->number, number_(folder_->Uri(partition->name), slice.key));
  return Status::OK();
}

// Encodes the waiting rows of a partition. Without a free place for its file, one is made free by closing
// the least recently used, or, if not `make_room`, the file is closed again at once.
Status DataWriter::encode(const std::string& id, OpenPartition* partition, bool make_room) {
  bool stay = true;
  if (partition->file == nullptr) {
    if (open_ >= limits::kOpenWriters) {
      if (make_room) {
        FZ_TRY(close_one([](const OpenPartition& p) { return -p.used; }));
      } else {
        stay = false;
      }
    }
    FZ_ASSIGN(partition->file, ParquetFile::Open(folder_, partition->name, options_.schema, leaves_,
                                                 encodings_, options_.row_group_bytes, context_.pool));
    ++open_;
  }
  FZ_TRY(encode_waiting(partition));
  const ParquetFile& file = *partition->file;
  if (stay && file.encoded() < options_.file_bytes && file.rows() < kFileRows) return Status::OK();
  return close_file(id, partition);
}

Status DataWriter::encode_waiting(OpenPartition* partition) {
  if (partition->rows == 0) return Status::OK();
  pieces_ -= static_cast<int64_t>(partition->pieces.size());
  FZ_ASSIGN(const auto rows, partition->TakeRows(context_.pool));
  return partition->file->Write(*rows);
}

// Copies the rows that wait into one batch, ordered by partition: a piece each is left. Rows are taken by
// their numbers; slices of so many pieces would be more than the rows.
Status DataWriter::gather() {
  arrow::RecordBatchVector sources;
  std::unordered_map<const arrow::RecordBatch*, int64_t> begins;  // of a source in all of them
  int64_t end = 0;
  arrow::Int64Builder numbers(context_.pool);
  for (const auto& [id, partition] : partitions_) {
    for (const auto& piece : partition.pieces) {
      const auto [begin, fresh] = begins.try_emplace(piece.rows.get(), end);
      if (fresh) {
        sources.push_back(piece.rows);
        end += piece.rows->num_rows();
      }
      FZ_TRY(numbers.Reserve(piece.length));
      for (int64_t i = 0; i < piece.length; ++i) numbers.UnsafeAppend(begin->second + piece.offset + i);
    }
  }
  FZ_ASSIGN(const auto all, arrow::ConcatenateRecordBatches(sources, context_.pool));
  sources.clear();
  FZ_ASSIGN(const auto order, numbers.Finish());
  arrow::compute::ExecContext context(context_.pool);
  FZ_ASSIGN(const auto taken,
            arrow::compute::Take(all, order, arrow::compute::TakeOptions::NoBoundsCheck(), &context));
  const auto rows = taken.record_batch();
  int64_t offset = 0;
  pieces_ = 0;
  for (auto& [id, partition] : partitions_) {
    if (partition.rows == 0) continue;
    partition.pieces = {{rows, offset, partition.rows}};
    offset += partition.rows;
    ++pieces_;
  }
  FZ_CHECK(offset == rows->num_rows());
  (void)pending_.total();
  pending_.add(rows);
  return Status::OK();
}

// Encodes what waits in all partitions, those with an open file first.
Status DataWriter::encode_all() {
  for (const bool open : {true, false}) {
    std::vector<std::string> ids;
    for (const auto& [id, partition] : partitions_) {
      if (partition.rows > 0 && (partition.file != nullptr) == open) ids.push_back(id);
    }
    for (const auto& id : ids) FZ_TRY(encode(id, &partitions_.at(id), /*make_room=*/false));
  }
  (void)pending_.total();
  return Status::OK();
}

// Closes the open file whose partition has the greatest score. Rows that wait for it go into it: they have
// their places there.
template <typename Score>
Status DataWriter::close_one(Score&& score) {
  auto best = partitions_.end();
  for (auto it = partitions_.begin(); it != partitions_.end(); ++it) {
    if (it->second.file == nullptr) continue;
    if (best == partitions_.end() || score(it->second) > score(best->second)) best = it;
  }
  FZ_CHECK(best != partitions_.end());
  FZ_TRY(encode_waiting(&best->second));
  const std::string id = best->first;
  return close_file(id, &best->second);
}

// Keeps what open files hold under its bound. A single one is bounded by its row groups.
Status DataWriter::shrink() {
  while (open_ > 1) {
    int64_t held = 0;
    for (const auto& [id, partition] : partitions_)
      held += partition.file == nullptr ? 0 : partition.file->memory();
    if (held <= limits::kOpenWriterBytes) break;
    FZ_TRY(close_one([](const OpenPartition& p) { return p.file->memory(); }));
  }
  return Status::OK();
}

// Hands a partition's file to the I/O pool. The partition, of which no rows wait, is forgotten.
Status DataWriter::close_file(const std::string& id, OpenPartition* partition) {
  FZ_CHECK(partition->rows == 0);
  std::shared_ptr<ParquetFile> file = std::move(partition->file);
  --open_;
  const int64_t held = file->memory();
  auto close = [file, held, key = partition->key, folder = folder_, spec = options_.spec_id,
                closing = closing_bytes_]() mutable -> Result<ClosedFile> {
    auto closed = file->Close();
    file.reset();
    closing->fetch_sub(held);
    FZ_TRY(closed.status());
    return ClosedFile{closed->name, FileEntry(*folder, *closed, key, spec)};
  };
  file.reset();
  partitions_.erase(std::string(id));
  closing_bytes_->fetch_add(held);
  if (context_.io == nullptr) {
    closed_.push_back(arrow::Future<ClosedFile>::MakeFinished(close()));
    return closed_.back().status();
  }
  FZ_ASSIGN(auto future, context_.io->Submit(std::move(close)));
  closed_.push_back(future);
  closing_.push_back(std::move(future));
  return await_closing();
}

// Waits while too much is being closed, so that a slow store slows the worker down instead of filling
// memory.
Status DataWriter::await_closing() {
  while (!closing_.empty()) {
    const bool full =
        closing_.size() > limits::kClosingFiles || closing_bytes_->load() > limits::kOpenWriterBytes;
    if (!closing_.front().is_finished() && !full) break;
    FZ_TRY(closing_.front().status());  // waits
    closing_.pop_front();
  }
  return Status::OK();
}

}  // namespace frazil::iceberg
