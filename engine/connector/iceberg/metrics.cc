#include "connector/iceberg/metrics.h"

#include <arrow/array.h>
#include <parquet/statistics.h>
#include <parquet/types.h>

#include <cmath>
#include <cstring>
#include <optional>

#include "connector/iceberg/single_value.h"

namespace frazil::iceberg {
namespace {

using arrow::Type;

bool IsFloat(const arrow::DataType& type) { return type.id() == Type::FLOAT || type.id() == Type::DOUBLE; }

template <typename T>
std::string Native(T value) {
  std::string out(sizeof(T), '\0');
  std::memcpy(out.data(), &value, sizeof(T));
  return out;
}

template <typename ParquetType>
std::string NativeBound(const parquet::Statistics& statistics, bool upper) {
  const auto& typed = static_cast<const parquet::TypedStatistics<ParquetType>&>(statistics);
  return Native(upper ? typed.max() : typed.min());
}

// The least (greatest) value of a column chunk as single-value bytes, not truncated.
std::string ChunkBound(const parquet::Statistics& statistics, const arrow::DataType& type, bool upper) {
  const bool decimal = type.id() == Type::DECIMAL128;
  switch (statistics.physical_type()) {
    case parquet::Type::BOOLEAN:
      return NativeBound<parquet::BooleanType>(statistics, upper);
    case parquet::Type::INT32: {
      const auto& typed = static_cast<const parquet::Int32Statistics&>(statistics);
      const int32_t value = upper ? typed.max() : typed.min();
      return decimal ? DecimalBytes(value) : Native(value);
    }
    case parquet::Type::INT64: {
      const auto& typed = static_cast<const parquet::Int64Statistics&>(statistics);
      const int64_t value = upper ? typed.max() : typed.min();
      return decimal ? DecimalBytes(value) : Native(value);
    }
    case parquet::Type::FLOAT:
      return NativeBound<parquet::FloatType>(statistics, upper);
    case parquet::Type::DOUBLE:
      return NativeBound<parquet::DoubleType>(statistics, upper);
    case parquet::Type::BYTE_ARRAY: {
      const auto& typed = static_cast<const parquet::ByteArrayStatistics&>(statistics);
      return std::string(std::string_view(upper ? typed.max() : typed.min()));
    }
    default: {
      const std::string bytes = upper ? statistics.EncodeMax() : statistics.EncodeMin();
      return decimal ? DecimalBytes(bytes) : bytes;
    }
  }
}

template <typename T>
int Order(const std::string& a, const std::string& b) {
  T x, y;
  std::memcpy(&x, a.data(), sizeof(T));
  std::memcpy(&y, b.data(), sizeof(T));
  if constexpr (std::is_floating_point_v<T>) {  // -0.0 stands before 0.0
    if (x == y) return static_cast<int>(std::signbit(y)) - static_cast<int>(std::signbit(x));
  }
  return x < y ? -1 : x > y ? 1 : 0;
}

int OrderDecimal(const std::string& a, const std::string& b) {
  const auto extended = [](const std::string& bytes) {
    const bool negative = (static_cast<uint8_t>(bytes[0]) & 0x80) != 0;
    std::string wide(16, negative ? '\xff' : '\0');
    wide.replace(16 - bytes.size(), bytes.size(), bytes);
    wide[0] = static_cast<char>(wide[0] ^ '\x80');
    return wide;
  };
  return std::memcmp(extended(a).data(), extended(b).data(), 16);
}

// Order of two single values of a type.
int Order(const arrow::DataType& type, const std::string& a, const std::string& b) {
  switch (type.id()) {
    case Type::INT32:
    case Type::DATE32:
      return Order<int32_t>(a, b);
    case Type::INT64:
    case Type::TIME64:
    case Type::TIMESTAMP:
      return Order<int64_t>(a, b);
    case Type::FLOAT:
      return Order<float>(a, b);
    case Type::DOUBLE:
      return Order<double>(a, b);
    case Type::DECIMAL128:
      return OrderDecimal(a, b);
    default:
      return a.compare(b);  // unsigned bytes; booleans too
  }
}

void Cut(const Leaf& leaf, std::optional<std::string>* lower, std::optional<std::string>* upper) {
  if (leaf.metrics.kind != MetricsMode::Kind::kTruncate) return;
  const int64_t width = leaf.metrics.width;
  if (leaf.type->id() == Type::STRING) {
    if (*lower) *lower = std::string(TruncateText(**lower, width));
    if (*upper) *upper = TruncateTextUp(**upper, width);
  } else if (leaf.type->id() == Type::BINARY) {
    if (*lower) *lower = (*lower)->substr(0, static_cast<size_t>(width));
    if (*upper) *upper = TruncateBytesUp(**upper, width);
  }
}

// Statistics of one leaf over all row groups.
class LeafMetrics {
 public:
  explicit LeafMetrics(const Leaf& leaf) : leaf_(leaf) {}

  void Add(const parquet::ColumnChunkMetaData& chunk) {
    size_ += chunk.total_compressed_size();
    values_ += chunk.num_values();
    if (!leaf_.statistics) return;
    const auto statistics = chunk.statistics();
    if (statistics == nullptr || !statistics->HasNullCount()) {
      nulls_known_ = bounded_ = false;
      return;
    }
    nulls_ += statistics->null_count();
    if (!leaf_.metrics.bounds() || leaf_.repeated() || chunk.num_values() == statistics->null_count()) return;
    if (!statistics->HasMinMax()) {
      bounded_ =
          bounded_ && IsFloat(*leaf_.type);  // only NaNs, which have no part in bounds; else a long value
      return;
    }
    auto low = ChunkBound(*statistics, *leaf_.type, false);
    auto high = ChunkBound(*statistics, *leaf_.type, true);
    if (!lower_ || Order(*leaf_.type, low, *lower_) < 0) lower_ = std::move(low);
    if (!upper_ || Order(*leaf_.type, high, *upper_) > 0) upper_ = std::move(high);
  }

  void Finish(const LeafCounts& counts, FileMetrics* out) {
    const int32_t id = leaf_.field_id;
    out->column_sizes[id] = size_;
    if (leaf_.metrics.kind == MetricsMode::Kind::kNone) return;
    out->value_counts[id] = values_;
    if (!leaf_.statistics) {
      out->null_counts[id] = counts.nulls;
    } else if (nulls_known_) {
      out->null_counts[id] = nulls_;
    }
    if (!leaf_.metrics.bounds() || leaf_.repeated()) return;
    if (IsFloat(*leaf_.type)) out->nan_counts[id] = counts.nans;
    if (!bounded_) return;
    Cut(leaf_, &lower_, &upper_);
    if (lower_) out->lower[id] = *lower_;
    if (upper_) out->upper[id] = *upper_;
  }

 private:
  const Leaf& leaf_;
  int64_t size_ = 0;
  int64_t values_ = 0;
  int64_t nulls_ = 0;
  bool nulls_known_ = true;
  bool bounded_ = true;  // no row group had values without bounds
  std::optional<std::string> lower_;
  std::optional<std::string> upper_;
};

template <typename ArrayType>
int64_t CountNans(const arrow::Array& array) {
  const auto& floats = static_cast<const ArrayType&>(array);
  int64_t nans = 0;
  const auto* values = floats.raw_values();
  if (floats.null_count() == 0) {
    for (int64_t i = 0; i < floats.length(); ++i) nans += std::isnan(values[i]) ? 1 : 0;
  } else {
    for (int64_t i = 0; i < floats.length(); ++i) nans += floats.IsValid(i) && std::isnan(values[i]) ? 1 : 0;
  }
  return nans;
}

}  // namespace

Result<FileMetrics> ReadMetrics(const parquet::FileMetaData& metadata, const std::vector<Leaf>& leaves,
                                const std::vector<LeafCounts>& counts) {
  FileMetrics out;
  out.rows = metadata.num_rows();
  std::vector<LeafMetrics> columns(leaves.begin(), leaves.end());
  for (int group = 0; group < metadata.num_row_groups(); ++group) {
    const auto row_group = metadata.RowGroup(group);
    for (int i = 0; i < row_group->num_columns(); ++i) {
      const auto chunk = row_group->ColumnChunk(i);
      if (i == 0) {
        out.split_offsets.push_back(chunk->has_dictionary_page() ? chunk->dictionary_page_offset()
                                                                 : chunk->data_page_offset());
      }
      columns[static_cast<size_t>(i)].Add(*chunk);
    }
  }
  for (size_t i = 0; i < columns.size(); ++i) columns[i].Finish(counts[i], &out);
  return out;
}

Status CountLeaves(const arrow::RecordBatch& batch, const std::vector<Leaf>& leaves,
                   std::vector<LeafCounts>* counts) {
  for (size_t i = 0; i < leaves.size(); ++i) {
    const Leaf& leaf = leaves[i];
    if (leaf.repeated() || leaf.metrics.kind == MetricsMode::Kind::kNone) continue;
    const bool nans = IsFloat(*leaf.type) && leaf.metrics.bounds();
    if (leaf.statistics && !nans) continue;
    auto array = batch.column(leaf.indices[0]);
    for (size_t depth = 1; depth < leaf.indices.size(); ++depth) {
      FZ_ASSIGN(array, static_cast<const arrow::StructArray&>(*array).GetFlattenedField(leaf.indices[depth]));
    }
    if (!leaf.statistics) (*counts)[i].nulls += array->null_count();
    if (!nans) continue;
    (*counts)[i].nans += leaf.type->id() == Type::FLOAT ? CountNans<arrow::FloatArray>(*array)
                                                        : CountNans<arrow::DoubleArray>(*array);
  }
  return Status::OK();
}

}  // namespace frazil::iceberg
