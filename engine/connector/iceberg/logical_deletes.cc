#include "connector/iceberg/logical_deletes.h"

#include <arrow/api.h>
#include <arrow/compute/api_vector.h>
#include <arrow/io/memory.h>
#include <arrow/ipc/writer.h>
#include <arrow/util/base64.h>
#include <arrow/util/compression.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>
#include <unordered_map>
#include <utility>

namespace frazil::iceberg {

Status LogicalDeletes::add(RowPlace place, std::string_view key) {
  FZ_TRY(files_.Append(place.file));
  FZ_TRY(rows_.Append(place.row));
  if (const Status status = keys_.Append(key); !status.ok()) {
    return Prefixed(status, "noting the row that a change replaces; make checkpoints more often");
  }
  return Status::OK();
}

int64_t LogicalDeletes::bytes() const {
  const auto numbers = (files_.capacity() + rows_.capacity() + keys_.capacity()) * int64_t{4};
  return numbers + keys_.value_data_capacity();
}

Result<std::vector<uint32_t>> LogicalDeletes::number(const arrow::UInt32Array& files, Taken* taken) {
  std::unordered_map<uint32_t, uint32_t> numbers;
  std::vector<uint32_t> distinct;
  arrow::UInt32Builder builder(pool_);
  FZ_TRY(builder.Reserve(files.length()));
  for (int64_t i = 0; i < files.length(); ++i) {
    const auto [found, fresh] = numbers.try_emplace(files.Value(i), static_cast<uint32_t>(distinct.size()));
    if (fresh) distinct.push_back(files.Value(i));
    builder.UnsafeAppend(found->second);
  }
  FZ_TRY(builder.Finish(&taken->file));
  return distinct;
}

namespace {

Result<std::shared_ptr<arrow::Buffer>> RowsOf(const LogicalDeletes::Taken& deletes, arrow::MemoryPool* pool) {
  std::vector<int64_t> order(static_cast<size_t>(deletes.row->length()));
  std::iota(order.begin(), order.end(), 0);
  const auto* file = deletes.file->raw_values();
  const auto* row = deletes.row->raw_values();
  std::sort(order.begin(), order.end(),
            [&](int64_t a, int64_t b) { return std::pair(file[a], row[a]) < std::pair(file[b], row[b]); });
  const auto batch =
      arrow::RecordBatch::Make(arrow::schema({arrow::field("file", arrow::uint32(), false),
                                              arrow::field("row", arrow::uint32(), false),
                                              arrow::field("key", arrow::binary(), false)}),
                               deletes.row->length(), {deletes.file, deletes.row, deletes.key});
  const auto indices = std::make_shared<arrow::Int64Array>(deletes.row->length(), arrow::Buffer::Wrap(order));
  arrow::compute::ExecContext context(pool);
  FZ_ASSIGN(const auto sorted, arrow::compute::Take(arrow::Datum(batch), arrow::Datum(indices),
                                                    arrow::compute::TakeOptions::NoBoundsCheck(), &context));
  auto options = arrow::ipc::IpcWriteOptions::Defaults();
  options.memory_pool = pool;
  FZ_ASSIGN(options.codec, arrow::util::Codec::Create(arrow::Compression::ZSTD));
  FZ_ASSIGN(const auto sink, arrow::io::BufferOutputStream::Create(4096, pool));
  FZ_ASSIGN(const auto writer, arrow::ipc::MakeStreamWriter(sink, batch->schema(), options));
  FZ_TRY(writer->WriteRecordBatch(*sorted.record_batch()));
  FZ_TRY(writer->Close());
  return sink->Finish();
}

Status WriteFile(const arrow::Buffer& bytes, DataFolder* folder, const std::string& name) {
  const auto output = folder->Create(name);
  Status status = output->Write(bytes.data(), bytes.size());
  if (status.ok()) status = output->Close();
  if (status.ok()) return status;
  (void)output->Abort();
  return Error(ErrorKind::kSink, "writing " + folder->Uri(name) + ": " + MessageOf(status),
               /*retryable=*/status.IsIOError());
}

}  // namespace

Result<std::string> DeletesText(const LogicalDeletes::Taken& deletes, DataFolder* folder,
                                const std::string& name, arrow::MemoryPool* pool) {
  FZ_ASSIGN(const auto bytes, RowsOf(deletes, pool));
  std::string text = "{\"count\":" + std::to_string(deletes.row->length()) + ",\"files\":[";
  for (const DeletesFile& each : deletes.files) {
    if (&each != &deletes.files.front()) text += ",";
    text += "{\"path\":" + nlohmann::json(each.path).dump() + ",\"spec_id\":" + std::to_string(each.spec_id) +
            ",\"partition\":" + each.partition + "}";
  }
  if (bytes->size() <= kInlineDeletesBytes) {
    return text + "],\"rows\":\"" + arrow::util::base64_encode(std::string_view(*bytes)) + "\"}";
  }
  FZ_TRY(WriteFile(*bytes, folder, name));
  return text + "],\"rows_path\":" + nlohmann::json(folder->Uri(name)).dump() + "}";
}

}  // namespace frazil::iceberg
