#pragma once

#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>

#include "run/frame.h"
#include "run/waker.h"

namespace frazil {

// A queue of frames from one worker to one worker on one edge, with credit in bytes. First in, first out. The
// sender asks has_credit() before it takes input and may overshoot by the output of that input; barriers and
// ends need none.
class Channel {
 public:
  struct Address {
    int32_t attempt = 0;
    int32_t edge = 0;
    int32_t from = 0;
    int32_t to = 0;
  };

  // The wakers are the workers' own and outlive the channel.
  Channel(Address address, int64_t credit_bytes, Waker* sender, Waker* receiver);

  // Sender's thread.
  bool has_credit() const;
  void send(Batch batch);
  // Watermarks only grow; of those between two other frames, only the newest is kept.
  void send_watermark(Timestamp watermark);
  void send_barrier(Epoch epoch);
  void send_end();

  // Receiver's thread. Gives the next frame, if any, and its credit back.
  std::optional<Frame> receive();

  // Any thread.
  bool empty() const;
  int64_t bytes() const;

 private:
  void push(Frame frame);

  const Address address_;
  const int64_t credit_bytes_;
  Waker* const sender_;
  Waker* const receiver_;
  mutable std::mutex mutex_;
  std::deque<Frame> frames_;
  int64_t bytes_ = 0;
  int64_t sent_ = 0;
  int64_t received_ = 0;
};

}  // namespace frazil
