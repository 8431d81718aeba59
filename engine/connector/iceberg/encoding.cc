#include "connector/iceberg/encoding.h"

#include <arrow/array.h>
#include <arrow/extension_type.h>
#include <arrow/util/compression.h>
#define XXH_INLINE_ALL  // Debian has a static library only
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <unordered_set>

#include "base/limits.h"

namespace frazil::iceberg {
namespace {

using arrow::Type;

// Above this share of distinct values a dictionary does not pay. Text gets one until nearly every value is
// new, as its fallback is dear (the values themselves); numbers have a cheaper encoding at hand.
constexpr double kTextDistinct = 0.85;
constexpr double kNumberDistinct = 0.15;

constexpr int64_t kDictionaryBytes = 512 << 10;  // of a column's dictionary, then it falls back to plain

bool IsInteger(const arrow::DataType& type) {  // stored as INT32 or INT64
  switch (type.id()) {
    case Type::INT32:
    case Type::INT64:
    case Type::DATE32:
    case Type::TIME64:
    case Type::TIMESTAMP:
      return true;
    case Type::DECIMAL128:
      return static_cast<const arrow::DecimalType&>(type).precision() <= 18;
    default:
      return false;
  }
}

bool Prunes(const arrow::DataType& type) {
  return IsInteger(type) || type.id() == Type::DECIMAL128 || type.id() == Type::EXTENSION;
}

Result<int32_t> FieldId(const arrow::Field& field, const std::string& path) {
  const auto& metadata = field.metadata();
  const int at = metadata == nullptr ? -1 : metadata->FindKey("PARQUET:field_id");
  int32_t id = -1;
  if (at >= 0) {
    const std::string& text = metadata->value(at);
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
    if (error == std::errc() && end == text.data() + text.size() && id >= 0) return id;
  }
  return Error(ErrorKind::kConfig, "reading the schema of an Iceberg sink: column \"" + path +
                                       "\" has no field id (metadata PARQUET:field_id)");
}

class LeafCollector {
 public:
  explicit LeafCollector(const WriterOptions& options) : options_(options) {}

  // `dotted` is the Iceberg path of the field, `path` Parquet's; `mode` of the nearest named parent.
  Status Add(const arrow::Field& field, const std::string& dotted, const std::string& path,
             std::vector<int> indices, bool repeated, const MetricsMode* mode) {
    if (const auto found = options_.metrics.find(dotted); found != options_.metrics.end())
      mode = &found->second;
    FZ_ASSIGN(const int32_t id, FieldId(field, dotted));
    const arrow::DataType& type = *field.type();
    if (type.id() == Type::LIST) {
      return Add(*type.field(0), dotted + ".element", path + ".list.element", {}, true, mode);
    }
    if (type.id() == Type::MAP) {
      const auto& map = static_cast<const arrow::MapType&>(type);
      FZ_TRY(Add(*map.key_field(), dotted + ".key", path + ".key_value.key", {}, true, mode));
      return Add(*map.item_field(), dotted + ".value", path + ".key_value.value", {}, true, mode);
    }
    if (type.id() == Type::STRUCT) {
      for (int i = 0; i < type.num_fields(); ++i) {
        const std::string& name = type.field(i)->name();
        auto below = indices;
        below.push_back(i);
        FZ_TRY(Add(*type.field(i), dotted + "." + name, path + "." + name, std::move(below), repeated, mode));
      }
      return Status::OK();
    }
    Leaf leaf{.path = path, .type = field.type(), .field_id = id};
    if (!repeated) leaf.indices = std::move(indices);
    leaf.metrics = mode != nullptr ? *mode : Default(type, dotted);
    // Nulls of nested leaves are counted by Parquet: their levels are known only there.
    leaf.statistics = leaf.metrics.kind != MetricsMode::Kind::kNone && (leaf.metrics.bounds() || !leaf.top());
    leaves.push_back(std::move(leaf));
    return Status::OK();
  }

  std::vector<Leaf> leaves;

 private:
  MetricsMode Default(const arrow::DataType& type, const std::string& dotted) const {
    if (const auto star = options_.metrics.find("*"); star != options_.metrics.end()) return star->second;
    const bool partitions = std::any_of(options_.partition.begin(), options_.partition.end(),
                                        [&](const PartitionField& field) { return field.source == dotted; });
    if (partitions || Prunes(type)) return {MetricsMode::Kind::kTruncate, 16};
    return {MetricsMode::Kind::kCounts};
  }

  const WriterOptions& options_;
};

// Share of distinct values among those of `array`'s first rows; negative if it cannot tell.
double DistinctShare(const arrow::Array& array, int64_t rows) {
  const arrow::Array* values = &array;
  if (array.type_id() == Type::EXTENSION)
    values = static_cast<const arrow::ExtensionArray&>(array).storage().get();
  std::unordered_set<uint64_t> seen;
  int64_t count = 0;
  const auto add = [&](const void* data, size_t size) { seen.insert(XXH3_64bits(data, size)), ++count; };
  const auto& layout = *values->type();
  const int64_t length = std::min(rows, values->length());
  seen.reserve(static_cast<size_t>(length));
  if (layout.id() == Type::STRING || layout.id() == Type::BINARY) {
    const auto& texts = static_cast<const arrow::BinaryArray&>(*values);
    for (int64_t i = 0; i < length; ++i) {
      if (texts.IsValid(i)) add(texts.GetView(i).data(), texts.GetView(i).size());
    }
  } else if (const int width = layout.byte_width(); width > 0) {
    const uint8_t* data = values->data()->buffers[1]->data() + values->offset() * width;
    for (int64_t i = 0; i < length; ++i) {
      if (values->IsValid(i)) add(data + i * width, static_cast<size_t>(width));
    }
  }
  return count == 0 ? -1 : static_cast<double>(seen.size()) / static_cast<double>(count);
}

}  // namespace

Result<std::vector<Leaf>> Leaves(const arrow::Schema& schema, const WriterOptions& options) {
  LeafCollector collector(options);
  for (int i = 0; i < schema.num_fields(); ++i) {
    const std::string& name = schema.field(i)->name();
    FZ_TRY(collector.Add(*schema.field(i), name, name, {i}, false, nullptr));
  }
  return std::move(collector.leaves);
}

EncodingChooser::EncodingChooser(std::vector<Leaf> leaves, const WriterOptions& options)
    : leaves_(std::move(leaves)),
      delta_(options.delta_encoding),
      codec_name_(options.compression),
      level_(options.compression_level),
      distinct_(leaves_.size(), -1) {
  if (codec_name_ == "none") return;
  const auto codec = arrow::util::Codec::GetCompressionType(codec_name_);
  codec_known_ = codec.ok();
  if (codec.ok()) codec_ = *codec;
}

void EncodingChooser::Restart() { rows_ = 0; }

void EncodingChooser::Observe(const arrow::RecordBatch& batch) {
  // A small first batch says little and a later, larger one corrects it.
  if (rows_ >= limits::kEncodingSampleRows || batch.num_rows() <= rows_) return;
  rows_ = batch.num_rows();
  for (size_t i = 0; i < leaves_.size(); ++i) {
    const Leaf& leaf = leaves_[i];
    if (!leaf.top() || leaf.type->id() == Type::BOOL) continue;
    const double share = DistinctShare(*batch.column(leaf.indices[0]), limits::kEncodingSampleRows);
    if (share >= 0) distinct_[i] = share;
  }
}

Result<std::shared_ptr<parquet::WriterProperties>> EncodingChooser::Properties(
    arrow::MemoryPool* pool) const {
  if (!codec_known_ || !arrow::util::Codec::IsAvailable(codec_)) {
    return Error(ErrorKind::kConfig, "writing Parquet: unknown compression \"" + codec_name_ +
                                         "\"; use zstd, snappy, gzip, lz4_raw, brotli or none");
  }
  parquet::WriterProperties::Builder builder;
  builder.memory_pool(pool)
      ->version(parquet::ParquetVersion::PARQUET_2_6)
      ->compression(codec_)
      ->enable_store_decimal_as_integer()
      ->data_pagesize(limits::kPageBytes)
      ->dictionary_pagesize_limit(kDictionaryBytes)
      ->max_row_group_length(INT64_C(1) << 40)  // closed by bytes
      ->set_size_statistics_level(parquet::SizeStatisticsLevel::None)
      ->disable_statistics()
      ->created_by("frazil");
  if (arrow::util::Codec::SupportsCompressionLevel(codec_)) builder.compression_level(level_);
  for (size_t i = 0; i < leaves_.size(); ++i) {
    const Leaf& leaf = leaves_[i];
    if (leaf.statistics) builder.enable_statistics(leaf.path);
    const Type::type id = leaf.type->id();
    const bool text = id == Type::STRING || id == Type::BINARY;
    double share = distinct_[i];
    if (share < 0) share = text ? 0 : 1;                              // unseen
    if (share <= (text ? kTextDistinct : kNumberDistinct)) continue;  // the default is a dictionary
    builder.disable_dictionary(leaf.path);
    if (delta_ && IsInteger(*leaf.type)) builder.encoding(leaf.path, parquet::Encoding::DELTA_BINARY_PACKED);
  }
  return builder.build();
}

}  // namespace frazil::iceberg
