// W1 without an engine: JSON lines or a Kafka topic -> seven columns -> amount > 10 -> total -> Parquet. One
// thread, the libraries that Frazil uses, nothing else: no checkpoints, no bad rows, no recovery. It is the
// limit to compare with. usage: bare_w1 file EVENTS.jsonl OUT.parquet | bare_w1 kafka SERVERS TOPIC ROWS
// OUT.parquet
//        bare_w1 consume SERVERS TOPIC ROWS       (librdkafka's own part: consumes and counts)
#include <arrow/api.h>
#include <arrow/compute/api.h>
#include <arrow/compute/initialize.h>
#include <arrow/io/file.h>
#include <fcntl.h>
#include <librdkafka/rdkafka.h>
#include <parquet/arrow/writer.h>
#include <simdjson.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace {

constexpr size_t kChunk = 1 << 20;
constexpr int64_t kBatchRows = 16 * 1024;

void Check(const arrow::Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "%s\n", status.ToString().c_str());
  std::exit(1);
}

template <typename T>
T Get(arrow::Result<T> result) {
  Check(result.status());
  return std::move(result).ValueUnsafe();
}

class Pipeline {
 public:
  explicit Pipeline(const std::string& path) {
    parquet::WriterProperties::Builder properties;
    properties.compression(parquet::Compression::ZSTD)->compression_level(1)->disable_statistics();
    for (const char* column : {"id", "ts"}) {
      properties.enable_statistics(column)->disable_dictionary(column);
      properties.encoding(column, parquet::Encoding::DELTA_BINARY_PACKED);
    }
    properties.disable_dictionary("amount")->disable_dictionary("total");
    out_ = Get(arrow::io::FileOutputStream::Open(path));
    writer_ = Get(parquet::arrow::FileWriter::Open(*OutputSchema(), arrow::default_memory_pool(), out_,
                                                   properties.build()));
    Check(writer_->NewBufferedRowGroup());
  }

  // The row is followed by SIMDJSON_PADDING readable bytes.
  void Row(const char* data, size_t size, size_t capacity) {
    auto document = parser_.iterate(data, size, capacity);
    auto object = document.get_object();
    Check(id_.Append(object["id"].get_int64()));
    Check(ts_.Append(object["ts"].get_int64().value() * 1000));
    Check(user_.Append(std::string_view(object["user"].get_string())));
    Check(page_.Append(std::string_view(object["page"].get_string())));
    Check(country_.Append(std::string_view(object["country"].get_string())));
    Check(amount_.Append(object["amount"].get_double()));
    Check(quantity_.Append(object["quantity"].get_int64()));
    if (id_.length() >= kBatchRows) Flush();
  }

  void Finish() {
    Flush();
    Check(writer_->Close());
    Check(out_->Close());
    std::printf("%lld\n", static_cast<long long>(rows_));
  }

 private:
  static std::shared_ptr<arrow::Schema> OutputSchema() {
    const auto time = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
    return arrow::schema({arrow::field("id", arrow::int64()), arrow::field("ts", time),
                          arrow::field("user", arrow::utf8()), arrow::field("page", arrow::utf8()),
                          arrow::field("country", arrow::utf8()), arrow::field("amount", arrow::float64()),
                          arrow::field("quantity", arrow::int64()), arrow::field("total", arrow::float64())});
  }

  void Flush() {
    const int64_t rows = id_.length();
    if (rows == 0) return;
    auto schema = OutputSchema();
    arrow::ArrayVector columns{Get(id_.Finish()),      Get(ts_.Finish()),      Get(user_.Finish()),
                               Get(page_.Finish()),    Get(country_.Finish()), Get(amount_.Finish()),
                               Get(quantity_.Finish())};
    auto batch = arrow::RecordBatch::Make(Get(schema->RemoveField(7)), rows, columns);
    auto mask = Get(arrow::compute::CallFunction("greater", {columns[5], arrow::Datum(10.0)}));
    auto kept = Get(arrow::compute::Filter(batch, mask)).record_batch();
    auto total = Get(arrow::compute::CallFunction(
        "multiply", {kept->column(5), Get(arrow::compute::Cast(*kept->column(6), arrow::float64()))}));
    columns = kept->columns();
    columns.push_back(total.make_array());
    Check(writer_->WriteRecordBatch(*arrow::RecordBatch::Make(schema, kept->num_rows(), columns)));
    rows_ += kept->num_rows();
  }

  simdjson::ondemand::parser parser_;
  arrow::Int64Builder id_, quantity_;
  arrow::TimestampBuilder ts_{arrow::timestamp(arrow::TimeUnit::MICRO, "UTC"), arrow::default_memory_pool()};
  arrow::StringBuilder user_, page_, country_;
  arrow::DoubleBuilder amount_;
  std::shared_ptr<arrow::io::FileOutputStream> out_;
  std::unique_ptr<parquet::arrow::FileWriter> writer_;
  int64_t rows_ = 0;
};

void FromFile(const char* path, Pipeline& pipeline) {
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
      pipeline.Row(block.data() + at, end - at, block.size() - at);
      at = end + 1;
    }
    std::memmove(block.data(), block.data() + at, held - at);
    held -= at;
  }
  close(file);
}

// Calls `each` with every message, in the settings that Frazil's source uses.
int64_t Consume(const char* servers, const char* topic, int64_t rows,
                const std::function<void(const rd_kafka_message_t*)>& each) {
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

void FromKafka(const char* servers, const char* topic, int64_t rows, Pipeline& pipeline) {
  std::vector<char> row(1 << 16);
  Consume(servers, topic, rows, [&](const rd_kafka_message_t* message) {
    if (message->len + simdjson::SIMDJSON_PADDING > row.size())
      row.resize(2 * message->len + simdjson::SIMDJSON_PADDING);
    std::memcpy(row.data(), message->payload, message->len);
    pipeline.Row(row.data(), message->len, row.size());
  });
}

}  // namespace

int main(int argc, char** argv) {
  Check(arrow::compute::Initialize());
  const std::string mode = argc > 1 ? argv[1] : "";
  if (mode == "file" && argc == 4) {
    Pipeline pipeline(argv[3]);
    FromFile(argv[2], pipeline);
    pipeline.Finish();
  } else if (mode == "kafka" && argc == 6) {
    Pipeline pipeline(argv[5]);
    FromKafka(argv[2], argv[3], std::atoll(argv[4]), pipeline);
    pipeline.Finish();
  } else if (mode == "consume" && argc == 5) {
    std::printf("%lld\n",
                static_cast<long long>(Consume(argv[2], argv[3], std::atoll(argv[4]), [](const auto*) {})));
  } else {
    std::fprintf(stderr,
                 "usage: bare_w1 file IN OUT | kafka SERVERS TOPIC ROWS OUT | consume SERVERS TOPIC ROWS\n");
    return 2;
  }
  return 0;
}
