#include "operator/time/session_partial.h"

#include <arrow/api.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace frazil {
namespace {

// Bytes of the table that are kept for the next batch.
constexpr int64_t kKeptBytes = 4 << 20;

}  // namespace

Result<std::unique_ptr<SessionPartial>> SessionPartial::Make(const nlohmann::json& spec,
                                                             const arrow::Schema& input,
                                                             const OperatorContext& context) {
  FZ_ASSIGN(PartialSpec told, PartialSpec::Make(spec, input));
  FZ_ASSIGN(Accumulators accumulators, Accumulators::OfRows(spec.at("aggregates"), input));
  FZ_ASSIGN(KeyCodec keys, KeyCodec::Make(told.key_types));
  return std::unique_ptr<SessionPartial>(
      new SessionPartial(std::move(told), std::move(accumulators), std::move(keys), context));
}

Status SessionPartial::assign(const Batch& batch, const arrow::Int64Array& times) {
  const auto rows = static_cast<size_t>(batch.rows());
  time_.resize(rows);
  accepted_.clear();
  const auto mark = MarkOf(batch, kRowWatermarkMark);
  const auto* watermarks = static_cast<const arrow::Int64Array*>(mark.get());
  for (size_t i = 0; i < rows; ++i) {
    const auto row = static_cast<int64_t>(i);
    time_[i] = times.Value(row) - spec_.minus;
    if (watermarks != nullptr && !watermarks->IsNull(row) &&
        time_[i] < Earlier(watermarks->Value(row), spec_.lateness)) {
      gate_.refuse(row, watermarks->Value(row), 0, 0);
    } else {
      accepted_.push_back(static_cast<int32_t>(i));
    }
  }
  return Status::OK();
}

Result<StateTable*> SessionPartial::cleared_table() {
  if (table_ == nullptr || table_->bytes() > kKeptBytes) {
    table_.reset();
    FZ_ASSIGN(table_, StateTable::Make({.payload_bytes = sizeof(int64_t)}, pool_));
  }
  table_->clear();
  return table_.get();
}

// Puts the accepted rows into sorted_. Most batches are nearly sorted by time, so rows are dealt out to their
// keys in the order they have, and only keys whose rows are out of order are sorted.
Status SessionPartial::sort_by_key() {
  FZ_ASSIGN(StateTable * table, cleared_table());
  of_rows_.resize(accepted_.size());
  inserted_.resize(accepted_.size());
  key_.resize(accepted_.size());
  FZ_TRY(table->probe(encoded_, accepted_, of_rows_, inserted_));
  begins_.assign(1, 0);
  for (size_t i = 0; i < accepted_.size(); ++i) {
    int64_t number = static_cast<int64_t>(begins_.size()) - 1;
    if (inserted_[i] != 0) {
      std::memcpy(of_rows_[i], &number, sizeof number);
      begins_.push_back(0);
    } else {
      std::memcpy(&number, of_rows_[i], sizeof number);
    }
    key_[i] = static_cast<int32_t>(number);
    ++begins_[static_cast<size_t>(number) + 1];
  }
  for (size_t k = 1; k < begins_.size(); ++k) begins_[k] += begins_[k - 1];
  next_ = begins_;
  sorted_.resize(accepted_.size());
  for (size_t i = 0; i < accepted_.size(); ++i) {
    sorted_[static_cast<size_t>(next_[static_cast<size_t>(key_[i])]++)] = accepted_[i];
  }
  const auto earlier = [this](int32_t a, int32_t b) {
    return time_[static_cast<size_t>(a)] < time_[static_cast<size_t>(b)];
  };
  for (size_t k = 1; k < begins_.size(); ++k) {
    const auto begin = sorted_.begin() + begins_[k - 1], end = sorted_.begin() + begins_[k];
    if (!std::is_sorted(begin, end, earlier)) std::stable_sort(begin, end, earlier);
  }
  return Status::OK();
}

// Cuts the sorted rows into runs.
void SessionPartial::cut() {
  run_.clear();
  samples_.clear();
  first_.clear();
  last_.clear();
  for (size_t k = 1; k < begins_.size(); ++k) {
    for (int32_t i = begins_[k - 1]; i < begins_[k]; ++i) {
      const int32_t row = sorted_[static_cast<size_t>(i)];
      const int64_t time = time_[static_cast<size_t>(row)];
      // The distance of two times may be more than an int64 holds.
      if (i == begins_[k - 1] || static_cast<uint64_t>(time) - static_cast<uint64_t>(last_.back()) >
                                     static_cast<uint64_t>(spec_.window.gap)) {
        samples_.push_back(row);
        first_.push_back(time);
        last_.push_back(time);
      }
      last_.back() = time;
      run_.push_back(static_cast<int32_t>(first_.size()) - 1);
    }
  }
}

Status SessionPartial::aggregate(const Batch& batch, const std::vector<OrderKey>& order, Output& out) {
  FZ_TRY(keys_.encode(keys_of(batch), batch.rows(), &encoded_));
  FZ_TRY(sort_by_key());
  cut();
  const auto width = static_cast<size_t>(accumulators_.width());
  FZ_ASSIGN(const auto memory, arrow::AllocateBuffer(static_cast<int64_t>(width * samples_.size()), pool_));
  groups_.clear();
  hashes_.clear();
  for (const int32_t row : samples_) {
    groups_.push_back(reinterpret_cast<std::byte*>(memory->mutable_data()) + width * groups_.size());
    accumulators_.create(groups_.back());
    hashes_.push_back(encoded_.hash(row));
  }
  of_rows_.assign(static_cast<size_t>(batch.rows()), nullptr);
  for (size_t i = 0; i < sorted_.size(); ++i) {
    of_rows_[static_cast<size_t>(sorted_[i])] = groups_[static_cast<size_t>(run_[i])];
  }
  Status status = accumulators_.add(batch, of_rows_, order, pool_);
  if (status.ok()) status = emit(batch, {samples_, first_, last_, groups_, hashes_}, out);
  for (std::byte* group : groups_) accumulators_.destroy(group);
  return status;
}

}  // namespace frazil
