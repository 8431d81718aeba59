#include "operator/ordered/rate_limit.h"

#include <arrow/api.h>

#include <algorithm>
#include <new>
#include <string>

#include "operator/filter.h"
#include "operator/ordered/row_order.h"
#include "operator/time/window.h"

namespace frazil {
namespace {

constexpr const char* kWhat = "rate_limit";
constexpr int64_t kFirstCapacity = 4;  // times of a new key

std::shared_ptr<arrow::Schema> SavedSchema() {
  return KeyedSchema({arrow::field("kept", arrow::list(arrow::int64()), false)});
}

}  // namespace

Result<std::unique_ptr<RateLimit>> RateLimit::Make(const nlohmann::json& spec, const arrow::Schema& input,
                                                   const OperatorContext& context) {
  FZ_ASSIGN(KeyColumns keys, KeyColumns::Make(spec, input));
  FZ_ASSIGN(const RowTime time, RowTime::Make(spec, input));
  const auto limit = spec.at("limit").get<int64_t>();
  const auto per = spec.at("per_us").get<int64_t>();
  if (limit < 1 || per < 1) {
    return Error(ErrorKind::kConfig, "reading the plan: rate_limit of " + std::to_string(limit) + " per " +
                                         std::to_string(per) + " us");
  }
  FZ_ASSIGN(auto table,
            StateTable::Make({.payload_bytes = sizeof(Kept), .track_changes = true}, context.kept()));
  return std::unique_ptr<RateLimit>(
      new RateLimit(std::move(keys), time, limit, per, std::move(table), context));
}

RateLimit::~RateLimit() {
  const Status done = EachSlice(*table_, /*full=*/true, [this](const std::vector<std::byte*>& payloads) {
    for (std::byte* payload : payloads) free(KeptOf(payload));
    return Status::OK();
  });
  static_cast<void>(done);  // nothing in it can fail
}

void RateLimit::free(Kept* kept) {
  const auto bytes = kept->capacity * static_cast<int64_t>(sizeof(Timestamp));
  if (kept->times != nullptr) kept_->Free(reinterpret_cast<uint8_t*>(kept->times), bytes);
  ring_bytes_ -= bytes;
  *kept = {};
}

Status RateLimit::grow(Kept* kept, int64_t capacity) {
  uint8_t* memory = nullptr;
  const auto bytes = capacity * static_cast<int64_t>(sizeof(Timestamp));
  FZ_TRY(kept_->Allocate(bytes, &memory));
  auto* times = reinterpret_cast<Timestamp*>(memory);
  const int64_t count = kept->count;
  for (int64_t i = 0; i < count; ++i) times[i] = kept->at(i);
  free(kept);
  ring_bytes_ += bytes;
  *kept = {times, capacity, 0, count};
  return Status::OK();
}

Result<bool> RateLimit::take(Kept* kept, Timestamp time) {
  while (kept->count > 0 && kept->at(0) <= Earlier(time, per_)) {
    kept->first = (kept->first + 1) % kept->capacity;
    --kept->count;
  }
  if (kept->count == limit_) return false;
  if (kept->count == kept->capacity) {
    FZ_TRY(grow(kept, std::min(limit_, std::max(kFirstCapacity, 2 * kept->capacity))));
  }
  kept->at(kept->count) = time;
  ++kept->count;
  return true;
}

// The time from which no row sees any of the key; of one without rows long ago.
Timestamp RateLimit::over(std::byte* payload) const {
  Kept* kept = KeptOf(payload);
  return kept->count == 0 ? kWatermarkMin : Later(kept->at(kept->count - 1), per_ - 1);
}

void RateLimit::count_bytes() {
  bytes_.store(table_->bytes() + ring_bytes_ + expiring_.bytes(), std::memory_order_relaxed);
}

Result<Progress> RateLimit::process(Batch batch, Output& out) {
  if (batch.rows() == 0) return Progress::kDone;
  FZ_ASSIGN(const std::vector<Timestamp> times, time_.of(*batch.columns, pool_));
  FZ_TRY(CheckInOrder(times, promise_, kWhat));
  FZ_TRY(keys_.encode(batch, &encoded_));
  std::vector<std::byte*> payloads(times.size());
  std::vector<uint8_t> inserted(times.size());
  FZ_TRY(table_->probe(encoded_, payloads, inserted));
  for (size_t i = 0; i < times.size(); ++i) {
    if (inserted[i] != 0) new (payloads[i]) Kept{};
  }
  arrow::BooleanBuilder kept(pool_), limited(pool_);
  for (size_t i = 0; i < times.size(); ++i) {
    FZ_ASSIGN(const bool taken, take(KeptOf(payloads[i]), times[i]));
    if (inserted[i] != 0) expiring_.add(payloads[i], over(payloads[i]));
    FZ_TRY(kept.Append(taken));
    FZ_TRY(limited.Append(!taken));
  }
  count_bytes();
  const auto push = [&](arrow::BooleanBuilder* builder, Output* to) -> Status {
    std::shared_ptr<arrow::BooleanArray> mask;
    FZ_TRY(builder->Finish(&mask));
    if (to == nullptr) return Status::OK();
    FZ_ASSIGN(Batch rows, KeepRows(batch, mask, pool_));
    return rows.rows() == 0 ? Status::OK() : to->push(std::move(rows));
  };
  FZ_TRY(push(&limited, aside_));
  FZ_TRY(push(&kept, &out));
  return Progress::kDone;
}

Result<Progress> RateLimit::advance(int, Timestamp to, Output&) {
  promise_ = std::max(promise_, to);
  FZ_TRY(expiring_.look(
      promise_, [this](std::byte* payload) { return over(payload); },
      [this](std::span<std::byte* const> gone) -> Status {
        if (table_->frozen()) FZ_TRY(table_->touch(gone));
        for (std::byte* payload : gone) {
          free(KeptOf(payload));
          FZ_TRY(table_->erase(payload));
        }
        return Status::OK();
      }));
  count_bytes();
  return Progress::kDone;
}

Status RateLimit::freeze(bool full) {
  return Freeze(table_.get(), full, [this](auto rows) { return save_rows(PayloadsOf(rows)); });
}

Result<bool> RateLimit::save(int64_t rows_max, StateRows* rows) {
  return SaveSlice(table_.get(), rows_max, &saved_, rows);
}

Status RateLimit::save_rows(const std::vector<std::byte*>& payloads) {
  FZ_ASSIGN(arrow::ArrayVector columns, SavedKeys(*table_, payloads, kept_));
  auto values = std::make_shared<arrow::Int64Builder>(kept_);
  arrow::ListBuilder lists(kept_, values);
  for (std::byte* payload : payloads) {
    FZ_TRY(lists.Append());
    Kept* kept = KeptOf(payload);
    for (int64_t i = 0; i < kept->count; ++i) FZ_TRY(values->Append(kept->at(i)));
  }
  FZ_TRY(lists.Finish(&columns.emplace_back()));
  saved_.push_back(
      arrow::RecordBatch::Make(SavedSchema(), static_cast<int64_t>(payloads.size()), std::move(columns)));
  return Status::OK();
}

Status RateLimit::restore(const std::shared_ptr<arrow::RecordBatch>& rows) {
  FZ_TRY(CheckRestored(*rows, *SavedSchema(), kWhat));
  const auto& keys = static_cast<const arrow::BinaryArray&>(*rows->column(1));
  const auto& lists = static_cast<const arrow::ListArray&>(*rows->column(2));
  const auto& values = static_cast<const arrow::Int64Array&>(*lists.values());
  if (keys.null_count() > 0 || lists.null_count() > 0) {
    return RestoreError(kWhat, "a row without a key or times");
  }
  std::vector<std::string_view> names;
  for (int64_t i = 0; i < rows->num_rows(); ++i) names.push_back(keys.GetView(i));
  FZ_TRY(encoded_.assign(names));
  std::vector<std::byte*> payloads(names.size());
  std::vector<uint8_t> inserted(names.size());
  FZ_TRY(table_->probe(encoded_, payloads, inserted));
  for (size_t i = 0; i < names.size(); ++i) {
    if (inserted[i] != 0) new (payloads[i]) Kept{};
  }
  for (size_t i = 0; i < names.size(); ++i) {
    Kept* kept = KeptOf(payloads[i]);
    kept->first = kept->count = 0;
    const auto row = static_cast<int64_t>(i);
    const int64_t count = lists.value_length(row);
    if (count > limit_) return RestoreError(kWhat, std::to_string(count) + " times of a key");
    if (count > kept->capacity) FZ_TRY(grow(kept, count));
    for (int64_t j = 0; j < count; ++j) {
      const int64_t at = lists.value_offset(row) + j;
      if (values.IsNull(at) || (j > 0 && values.Value(at) < values.Value(at - 1))) {
        return RestoreError(kWhat, "times of a key that are not in order");
      }
      kept->at(kept->count++) = values.Value(at);
    }
    if (inserted[i] != 0) expiring_.add(payloads[i], over(payloads[i]));
  }
  table_->clear_changes();
  count_bytes();
  return Status::OK();
}

}  // namespace frazil
