#include "run/channel.h"

#include <utility>

namespace frazil {

Channel::Channel(Address address, int64_t credit_bytes, Waker* sender, Waker* receiver)
    : address_(address), credit_bytes_(credit_bytes), sender_(sender), receiver_(receiver) {}

bool Channel::has_credit() const {
  std::lock_guard lock(mutex_);
  return bytes_ < credit_bytes_;
}

void Channel::send(Batch batch) {
  Frame frame;
  frame.kind = FrameKind::kBatch;
  frame.bytes = BatchBytes(batch);
  frame.batch = std::move(batch);
  push(std::move(frame));
}

void Channel::send_watermark(Timestamp watermark) {
  {
    std::lock_guard lock(mutex_);
    if (!frames_.empty() && frames_.back().kind == FrameKind::kWatermark) {
      frames_.back().watermark = watermark;
      return;
    }
  }
  Frame frame;
  frame.kind = FrameKind::kWatermark;
  frame.watermark = watermark;
  push(std::move(frame));
}

void Channel::send_barrier(Epoch epoch) {
  Frame frame;
  frame.kind = FrameKind::kBarrier;
  frame.epoch = epoch;
  push(std::move(frame));
}

void Channel::send_end() {
  Frame frame;
  frame.kind = FrameKind::kEnd;
  push(std::move(frame));
}

void Channel::push(Frame frame) {
  frame.attempt = address_.attempt;
  frame.edge = address_.edge;
  frame.from = address_.from;
  frame.to = address_.to;
  {
    std::lock_guard lock(mutex_);
    frame.sequence = sent_++;
    bytes_ += frame.bytes;
    frames_.push_back(std::move(frame));
  }
  receiver_->wake();
}

std::optional<Frame> Channel::receive() {
  std::optional<Frame> frame;
  bool credit_back = false;
  {
    std::lock_guard lock(mutex_);
    if (frames_.empty()) return std::nullopt;
    frame = std::move(frames_.front());
    frames_.pop_front();
    const bool was_full = bytes_ >= credit_bytes_;
    bytes_ -= frame->bytes;
    credit_back = was_full && bytes_ < credit_bytes_;
    ++received_;
  }
  if (credit_back) sender_->wake();
  return frame;
}

bool Channel::empty() const {
  std::lock_guard lock(mutex_);
  return frames_.empty();
}

int64_t Channel::bytes() const {
  std::lock_guard lock(mutex_);
  return bytes_;
}

}  // namespace frazil
