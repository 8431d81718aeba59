// Decodes a file of JSON lines again and again and prints CPU seconds per million rows. Not part of the
// suite. usage: json_bench FILE [ROUNDS] [COLUMNS] ; COLUMNS = how many of the eight columns of an event are
// read
#include <arrow/util/key_value_metadata.h>
#include <sys/resource.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "base/limits.h"
#include "format/json.h"

namespace {

double CpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
}

std::vector<frazil::RawBatch> Chunks(const std::string& text) {
  std::vector<frazil::RawBatch> chunks;
  size_t at = 0;
  while (at < text.size()) {
    const size_t begin = at;
    frazil::RawBatch chunk;
    while (at < text.size() && at - begin < static_cast<size_t>(frazil::limits::kChunkBytes)) {
      const size_t end = std::min(text.find('\n', at), text.size());
      chunk.offset.push_back(static_cast<uint32_t>(at - begin));
      chunk.length.push_back(static_cast<uint32_t>(end - at));
      chunk.position.push_back(static_cast<int64_t>(at));
      at = end + 1;
    }
    chunk.data =
        arrow::Buffer::FromString(text.substr(begin, at - begin) + std::string(frazil::kRawPadding, ' '));
    chunks.push_back(std::move(chunk));
  }
  return chunks;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return std::fprintf(stderr, "usage: json_bench FILE [ROUNDS] [COLUMNS]\n"), 2;
  const int rounds = argc > 2 ? std::atoi(argv[2]) : 5;
  const size_t columns = argc > 3 ? static_cast<size_t>(std::atoi(argv[3])) : 8;
  std::stringstream text;
  text << std::ifstream(argv[1]).rdbuf();
  const auto chunks = Chunks(text.str());
  auto ms = arrow::key_value_metadata({{"fz:time_unit", "ms"}});
  arrow::FieldVector fields = {arrow::field("id", arrow::int64(), false),
                               arrow::field("ts", arrow::timestamp(arrow::TimeUnit::MICRO, "UTC"), false, ms),
                               arrow::field("user", arrow::utf8(), false),
                               arrow::field("page", arrow::utf8(), false),
                               arrow::field("country", arrow::utf8(), false),
                               arrow::field("amount", arrow::float64(), false),
                               arrow::field("quantity", arrow::int32(), false),
                               arrow::field("device", arrow::utf8(), false)};
  fields.resize(std::min(columns, fields.size()));
  auto decoder =
      frazil::MakeJsonDecoder(arrow::schema(fields), {}, arrow::default_memory_pool()).ValueOrDie();
  int64_t rows = 0;
  for (int round = 0; round < rounds; ++round) {
    const double begin = CpuSeconds();
    rows = 0;
    for (const auto& chunk : chunks) {
      auto decoded = decoder->decode(chunk).ValueOrDie();
      if (!decoded.rejected.empty())
        return std::fprintf(stderr, "%s\n", decoded.rejected[0].reason.c_str()), 1;
      rows += decoded.rows->num_rows();
    }
    std::printf("%.3f CPU s per million rows (%lld rows, %zu columns)\n",
                (CpuSeconds() - begin) * 1e6 / static_cast<double>(rows), static_cast<long long>(rows),
                fields.size());
  }
  return 0;
}
