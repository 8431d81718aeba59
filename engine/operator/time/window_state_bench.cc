// Fills a window with int64 keys, count and sum, and prints bytes per key and for how long its snapshots stop
// the worker. Not part of the suite. usage: window_state_bench [KEYS] [ROUNDS]
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "operator/time/test_many_keys.h"
#include "state/snapshot_file.h"

namespace {

using frazil::ManyKeys;

double ThreadSeconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

void Snapshot(ManyKeys& keys, const char* what, bool full) {
  double begin = ThreadSeconds();
  const auto rows = ManyKeys::Must(keys.window().snapshot(full));
  const double stopped = ThreadSeconds() - begin;
  begin = ThreadSeconds();
  const auto file = ManyKeys::Must(
      frazil::WriteStateFile({"w", 0, 1, full}, rows[0]->schema(), rows, arrow::default_memory_pool()));
  std::printf("%-32s %6.1f ms to make, %6.1f ms to compress, %6.1f MB\n", what, stopped * 1e3,
              (ThreadSeconds() - begin) * 1e3, static_cast<double>(file.bytes->size()) * 1e-6);
}

}  // namespace

int main(int argc, char** argv) {
  const int64_t count = argc > 1 ? std::atoll(argv[1]) : 2'000'000;
  const int rounds = argc > 2 ? std::atoi(argv[2]) : 3;
  for (int round = 0; round < rounds; ++round) {
    ManyKeys keys(arrow::default_memory_pool());
    double begin = ThreadSeconds();
    keys.add(0, count);
    std::printf("%lld keys: %.3f CPU s per million rows, ", static_cast<long long>(count),
                (ThreadSeconds() - begin) * 1e6 / static_cast<double>(count));
    const auto bytes = [&] { return static_cast<double>(keys.window().state_bytes()); };
    std::printf("%.1f bytes per key, all new\n", bytes() / static_cast<double>(count));
    Snapshot(keys, "delta, every key", false);
    keys.add(0, count / 10);
    Snapshot(keys, "delta, every tenth key", false);
    Snapshot(keys, "full", true);
    keys.add(0, 1);
    std::printf("%.1f bytes per key, none new\n", bytes() / static_cast<double>(count));
  }
  return 0;
}
