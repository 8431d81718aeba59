#include "connector/iceberg/sink.h"
#include "connector/data_folder.h"

#include <arrow/array/builder_primitive.h>
#include <arrow/compute/api_vector.h>
#include <arrow/util/future.h>
#include <arrow/util/thread_pool.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <deque>
#include <unordered_map>
#include <utility>

#include "base/check.h"
#include "base/limits.h"
#include "base/uuid.h"
#include "connector/iceberg/conform.h"
#include "connector/iceberg/encoding.h"
#include "connector/iceberg/file_entry.h"
#include "connector/iceberg/open_partition.h"
#include "connector/iceberg/options.h"
#include "connector/iceberg/parquet_file.h"
#include "connector/iceberg/partitioner.h"

namespace frazil::iceberg {
namespace {

// Up to so many partitions, gathering halves the pieces that wait at least.
constexpr int64_t kGatheredPartitions = limits::kPendingSlices / 2;

// Bytes of batches whose rows still wait. A batch counts whole until the last of its rows is taken.
class PendingBytes {
 public:
  void Add(const std::shared_ptr<arrow::RecordBatch>& rows) {
    held_.push_back({rows, BatchBytes(Batch{rows})});
    total_ += held_.back().bytes;
  }
  // Forgets the batches that nothing refers to.
  int64_t Total() {
    std::erase_if(held_, [this](const Held& held) {
      if (!held.rows.expired()) return false;
      total_ -= held.bytes;
      return true;
    });
    return total_;
  }
  int64_t Known() const { return total_; }

 private:
  struct Held {
    std::weak_ptr<arrow::RecordBatch> rows;
    int64_t bytes = 0;
  };
  std::vector<Held> held_;
  int64_t total_ = 0;
};

struct ClosedFile {
  std::string name;
  std::string entry;  // of the token
};

class IcebergSink : public Sink {
 public:
  static Result<std::unique_ptr<Sink>> Make(const nlohmann::json& json, const SinkContext& context) {
    FZ_ASSIGN(auto options, ParseWriterOptions(json));
    FZ_ASSIGN(options.schema, StorageSchema(*options.schema));
    FZ_ASSIGN(auto folder, DataFolder::Open(options.location, options.s3));
    FZ_ASSIGN(auto leaves, Leaves(*options.schema, options));
    FZ_ASSIGN(auto partitioner, Partitioner::Make(options, *options.schema, context.pool));
    std::unique_ptr<IcebergSink> sink(new IcebergSink(context, std::move(options), std::move(folder),
                                                      std::move(leaves), std::move(partitioner)));
    FZ_TRY(sink->encodings_.Properties(context.pool).status());  // an unknown compression is told now
    return sink;
  }

  ~IcebergSink() override {
    partitions_.clear();  // removes the files that are open
    for (auto& closing : closed_) {
      closing.AddCallback([folder = folder_](const Result<ClosedFile>& file) {
        if (file.ok()) (void)folder->Remove(file->name);
      });
    }
  }

  void begin(Epoch epoch) override {
    epoch_ = epoch;
    encodings_.Restart();
  }

  Status write(const Batch& batch) override {
    if (batch.rows() == 0) return Status::OK();
    FZ_ASSIGN(const auto rows, conformer_.Conform(batch.columns));
    encodings_.Observe(*rows);
    FZ_ASSIGN(const auto split, partitioner_.Split(rows));
    bool kept = false;
    for (const auto& slice : split.slices) {
      OpenPartition& partition = partitions_[slice.id];
      if (partition.used == 0) partition.key = slice.key;
      partition.used = ++clock_;
      partition.pieces.push_back({split.rows, slice.offset, slice.length});
      partition.rows += slice.length;
      ++pieces_;
      if (partition.rows >= limits::kPendingRows) {
        FZ_TRY(Encode(slice.id, &partition, /*make_room=*/true));
      } else {
        kept = true;
      }
    }
    if (kept) pending_.Add(split.rows);
    // Few rows in each of many partitions are no reason to write files: they are put side by side.
    if (pieces_ > limits::kPendingSlices && static_cast<int64_t>(partitions_.size()) <= kGatheredPartitions) {
      FZ_TRY(Gather());
    }
    if (pieces_ > limits::kPendingSlices ||
        (pending_.Known() > limits::kPendingBytes && pending_.Total() > limits::kPendingBytes)) {
      FZ_TRY(EncodeAll());
    }
    return Shrink();
  }

  arrow::Future<Token> prepare(Epoch epoch) override {
    if (const Status status = Finish(epoch); !status.ok()) return arrow::Future<Token>::MakeFinished(status);
    auto files = std::exchange(closed_, {});
    if (files.empty()) return arrow::Future<Token>::MakeFinished(Token());
    return arrow::All(std::move(files))
        .Then(
            [table_uuid = options_.table_uuid](const std::vector<Result<ClosedFile>>& all) -> Result<Token> {
              std::vector<std::string> entries;
              for (const auto& file : all) {
                FZ_TRY(file.status());
                entries.push_back(file->entry);
              }
              return TokenOf(entries, table_uuid);
            });
  }

  int64_t bytes() const override {
    int64_t total = pending_.Known() + closing_bytes_->load();
    for (const auto& [id, partition] : partitions_) {
      if (partition.file != nullptr) total += partition.file->memory();
    }
    return total;
  }

 private:
  IcebergSink(const SinkContext& context, WriterOptions options, std::shared_ptr<DataFolder> folder,
              std::vector<Leaf> leaves, Partitioner partitioner)
      : context_(context),
        options_(std::move(options)),
        folder_(std::move(folder)),
        leaves_(std::make_shared<const std::vector<Leaf>>(leaves)),
        encodings_(std::move(leaves), options_),
        conformer_(options_.schema, context.pool),
        partitioner_(std::move(partitioner)) {}

  std::string FileName(const PartitionKey& key) const {
    char head[80];
    std::snprintf(head, sizeof(head), "%lld-%012lld-%d-", static_cast<long long>(options_.attempt),
                  static_cast<long long>(epoch_), context_.worker);
    std::string uuid = RandomUuid();
    uuid.replace(0, options_.scope.size(), options_.scope);
    return key.path + (key.path.empty() ? "" : "/") + head + uuid + ".parquet";
  }

  // Encodes the waiting rows of a partition. Without a free place for its file, one is made free by closing
  // the least recently used, or, if not `make_room`, the file is closed again at once.
  Status Encode(const std::string& id, OpenPartition* partition, bool make_room) {
    pieces_ -= static_cast<int64_t>(partition->pieces.size());
    FZ_ASSIGN(const auto rows, partition->TakeRows(context_.pool));
    bool stay = true;
    if (partition->file == nullptr) {
      if (open_ >= limits::kOpenWriters) {
        if (make_room) {
          FZ_TRY(CloseOne([](const OpenPartition& p) { return -p.used; }));
        } else {
          stay = false;
        }
      }
      FZ_ASSIGN(partition->file,
                ParquetFile::Open(folder_, FileName(partition->key), options_.schema, leaves_, encodings_,
                                  options_.row_group_bytes, context_.pool));
      ++open_;
    }
    FZ_TRY(partition->file->Write(*rows));
    if (stay && partition->file->encoded() < options_.file_bytes) return Status::OK();
    return CloseFile(id, partition);
  }

  // Copies the rows that wait into one batch, ordered by partition: a piece each is left. Rows are taken by
  // their numbers; slices of so many pieces would be more than the rows.
  Status Gather() {
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
    (void)pending_.Total();
    pending_.Add(rows);
    return Status::OK();
  }

  // Encodes what waits in all partitions, those with an open file first.
  Status EncodeAll() {
    for (const bool open : {true, false}) {
      std::vector<std::string> ids;
      for (const auto& [id, partition] : partitions_) {
        if (partition.rows > 0 && (partition.file != nullptr) == open) ids.push_back(id);
      }
      for (const auto& id : ids) FZ_TRY(Encode(id, &partitions_.at(id), /*make_room=*/false));
    }
    (void)pending_.Total();
    return Status::OK();
  }

  // Closes the open file whose partition has the greatest score.
  template <typename Score>
  Status CloseOne(Score&& score) {
    auto best = partitions_.end();
    for (auto it = partitions_.begin(); it != partitions_.end(); ++it) {
      if (it->second.file == nullptr) continue;
      if (best == partitions_.end() || score(it->second) > score(best->second)) best = it;
    }
    FZ_CHECK(best != partitions_.end());
    const std::string id = best->first;
    return CloseFile(id, &best->second);
  }

  // Keeps what open files hold under its bound. A single one is bounded by its row groups.
  Status Shrink() {
    while (open_ > 1) {
      int64_t held = 0;
      for (const auto& [id, partition] : partitions_)
        held += partition.file == nullptr ? 0 : partition.file->memory();
      if (held <= limits::kOpenWriterBytes) break;
      FZ_TRY(CloseOne([](const OpenPartition& p) { return p.file->memory(); }));
    }
    return Status::OK();
  }

  // Hands a partition's file to the I/O pool. The partition is forgotten if no rows wait in it.
  Status CloseFile(const std::string& id, OpenPartition* partition) {
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
    if (partition->rows == 0) partitions_.erase(std::string(id));
    closing_bytes_->fetch_add(held);
    if (context_.io == nullptr) {
      closed_.push_back(arrow::Future<ClosedFile>::MakeFinished(close()));
      return closed_.back().status();
    }
    FZ_ASSIGN(auto future, context_.io->Submit(std::move(close)));
    closed_.push_back(future);
    closing_.push_back(std::move(future));
    return AwaitClosing();
  }

  // Waits while too much is being closed, so that a slow store slows the worker down instead of filling
  // memory.
  Status AwaitClosing() {
    while (!closing_.empty()) {
      const bool full =
          closing_.size() > limits::kClosingFiles || closing_bytes_->load() > limits::kOpenWriterBytes;
      if (!closing_.front().is_finished() && !full) break;
      FZ_TRY(closing_.front().status());  // waits
      closing_.pop_front();
    }
    return Status::OK();
  }

  Status Finish(Epoch epoch) {
    FZ_CHECK(epoch >= epoch_);
    FZ_TRY(EncodeAll());
    while (open_ > 0) FZ_TRY(CloseOne([](const OpenPartition& p) { return -p.used; }));
    FZ_CHECK(partitions_.empty() && pieces_ == 0);
    return Status::OK();
  }

  SinkContext context_;
  WriterOptions options_;
  std::shared_ptr<DataFolder> folder_;
  std::shared_ptr<const std::vector<Leaf>> leaves_;
  EncodingChooser encodings_;
  Conformer conformer_;
  Partitioner partitioner_;
  Epoch epoch_ = 0;
  std::unordered_map<std::string, OpenPartition> partitions_;  // by PartitionSlice::id
  PendingBytes pending_;
  int64_t pieces_ = 0;  // waiting in all partitions
  int32_t open_ = 0;    // files open
  int64_t clock_ = 0;
  std::vector<arrow::Future<ClosedFile>> closed_;  // closed or being closed, of the current epoch
  std::deque<arrow::Future<ClosedFile>> closing_;  // not known to be closed, of any epoch
  std::shared_ptr<std::atomic<int64_t>> closing_bytes_ = std::make_shared<std::atomic<int64_t>>(0);
};

}  // namespace

Result<std::unique_ptr<Sink>> MakeIcebergSink(const nlohmann::json& options, const SinkContext& context) {
  return IcebergSink::Make(options, context);
}

}  // namespace frazil::iceberg
