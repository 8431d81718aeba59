#include "run/stage_node.h"

#include <arrow/api.h>
#include <arrow/compute/api.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/truncate.h"
#include "connector/iceberg/transforms.h"
#include "state/key.h"

namespace frazil {

void StageNode::finish_wiring() {
  for (Channel* channel : rows_.forward) all_channels_.push_back(channel);
  for (Channel* channel : aside_.forward) all_channels_.push_back(channel);
  for (const auto& edge : exchange_) all_channels_.insert(all_channels_.end(), edge.begin(), edge.end());
}

int StageNode::add_sender(int port) {
  senders_.push_back({port});
  return static_cast<int>(senders_.size()) - 1;
}

void StageNode::feed(StageNode* consumer, int port, bool aside) {
  (aside ? aside_.fused : rows_.fused).push_back({consumer, port, consumer->add_sender(port)});
}

bool StageNode::stateful() const {
  return operator_ != nullptr ? operator_->stateful() : sink_ != nullptr && sink_->stateful();
}

Status StageNode::freeze(bool full) const {
  return operator_ != nullptr ? operator_->freeze(full) : sink_->freeze(full);
}

Result<bool> StageNode::save(int64_t rows_max, StateRows* rows) const {
  return operator_ != nullptr ? operator_->save(rows_max, rows) : sink_->save(rows_max, rows);
}

Status StageNode::restore(const std::shared_ptr<arrow::RecordBatch>& rows) const {
  return operator_ != nullptr ? operator_->restore(rows) : sink_->restore(rows);
}

int64_t StageNode::state_bytes() const {
  return operator_ != nullptr ? operator_->state_bytes() : sink_->state_bytes();
}

Status StageNode::Consumers::push(const Batch& batch) const {
  for (const Consumer& consumer : fused) FZ_TRY(consumer.node->process(consumer.port, batch));
  for (Channel* channel : forward) channel->send(batch);
  return Status::OK();
}

bool StageNode::Consumers::full() const {
  for (const Channel* channel : forward) {
    if (!channel->has_credit()) return true;
  }
  for (const Consumer& consumer : fused) {
    if (consumer.node->unfinished() || consumer.node->full()) return true;
  }
  return false;
}

bool StageNode::full() const {
  if (sink_ != nullptr && sink_->full()) return true;
  for (const Channel* channel : all_channels_) {
    if (!channel->has_credit()) return true;
  }
  return rows_.full();
}

Result<std::vector<ExchangeKey>> ParseExchangeKeys(const nlohmann::json& spec) {
  std::vector<ExchangeKey> keys;
  for (const auto& column : spec.at("keys")) keys.push_back({column.get<std::string>()});
  if (!spec.contains("transforms")) return keys;
  const auto& transforms = spec.at("transforms");
  if (transforms.size() != keys.size()) {
    return Error(ErrorKind::kConfig, "reading the plan: an exchange by " + std::to_string(keys.size()) +
                                         " keys has " + std::to_string(transforms.size()) + " transforms");
  }
  for (size_t i = 0; i < keys.size(); ++i) {
    keys[i].transform = transforms[i].at("name").get<std::string>();
    keys[i].param = transforms[i].at("param").get<int64_t>();
  }
  return keys;
}

Status StageNode::push(Batch batch) {
  if (batch.rows() == 0) return Status::OK();
  rows_out_.fetch_add(batch.rows(), std::memory_order_relaxed);
  return rows_.push(batch);
}

Status StageNode::process(int port, Batch batch) {
  if (unfinished()) {
    waiting_.push_back({port, std::move(batch)});
    return Status::OK();
  }
  rows_in_.fetch_add(batch.rows(), std::memory_order_relaxed);
  const CountedCalls counted(&function_times_);
  Status status;
  switch (plan_->kind) {
    case NodeKind::kUnion:
      status = push(std::move(batch));
      break;
    case NodeKind::kExchange:
      status = scatter(batch);
      break;
    case NodeKind::kSink:
      status = sink_->write(batch);
      break;
    default:
      status = answer(operator_->process(port, std::move(batch), *this));
      break;
  }
  return taken(std::move(status));
}

// An error says where it came about, unless it does already.
Status StageNode::taken(Status status) const {
  if (status.ok() || KindOf(status) != ErrorKind::kInternal) return status;
  return Prefixed(status, plan_->name);
}

Timestamp StageNode::watermark_of(int port) const {
  Timestamp least = kWatermarkMax;
  for (const Sender& sender : senders_) {
    if (sender.port == port || port < 0) least = std::min(least, sender.watermark);
  }
  return senders_.empty() ? kWatermarkMin : least;
}

Status StageNode::advance(int sender, Timestamp to) {
  if (unfinished()) {
    waiting_.push_back({sender, {}, to});
    return Status::OK();
  }
  Sender& from = senders_[static_cast<size_t>(sender)];
  if (to <= from.watermark) return Status::OK();
  const Timestamp before = watermark_of(from.port);
  from.watermark = to;
  const Timestamp now = watermark_of(from.port);
  if (now == before) return Status::OK();
  const CountedCalls counted(&function_times_);
  if (operator_ != nullptr) return taken(answer(operator_->advance(from.port, now, *this)));
  return forward();
}

Status StageNode::tick(Timestamp now) { return taken(answer(operator_->tick(now, *this))); }

Status StageNode::resume() {
  const CountedCalls counted(&function_times_);
  if (unfinished_) return taken(answer(operator_->resume(*this)));
  if (waiting_.empty()) return Status::OK();
  Waiting next = std::move(waiting_.front());
  waiting_.pop_front();
  std::deque<Waiting> rest = std::exchange(waiting_, {});  // so that this one is taken
  Status status = next.batch.columns != nullptr ? process(next.number, std::move(next.batch))
                                                : advance(next.number, next.watermark);
  for (Waiting& each : rest) waiting_.push_back(std::move(each));
  return status;
}

Status StageNode::answer(Result<Progress> progress) {
  FZ_TRY(progress);
  unfinished_ = *progress == Progress::kMore;
  return unfinished_ ? Status::OK() : forward();
}

Status StageNode::forward() {
  const Timestamp promise = operator_ != nullptr ? operator_->promise() : watermark_of(-1);
  if (promise <= watermark()) return Status::OK();
  forwarded_.store(promise, std::memory_order_relaxed);
  for (const Consumer& consumer : rows_.fused) FZ_TRY(consumer.node->advance(consumer.sender, promise));
  for (Channel* channel : rows_.forward) channel->send_watermark(promise);
  for (const auto& edge : exchange_) {
    for (Channel* channel : edge) channel->send_watermark(promise);
  }
  return Status::OK();
}

// The hash of every row's key: carried, or computed here.
Result<std::vector<uint64_t>> StageNode::hashes(const Batch& batch) const {
  if (hashed_) {
    const auto mark = MarkOf(batch, kHashMark);
    FZ_CHECK(mark != nullptr);
    const auto& typed = static_cast<const arrow::UInt64Array&>(*mark);
    return std::vector<uint64_t>(typed.raw_values(), typed.raw_values() + typed.length());
  }
  arrow::ArrayVector columns;
  for (const ExchangeKey& key : keys_) {
    auto column = batch.columns->GetColumnByName(key.column);
    FZ_CHECK(column != nullptr);
    if (key.transform != "identity") {
      FZ_ASSIGN(column, iceberg::Transform(key.transform, key.param, column, pool_));
    }
    columns.push_back(std::move(column));
  }
  return HashKeys(columns, batch.rows());
}

Status StageNode::scatter(const Batch& batch) {
  rows_out_.fetch_add(batch.rows(), std::memory_order_relaxed);
  if (exchange_.empty()) return Status::OK();
  const auto workers = exchange_.front().size();
  if (workers == 1) {
    for (const auto& edge : exchange_) edge.front()->send(Batch{batch.columns, {}, batch.marks});
    return Status::OK();
  }
  FZ_ASSIGN(const std::vector<uint64_t> hashes, this->hashes(batch));
  std::vector<std::vector<int32_t>> rows(workers);
  const uint8_t* const kinds = KindsWithTruncates(batch);
  for (size_t i = 0; i < hashes.size(); ++i) {
    if (kinds != nullptr && kinds[i] == static_cast<uint8_t>(kTruncateKind)) {
      for (auto& each : rows) each.push_back(static_cast<int32_t>(i));
      continue;
    }
    const int to = WorkerOf(GroupOf(hashes[i]), static_cast<int>(workers));
    rows[static_cast<size_t>(to)].push_back(static_cast<int32_t>(i));
  }
  for (size_t to = 0; to < workers; ++to) {
    if (rows[to].empty()) continue;
    Batch part{batch.columns, {}, batch.marks};
    if (rows[to].size() != hashes.size()) {
      auto indices = std::make_shared<arrow::Int32Array>(static_cast<int64_t>(rows[to].size()),
                                                         arrow::Buffer::Wrap(rows[to]));
      FZ_ASSIGN(arrow::Datum columns, arrow::compute::Take(batch.columns, indices));
      part.columns = columns.record_batch();
      if (batch.marks != nullptr) {
        FZ_ASSIGN(arrow::Datum marks, arrow::compute::Take(batch.marks, indices));
        part.marks = marks.record_batch();
      }
    }
    for (const auto& edge : exchange_) edge[to]->send(part);
  }
  return Status::OK();
}

}  // namespace frazil
