// Counts synthetic page views by (page, minute) and users, and prints CPU seconds per million rows. Not part
// of the suite. usage: table_bench [ROWS] [ROUNDS]
#include <arrow/builder.h>
#include <sys/resource.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>
#include <string>

#include "base/limits.h"
#include "state/table.h"

namespace {

using frazil::EncodedKeys;
using frazil::KeyCodec;
using frazil::StateTable;

constexpr int64_t kUsPerMinute = 60'000'000;
constexpr int32_t kPayloadBytes = 24;

struct Events {
  std::vector<arrow::ArrayVector> batches;  // page (38 bytes), minute
  std::vector<std::vector<int64_t>> minutes;
};

double CpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
}

// 4000 pages, the n-th as often as 1/n, and 20,000 rows in each minute: about 0.11 groups per row.
Events MakeEvents(int64_t rows) {
  std::mt19937_64 random(7);
  std::uniform_real_distribution<double> uniform;
  Events events;
  for (int64_t at = 0; at < rows;) {
    arrow::StringBuilder page;
    arrow::TimestampBuilder minute(arrow::timestamp(arrow::TimeUnit::MICRO, "UTC"),
                                   arrow::default_memory_pool());
    std::vector<int64_t> minutes;
    for (int64_t i = 0; i < frazil::limits::kBatchRows && at < rows; ++i, ++at) {
      char text[64];
      std::snprintf(text, sizeof text, "/catalog/articles/section/item-%07d",
                    static_cast<int>(std::pow(4000, uniform(random))));
      const int64_t time = at / 20'000 * kUsPerMinute;
      minutes.push_back(time);
      if (!page.Append(text).ok() || !minute.Append(time).ok()) std::abort();
    }
    events.batches.push_back({page.Finish().ValueOrDie(), minute.Finish().ValueOrDie()});
    events.minutes.push_back(std::move(minutes));
  }
  return events;
}

void Report(const char* what, double begin, int64_t rows) {
  std::printf("%-46s %.4f CPU s per million rows\n", what,
              (CpuSeconds() - begin) * 1e6 / static_cast<double>(rows));
}

void Must(const arrow::Status& status) {
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str()), std::exit(1);
}

std::unique_ptr<StateTable> MakeTable(bool changes = false) {
  return StateTable::Make({kPayloadBytes, changes, changes}, arrow::default_memory_pool()).ValueOrDie();
}

void CountInto(std::span<std::byte* const> payloads, std::span<const uint8_t> inserted) {
  for (size_t i = 0; i < payloads.size(); ++i) {
    auto* count = reinterpret_cast<int64_t*>(payloads[i]);
    if (inserted[i] != 0) count[0] = count[1] = count[2] = 0;
    count[0] += 1;
    count[1] += static_cast<int64_t>(i);
  }
}

void OneTable(const Events& events, int64_t rows, bool changes) {
  const auto codec =
      KeyCodec::Make({arrow::utf8(), arrow::timestamp(arrow::TimeUnit::MICRO, "UTC")}).ValueOrDie();
  auto table = MakeTable(changes);
  EncodedKeys keys;
  std::vector<std::byte*> payloads;
  std::vector<uint8_t> inserted;
  const double begin = CpuSeconds();
  for (const auto& batch : events.batches) {
    const auto size = static_cast<size_t>(batch[0]->length());
    Must(codec.encode(batch, batch[0]->length(), &keys));
    payloads.resize(size);
    inserted.resize(size);
    Must(table->probe(keys, payloads, inserted));
    CountInto(payloads, inserted);
  }
  Report(changes ? "one table by (page, minute), changes tracked" : "one table by (page, minute)", begin,
         rows);
  std::printf("  %lld groups, %.1f bytes per group\n", static_cast<long long>(table->size()),
              static_cast<double>(table->bytes()) / static_cast<double>(table->size()));
}

void TablePerMinute(const Events& events, int64_t rows) {
  const auto codec = KeyCodec::Make({arrow::utf8()}).ValueOrDie();
  std::map<int64_t, std::unique_ptr<StateTable>> tables;
  EncodedKeys keys;
  std::vector<std::byte*> payloads;
  std::vector<uint8_t> inserted;
  std::vector<int32_t> selected;
  const double begin = CpuSeconds();
  for (size_t b = 0; b < events.batches.size(); ++b) {
    Must(codec.encode({events.batches[b][0]}, events.batches[b][0]->length(), &keys));
    const auto& minutes = events.minutes[b];
    for (size_t i = 0; i < minutes.size();) {
      selected.clear();
      const int64_t minute = minutes[i];
      for (; i < minutes.size() && minutes[i] == minute; ++i) selected.push_back(static_cast<int32_t>(i));
      payloads.resize(selected.size());
      inserted.resize(selected.size());
      auto& table = tables[minute];
      if (table == nullptr) table = MakeTable();
      Must(table->probe(keys, selected, payloads, inserted));
      CountInto(payloads, inserted);
    }
    while (tables.size() > 2) tables.erase(tables.begin());
  }
  Report("a table per minute, closed ones dropped", begin, rows);
}

void EncodeOnly(const Events& events, int64_t rows) {
  const auto codec = KeyCodec::Make({arrow::utf8()}).ValueOrDie();
  EncodedKeys keys;
  const double begin = CpuSeconds();
  for (const auto& batch : events.batches) Must(codec.encode({batch[0]}, batch[0]->length(), &keys));
  Report("encode and hash one string of 38 bytes", begin, rows);
}

void ManyKeys(int64_t keys_total) {
  const auto codec = KeyCodec::Make({arrow::int64()}).ValueOrDie();
  auto table = MakeTable();
  EncodedKeys keys;
  std::vector<std::byte*> payloads(frazil::limits::kBatchRows);
  std::vector<uint8_t> inserted(frazil::limits::kBatchRows);
  std::mt19937_64 random(9);
  for (const bool update : {false, true}) {
    double spent = 0, longest = 0;
    int64_t rows = 0;
    for (int64_t at = 0; at < keys_total; at += frazil::limits::kBatchRows) {
      arrow::Int64Builder builder;
      for (int64_t i = 0; i < frazil::limits::kBatchRows; ++i) {
        Must(builder.Append(update ? static_cast<int64_t>(random() % static_cast<uint64_t>(keys_total))
                                   : at + i));
      }
      const auto column = builder.Finish().ValueOrDie();
      const double begin = CpuSeconds();
      Must(codec.encode({column}, column->length(), &keys));
      Must(table->probe(keys, payloads, inserted));
      CountInto(payloads, inserted);
      const double batch = CpuSeconds() - begin;
      spent += batch;
      longest = std::max(longest, batch);
      rows += column->length();
    }
    std::printf("%-46s %.4f CPU s per million rows, longest batch %.1f ms\n",
                update ? "random updates of int64 keys" : "insertions of int64 keys",
                spent * 1e6 / static_cast<double>(rows), longest * 1e3);
  }
  std::printf("  %lld keys, %.1f bytes per key\n", static_cast<long long>(table->size()),
              static_cast<double>(table->bytes()) / static_cast<double>(table->size()));
}

}  // namespace

int main(int argc, char** argv) {
  const int64_t rows = argc > 1 ? std::atoll(argv[1]) : 1'000'000;
  const int rounds = argc > 2 ? std::atoi(argv[2]) : 3;
  const Events events = MakeEvents(rows);
  for (int round = 0; round < rounds; ++round) {
    EncodeOnly(events, rows);
    TablePerMinute(events, rows);
    OneTable(events, rows, false);
    OneTable(events, rows, true);
    ManyKeys(rows);
  }
  return 0;
}
