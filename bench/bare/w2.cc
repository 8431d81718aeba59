// W2 without an engine: count and sum of each page and minute -> Parquet, by a hand-written hash table for
// each open minute. A row is refused if the watermark of its partition, before it, has passed its minute; a
// minute is written when those of all partitions have. Sums are plain doubles. Usage: input.h.
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <climits>
#include <map>
#include <string_view>

#include "input.h"

namespace bare {
namespace {

constexpr int64_t kMinute = 60'000;     // ms
constexpr int64_t kOutOfOrder = 2'000;  // ms
constexpr int64_t kNever = INT64_MIN / 2;

// Pages of one minute: open addressing, linear probing, at most half full.
class Minute {
 public:
  struct Page {
    uint64_t hash;
    uint32_t at, size;  // in texts
    int64_t events;
    double revenue;
  };

  void add(std::string_view page, double amount) {
    const uint64_t hash = XXH3_64bits(page.data(), page.size());
    for (size_t slot = hash & (slots_.size() - 1);; slot = (slot + 1) & (slots_.size() - 1)) {
      const uint32_t number = slots_[slot];
      if (number == 0) {
        slots_[slot] = static_cast<uint32_t>(pages_.size()) + 1;
        pages_.push_back(
            {hash, static_cast<uint32_t>(texts_.size()), static_cast<uint32_t>(page.size()), 1, amount});
        texts_.append(page);
        if (2 * pages_.size() > slots_.size()) grow();
        return;
      }
      Page& known = pages_[number - 1];
      if (known.hash == hash && text(known) == page) {
        ++known.events;
        known.revenue += amount;
        return;
      }
    }
  }
  const std::vector<Page>& pages() const { return pages_; }
  std::string_view text(const Page& page) const { return {texts_.data() + page.at, page.size}; }

 private:
  void grow() {
    slots_.assign(2 * slots_.size(), 0);
    for (size_t i = 0; i < pages_.size(); ++i) {
      size_t slot = pages_[i].hash & (slots_.size() - 1);
      while (slots_[slot] != 0) slot = (slot + 1) & (slots_.size() - 1);
      slots_[slot] = static_cast<uint32_t>(i) + 1;
    }
  }

  std::vector<uint32_t> slots_ = std::vector<uint32_t>(1024, 0);  // number of a page + 1, or 0
  std::vector<Page> pages_;
  std::string texts_;
};

std::shared_ptr<arrow::Schema> OutputSchema() {
  const auto time = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
  return arrow::schema({arrow::field("page", arrow::utf8()), arrow::field("window_start", time),
                        arrow::field("window_end", time), arrow::field("events", arrow::int64()),
                        arrow::field("revenue", arrow::float64())});
}

class Loop {
 public:
  explicit Loop(const std::string& path) : out_(path, *OutputSchema(), {}, {"revenue"}) {}

  void Begin(int partitions) { latest_.assign(static_cast<size_t>(partitions), kNever); }

  void Row(const char* data, size_t size, size_t capacity, int partition) {
    auto document = parser_.iterate(data, size, capacity);
    auto object = document.get_object();
    const int64_t ts = object["ts"].get_int64();
    const std::string_view page = object["page"].get_string();
    const double amount = object["amount"].get_double();
    int64_t& latest = latest_[static_cast<size_t>(partition)];
    const int64_t start = ts - ts % kMinute;
    if (start + kMinute <= latest - kOutOfOrder) return;
    minutes_[start].add(page, amount);
    if (ts > latest) {
      latest = ts;
      if (ts - kOutOfOrder >= due_) Close(*std::min_element(latest_.begin(), latest_.end()) - kOutOfOrder);
    }
  }

  void Finish() {
    Close(INT64_MAX);
    out_.close();
  }

 private:
  void Close(int64_t watermark) {
    while (!minutes_.empty() && minutes_.begin()->first + kMinute <= watermark) {
      Write(minutes_.begin()->first, minutes_.begin()->second);
      minutes_.erase(minutes_.begin());
    }
    due_ = minutes_.empty() ? watermark : minutes_.begin()->first + kMinute;
  }

  void Write(int64_t start, const Minute& minute) {
    const auto time = OutputSchema()->field(1)->type();
    arrow::StringBuilder page;
    arrow::TimestampBuilder from(time, arrow::default_memory_pool()), to(time, arrow::default_memory_pool());
    arrow::Int64Builder events;
    arrow::DoubleBuilder revenue;
    for (const auto& each : minute.pages()) {
      Check(page.Append(minute.text(each)));
      Check(from.Append(start * 1000));
      Check(to.Append((start + kMinute) * 1000));
      Check(events.Append(each.events));
      Check(revenue.Append(each.revenue));
    }
    const auto rows = static_cast<int64_t>(minute.pages().size());
    out_.write(*arrow::RecordBatch::Make(OutputSchema(), rows,
                                         {Get(page.Finish()), Get(from.Finish()), Get(to.Finish()),
                                          Get(events.Finish()), Get(revenue.Finish())}));
  }

  simdjson::ondemand::parser parser_;
  std::vector<int64_t> latest_;  // time of each partition, ms
  std::map<int64_t, Minute> minutes_;
  int64_t due_ = kNever;  // before this watermark nothing is to be closed
  File out_;
};

}  // namespace
}  // namespace bare

int main(int argc, char** argv) { return bare::Main<bare::Loop>(argc, argv); }
