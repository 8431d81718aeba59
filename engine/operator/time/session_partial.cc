#include "operator/time/session_partial.h"

#include <arrow/api.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "state/table.h"

namespace frazil {

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

// Puts the accepted rows into sorted_. Most batches are nearly sorted by time, so rows are dealt out to their
// keys in the order they have, and only keys whose rows are out of order are sorted.
Status SessionPartial::sort_by_key() {
  FZ_ASSIGN(const auto table, StateTable::Make({.payload_bytes = sizeof(int64_t)}, pool_));
  std::vector<std::byte*> payloads(accepted_.size());
  std::vector<uint8_t> inserted(accepted_.size());
  FZ_TRY(table->probe(encoded_, accepted_, payloads, inserted));
  std::vector<int32_t> key(accepted_.size());
  begins_.assign(1, 0);
  for (size_t i = 0; i < accepted_.size(); ++i) {
    int64_t number = static_cast<int64_t>(begins_.size()) - 1;
    if (inserted[i] != 0) {
      std::memcpy(payloads[i], &number, sizeof number);
      begins_.push_back(0);
    } else {
      std::memcpy(&number, payloads[i], sizeof number);
    }
    key[i] = static_cast<int32_t>(number);
    ++begins_[static_cast<size_t>(number) + 1];
  }
  for (size_t k = 1; k < begins_.size(); ++k) begins_[k] += begins_[k - 1];
  std::vector<int32_t> next = begins_;
  sorted_.resize(accepted_.size());
  for (size_t i = 0; i < accepted_.size(); ++i) {
    sorted_[static_cast<size_t>(next[static_cast<size_t>(key[i])]++)] = accepted_[i];
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
  std::vector<std::byte*> groups;
  std::vector<uint64_t> hashes;
  for (const int32_t row : samples_) {
    groups.push_back(reinterpret_cast<std::byte*>(memory->mutable_data()) + width * groups.size());
    accumulators_.create(groups.back());
    hashes.push_back(encoded_.hash(row));
  }
  std::vector<std::byte*> by_row(static_cast<size_t>(batch.rows()), nullptr);
  for (size_t i = 0; i < sorted_.size(); ++i) {
    by_row[static_cast<size_t>(sorted_[i])] = groups[static_cast<size_t>(run_[i])];
  }
  Status status = accumulators_.add(batch, by_row, order, pool_);
  if (status.ok()) status = emit(batch, {samples_, first_, last_, groups, hashes}, out);
  for (std::byte* group : groups) accumulators_.destroy(group);
  return status;
}

}  // namespace frazil
