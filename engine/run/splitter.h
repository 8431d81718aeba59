#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include "base/check.h"
#include "operator/operator.h"

namespace frazil {

// For tests: gives its input in batches of `rows` rows and stops with kMore whenever the output is full, as
// an operator does that makes many batches of one. It checks that nothing reaches it before it has finished.
class Splitter : public Operator {
 public:
  explicit Splitter(int64_t rows) : rows_(rows) {}

  Result<Progress> process(Batch batch, Output& out) override {
    FZ_CHECK(batch_.columns == nullptr);
    batch_ = std::move(batch);
    next_ = 0;
    return resume(out);
  }

  Result<Progress> resume(Output& out) override {
    while (next_ < batch_.rows()) {
      if (out.full()) {
        ++stops_;
        return Progress::kMore;
      }
      const int64_t count = std::min(rows_, batch_.rows() - next_);
      FZ_TRY(out.push(Batch{batch_.columns->Slice(next_, count), batch_.origin}));
      next_ += count;
    }
    batch_ = {};
    return Progress::kDone;
  }

  // How often the output was full.
  int64_t stops() const { return stops_; }

 private:
  const int64_t rows_;
  Batch batch_;
  int64_t next_ = 0;
  int64_t stops_ = 0;
};

}  // namespace frazil
