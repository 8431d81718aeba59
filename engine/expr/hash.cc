#include "expr/hash.h"

#include <arrow/array/builder_primitive.h>
#include <arrow/type_traits.h>
#include <arrow/visit_array_inline.h>

#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace frazil::expr {
namespace {

uint64_t HashNull(uint64_t seed) {
  const unsigned char byte = 0x9E;
  return XXH64(&byte, 1, ~seed);
}

uint64_t HashInt(int64_t value, uint64_t seed) {
  static_assert(std::endian::native == std::endian::little);
  return XXH64(&value, sizeof(value), seed);
}

uint64_t HashFloat(double value, uint64_t seed) {
  if (value == 0) value = 0;  // -0
  if (std::isnan(value)) value = std::numeric_limits<double>::quiet_NaN();
  return XXH64(&value, sizeof(value), seed);
}

// Folds the values of one column into the hashes of the rows.
struct HashColumn {
  std::vector<uint64_t>& hashes;

  template <typename ArrayType, typename Hash>
  Status Each(const ArrayType& array, const Hash& hash) {
    for (int64_t i = 0; i < array.length(); ++i) {
      uint64_t& value = hashes[static_cast<size_t>(i)];
      value = array.IsNull(i) ? HashNull(value) : hash(i, value);
    }
    return Status::OK();
  }

  Status Visit(const arrow::NullArray& array) {
    return Each(array, [](int64_t, uint64_t seed) { return seed; });
  }
  Status Visit(const arrow::BooleanArray& array) {
    return Each(array, [&](int64_t i, uint64_t seed) {
      const unsigned char byte = array.Value(i) ? 1 : 0;
      return XXH64(&byte, 1, seed);
    });
  }
  template <typename T>
  requires(arrow::is_integer_type<T>::value || arrow::is_date_type<T>::value ||
           arrow::is_time_type<T>::value || arrow::is_timestamp_type<T>::value ||
           arrow::is_duration_type<T>::value) Status Visit(const arrow::NumericArray<T>& array) {
    return Each(
        array, [&](int64_t i, uint64_t seed) { return HashInt(static_cast<int64_t>(array.Value(i)), seed); });
  }
  template <typename T>
  requires(std::is_same_v<T, arrow::FloatType> || std::is_same_v<T, arrow::DoubleType>) Status
      Visit(const arrow::NumericArray<T>& array) {
    return Each(array, [&](int64_t i, uint64_t seed) {
      return HashFloat(static_cast<double>(array.Value(i)), seed);
    });
  }
  template <typename ArrayType>
  requires(arrow::is_base_binary_type<typename ArrayType::TypeClass>::value ||
           arrow::is_fixed_size_binary_type<typename ArrayType::TypeClass>::value) Status
      Visit(const ArrayType& array) {
    return Each(array, [&](int64_t i, uint64_t seed) {
      const std::string_view view = array.GetView(i);
      return XXH64(view.data(), view.size(), seed);
    });
  }
  Status Visit(const arrow::Array& array) {
    return Status::TypeError("cannot hash ", array.type()->ToString());
  }
};

constexpr std::array<uint32_t, 64> kSha256 = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

void Sha256Block(const unsigned char* block, std::array<uint32_t, 8>* state) {
  std::array<uint32_t, 64> w;
  for (size_t i = 0; i < 16; ++i) {
    w[i] = static_cast<uint32_t>(block[4 * i]) << 24 | static_cast<uint32_t>(block[4 * i + 1]) << 16 |
           static_cast<uint32_t>(block[4 * i + 2]) << 8 | static_cast<uint32_t>(block[4 * i + 3]);
  }
  for (size_t i = 16; i < 64; ++i) {
    const uint32_t s0 = std::rotr(w[i - 15], 7) ^ std::rotr(w[i - 15], 18) ^ (w[i - 15] >> 3);
    const uint32_t s1 = std::rotr(w[i - 2], 17) ^ std::rotr(w[i - 2], 19) ^ (w[i - 2] >> 10);
    w[i] = w[i - 16] + s0 + w[i - 7] + s1;
  }
  auto [a, b, c, d, e, f, g, h] = *state;
  for (size_t i = 0; i < 64; ++i) {
    const uint32_t s1 = std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25);
    const uint32_t t1 = h + s1 + ((e & f) ^ (~e & g)) + kSha256[i] + w[i];
    const uint32_t s0 = std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22);
    const uint32_t t2 = s0 + ((a & b) ^ (a & c) ^ (b & c));
    h = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
  }
  const std::array<uint32_t, 8> add = {a, b, c, d, e, f, g, h};
  for (size_t i = 0; i < 8; ++i) (*state)[i] += add[i];
}

}  // namespace

bool IsHashable(const arrow::DataType& type) {
  return !arrow::is_nested(type.id()) && type.id() != arrow::Type::EXTENSION &&
         type.id() != arrow::Type::HALF_FLOAT && !arrow::is_binary_view_like(type.id()) &&
         type.id() != arrow::Type::DICTIONARY && type.id() != arrow::Type::RUN_END_ENCODED &&
         !arrow::is_interval(type.id()) && type.id() != arrow::Type::DECIMAL32 &&
         type.id() != arrow::Type::DECIMAL64;
}

Result<std::shared_ptr<arrow::UInt64Array>> HashRows(const arrow::ArrayVector& columns,
                                                     arrow::MemoryPool* pool) {
  std::vector<uint64_t> hashes(static_cast<size_t>(columns.at(0)->length()), 0);
  HashColumn visitor{hashes};
  for (const auto& column : columns) FZ_TRY(arrow::VisitArrayInline(*column, &visitor));
  arrow::UInt64Builder builder(pool);
  FZ_TRY(builder.AppendValues(hashes));
  FZ_ASSIGN(auto array, builder.Finish());
  return std::static_pointer_cast<arrow::UInt64Array>(array);
}

std::string Sha256(std::string_view bytes) {
  std::array<uint32_t, 8> state = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                   0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::string padded(bytes.substr(bytes.size() / 64 * 64));  // the last, incomplete block
  const auto* data = reinterpret_cast<const unsigned char*>(bytes.data());
  for (size_t i = 0; i + 64 <= bytes.size(); i += 64) Sha256Block(data + i, &state);
  padded.push_back('\x80');
  padded.resize((padded.size() + 8 + 63) / 64 * 64 - 8, '\0');
  const uint64_t bits = static_cast<uint64_t>(bytes.size()) * 8;
  for (int shift = 56; shift >= 0; shift -= 8) padded.push_back(static_cast<char>(bits >> shift & 0xFF));
  for (size_t i = 0; i < padded.size(); i += 64) {
    Sha256Block(reinterpret_cast<const unsigned char*>(padded.data()) + i, &state);
  }
  std::string digest;
  for (const uint32_t word : state) {
    for (int shift = 24; shift >= 0; shift -= 8) digest.push_back(static_cast<char>(word >> shift & 0xFF));
  }
  return digest;
}

}  // namespace frazil::expr
