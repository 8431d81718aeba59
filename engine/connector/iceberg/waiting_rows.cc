#include "connector/iceberg/waiting_rows.h"

#include <arrow/api.h>
#include <arrow/io/memory.h>
#include <arrow/ipc/reader.h>
#include <arrow/ipc/writer.h>

#include "base/batch.h"
#include "state/key.h"
#include "state/take_rows.h"

namespace frazil::iceberg {
namespace {

enum Column { kHash, kTable, kWriter, kWaiting };

const std::shared_ptr<arrow::Schema>& SavedSchema() {
  static const auto schema =
      arrow::schema({arrow::field("hash", arrow::uint64()), arrow::field("table", arrow::utf8()),
                     arrow::field("writer", arrow::int32()), arrow::field("waiting", arrow::binary())});
  return schema;
}

Status Damaged(const std::string& text) {
  return Error(ErrorKind::kState, "restoring rows that wait for their tables: " + text);
}

Result<std::shared_ptr<arrow::Buffer>> Encoded(const arrow::RecordBatch& rows, arrow::MemoryPool* pool) {
  FZ_ASSIGN(const auto out, arrow::io::BufferOutputStream::Create(1024, pool));
  auto options = arrow::ipc::IpcWriteOptions::Defaults();
  options.memory_pool = pool;
  FZ_ASSIGN(const auto writer, arrow::ipc::MakeStreamWriter(out, rows.schema(), options));
  FZ_TRY(writer->WriteRecordBatch(rows));
  FZ_TRY(writer->Close());
  return out->Finish();
}

Result<std::shared_ptr<arrow::RecordBatch>> Decoded(std::string_view bytes, arrow::MemoryPool* pool) {
  // A copy: batches refer to it for as long as they wait.
  FZ_ASSIGN(auto buffer, arrow::AllocateBuffer(static_cast<int64_t>(bytes.size()), pool));
  std::copy(bytes.begin(), bytes.end(), reinterpret_cast<char*>(buffer->mutable_data()));
  auto options = arrow::ipc::IpcReadOptions::Defaults();
  options.memory_pool = pool;
  const auto input =
      std::make_shared<arrow::io::BufferReader>(std::shared_ptr<arrow::Buffer>(std::move(buffer)));
  const auto reader = arrow::ipc::RecordBatchStreamReader::Open(input, options);
  if (!reader.ok()) return Damaged(MessageOf(reader.status()));
  std::shared_ptr<arrow::RecordBatch> rows;
  if (const Status read = (*reader)->ReadNext(&rows); !read.ok()) return Damaged(MessageOf(read));
  if (rows == nullptr) return Damaged("a batch without rows");
  if (const Status valid = rows->ValidateFull(); !valid.ok()) return Damaged(MessageOf(valid));
  return rows;
}

}  // namespace

void WaitingRows::add(const std::string& table, std::shared_ptr<arrow::RecordBatch> rows) {
  settle();
  Held& held = held_[table];
  const int64_t bytes = BatchBytes(Batch{rows});
  held.rows.push_back(std::move(rows));
  held.bytes += bytes;
  bytes_ += bytes;
}

arrow::RecordBatchVector WaitingRows::take(const std::string& table) {
  settle();
  auto found = held_.extract(table);
  if (found.empty()) return {};
  if (found.mapped().saved > 0) gone_.insert(table);
  bytes_ -= found.mapped().bytes;
  return std::move(found.mapped().rows);
}

int64_t WaitingRows::bytes(const std::string& table) const {
  const auto found = held_.find(table);
  return found == held_.end() ? 0 : found->second.bytes;
}

std::set<std::string> WaitingRows::tables() const {
  std::set<std::string> all;
  for (const auto& [table, held] : held_) all.insert(table);
  for (const auto& [of, rows] : restored_) all.insert(of.first);
  return all;
}

bool WaitingRows::waits(const std::string& table) {
  settle();
  return held_.contains(table);
}

void WaitingRows::freeze(bool full) {
  settle();
  for (const std::string& table : gone_) {
    if (!full) frozen_.emplace_back(table, nullptr);
  }
  gone_.clear();
  for (auto& [table, held] : held_) {
    for (size_t i = full ? 0 : held.saved; i < held.rows.size(); ++i)
      frozen_.emplace_back(table, held.rows[i]);
    held.saved = held.rows.size();
  }
}

Result<bool> WaitingRows::save(int64_t rows_max, arrow::RecordBatchVector* rows) {
  arrow::StringBuilder tables(pool_);
  arrow::BinaryBuilder waiting(pool_);
  for (int64_t seen = 0; seen < rows_max && !frozen_.empty();) {
    const auto [table, batch] = std::move(frozen_.front());
    frozen_.pop_front();
    FZ_TRY(tables.Append(table));
    if (batch == nullptr) {
      FZ_TRY(waiting.AppendNull());
      ++seen;
      continue;
    }
    FZ_ASSIGN(const auto bytes, Encoded(*batch, pool_));
    FZ_TRY(waiting.Append(std::string_view(*bytes)));
    seen += batch->num_rows();
  }
  const int64_t count = tables.length();
  if (count == 0) return true;
  arrow::ArrayVector columns(4);
  FZ_ASSIGN(columns[kHash], arrow::MakeArrayOfNull(arrow::uint64(), count, pool_));
  FZ_TRY(tables.Finish(&columns[kTable]));
  FZ_ASSIGN(columns[kWriter], arrow::MakeArrayFromScalar(arrow::Int32Scalar(writer_), count, pool_));
  FZ_TRY(waiting.Finish(&columns[kWaiting]));
  rows->push_back(arrow::RecordBatch::Make(SavedSchema(), count, std::move(columns)));
  return frozen_.empty();
}

bool WaitingRows::IsSaved(const arrow::Schema& schema) {
  return schema.Equals(*SavedSchema(), /*check_metadata=*/false);
}

Status WaitingRows::restore(const arrow::RecordBatch& saved, const Mine& mine) {
  const auto& tables = static_cast<const arrow::StringArray&>(*saved.column(kTable));
  const auto& writers = static_cast<const arrow::Int32Array&>(*saved.column(kWriter));
  const auto& waiting = static_cast<const arrow::BinaryArray&>(*saved.column(kWaiting));
  for (int64_t i = 0; i < saved.num_rows(); ++i) {
    if (tables.IsNull(i) || writers.IsNull(i)) return Damaged("rows without a table or a writer");
    const std::pair<std::string, int32_t> of(tables.GetString(i), writers.Value(i));
    if (waiting.IsNull(i)) {
      restored_.erase(of);
      continue;
    }
    FZ_ASSIGN(auto rows, Decoded(waiting.GetView(i), pool_));
    FZ_ASSIGN(rows, mine(of.first, rows));
    if (rows != nullptr && rows->num_rows() > 0) restored_[of].push_back(std::move(rows));
  }
  return Status::OK();
}

Result<std::shared_ptr<arrow::RecordBatch>> WaitingRowsOf(const SinkContext& worker, const std::string& table,
                                                          const std::vector<std::string>& key,
                                                          const std::shared_ptr<arrow::RecordBatch>& rows) {
  if (key.empty()) {
    arrow::StringBuilder name;
    FZ_TRY(name.Append(table));
    FZ_ASSIGN(const auto column, name.Finish());
    FZ_ASSIGN(const auto hash, HashKeys({column}, 1));
    return WorkerOf(GroupOf(hash.front()), worker.workers) == worker.worker ? rows : nullptr;
  }
  arrow::ArrayVector columns;
  for (const std::string& name : key) {
    columns.push_back(rows->GetColumnByName(name));
    if (columns.back() == nullptr) return Damaged("table \"" + table + "\": no column " + name);
  }
  FZ_ASSIGN(const auto hashes, HashKeys(columns, rows->num_rows()));
  std::vector<int32_t> own;
  for (size_t i = 0; i < hashes.size(); ++i) {
    if (WorkerOf(GroupOf(hashes[i]), worker.workers) == worker.worker) {
      own.push_back(static_cast<int32_t>(i));
    }
  }
  return TakeRows(rows, own, worker.state);
}

// What was restored is this worker's own from now on: the next checkpoint has it as such.
void WaitingRows::settle() {
  if (restored_.empty()) return;
  const auto restored = std::exchange(restored_, {});
  for (const auto& [of, batches] : restored) {
    for (const auto& rows : batches) add(of.first, rows);
  }
}

}  // namespace frazil::iceberg
