#include "operator/ordered/running.h"

#include <arrow/api.h>
#include <arrow/compute/api.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <numeric>
#include <string>

#include "base/calendar.h"
#include "operator/ordered/row_order.h"
#include "operator/time/window.h"

namespace frazil {
namespace {

constexpr const char* kWhat = "running aggregates";

}  // namespace

Result<std::shared_ptr<arrow::Schema>> RunningSchema(const nlohmann::json& spec, const arrow::Schema& input) {
  FZ_ASSIGN(const Accumulators accumulators, Accumulators::OfRows(spec.at("aggregates"), input));
  arrow::FieldVector fields = input.fields();
  for (auto& field : accumulators.result_fields()) fields.push_back(std::move(field));
  return arrow::schema(std::move(fields));
}

Result<std::unique_ptr<Running>> Running::Make(const nlohmann::json& spec, const arrow::Schema& input,
                                               const OperatorContext& context) {
  FZ_ASSIGN(KeyColumns keys, KeyColumns::Make(spec, input));
  FZ_ASSIGN(const RowTime time, RowTime::Make(spec, input));
  FZ_ASSIGN(Accumulators accumulators, Accumulators::OfRows(spec.at("aggregates"), input));
  auto made = std::unique_ptr<Running>(new Running(std::move(keys), time, std::move(accumulators), context));
  if (spec.contains("ttl_us") && !spec.at("ttl_us").is_null()) {
    made->ttl_ = spec.at("ttl_us").get<int64_t>();
    if (*made->ttl_ <= 0) {
      return Error(ErrorKind::kConfig, "reading the plan: ttl_us " + std::to_string(*made->ttl_));
    }
    made->expiring_.emplace(*made->ttl_);
  }
  FZ_ASSIGN(made->output_, RunningSchema(spec, input));
  arrow::FieldVector saved = {arrow::field("touched", arrow::int64(), false)};
  for (auto& field : made->accumulators_.saved_fields()) saved.push_back(std::move(field));
  made->saved_schema_ = KeyedSchema(saved);
  const auto width = static_cast<int32_t>(sizeof(Header)) + made->accumulators_.width();
  FZ_ASSIGN(made->table_, StateTable::Make({.payload_bytes = width, .track_changes = true}, context.kept()));
  return made;
}

Running::~Running() {
  const Status done = EachSlice(*table_, /*full=*/true, [this](const std::vector<std::byte*>& payloads) {
    for (std::byte* payload : payloads) accumulators_.destroy(AccumulatorsOf(payload));
    return Status::OK();
  });
  static_cast<void>(done);  // nothing in it can fail
}

void Running::count_bytes() {
  const int64_t waiting = expiring_.has_value() ? expiring_->bytes() : 0;
  bytes_.store(table_->bytes() + accumulators_.heap_bytes() + waiting, std::memory_order_relaxed);
}

Result<Progress> Running::process(Batch batch, Output& out) {
  if (batch.rows() == 0) return Progress::kDone;
  FZ_ASSIGN(const std::vector<Timestamp> times, time_.of(*batch.columns, pool_));
  FZ_TRY(CheckInOrder(times, promise_, kWhat));
  FZ_TRY(find(batch, times));
  FZ_ASSIGN(arrow::ArrayVector made, results(batch, times));
  arrow::ArrayVector columns = VisibleColumns(batch)->columns();
  columns.insert(columns.end(), made.begin(), made.end());
  batch.columns = arrow::RecordBatch::Make(output_, batch.rows(), std::move(columns));
  count_bytes();
  FZ_TRY(out.push(std::move(batch)));
  return Progress::kDone;
}

// The payload of each row's key.
Status Running::find(const Batch& batch, const std::vector<Timestamp>& times) {
  FZ_TRY(keys_.encode(batch, &encoded_));
  payloads_.resize(times.size());
  inserted_.resize(times.size());
  FZ_TRY(table_->probe(encoded_, payloads_, inserted_));
  for (size_t i = 0; i < times.size(); ++i) {
    if (inserted_[i] == 0) continue;
    new (payloads_[i]) Header{times[i], 0};
    accumulators_.create(AccumulatorsOf(payloads_[i]));
    if (ttl_.has_value()) expiring_->add(payloads_[i], over(payloads_[i]));
  }
  return Status::OK();
}

// Rows by how many of the same key are before them in the batch: those of a round are of different keys, and
// each sees what the round before it left.
std::vector<std::vector<int32_t>> Running::rounds() const {
  std::vector<std::vector<int32_t>> rounds;
  for (size_t i = 0; i < payloads_.size(); ++i) {
    const auto round = static_cast<size_t>(HeaderOf(payloads_[i])->seen++);
    if (round == rounds.size()) rounds.emplace_back();
    rounds[round].push_back(static_cast<int32_t>(i));
  }
  for (std::byte* payload : payloads_) HeaderOf(payload)->seen = 0;
  return rounds;
}

void Running::touch(std::byte* payload, Timestamp time) {
  Header* header = HeaderOf(payload);
  if (ttl_.has_value() && header->touched < Earlier(time, *ttl_)) {
    accumulators_.destroy(AccumulatorsOf(payload));
    accumulators_.create(AccumulatorsOf(payload));
  }
  header->touched = time;
}

Result<arrow::ArrayVector> Running::results(const Batch& batch, const std::vector<Timestamp>& times) {
  FZ_ASSIGN(const Accumulators::Inputs inputs, accumulators_.evaluate(batch, pool_));
  FZ_ASSIGN(const std::vector<OrderKey> order, accumulators_.needs_order()
                                                   ? OrderKeysOf(batch, times)
                                                   : Result<std::vector<OrderKey>>(std::vector<OrderKey>()));
  const auto width = static_cast<size_t>(accumulators_.width());
  const bool plain = accumulators_.plain();
  // After each round: the accumulators themselves, to be finished together, or their results.
  std::vector<uint64_t> copies(plain ? times.size() * width / sizeof(uint64_t) : 0);
  auto* copied = reinterpret_cast<std::byte*>(copies.data());
  std::vector<arrow::ArrayVector> pieces;
  std::vector<int32_t> rows_given;
  std::vector<std::byte*> accumulators;
  std::vector<OrderKey> some_order;
  for (const std::vector<int32_t>& rows : rounds()) {
    accumulators.clear();
    some_order.clear();
    for (const int32_t row : rows) {
      std::byte* payload = payloads_[static_cast<size_t>(row)];
      touch(payload, times[static_cast<size_t>(row)]);
      accumulators.push_back(AccumulatorsOf(payload));
      if (!order.empty()) some_order.push_back(order[static_cast<size_t>(row)]);
    }
    FZ_TRY(accumulators_.add(inputs, rows, accumulators, some_order, pool_));
    if (plain) {
      for (size_t i = 0; i < rows.size(); ++i) {
        std::memcpy(copied + static_cast<size_t>(rows[i]) * width, accumulators[i], width);
      }
      continue;
    }
    FZ_ASSIGN(arrow::ArrayVector piece, finish(accumulators, rows, times));
    pieces.push_back(std::move(piece));
    rows_given.insert(rows_given.end(), rows.begin(), rows.end());
  }
  if (plain) {
    std::vector<int32_t> all(times.size());
    std::iota(all.begin(), all.end(), 0);
    accumulators.clear();
    for (size_t i = 0; i < times.size(); ++i) accumulators.push_back(copied + i * width);
    return finish(accumulators, all, times);
  }
  return Together(pieces, rows_given, pool_);
}

Result<arrow::ArrayVector> Running::finish(const std::vector<std::byte*>& accumulators,
                                           const std::vector<int32_t>& rows,
                                           const std::vector<Timestamp>& times) {
  int64_t failed = -1;
  auto finished = accumulators_.finish(accumulators, pool_, &failed);
  if (finished.ok() || failed < 0) return finished;
  const Timestamp at = times[static_cast<size_t>(rows[static_cast<size_t>(failed)])];
  return NamedError(
      "DataError",
      MessageOf(Prefixed(finished.status(), "row at " + IsoTimestamp(at, arrow::TimeUnit::MICRO, true))));
}

Result<Progress> Running::advance(int, Timestamp to, Output&) {
  promise_ = std::max(promise_, to);
  if (ttl_.has_value()) {
    // Rows to come are not before the watermark.
    FZ_TRY(expiring_->look(
        promise_, [this](std::byte* payload) { return over(payload); },
        [this](std::span<std::byte* const> gone) -> Status {
          if (table_->frozen()) FZ_TRY(table_->touch(gone));
          for (std::byte* payload : gone) {
            accumulators_.destroy(AccumulatorsOf(payload));
            FZ_TRY(table_->erase(payload));
          }
          return Status::OK();
        }));
  }
  count_bytes();
  return Progress::kDone;
}

Status Running::freeze(bool full) {
  return Freeze(table_.get(), full, [this](auto rows) { return save_rows(PayloadsOf(rows)); });
}

Result<bool> Running::save(int64_t rows_max, StateRows* rows) {
  return SaveSlice(table_.get(), rows_max, &saved_, rows);
}

Status Running::save_rows(const std::vector<std::byte*>& payloads) {
  FZ_ASSIGN(arrow::ArrayVector columns, SavedKeys(*table_, payloads, kept_));
  arrow::Int64Builder touched(kept_);
  std::vector<std::byte*> accumulators;
  for (std::byte* payload : payloads) {
    FZ_TRY(touched.Append(HeaderOf(payload)->touched));
    accumulators.push_back(AccumulatorsOf(payload));
  }
  FZ_TRY(touched.Finish(&columns.emplace_back()));
  FZ_ASSIGN(arrow::ArrayVector saved, accumulators_.save(accumulators, kept_));
  columns.insert(columns.end(), saved.begin(), saved.end());
  saved_.push_back(
      arrow::RecordBatch::Make(saved_schema_, static_cast<int64_t>(payloads.size()), std::move(columns)));
  return Status::OK();
}

Status Running::restore(const std::shared_ptr<arrow::RecordBatch>& rows) {
  FZ_TRY(CheckRestored(*rows, *saved_schema_, kWhat));
  const auto& keys = static_cast<const arrow::BinaryArray&>(*rows->column(1));
  const auto& touched = static_cast<const arrow::Int64Array&>(*rows->column(2));
  if (keys.null_count() > 0 || touched.null_count() > 0) {
    return RestoreError(kWhat, "a row without a key or time");
  }
  std::vector<std::string_view> names;
  for (int64_t i = 0; i < rows->num_rows(); ++i) names.push_back(keys.GetView(i));
  FZ_TRY(encoded_.assign(names));
  payloads_.resize(names.size());
  inserted_.resize(names.size());
  FZ_TRY(table_->probe(encoded_, payloads_, inserted_));
  std::vector<std::byte*> accumulators;
  for (size_t i = 0; i < names.size(); ++i) {
    std::byte* payload = payloads_[i];
    accumulators.push_back(AccumulatorsOf(payload));
    if (inserted_[i] == 0) accumulators_.destroy(accumulators.back());
    accumulators_.create(accumulators.back());
    new (payload) Header{touched.Value(static_cast<int64_t>(i)), 0};
    if (ttl_.has_value() && inserted_[i] != 0) expiring_->add(payload, over(payload));
  }
  const arrow::ArrayVector saved(rows->columns().begin() + 3, rows->columns().end());
  FZ_TRY(accumulators_.merge(accumulators, saved));
  table_->clear_changes();
  count_bytes();
  return Status::OK();
}

}  // namespace frazil
