#include "connector/iceberg/upsert_sink.h"

#include <arrow/api.h>
#include <arrow/compute/api_vector.h>
#include <arrow/compute/cast.h>
#include <arrow/io/file.h>
#include <arrow/ipc/reader.h>
#include <arrow/util/future.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/truncate.h"
#include "connector/iceberg/conform.h"
#include "connector/iceberg/data_writer.h"
#include "connector/iceberg/file_entry.h"
#include "connector/iceberg/logical_deletes.h"
#include "connector/iceberg/upsert_index.h"
#include "state/key.h"
#include "state/key_codec.h"
#include "state/snapshot_file.h"

namespace frazil::iceberg {
namespace {

// Ids of files are never given twice: epoch, worker, and number in both, in so many bits.
constexpr int kWorkerBits = 10;
constexpr int kNumberBits = 24;
constexpr int kEpochBits = 63 - kWorkerBits - kNumberBits;

// Rows that did nothing, since the last token.
struct Idle {
  int64_t unknown = 0;  // deletes of keys that were not there
  int64_t older = 0;    // than what was there
};

std::string TokenText(const std::vector<std::string>& entries, const std::string& table,
                      const std::string& deletes, const Idle& idle) {
  std::string token = "{\"v\":2,";
  if (!table.empty()) token += "\"table\":" + nlohmann::json(table).dump() + ",";
  if (!deletes.empty()) token += "\"deletes\":" + deletes + ",";
  token += "\"unknown\":" + std::to_string(idle.unknown) + ",\"older\":" + std::to_string(idle.older) +
           ",\"files\":[";
  for (size_t i = 0; i < entries.size(); ++i) token += (i == 0 ? "" : ",") + entries[i];
  return token + "]}";
}

// The order of rows as numbers. Errors: a row without one.
Result<std::shared_ptr<arrow::Int64Array>> OrdersOf(const Batch& batch, const std::string& name,
                                                    arrow::MemoryPool* pool) {
  auto column = batch.columns->GetColumnByName(name);
  if (column == nullptr) return Error(ErrorKind::kInternal, "the rows have no column " + name);
  if (column->null_count() > 0) {
    return Error(ErrorKind::kUser, "writing rows by key: " + std::to_string(column->null_count()) +
                                       " rows of a batch have no value in order_by=\"" + name +
                                       "\"; filter those rows out, or give them one");
  }
  if (column->type_id() == arrow::Type::DATE32) {
    FZ_ASSIGN(column, column->View(arrow::int32()));
  } else if (column->type_id() == arrow::Type::TIMESTAMP) {
    FZ_ASSIGN(column, column->View(arrow::int64()));
  }
  arrow::compute::ExecContext context(pool);
  FZ_ASSIGN(const auto numbers, arrow::compute::Cast(arrow::Datum(column), arrow::int64(),
                                                     arrow::compute::CastOptions::Safe(), &context));
  return std::static_pointer_cast<arrow::Int64Array>(numbers.make_array());
}

class UpsertSink : public TableSink {
 public:
  static Result<std::unique_ptr<TableSink>> Make(WriterOptions options, const SinkContext& context) {
    auto sink = std::make_unique<UpsertSink>(context, options);
    FZ_ASSIGN(sink->index_, UpsertIndex::Make(context.state, !options.order_by.empty()));
    if (!options.seed.empty()) FZ_TRY(sink->read_seed(options));
    FZ_ASSIGN(sink->writer_,
              DataWriter::Make(std::move(options), context,
                               [made = sink.get()](const std::string& uri, const PartitionKey& key) {
                                 return made->number_file(uri, key);
                               }));
    sink->conformer_.emplace(sink->writer_->options().schema, context.pool, sink->writer_->options().left_out,
                             sink->writer_->options().narrowed);
    return sink;
  }

  UpsertSink(const SinkContext& context, const WriterOptions& options)
      : context_(context),
        key_(options.key),
        order_by_(options.order_by),
        deleted_(options.deleted),
        spec_id_(options.spec_id),
        keys_(context.pool),
        deletes_(context.pool) {}

  void begin(Epoch epoch) override {
    epoch_ = epoch;
    file_count_ = 0;
    writer_->begin(epoch);
  }

  Status write(const Batch& batch) override {
    if (batch.rows() == 0) return Status::OK();
    const int64_t before = deletes_.size();
    const Status status = write_some(batch);
    if (context_.deletes != nullptr) context_.deletes->add(deletes_.size() - before);
    return status;
  }

  arrow::Future<Token> prepare(Epoch epoch) override {
    auto token = token_of(epoch);
    return token.ok() ? *token : arrow::Future<Token>::MakeFinished(token.status());
  }

  int64_t bytes() const override { return writer_->bytes() + deletes_.bytes(); }
  DataWriter& writer() override { return *writer_; }
  Status alter(const WriterOptions& options) override {
    FZ_TRY(writer_->alter(options));
    conformer_.emplace(writer_->options().schema, context_.pool, writer_->options().left_out,
                       writer_->options().narrowed);
    return Status::OK();
  }

  bool stateful() const override { return true; }
  Status freeze(bool full) override { return index_->freeze(full); }
  Result<bool> save(int64_t rows_max, arrow::RecordBatchVector* rows) override {
    return index_->save(rows_max, rows);
  }
  Status restore(const std::shared_ptr<arrow::RecordBatch>& rows) override { return index_->restore(rows); }
  int64_t state_bytes() const override { return index_->bytes(); }

 private:
  Status write_some(const Batch& batch) {
    const uint8_t* const kinds = KindsWithTruncates(batch);
    if (kinds == nullptr) return write_rows(batch);
    FZ_ASSIGN(const Batch rest, truncate(batch, kinds));
    return rest.rows() == 0 ? Status::OK() : write_rows(rest);
  }

  // Takes away what the truncates of a batch take away, and gives its other rows. These go by their order: it
  // does not matter that some of them stand before.
  Result<Batch> truncate(const Batch& batch, const uint8_t* kinds) {
    if (order_by_.empty() || !deleted_.empty()) {
      return Error(ErrorKind::kInternal, "a truncate for a sink that cannot follow it");
    }
    FZ_ASSIGN(const auto orders, OrdersOf(batch, order_by_, context_.pool));
    arrow::BooleanBuilder builder(context_.pool);
    FZ_TRY(builder.Reserve(batch.rows()));
    for (int64_t i = 0; i < batch.rows(); ++i) {
      const bool is_row = kinds[i] != static_cast<uint8_t>(kTruncateKind);
      builder.UnsafeAppend(is_row);
      if (is_row) continue;
      FZ_TRY(index_->truncate(orders->Value(i), [this](RowPlace place, std::string_view key) {
        return deletes_.add(place, key);
      }));
    }
    std::shared_ptr<arrow::BooleanArray> mask;
    FZ_TRY(builder.Finish(&mask));
    arrow::compute::ExecContext context(context_.pool);
    FZ_ASSIGN(const auto kept, arrow::compute::Filter(arrow::Datum(batch.columns), arrow::Datum(mask),
                                                      arrow::compute::FilterOptions::Defaults(), &context));
    return Batch{kept.record_batch(), batch.origin, nullptr};
  }

  Status write_rows(const Batch& batch) {
    FZ_TRY(encode_keys(batch));
    const auto gone = GoneOf(batch);
    // Where rows that go stay, each row comes: that it is gone is a value in it.
    const auto* taken = gone && deleted_.empty() ? &*gone : nullptr;
    std::shared_ptr<arrow::Int64Array> orders;
    if (!order_by_.empty()) {
      FZ_ASSIGN(orders, OrdersOf(batch, order_by_, context_.pool));
    }
    FZ_ASSIGN(auto changes, index_->fold(keys_, taken, orders == nullptr ? nullptr : orders->raw_values()));
    std::vector<UpsertIndex::Change> stay;
    for (const auto& change : changes) {
      const bool goes = gone && (*gone)[static_cast<size_t>(change.last)];
      if (change.known) FZ_TRY(deletes_.add(change.old, index_->key(change)));
      if (goes && !change.known && (taken == nullptr || !change.came)) ++unknown_;
      if (taken == nullptr || !goes) {
        stay.push_back(change);
      } else {
        FZ_TRY(index_->remove(change));
      }
    }
    return put(batch, gone ? &*gone : nullptr, std::move(stay));
  }

  // Which rows take their key away; of rows without kinds none does.
  static std::optional<std::vector<bool>> GoneOf(const Batch& batch) {
    const auto column = batch.columns->GetColumnByName(std::string(kKindColumn));
    if (column == nullptr) return std::nullopt;
    const auto& kinds = static_cast<const arrow::UInt8Array&>(*column);
    std::vector<bool> gone;
    gone.reserve(static_cast<size_t>(kinds.length()));
    for (int64_t i = 0; i < kinds.length(); ++i) {
      const auto kind = static_cast<RowKind>(kinds.Value(i));
      gone.push_back(kind == RowKind::kDelete || kind == RowKind::kUpdateBefore);
    }
    return gone;
  }

  Result<uint32_t> number_file(const std::string& uri, const PartitionKey& key) {
    FZ_CHECK(epoch_ < (Epoch{1} << kEpochBits) && context_.worker < (1 << kWorkerBits));
    if (file_count_ >= (int64_t{1} << kNumberBits)) {
      return Error(ErrorKind::kUser, "more than " + std::to_string(file_count_) +
                                         " data files in one checkpoint; partition the table less finely");
    }
    const int64_t id = (((epoch_ << kWorkerBits) | context_.worker) << kNumberBits) | file_count_++;
    return index_->add_file(id, {uri, spec_id_, PartitionText(key)});
  }

  Status encode_keys(const Batch& batch) {
    arrow::ArrayVector columns;
    arrow::DataTypeVector types;
    for (const std::string& name : key_) {
      const auto column = batch.columns->GetColumnByName(name);
      if (column == nullptr) return Error(ErrorKind::kInternal, "the rows have no key column " + name);
      if (column->null_count() > 0) {
        return Error(ErrorKind::kUser, "writing rows by key: " + std::to_string(column->null_count()) +
                                           " rows of a batch have no value in key column \"" + name +
                                           "\"; filter those rows out, or give them a key");
      }
      columns.push_back(column);
      types.push_back(column->type());
    }
    const auto same = [](const auto& a, const auto& b) { return a->Equals(*b); };
    if (!codec_ ||
        !std::equal(types.begin(), types.end(), codec_->types().begin(), codec_->types().end(), same)) {
      FZ_ASSIGN(auto codec, KeyCodec::Make(std::move(types)));
      codec_.emplace(std::move(codec));
    }
    return codec_->encode(columns, batch.rows(), &keys_);
  }

  Status read_seed(const WriterOptions& options) {
    const auto read = [&]() -> Status {
      FZ_ASSIGN(const auto file, arrow::io::ReadableFile::Open(options.seed, context_.pool));
      FZ_ASSIGN(const auto reader, arrow::ipc::RecordBatchStreamReader::Open(file));
      const auto [first, last] = GroupsOf(context_.worker, context_.workers);
      std::shared_ptr<arrow::RecordBatch> rows;
      int64_t keys = 0;
      while (true) {
        FZ_TRY(reader->ReadNext(&rows));
        if (rows == nullptr) break;
        FZ_ASSIGN(const auto own, RowsOfGroups(rows, first, last, context_.pool));
        keys += own->num_rows() - own->column(0)->null_count();
        if (own->num_rows() > 0) FZ_TRY(index_->restore(own));
      }
      if (keys == index_->size()) return Status::OK();
      return Error(ErrorKind::kUser,
                   std::to_string(keys - index_->size()) +
                       " rows have the key of another one; leave one row of each key in the "
                       "table, and start again");
    };
    const Status status = read();
    if (status.ok()) return status;
    return Prefixed(status, "taking over the rows of the table at " + options.location);
  }

  // Rows with the column that says which are gone, if the table has it.
  Result<std::shared_ptr<arrow::RecordBatch>> marked(std::shared_ptr<arrow::RecordBatch> rows,
                                                     const std::vector<bool>* gone) {
    if (deleted_.empty()) return rows;
    arrow::BooleanBuilder builder(context_.pool);
    FZ_TRY(builder.Reserve(rows->num_rows()));
    for (int64_t i = 0; i < rows->num_rows(); ++i) {
      builder.UnsafeAppend(gone != nullptr && (*gone)[static_cast<size_t>(i)]);
    }
    FZ_ASSIGN(auto column, builder.Finish());
    return rows->AddColumn(rows->num_columns(), deleted_, std::move(column));
  }

  // Writes the rows that stay, in the order in which they came.
  Status put(const Batch& batch, const std::vector<bool>* gone, std::vector<UpsertIndex::Change> stay) {
    if (stay.empty()) return Status::OK();
    std::sort(stay.begin(), stay.end(), [](const auto& a, const auto& b) { return a.last < b.last; });
    FZ_ASSIGN(auto rows, marked(VisibleColumns(batch), gone));
    if (static_cast<int64_t>(stay.size()) != batch.rows()) {
      arrow::Int32Builder builder(context_.pool);
      FZ_TRY(builder.Reserve(static_cast<int64_t>(stay.size())));
      for (const auto& change : stay) builder.UnsafeAppend(change.last);
      FZ_ASSIGN(const auto indices, builder.Finish());
      arrow::compute::ExecContext context(context_.pool);
      FZ_ASSIGN(const auto taken,
                arrow::compute::Take(arrow::Datum(rows), arrow::Datum(indices),
                                     arrow::compute::TakeOptions::NoBoundsCheck(), &context));
      rows = taken.record_batch();
    }
    FZ_ASSIGN(rows, conformer_->Conform(rows));
    FZ_TRY(writer_->write(rows, &places_));
    for (size_t i = 0; i < stay.size(); ++i) index_->put(stay[i], places_[i]);
    return Status::OK();
  }

  Result<arrow::Future<Token>> token_of(Epoch epoch) {
    FZ_TRY(writer_->finish(epoch));
    auto files = writer_->take_closed();
    FZ_ASSIGN(auto deletes,
              deletes_.take([this](uint32_t number) -> const DeletesFile& { return index_->file(number); }));
    index_->forget_files();
    if (files.empty() && deletes.files.empty()) return arrow::Future<Token>::MakeFinished(Token());
    return arrow::All(std::move(files))
        .Then([table = writer_->options().table_uuid, deletes = std::move(deletes), pool = context_.pool,
               folder = writer_->folder(), name = writer_->file_name(".arrow"),
               idle = Idle{std::exchange(unknown_, 0), index_->take_older()}](
                  const std::vector<Result<ClosedFile>>& all) -> Result<Token> {
          FZ_ASSIGN(const auto entries, EntriesOf(all));
          std::string text;
          if (!deletes.files.empty()) {
            FZ_ASSIGN(text, DeletesText(deletes, folder.get(), name, pool));
          }
          return TokenText(entries, table, text, idle);
        });
  }

  SinkContext context_;
  const std::vector<std::string> key_;
  const std::string order_by_, deleted_;  // columns; empty: none
  const int32_t spec_id_;
  std::unique_ptr<UpsertIndex> index_;
  std::unique_ptr<DataWriter> writer_;
  std::optional<Conformer> conformer_;
  std::optional<KeyCodec> codec_;
  Epoch epoch_ = 0;
  int64_t file_count_ = 0;  // of the epoch
  int64_t unknown_ = 0;     // deletes of keys that were not there, since the last token
  EncodedKeys keys_;        // of the batch at hand
  std::vector<RowPlace> places_;
  LogicalDeletes deletes_;  // of the epoch
};

}  // namespace

Result<std::unique_ptr<TableSink>> MakeUpsertSink(WriterOptions options, const SinkContext& context) {
  return UpsertSink::Make(std::move(options), context);
}

}  // namespace frazil::iceberg
