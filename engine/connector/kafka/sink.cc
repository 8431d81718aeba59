#include "connector/kafka/sink.h"

#include <arrow/ipc/writer.h>
#include <arrow/type.h>
#include <arrow/util/compression.h>
#include <arrow/util/thread_pool.h>

#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "base/check.h"
#include "base/limits.h"
#include "base/uuid.h"
#include "connector/data_folder.h"
#include "connector/kafka/message_batch.h"
#include "connector/kafka/options.h"

namespace frazil {
namespace {

Status Bad(const std::string& what) {
  return Error(ErrorKind::kConfig, "reading the options of a Kafka sink: " + what);
}

// A schema of Avro: {"id": 7, "texts": [...]}; null if there is none.
Result<std::unique_ptr<kafka::MessageSchema>> ReadSchema(const nlohmann::json& avro, const char* name) {
  const auto found = avro.find(name);
  if (found == avro.end() || found->is_null()) return nullptr;
  auto schema = std::make_unique<kafka::MessageSchema>();
  const auto bad = [&] { return Bad(std::string("\"avro\": \"") + name + "\" is no schema with an id"); };
  if (!found->is_object() || !found->contains("id") || !found->at("id").is_number_integer()) return bad();
  const auto texts = found->find("texts");
  if (texts == found->end() || !texts->is_array()) return bad();
  schema->id = found->at("id").get<int32_t>();
  for (const auto& text : *texts) {
    if (!text.is_string()) return bad();
    schema->texts.push_back(text.get<std::string>());
  }
  return schema;
}

// A file of messages being written.
struct StagedFile {
  std::string name;
  std::shared_ptr<arrow::io::OutputStream> output;
  std::shared_ptr<arrow::ipc::RecordBatchWriter> writer;
  int64_t messages = 0;
};

struct Closed {
  std::string name;
  int64_t messages = 0;
};

class KafkaSink : public Sink {
 public:
  KafkaSink(const SinkContext& context, std::shared_ptr<DataFolder> folder, std::string prefix,
            int64_t attempt, kafka::MessageForm form, int64_t bytes_max)
      : context_(context),
        folder_(std::move(folder)),
        prefix_(std::move(prefix)),
        attempt_(attempt),
        messages_(std::move(form), bytes_max, context.pool) {}

  ~KafkaSink() override {
    if (file_ != nullptr) {
      (void)file_->output->Abort();
      (void)folder_->Remove(file_->name);
    }
    for (auto& closed : closed_) {
      closed.AddCallback([folder = folder_](const Result<Closed>& file) {
        if (file.ok()) (void)folder->Remove(file->name);
      });
    }
  }

  void begin(Epoch epoch) override { epoch_ = epoch; }

  Status write(const Batch& batch) override {
    if (batch.rows() == 0) return Status::OK();
    FZ_TRY(messages_.add(batch));
    if (messages_.bytes() < limits::kChunkBytes) return Status::OK();
    FZ_TRY(drain());
    FZ_ASSIGN(const int64_t written, file_->output->Tell());
    return written < limits::kFileBytes ? Status::OK() : close_file();
  }

  arrow::Future<Token> prepare(Epoch) override {
    if (const Status status = close_file(); !status.ok()) {
      return arrow::Future<Token>::MakeFinished(status);
    }
    if (closed_.empty()) return arrow::Future<Token>::MakeFinished(Token());
    return arrow::All(std::exchange(closed_, {}))
        .Then([](const std::vector<Result<Closed>>& all) -> Result<Token> {
          nlohmann::json token = {{"v", 1}, {"rows", 0}, {"files", nlohmann::json::array()}};
          int64_t rows = 0;
          for (const auto& file : all) {
            FZ_TRY(file.status());
            rows += file->messages;
            token["files"].push_back({{"name", file->name}, {"rows", file->messages}});
          }
          token["rows"] = rows;
          return token.dump();
        });
  }

  int64_t bytes() const override { return messages_.bytes(); }

 private:
  // Puts what is gathered into the file.
  Status drain() {
    if (messages_.empty()) return Status::OK();
    FZ_ASSIGN(const auto batch, messages_.take());
    if (file_ == nullptr) FZ_TRY(open());
    if (const Status status = file_->writer->WriteRecordBatch(*batch); !status.ok()) {
      return Prefixed(status, "writing " + folder_->Uri(file_->name));
    }
    file_->messages += batch->num_rows();
    return Status::OK();
  }

  Status open() {
    char epoch[24];
    std::snprintf(epoch, sizeof(epoch), "%012lld", static_cast<long long>(epoch_));
    file_ = std::make_unique<StagedFile>();
    file_->name = prefix_ + "-" + std::to_string(attempt_) + "-" + epoch + "-" +
                  std::to_string(context_.worker) + "-" + RandomUuid() + ".arrow";
    file_->output = folder_->Create(file_->name);
    auto options = arrow::ipc::IpcWriteOptions::Defaults();
    options.use_threads = false;
    FZ_ASSIGN(auto codec, arrow::util::Codec::Create(arrow::Compression::ZSTD, 1));
    options.codec = std::move(codec);
    FZ_ASSIGN(file_->writer, arrow::ipc::MakeStreamWriter(file_->output, kafka::StagedSchema(), options));
    return Status::OK();
  }

  // Closing syncs or ends an upload: that is for the I/O pool.
  Status close_file() {
    FZ_TRY(drain());
    if (file_ == nullptr) return Status::OK();
    std::shared_ptr<StagedFile> file = std::move(file_);
    auto close = [file, folder = folder_]() -> Result<Closed> {
      Status status = file->writer->Close();
      if (status.ok()) status = file->output->Close();
      if (!status.ok()) return Prefixed(status, "writing " + folder->Uri(file->name));
      return Closed{file->name, file->messages};
    };
    if (context_.io == nullptr) {
      closed_.push_back(arrow::Future<Closed>::MakeFinished(close()));
      return closed_.back().status();
    }
    FZ_ASSIGN(auto future, context_.io->Submit(std::move(close)));
    closed_.push_back(std::move(future));
    return Status::OK();
  }

  SinkContext context_;
  std::shared_ptr<DataFolder> folder_;
  std::string prefix_;
  int64_t attempt_;
  Epoch epoch_ = 0;
  kafka::MessageBatch messages_;
  std::unique_ptr<StagedFile> file_;
  std::vector<arrow::Future<Closed>> closed_;  // closed or being closed, of the current epoch
};

}  // namespace

namespace kafka {

const std::shared_ptr<arrow::Schema>& StagedSchema() {
  static const auto schema =
      arrow::schema({arrow::field("key", arrow::binary()), arrow::field("value", arrow::binary())});
  return schema;
}

}  // namespace kafka

Result<std::unique_ptr<Sink>> MakeKafkaSink(const nlohmann::json& options, const SinkContext& context) {
  const auto folder = options.find("folder");
  if (folder == options.end() || !folder->is_string()) return Bad("\"folder\" is no string");
  const auto prefix = options.value("prefix", std::string("messages"));
  if (prefix.empty() || prefix.find('/') != std::string::npos) return Bad("\"prefix\": no file name");
  kafka::MessageForm form;
  for (const auto& name : options.value("key", nlohmann::json::array())) {
    if (!name.is_string()) return Bad("\"key\" is no list of columns");
    form.key.push_back(name.get<std::string>());
  }
  if (const auto avro = options.find("avro"); avro != options.end()) {
    if (!avro->is_object()) return Bad("\"avro\" is no object");
    FZ_ASSIGN(form.key_schema, ReadSchema(*avro, "key"));
    FZ_ASSIGN(form.value_schema, ReadSchema(*avro, "value"));
    if (form.value_schema == nullptr) return Bad("\"avro\" without the schema of values");
  }
  FZ_ASSIGN(auto opened, DataFolder::Open(folder->get<std::string>(), options.value("s3", nlohmann::json())));
  return std::make_unique<KafkaSink>(context, std::move(opened), prefix, options.value("attempt", int64_t{0}),
                                     std::move(form),
                                     options.value("message_bytes_max", kafka::kMessageBytes));
}

}  // namespace frazil
