#include "operator/ordered/fill_gaps.h"

#include <arrow/api.h>

#include <algorithm>
#include <new>
#include <string>
#include <utility>

#include "base/calendar.h"
#include "base/limits.h"
#include "operator/ordered/row_order.h"

namespace frazil {
namespace {

constexpr const char* kWhat = "fill_gaps";
constexpr int64_t kWindowsMax = 1'000'000;  // windows without a row, one after the other

// Marks rows with the hashes of their keys, and so tells those of one time apart.
Status MarkWithHashes(std::span<const uint64_t> hashes, Batch* batch, arrow::MemoryPool* pool) {
  arrow::Int64Builder marks(pool);
  FZ_TRY(marks.Reserve(static_cast<int64_t>(hashes.size())));
  for (const uint64_t hash : hashes) marks.UnsafeAppend(static_cast<int64_t>(hash));
  FZ_ASSIGN(auto mark, marks.Finish());
  SetMark(batch, kPositionMark, std::move(mark));
  return Status::OK();
}

}  // namespace

Result<std::unique_ptr<FillGaps>> FillGaps::Make(const nlohmann::json& spec, const arrow::Schema& input,
                                                 const OperatorContext& context) {
  FZ_ASSIGN(KeyColumns keys, KeyColumns::Make(spec, input));
  FZ_ASSIGN(const RowTime time, RowTime::Make(spec, input));
  FZ_ASSIGN(const WindowSpec window, ParseWindow(spec.at("window")));
  const auto windows = spec.at("windows").get<int64_t>();
  int64_t span = 0;
  using Kind = WindowSpec::Kind;
  if ((window.kind != Kind::kTumbling && window.kind != Kind::kHopping && window.kind != Kind::kCalendar) ||
      windows < 1 || windows > kWindowsMax || __builtin_mul_overflow(window.size, windows, &span)) {
    return Error(ErrorKind::kConfig, "reading the plan: fill_gaps of " + std::to_string(windows) +
                                         " windows " + spec.at("window").dump());
  }
  FZ_ASSIGN(Fillers fillers, Fillers::Make(spec, input, keys.codec(), context.pool));
  auto made =
      std::unique_ptr<FillGaps>(new FillGaps(std::move(keys), time, window, std::move(fillers), context));
  made->windows_ = windows;
  FZ_ASSIGN(made->table_,
            StateTable::Make({.payload_bytes = sizeof(Key), .track_changes = true}, context.kept()));
  return made;
}

FillGaps::FillGaps(KeyColumns keys, RowTime time, const WindowSpec& window, Fillers fillers,
                   const OperatorContext& context)
    : keys_(std::move(keys)),
      time_(time),
      panes_(window),
      fillers_(std::move(fillers)),
      pool_(context.kept()),
      rows_(fillers_.kept(), context.kept()),
      encoded_(context.pool) {
  arrow::FieldVector fields = {arrow::field("end", arrow::int64()), arrow::field("done", arrow::int64())};
  if (fillers_.keeps()) {
    arrow::FieldVector kept;
    for (const auto& field : fillers_.kept()->fields()) kept.push_back(field->WithNullable(true));
    fields.push_back(arrow::field("row", arrow::struct_(std::move(kept))));
  }
  saved_schema_ = KeyedSchema(fields);
}

void FillGaps::count_bytes() {
  int64_t bytes = table_->bytes() + rows_.bytes();
  for (const auto& [end, waiting] : waiting_) {
    bytes += static_cast<int64_t>(waiting.capacity() * sizeof(Waiting));
  }
  bytes_.store(bytes, std::memory_order_relaxed);
}

Result<Progress> FillGaps::process(Batch batch, Output& out) {
  if (batch.rows() == 0) return Progress::kDone;
  FZ_TRY(settle());
  FZ_ASSIGN(const std::vector<Timestamp> times, time_.of(*batch.columns, pool_));
  FZ_TRY(CheckNotBefore(times, done_, kWhat));
  FZ_TRY(keys_.encode(batch, &encoded_));
  FZ_TRY(wait(batch, times));
  FZ_TRY(MarkWithHashes(encoded_.hashes(), &batch, pool_));
  batch.columns = arrow::RecordBatch::Make(fillers_.schema(), batch.rows(), VisibleColumns(batch)->columns());
  count_bytes();
  FZ_TRY(out.push(std::move(batch)));
  return Progress::kDone;
}

// Notes of the rows of a batch, whose keys are encoded, what is needed when their windows close.
Status FillGaps::wait(const Batch& batch, const std::vector<Timestamp>& times) {
  std::vector<std::byte*> payloads(times.size());
  std::vector<uint8_t> inserted(times.size());
  FZ_TRY(table_->probe(encoded_, payloads, inserted));
  for (size_t i = 0; i < times.size(); ++i) {
    if (inserted[i] != 0) new (payloads[i]) Key{kNone, kNone, 0, {}};
  }
  uint32_t block = 0;
  if (fillers_.keeps()) {
    FZ_ASSIGN(block, rows_.add(fillers_.keep(*batch.columns)));
  }
  auto at = waiting_.end();
  for (size_t i = 0; i < times.size(); ++i) {
    const Timestamp end = times[i] + 1;
    if (at == waiting_.end() || at->first != end) {
      if (!is_end(end)) {
        return Error(ErrorKind::kInternal, std::string(kWhat) + ": a row of a window that ends at " +
                                               IsoTimestamp(end, arrow::TimeUnit::MICRO, true) +
                                               ", which is none of its windows");
      }
      at = waiting_.try_emplace(end).first;
    }
    at->second.push_back({payloads[i], {block, static_cast<uint32_t>(i)}, false});
    ++KeyOf(payloads[i])->waiting;
  }
  return Status::OK();
}

Result<Progress> FillGaps::advance(int, Timestamp to, Output& out) {
  FZ_TRY(settle());
  due_ = std::max(due_, to);
  return emit(out);
}

// Sees to the windows that are due in the order of their ends, a batch at a time.
Result<Progress> FillGaps::emit(Output& out) {
  std::vector<std::byte*> payloads;
  while (true) {
    if (closing_ == nullptr) {
      const auto end = next_end();
      if (!end.has_value()) break;
      FZ_TRY(take_rows(*end));
      closing_ = std::make_unique<Closing>();
      closing_->end = *end;
    }
    while (!closing_->scan.done) {
      if (out.full()) return Progress::kMore;
      table_->scan(&closing_->scan, limits::kBatchRows, &payloads);
      FZ_TRY(fill(payloads, out));
    }
    done_ = closing_->end;
    closing_.reset();
  }
  done_ = std::max(done_, due_);
  promise_ = done_;
  count_bytes();
  return Progress::kDone;
}

// The end of the first window that is due and not done, if there may be anything to do.
std::optional<Timestamp> FillGaps::next_end() const {
  std::optional<Timestamp> next;
  if (!waiting_.empty()) next = waiting_.begin()->first;
  if (active_ > 0) {
    const Timestamp end = panes_.first_end(panes_.pane(done_));
    if (!next.has_value() || end < *next) next = end;
  }
  return next.has_value() && *next <= due_ ? next : std::nullopt;
}

// Makes the rows of a window the last ones of their keys.
Status FillGaps::take_rows(Timestamp end) {
  const auto found = waiting_.find(end);
  if (found == waiting_.end()) return Status::OK();
  const Timestamp until = panes_.end_after(end, windows_);
  for (const Waiting& row : found->second) {
    if (KeyOf(row.payload)->last == end) {
      return Error(ErrorKind::kInternal, std::string(kWhat) +
                                             ": a key has two rows in the window that ends at " +
                                             IsoTimestamp(end, arrow::TimeUnit::MICRO, true));
    }
    FZ_TRY(set_last(row.payload, end, until, row.kept));
  }
  waiting_.erase(found);
  return Status::OK();
}

// Of a row that waited.
Status FillGaps::set_last(std::byte* payload, Timestamp end, Timestamp until, HeldRow kept) {
  Key* key = KeyOf(payload);
  if (key->last == kNone) {
    ++active_;
  } else if (fillers_.keeps()) {
    FZ_TRY(rows_.release(key->kept));
  }
  *key = {end, until, key->waiting - 1, kept};
  return table_->touch(payload);
}

// Gives those of the keys that have no row in the window one, and forgets those for which it was the last.
Status FillGaps::fill(const std::vector<std::byte*>& payloads, Output& out) {
  const Timestamp end = closing_->end;
  std::vector<std::string_view> names;
  std::vector<uint64_t> hashes;
  std::vector<HeldRow> kept;
  for (std::byte* payload : payloads) {
    const Key* key = KeyOf(payload);
    if (key->last == kNone || key->last == end) continue;
    names.push_back(table_->key(payload));
    hashes.push_back(table_->hash(payload));
    kept.push_back(key->kept);
  }
  if (!names.empty()) {
    std::shared_ptr<arrow::RecordBatch> last;
    if (fillers_.keeps()) {
      FZ_ASSIGN(last, rows_.gather(kept));
    }
    Batch batch;
    FZ_ASSIGN(batch.columns, fillers_.rows(names, keys_.codec(), panes_.start(end), end, last, pool_));
    FZ_TRY(MarkWithHashes(hashes, &batch, pool_));
    FZ_TRY(out.push(std::move(batch)));
  }
  for (std::byte* payload : payloads) {
    const Key* key = KeyOf(payload);
    if (key->last != kNone && key->until <= end) FZ_TRY(forget(payload));
  }
  return Status::OK();
}

// What the key was given last; it stays only for the rows that wait.
Status FillGaps::forget(std::byte* payload) {
  Key* key = KeyOf(payload);
  if (fillers_.keeps()) FZ_TRY(rows_.release(key->kept));
  --active_;
  if (key->waiting == 0) return table_->erase(payload);
  *key = {kNone, kNone, key->waiting, {}};
  return Status::OK();
}

}  // namespace frazil
