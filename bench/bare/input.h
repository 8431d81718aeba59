#pragma once

#include <arrow/api.h>
#include <arrow/io/file.h>
#include <fcntl.h>
#include <librdkafka/rdkafka.h>
#include <parquet/arrow/writer.h>
#include <simdjson.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

// What the loops without an engine share: reading JSON rows from a file or a Kafka topic. One thread, the
// libraries that Frazil uses, nothing else: no checkpoints, no bad rows, no recovery. They are the limit to
// compare with. An error ends the program.
namespace bare {

constexpr size_t kChunk = 1 << 20;

inline void Check(const arrow::Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "%s\n", status.ToString().c_str());
  std::exit(1);
}

template <typename T>
T Get(arrow::Result<T> result) {
  Check(result.status());
  return std::move(result).ValueUnsafe();
}

// A Parquet file of one buffered row group. With no_dictionary: columns written plainly; sorted: by deltas.
class File {
 public:
  File(const std::string& path, const arrow::Schema& schema, const std::vector<std::string>& sorted,
       const std::vector<std::string>& no_dictionary) {
    parquet::WriterProperties::Builder properties;
    properties.compression(parquet::Compression::ZSTD)->compression_level(1)->disable_statistics();
    for (const auto& column : sorted) {
      properties.enable_statistics(column)->disable_dictionary(column);
      properties.encoding(column, parquet::Encoding::DELTA_BINARY_PACKED);
    }
    for (const auto& column : no_dictionary) properties.disable_dictionary(column);
    out_ = Get(arrow::io::FileOutputStream::Open(path));
    writer_ =
        Get(parquet::arrow::FileWriter::Open(schema, arrow::default_memory_pool(), out_, properties.build()));
    Check(writer_->NewBufferedRowGroup());
  }
  void write(const arrow::RecordBatch& batch) {
    Check(writer_->WriteRecordBatch(batch));
    rows_ += batch.num_rows();
  }
  void close() {
    Check(writer_->Close());
    Check(out_->Close());
    std::printf("%lld\n", static_cast<long long>(rows_));
  }

 private:
  std::shared_ptr<arrow::io::FileOutputStream> out_;
  std::unique_ptr<parquet::arrow::FileWriter> writer_;
  long long rows_ = 0;
};

// Calls row(data, size, capacity, partition 0) for each line; SIMDJSON_PADDING bytes behind it are readable.
template <typename F>
void FromFile(const char* path, F row) {
  const int file = open(path, O_RDONLY);
  if (file < 0) std::exit(2);
  std::vector<char> block(2 * kChunk + simdjson::SIMDJSON_PADDING);
  size_t held = 0;
  for (;;) {
    const ssize_t got = read(file, block.data() + held, kChunk);
    if (got <= 0) break;
    held += static_cast<size_t>(got);
    size_t at = 0;
    while (const void* found = std::memchr(block.data() + at, '\n', held - at)) {
      const size_t end = static_cast<size_t>(static_cast<const char*>(found) - block.data());
      row(block.data() + at, end - at, block.size() - at, 0);
      at = end + 1;
    }
    std::memmove(block.data(), block.data() + at, held - at);
    held -= at;
  }
  close(file);
}

// Calls begin(number of partitions), then each(message) for every message, in the settings that Frazil's
// source uses.
template <typename B, typename F>
int64_t Consume(const char* servers, const char* topic, int64_t rows, B begin, F each) {
  char error[512];
  rd_kafka_conf_t* conf = rd_kafka_conf_new();
  const char* settings[][2] = {{"bootstrap.servers", servers},
                               {"group.id", "bare"},
                               {"enable.auto.commit", "false"},
                               {"auto.offset.reset", "earliest"},
                               {"fetch.message.max.bytes", "262144"},
                               {"fetch.max.bytes", "8388608"},
                               {"queued.max.messages.kbytes", "8192"},
                               {"fetch.queue.backoff.ms", "5"},
                               {"check.crcs", "true"}};
  for (const auto& [key, value] : settings) rd_kafka_conf_set(conf, key, value, error, sizeof error);
  rd_kafka_t* client = rd_kafka_new(RD_KAFKA_CONSUMER, conf, error, sizeof error);
  const rd_kafka_metadata_t* metadata = nullptr;
  rd_kafka_topic_t* handle = rd_kafka_topic_new(client, topic, nullptr);
  if (rd_kafka_metadata(client, 0, handle, &metadata, 10000) != RD_KAFKA_RESP_ERR_NO_ERROR) std::exit(3);
  rd_kafka_topic_partition_list_t* list = rd_kafka_topic_partition_list_new(16);
  for (int i = 0; i < metadata->topics[0].partition_cnt; ++i) {
    rd_kafka_topic_partition_list_add(list, topic, i)->offset = RD_KAFKA_OFFSET_BEGINNING;
  }
  begin(metadata->topics[0].partition_cnt);
  rd_kafka_metadata_destroy(metadata);
  rd_kafka_assign(client, list);
  rd_kafka_queue_t* queue = rd_kafka_queue_get_consumer(client);
  std::vector<rd_kafka_message_t*> messages(4096);
  int64_t seen = 0;
  while (seen < rows) {
    const ssize_t got = rd_kafka_consume_batch_queue(queue, 100, messages.data(), messages.size());
    for (ssize_t i = 0; i < got; ++i) {
      rd_kafka_message_t* message = messages[static_cast<size_t>(i)];
      if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        each(message);
        ++seen;
      }
      rd_kafka_message_destroy(message);
    }
  }
  rd_kafka_queue_destroy(queue);
  rd_kafka_topic_partition_list_destroy(list);
  rd_kafka_topic_destroy(handle);
  rd_kafka_destroy(client);
  return seen;
}

// As FromFile, of a topic.
template <typename B, typename F>
void FromKafka(const char* servers, const char* topic, int64_t rows, B begin, F row) {
  std::vector<char> bytes(1 << 16);
  Consume(servers, topic, rows, begin, [&](const rd_kafka_message_t* message) {
    if (message->len + simdjson::SIMDJSON_PADDING > bytes.size())
      bytes.resize(2 * message->len + simdjson::SIMDJSON_PADDING);
    std::memcpy(bytes.data(), message->payload, message->len);
    row(bytes.data(), message->len, bytes.size(), message->partition);
  });
}

// usage: PROGRAM file EVENTS.jsonl OUT.parquet | kafka SERVERS TOPIC ROWS OUT.parquet
//        PROGRAM consume SERVERS TOPIC ROWS    (librdkafka's own part: consumes and counts)
// Loop: Loop(path of the result), Begin(partitions), Row(data, size, capacity, partition), Finish().
template <typename Loop>
int Main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "";
  if (mode == "consume" && argc == 5) {
    const int64_t rows = Consume(
        argv[2], argv[3], std::atoll(argv[4]), [](int) {}, [](const auto*) {});
    std::printf("%lld\n", static_cast<long long>(rows));
    return 0;
  }
  if (!(mode == "file" && argc == 4) && !(mode == "kafka" && argc == 6)) {
    std::fprintf(stderr,
                 "usage: %s file IN OUT | kafka SERVERS TOPIC ROWS OUT | consume SERVERS TOPIC ROWS\n",
                 argv[0]);
    return 2;
  }
  Loop loop(argv[argc - 1]);
  const auto row = [&](const char* data, size_t size, size_t capacity, int partition) {
    loop.Row(data, size, capacity, partition);
  };
  if (mode == "file") {
    loop.Begin(1);
    FromFile(argv[2], row);
  } else {
    FromKafka(
        argv[2], argv[3], std::atoll(argv[4]), [&](int partitions) { loop.Begin(partitions); }, row);
  }
  loop.Finish();
  return 0;
}

}  // namespace bare
