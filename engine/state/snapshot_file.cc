#include "state/snapshot_file.h"

#include <arrow/array.h>
#include <arrow/builder.h>
#include <arrow/compute/api.h>
#include <arrow/io/memory.h>
#include <arrow/ipc/api.h>
#include <arrow/util/compression.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/check.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace frazil {
namespace {

static_assert(std::endian::native == std::endian::little, "numbers are written as they lie in memory");

constexpr char kMagic[8] = {'F', 'Z', 'S', 'T', 'A', 'T', 'E', '\n'};
constexpr int64_t kDigestBytes = 16;
constexpr int64_t kBodyAlignment = 64;  // Arrow reads buffers where they lie
constexpr uint32_t kHeaderBytesMax = 64 << 10;
constexpr size_t kOperatorIdBytesMax = 4 << 10;
constexpr int kCompressionLevel = 1;

// What a file begins with.
struct Preface {
  char magic[8];
  uint32_t version;
  uint32_t header_bytes;  // of the JSON behind it, with the spaces that align the body
  uint64_t file_bytes;    // of the whole file
};
static_assert(sizeof(Preface) == 24);

std::string DigestOf(const void* bytes, int64_t size) {
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, XXH3_128bits(bytes, static_cast<size_t>(size)));
  return {reinterpret_cast<const char*>(canonical.digest), kDigestBytes};
}

std::string Hex(std::string_view bytes) {
  std::string text;
  for (const char byte : bytes) {
    text += "0123456789abcdef"[static_cast<unsigned char>(byte) >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

// Header fields by number; docs/formats/state.md names them.
std::string HeaderText(const StateFileHeader& header) {
  nlohmann::json json = {{"1", header.operator_id},  {"2", header.worker},
                         {"3", header.epoch},        {"4", header.full ? "full" : "delta"},
                         {"5", kKeyEncodingVersion}, {"6", kKeyHashVersion},
                         {"7", kKeyGroups},          {"8", header.rows}};
  if (header.first_group >= 0) {
    json["9"] = header.first_group;
    json["10"] = header.last_group;
  }
  std::string text = json.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  const size_t used = (sizeof(Preface) + text.size()) % kBodyAlignment;
  if (used != 0) text.append(kBodyAlignment - used, ' ');
  return text;
}

const arrow::UInt64Array& HashesOf(const arrow::RecordBatch& batch) {
  return static_cast<const arrow::UInt64Array&>(*batch.column(0));
}

bool HasHashColumn(const arrow::Schema& schema) {
  return schema.num_fields() > 0 && schema.field(0)->name() == kStateHashColumn &&
         schema.field(0)->type()->id() == arrow::Type::UINT64;
}

// Counts rows and widens the range of groups.
void CountRows(const arrow::RecordBatch& batch, StateFileHeader* header) {
  const auto& hashes = HashesOf(batch);
  header->rows += batch.num_rows();
  for (int64_t i = 0; i < hashes.length(); ++i) {
    if (hashes.IsNull(i)) continue;
    const int group = GroupOf(hashes.Value(i));
    header->first_group = header->first_group < 0 ? group : std::min(header->first_group, group);
    header->last_group = std::max(header->last_group, group);
  }
}

// Reads one file; every error names it.
class Reader {
 public:
  Reader(const std::string& name, const std::shared_ptr<arrow::Buffer>& bytes, arrow::MemoryPool* pool)
      : name_(name), bytes_(bytes), pool_(pool) {}

  Result<StateFile> read(const std::string& digest, int first_group, int last_group) {
    FZ_TRY(check_bytes(digest));
    FZ_TRY(read_header());
    if (auto status = read_body(first_group, last_group); !status.ok()) return foreign(status);
    return std::move(file_);
  }

 private:
  Status refuse(const std::string& what) const {
    return Error(ErrorKind::kState, "reading state file " + name_ + ": " + what);
  }
  Status damaged(const std::string& what) const {
    return refuse(what +
                  "; the file is damaged: put it back from a copy, or go back to an older slot with "
                  "`frazil state rewind`");
  }
  // An error of Arrow about the content, unless it is about memory or is one of ours.
  Status foreign(const Status& status) const {
    if (status.detail() != nullptr || status.IsOutOfMemory()) {
      return Prefixed(status, "reading state file " + name_);
    }
    return damaged("its rows cannot be decoded: " + MessageOf(status));
  }

  Status check_bytes(const std::string& digest) {
    const int64_t size = bytes_->size();
    if (size < static_cast<int64_t>(sizeof(Preface)) + kDigestBytes) {
      return damaged("it has " + std::to_string(size) + " bytes, which is less than any state file");
    }
    std::memcpy(&preface_, bytes_->data(), sizeof preface_);
    if (std::memcmp(preface_.magic, kMagic, sizeof kMagic) != 0) {
      return damaged("it does not begin as a state file does");
    }
    if (preface_.version == 0) return damaged("its version is 0");
    if (preface_.version > kStateFileVersion) {
      return refuse("it has version " + std::to_string(preface_.version) + ", and this Frazil reads up to " +
                    std::to_string(kStateFileVersion) + "; run the Frazil that wrote it, or a newer one");
    }
    if (preface_.file_bytes != static_cast<uint64_t>(size)) {
      return damaged("it should have " + std::to_string(preface_.file_bytes) + " bytes and has " +
                     std::to_string(size));
    }
    const std::string actual = DigestOf(bytes_->data(), size - kDigestBytes);
    if (std::memcmp(actual.data(), bytes_->data() + size - kDigestBytes, kDigestBytes) != 0) {
      return damaged("its checksum is not that of its bytes (" + Hex(actual) + ")");
    }
    if (!digest.empty() && digest != Hex(actual)) {
      return damaged("its checksum is " + Hex(actual) + ", and the checkpoint says " + digest +
                     ": another file has its name");
    }
    if (preface_.header_bytes > kHeaderBytesMax ||
        preface_.header_bytes > size - static_cast<int64_t>(sizeof(Preface)) - kDigestBytes) {
      return damaged("its header of " + std::to_string(preface_.header_bytes) + " bytes does not fit");
    }
    return Status::OK();
  }

  Result<int64_t> number(const nlohmann::json& json, const char* field, int64_t least, int64_t most) const {
    const auto found = json.find(field);
    if (found == json.end() || !found->is_number_integer()) {
      return damaged(std::string("field ") + field + " of its header is no integer");
    }
    // Over 2^63 it is negative here, and refused.
    const auto value = found->get<int64_t>();
    if (value < least || value > most) {
      return damaged(std::string("field ") + field + " of its header is " + found->dump());
    }
    return value;
  }

  Status read_header() {
    const auto* text = reinterpret_cast<const char*>(bytes_->data()) + sizeof(Preface);
    const auto json = nlohmann::json::parse(text, text + preface_.header_bytes, nullptr, false);
    if (!json.is_object()) return damaged("its header is no JSON object");
    constexpr auto kMax = std::numeric_limits<int64_t>::max();
    const auto text_of = [&](const char* field) {
      const auto found = json.find(field);
      return found != json.end() && found->is_string() ? found->get<std::string>() : "";
    };
    StateFileHeader& header = file_.header;
    header.operator_id = text_of("1");
    if (header.operator_id.empty()) return damaged("its header names no operator");
    FZ_ASSIGN(const int64_t worker, number(json, "2", 0, std::numeric_limits<int32_t>::max()));
    header.worker = static_cast<int32_t>(worker);
    FZ_ASSIGN(header.epoch, number(json, "3", 0, kMax));
    const std::string kind = text_of("4");
    if (kind != "full" && kind != "delta") return damaged("field 4 of its header is \"" + kind + "\"");
    header.full = kind == "full";
    FZ_TRY(check_version(json, "5", "encoding of keys", kKeyEncodingVersion));
    FZ_TRY(check_version(json, "6", "hash of keys", kKeyHashVersion));
    FZ_TRY(check_version(json, "7", "number of key groups", kKeyGroups));
    FZ_ASSIGN(header.rows, number(json, "8", 0, kMax));
    if (json.contains("9") || json.contains("10")) {
      FZ_ASSIGN(const int64_t first, number(json, "9", 0, kKeyGroups - 1));
      FZ_ASSIGN(const int64_t last, number(json, "10", first, kKeyGroups - 1));
      header.first_group = static_cast<int32_t>(first);
      header.last_group = static_cast<int32_t>(last);
    }
    return Status::OK();
  }

  Status check_version(const nlohmann::json& json, const char* field, const char* what, int ours) const {
    FZ_ASSIGN(const int64_t value, number(json, field, 0, std::numeric_limits<int32_t>::max()));
    if (value == ours) return Status::OK();
    return refuse(std::string("its ") + what + " is " + std::to_string(value) +
                  ", and that of this Frazil is " + std::to_string(ours) + "; run the Frazil that wrote it");
  }

  Status read_body(int first_group, int last_group) {
    const int64_t begin = static_cast<int64_t>(sizeof(Preface)) + preface_.header_bytes;
    const auto body = arrow::SliceBuffer(bytes_, begin, bytes_->size() - begin - kDigestBytes);
    auto stream = std::make_shared<arrow::io::BufferReader>(body);
    auto options = arrow::ipc::IpcReadOptions::Defaults();
    options.memory_pool = pool_;
    options.use_threads = false;
    FZ_ASSIGN(const auto reader, arrow::ipc::RecordBatchStreamReader::Open(stream, options));
    file_.schema = reader->schema();
    if (!HasHashColumn(*file_.schema)) {
      return damaged("its first column is not \"" + std::string(kStateHashColumn) + "\" of uint64");
    }
    StateFileHeader counted;
    for (;;) {
      std::shared_ptr<arrow::RecordBatch> batch;
      FZ_TRY(reader->ReadNext(&batch));
      if (batch == nullptr) break;
      FZ_TRY(batch->ValidateFull());
      CountRows(*batch, &counted);
      FZ_ASSIGN(batch, RowsOfGroups(batch, first_group, last_group, pool_));
      if (batch->num_rows() > 0) file_.batches.push_back(std::move(batch));
    }
    FZ_ASSIGN(const int64_t end, stream->Tell());
    if (end != body->size()) return damaged(std::to_string(body->size() - end) + " bytes follow its rows");
    const StateFileHeader& header = file_.header;
    if (counted.rows != header.rows || counted.first_group != header.first_group ||
        counted.last_group != header.last_group) {
      return damaged("it has " + std::to_string(counted.rows) + " rows of the key groups " +
                     std::to_string(counted.first_group) + " to " + std::to_string(counted.last_group) +
                     ", and its header says " + std::to_string(header.rows) + " of " +
                     std::to_string(header.first_group) + " to " + std::to_string(header.last_group));
    }
    return Status::OK();
  }

  const std::string& name_;
  const std::shared_ptr<arrow::Buffer>& bytes_;
  arrow::MemoryPool* pool_;
  Preface preface_{};
  StateFile file_;
};

void Seal(uint8_t* bytes, int64_t size) {
  const auto file_bytes = static_cast<uint64_t>(size);
  std::memcpy(bytes + offsetof(Preface, file_bytes), &file_bytes, sizeof file_bytes);
  const std::string digest = DigestOf(bytes, size - kDigestBytes);
  std::memcpy(bytes + size - kDigestBytes, digest.data(), kDigestBytes);
}

}  // namespace

Result<WrittenStateFile> WriteStateFile(const StateFileHeader& header,
                                        const std::shared_ptr<arrow::Schema>& schema,
                                        const arrow::RecordBatchVector& batches, arrow::MemoryPool* pool) {
  FZ_CHECK(HasHashColumn(*schema));
  FZ_CHECK(!header.operator_id.empty() && header.worker >= 0 && header.epoch >= 0);
  if (header.operator_id.size() > kOperatorIdBytesMax) {
    return Error(ErrorKind::kUser, "an operator's name of " + std::to_string(header.operator_id.size()) +
                                       " bytes; at most 4 KiB are possible, give it a shorter one");
  }
  WrittenStateFile written{nullptr, "", header};
  written.header.rows = 0;
  written.header.first_group = written.header.last_group = -1;
  for (const auto& batch : batches) {
    FZ_CHECK(batch->schema()->Equals(*schema));
    CountRows(*batch, &written.header);
  }
  const std::string text = HeaderText(written.header);
  Preface preface{{}, kStateFileVersion, static_cast<uint32_t>(text.size()), 0};
  std::memcpy(preface.magic, kMagic, sizeof kMagic);
  FZ_ASSIGN(const auto stream, arrow::io::BufferOutputStream::Create(4096, pool));
  FZ_TRY(stream->Write(&preface, sizeof preface));
  FZ_TRY(stream->Write(text));
  auto options = arrow::ipc::IpcWriteOptions::Defaults();
  options.memory_pool = pool;
  options.use_threads = false;
  FZ_ASSIGN(options.codec, arrow::util::Codec::Create(arrow::Compression::ZSTD, kCompressionLevel));
  FZ_ASSIGN(const auto writer, arrow::ipc::MakeStreamWriter(stream, schema, options));
  for (const auto& batch : batches) {
    if (batch->num_rows() > 0) FZ_TRY(writer->WriteRecordBatch(*batch));
  }
  FZ_TRY(writer->Close());
  const char room[kDigestBytes] = {};
  FZ_TRY(stream->Write(room, sizeof room));
  FZ_ASSIGN(written.bytes, stream->Finish());
  Seal(written.bytes->mutable_data(), written.bytes->size());
  written.digest =
      Hex({reinterpret_cast<const char*>(written.bytes->data()) + written.bytes->size() - kDigestBytes,
           kDigestBytes});
  return written;
}

Result<StateFile> ReadStateFile(const std::string& name, const std::shared_ptr<arrow::Buffer>& bytes,
                                const std::string& digest, int first_group, int last_group,
                                arrow::MemoryPool* pool) {
  return Reader(name, bytes, pool).read(digest, first_group, last_group);
}

Result<std::shared_ptr<arrow::RecordBatch>> RowsOfGroups(const std::shared_ptr<arrow::RecordBatch>& batch,
                                                         int first_group, int last_group,
                                                         arrow::MemoryPool* pool) {
  if (first_group == 0 && last_group == kKeyGroups - 1) return batch;
  const auto& hashes = HashesOf(*batch);
  arrow::BooleanBuilder keep(pool);
  FZ_TRY(keep.Reserve(hashes.length()));
  int64_t kept = 0;
  for (int64_t i = 0; i < hashes.length(); ++i) {
    const int group = GroupOf(hashes.Value(i));
    const bool ours = hashes.IsNull(i) || (group >= first_group && group <= last_group);
    keep.UnsafeAppend(ours);
    kept += ours;
  }
  if (kept == hashes.length()) return batch;
  if (kept == 0) return batch->Slice(0, 0);
  FZ_ASSIGN(const auto mask, keep.Finish());
  arrow::compute::ExecContext context(pool);
  FZ_ASSIGN(const auto filtered,
            arrow::compute::Filter(batch, mask, arrow::compute::FilterOptions::Defaults(), &context));
  return filtered.record_batch();
}

void SealStateFile(std::string* bytes) {
  if (bytes->size() < sizeof(Preface) + kDigestBytes) return;
  Seal(reinterpret_cast<uint8_t*>(bytes->data()), static_cast<int64_t>(bytes->size()));
}

}  // namespace frazil
