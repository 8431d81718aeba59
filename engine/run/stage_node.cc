#include "run/stage_node.h"

#include <arrow/api.h>
#include <arrow/compute/api.h>

#include <utility>

#include "base/check.h"
#include "connector/iceberg/transforms.h"
#include "state/key.h"

namespace frazil {

void StageNode::finish_wiring() {
  for (Channel* channel : forward_) all_channels_.push_back(channel);
  for (Channel* channel : forward_rejected_) all_channels_.push_back(channel);
  for (const auto& edge : exchange_) all_channels_.insert(all_channels_.end(), edge.begin(), edge.end());
}

bool StageNode::full() const {
  for (const Channel* channel : all_channels_) {
    if (!channel->has_credit()) return true;
  }
  for (const StageNode* consumer : fused_) {
    if (consumer->unfinished() || consumer->full()) return true;
  }
  return false;
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
  for (StageNode* consumer : fused_) FZ_TRY(consumer->process(batch));
  for (Channel* channel : forward_) channel->send(batch);
  return Status::OK();
}

Status StageNode::push_rejected(const Batch& batch) {
  if (batch.rows() == 0) return Status::OK();
  for (StageNode* consumer : fused_rejected_) FZ_TRY(consumer->process(batch));
  for (Channel* channel : forward_rejected_) channel->send(batch);
  return Status::OK();
}

Status StageNode::process(Batch batch) {
  if (unfinished()) {
    waiting_.push_back(std::move(batch));
    return Status::OK();
  }
  rows_in_.fetch_add(batch.rows(), std::memory_order_relaxed);
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
      status = answer(operator_->process(std::move(batch), *this));
      break;
  }
  if (status.ok() || KindOf(status) != ErrorKind::kInternal) return status;
  return Prefixed(status, plan_->name);
}

Status StageNode::resume() {
  if (unfinished_) return answer(operator_->resume(*this));
  if (waiting_.empty()) return Status::OK();
  Batch batch = std::move(waiting_.front());
  waiting_.pop_front();
  std::deque<Batch> rest = std::exchange(waiting_, {});  // so that process() takes this one
  Status status = process(std::move(batch));
  for (Batch& each : rest) waiting_.push_back(std::move(each));
  return status;
}

Status StageNode::answer(Result<Progress> progress) {
  FZ_TRY(progress);
  unfinished_ = *progress == Progress::kMore;
  return Status::OK();
}

Status StageNode::scatter(const Batch& batch) {
  rows_out_.fetch_add(batch.rows(), std::memory_order_relaxed);
  if (exchange_.empty()) return Status::OK();
  const auto workers = exchange_.front().size();
  arrow::ArrayVector columns;
  for (const ExchangeKey& key : keys_) {
    auto column = batch.columns->GetColumnByName(key.column);
    FZ_CHECK(column != nullptr);
    if (key.transform != "identity") {
      FZ_ASSIGN(column, iceberg::Transform(key.transform, key.param, column, pool_));
    }
    columns.push_back(std::move(column));
  }
  FZ_ASSIGN(const std::vector<uint64_t> hashes, HashKeys(columns, batch.rows()));
  std::vector<std::vector<int32_t>> rows(workers);
  for (size_t i = 0; i < hashes.size(); ++i) {
    const int to = WorkerOf(GroupOf(hashes[i]), static_cast<int>(workers));
    rows[static_cast<size_t>(to)].push_back(static_cast<int32_t>(i));
  }
  for (size_t to = 0; to < workers; ++to) {
    if (rows[to].empty()) continue;
    Batch part{batch.columns, {}};
    if (rows[to].size() != hashes.size()) {
      auto indices = std::make_shared<arrow::Int32Array>(static_cast<int64_t>(rows[to].size()),
                                                         arrow::Buffer::Wrap(rows[to]));
      FZ_ASSIGN(arrow::Datum taken, arrow::compute::Take(batch.columns, indices));
      part.columns = taken.record_batch();
    }
    for (const auto& edge : exchange_) edge[to]->send(part);
  }
  return Status::OK();
}

}  // namespace frazil
