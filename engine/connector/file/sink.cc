#include "connector/file/sink.h"

#include <arrow/util/thread_pool.h>

#include <cstdio>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/limits.h"
#include "base/uuid.h"
#include "connector/data_folder.h"
#include "connector/file/row_file.h"

namespace frazil {
namespace {

constexpr const char* kStaging = "_frazil/staging/";

Status Bad(const std::string& what) {
  return Error(ErrorKind::kConfig, "reading the options of a file sink: " + what);
}

Result<std::string> Text(const nlohmann::json& options, const char* key, const char* fallback = "") {
  const auto found = options.find(key);
  if (found == options.end()) return std::string(fallback);
  if (!found->is_string()) return Bad("\"" + std::string(key) + "\" is not a string");
  return found->get<std::string>();
}

std::string Padded(Epoch epoch) {
  char text[24];
  std::snprintf(text, sizeof(text), "%012lld", static_cast<long long>(epoch));
  return text;
}

// A file with its stream, as they go to the I/O pool together.
struct StagedFile {
  std::string staged;  // path in the folder
  std::unique_ptr<RowFile> rows;
  std::shared_ptr<arrow::io::OutputStream> output;
  int64_t count = 0;
};

struct Closed {
  std::string staged;
  int64_t rows = 0;
  int64_t bytes = 0;
};

class FileSink : public Sink {
 public:
  FileSink(const SinkContext& context, std::shared_ptr<DataFolder> folder, std::string prefix, bool parquet,
           int64_t attempt)
      : context_(context),
        folder_(std::move(folder)),
        prefix_(std::move(prefix)),
        parquet_(parquet),
        attempt_(attempt) {}

  ~FileSink() override {
    if (file_ != nullptr) {
      const std::string staged = file_->staged;
      (void)file_->output->Abort();
      file_.reset();
      (void)folder_->Remove(staged);
    }
    for (auto& closed : closed_) {
      closed.AddCallback([folder = folder_](const Result<Closed>& file) {
        if (file.ok()) (void)folder->Remove(file->staged);
      });
    }
  }

  void begin(Epoch epoch) override { epoch_ = epoch; }

  Status write(const Batch& batch) override {
    if (batch.rows() == 0) return Status::OK();
    if (file_ == nullptr) Open();
    if (const Status status = file_->rows->Write(VisibleColumns(batch)); !status.ok()) {
      return Prefixed(status, "writing " + folder_->Uri(file_->staged));
    }
    file_->count += batch.rows();
    FZ_ASSIGN(const int64_t written, file_->output->Tell());
    return written < limits::kFileBytes ? Status::OK() : CloseFile();
  }

  arrow::Future<Token> prepare(Epoch epoch) override {
    if (file_ != nullptr) {
      if (const Status status = CloseFile(); !status.ok()) return arrow::Future<Token>::MakeFinished(status);
    }
    if (closed_.empty()) return arrow::Future<Token>::MakeFinished(Token());
    const std::string head = prefix_ + "-" + Padded(epoch) + "-" + std::to_string(context_.worker) + "-";
    return arrow::All(std::exchange(closed_, {}))
        .Then([head, suffix = Suffix()](const std::vector<Result<Closed>>& all) -> Result<Token> {
          nlohmann::json token = {{"v", 1}, {"rows", 0}, {"files", nlohmann::json::array()}};
          int64_t rows = 0;
          for (const auto& file : all) {
            FZ_TRY(file.status());
            rows += file->rows;
            const std::string name = head + std::to_string(token["files"].size()) + suffix;
            token["files"].push_back(
                {{"staged", file->staged}, {"name", name}, {"rows", file->rows}, {"bytes", file->bytes}});
          }
          token["rows"] = rows;
          return token.dump();
        });
  }

  int64_t bytes() const override { return file_ == nullptr ? 0 : file_->rows->held(); }

 private:
  std::string Suffix() const { return parquet_ ? ".parquet" : ".jsonl"; }

  void Open() {
    file_ = std::make_unique<StagedFile>();
    file_->staged = kStaging + prefix_ + "-" + std::to_string(attempt_) + "-" + Padded(epoch_) + "-" +
                    std::to_string(context_.worker) + "-" + RandomUuid() + Suffix();
    file_->output = folder_->Create(file_->staged);
    file_->rows =
        parquet_ ? MakeParquetRowFile(file_->output, context_.pool) : MakeJsonRowFile(file_->output);
  }

  Status CloseFile() {
    std::shared_ptr<StagedFile> file = std::move(file_);
    auto close = [file, folder = folder_]() mutable -> Result<Closed> {
      const Status status = file->rows->Close();
      if (!status.ok()) return Prefixed(status, "writing " + folder->Uri(file->staged));
      FZ_ASSIGN(const int64_t bytes, file->output->Tell());
      Closed closed{file->staged, file->count, bytes};
      file.reset();
      return closed;
    };
    file.reset();
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
  bool parquet_;
  int64_t attempt_;
  Epoch epoch_ = 0;
  std::unique_ptr<StagedFile> file_;
  std::vector<arrow::Future<Closed>> closed_;  // closed or being closed, of the current epoch
};

}  // namespace

Result<std::unique_ptr<Sink>> MakeFileSink(const nlohmann::json& options, const SinkContext& context) {
  if (!options.is_object()) return Bad("expected an object");
  FZ_ASSIGN(const std::string place, Text(options, "folder"));
  FZ_ASSIGN(const std::string format, Text(options, "format"));
  FZ_ASSIGN(std::string prefix, Text(options, "prefix", "part"));
  if (!place.starts_with('/')) return Bad("\"folder\": expected an absolute path, got \"" + place + "\"");
  if (format != "json" && format != "parquet")
    return Bad("\"format\": expected json or parquet, got \"" + format + "\"");
  if (prefix.empty() || prefix.find('/') != std::string::npos)
    return Bad("\"prefix\": no file name: \"" + prefix + "\"");
  const auto attempt = options.find("attempt");
  if (attempt != options.end() && !attempt->is_number_integer()) return Bad("\"attempt\" is not an integer");
  FZ_ASSIGN(auto folder, DataFolder::Open(place, nullptr));
  return std::make_unique<FileSink>(context, std::move(folder), std::move(prefix), format == "parquet",
                                    attempt == options.end() ? 0 : attempt->get<int64_t>());
}

}  // namespace frazil
