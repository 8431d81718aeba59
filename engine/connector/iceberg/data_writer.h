#pragma once

#include <arrow/record_batch.h>
#include <arrow/util/future.h>

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "connector/data_folder.h"
#include "connector/iceberg/encoding.h"
#include "connector/iceberg/open_partition.h"
#include "connector/iceberg/options.h"
#include "connector/iceberg/partitioner.h"
#include "connector/sink.h"

namespace frazil::iceberg {

// Rows at which a data file is closed, whatever its bytes: the number of a row in it has 32 bits.
constexpr int64_t kFileRows = int64_t{1} << 30;

// Where a row is: the number its data file was given, and which of the file's rows it is.
struct RowPlace {
  uint32_t file = 0;
  uint32_t row = 0;
};

// A data file that is closed, and its object of the token.
struct ClosedFile {
  std::string name;
  std::string entry;
};

// The objects of files, all of which were closed; the first error otherwise.
Result<std::vector<std::string>> EntriesOf(const std::vector<Result<ClosedFile>>& files);

// Bytes of batches whose rows still wait. A batch counts whole until the last of its rows is taken.
class PendingBytes {
 public:
  void add(const std::shared_ptr<arrow::RecordBatch>& rows);
  // Forgets the batches that nothing refers to.
  int64_t total();
  int64_t known() const { return total_; }

 private:
  struct Held {
    std::weak_ptr<arrow::RecordBatch> rows;
    int64_t bytes = 0;
  };
  std::vector<Held> held_;
  int64_t total_ = 0;
};

// Encodes rows into Parquet files under a table's data folder, one or more for each partition and epoch. What
// the place of a row is, is known when it is written: rows of a partition go to one file in the order in
// which they came, until it is closed.
//
// Memory is bounded: rows of a partition gather until they are worth encoding (limits::kPendingRows,
// kPendingBytes; pieces of batches in them, kPendingSlices, are put side by side), at most
// limits::kOpenWriters files are open and hold limits::kOpenWriterBytes. Beyond that the least recently used,
// or the largest, is closed and its partition gets another file later: many partitions mean small files,
// never more memory. Files that were not taken by take_closed() are removed by the destructor, as far as that
// works.
//
// One thread; files are closed on the I/O pool. After an error it may only be destroyed.
class DataWriter {
 public:
  // Told of a data file when the first row is put into it: its URI and partition. Gives the number by which
  // places name it.
  using NumberFile = std::function<Result<uint32_t>(const std::string& uri, const PartitionKey& key)>;

  // Errors: kConfig for what is wrong with the options.
  static Result<std::unique_ptr<DataWriter>> Make(WriterOptions options, const SinkContext& context,
                                                  NumberFile number = nullptr);
  ~DataWriter();

  // As Sink::begin.
  void begin(Epoch epoch);
  // Takes rows of the current epoch in the table's schema; says where they are, if `places` is not null.
  Status write(const std::shared_ptr<arrow::RecordBatch>& rows, std::vector<RowPlace>* places = nullptr);
  // The table has the columns of these options now, and rows that come do: files of other columns are closed.
  // Anything else of the options stays as it is.
  Status alter(const WriterOptions& options);
  // Ends the epoch: every file is closed or being closed.
  Status finish(Epoch epoch);
  // The files of the epoch that finish() ended. They are the caller's.
  std::vector<arrow::Future<ClosedFile>> take_closed() { return std::exchange(closed_, {}); }

  const WriterOptions& options() const { return options_; }
  const std::shared_ptr<DataFolder>& folder() const { return folder_; }
  // A new name in the folder that says, like those of data files, by whom and in which epoch it is made.
  std::string file_name(const std::string& extension) const;
  int64_t bytes() const;
  // The same, without those that are not held any more.
  int64_t count_bytes();
  int32_t open_files() const { return open_; }

  // Writes all rows into their files and begins to close these; rows that come go into others.
  Status shed();
  // Waits until no file is being closed.
  Status settle();

 private:
  DataWriter(const SinkContext& context, WriterOptions options, std::shared_ptr<DataFolder> folder,
             std::vector<Leaf> leaves, Partitioner partitioner, NumberFile number);

  Status begin_file(const PartitionSlice& slice, OpenPartition* partition);
  Status encode(const std::string& id, OpenPartition* partition, bool make_room);
  Status encode_waiting(OpenPartition* partition);
  Status encode_all();
  Status gather();
  template <typename Score>
  Status close_one(Score&& score);
  Status shrink();
  Status close_file(const std::string& id, OpenPartition* partition);
  Status await_closing();

  SinkContext context_;
  WriterOptions options_;
  std::shared_ptr<DataFolder> folder_;
  std::shared_ptr<const std::vector<Leaf>> leaves_;
  EncodingChooser encodings_;
  Partitioner partitioner_;
  NumberFile number_;
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

}  // namespace frazil::iceberg
