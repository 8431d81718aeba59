#include "state/row_codec.h"

#include <arrow/api.h>
#include <arrow/util/utf8.h>

#include <cstring>
#include <limits>
#include <utility>

namespace frazil {
namespace {

constexpr int64_t kItemsMax =
    std::numeric_limits<int32_t>::max();  // offsets are of 32 bits where they can be

enum class Shape { kBool, kFixed, kBytes, kLargeBytes, kList, kLargeList, kFixedList, kStruct, kOther };

Shape ShapeOf(const arrow::DataType& type) {
  switch (type.id()) {
    case arrow::Type::BOOL:
      return Shape::kBool;
    case arrow::Type::STRING:
    case arrow::Type::BINARY:
      return Shape::kBytes;
    case arrow::Type::LARGE_STRING:
    case arrow::Type::LARGE_BINARY:
      return Shape::kLargeBytes;
    case arrow::Type::LIST:
    case arrow::Type::MAP:
      return Shape::kList;
    case arrow::Type::LARGE_LIST:
      return Shape::kLargeList;
    case arrow::Type::FIXED_SIZE_LIST:
      return Shape::kFixedList;
    case arrow::Type::STRUCT:
      return Shape::kStruct;
    default:
      // Intervals, dictionaries and extensions have a fixed width too; they are not taken.
      return arrow::is_numeric(type.id()) || arrow::is_decimal(type.id()) || arrow::is_date(type.id()) ||
                     arrow::is_time(type.id()) || type.id() == arrow::Type::TIMESTAMP ||
                     type.id() == arrow::Type::DURATION || type.id() == arrow::Type::FIXED_SIZE_BINARY
                 ? Shape::kFixed
                 : Shape::kOther;
  }
}

Status CheckType(const arrow::DataType& type, const std::string& name) {
  const bool empty = type.id() == arrow::Type::FIXED_SIZE_BINARY &&
                     static_cast<const arrow::FixedSizeBinaryType&>(type).byte_width() == 0;
  if (ShapeOf(type) == Shape::kOther || empty) {
    return NamedError("TypeMismatch", "state \"" + name + "\" is " + type.ToString() +
                                          "\nnumbers, text, times, booleans, lists, maps and structs of them "
                                          "can be kept");
  }
  for (const auto& child : type.fields()) FZ_TRY(CheckType(*child->type(), name));
  return Status::OK();
}

Status NullInside(const arrow::Field& field) {
  return NamedError("UdfError", "a state has a null where its type has none: " + field.ToString());
}

int32_t WidthOf(const arrow::DataType& type) {
  return static_cast<const arrow::FixedWidthType&>(type).bit_width() / 8;
}

template <typename T>
void Put(T value, std::string* bytes) {
  bytes->append(reinterpret_cast<const char*>(&value), sizeof(value));
}

Status PutSize(int64_t size, std::string* bytes) {
  if (size > kItemsMax) return Error(ErrorKind::kUser, "a state of " + std::to_string(size) + " values");
  Put(static_cast<uint32_t>(size), bytes);
  return Status::OK();
}

Status Encode(const arrow::Array& array, int64_t row, std::string* bytes);

Status EncodeRange(const arrow::Array& lists, const arrow::Array& values, int64_t from, int64_t count,
                   std::string* bytes) {
  const arrow::Field& field = *lists.type()->field(0);
  for (int64_t i = from; i < from + count; ++i) {
    if (!field.nullable() && values.IsNull(i)) return NullInside(field);
    FZ_TRY(Encode(values, i, bytes));
  }
  return Status::OK();
}

template <typename Lists>
Status EncodeList(const arrow::Array& array, int64_t row, std::string* bytes) {
  const auto& lists = static_cast<const Lists&>(array);
  FZ_TRY(PutSize(lists.value_length(row), bytes));
  return EncodeRange(array, *lists.values(), lists.value_offset(row), lists.value_length(row), bytes);
}

template <typename Texts>
Status EncodeBytes(const arrow::Array& array, int64_t row, std::string* bytes) {
  const std::string_view view = static_cast<const Texts&>(array).GetView(row);
  FZ_TRY(PutSize(static_cast<int64_t>(view.size()), bytes));
  bytes->append(view);
  return Status::OK();
}

Status Encode(const arrow::Array& array, int64_t row, std::string* bytes) {
  if (array.IsNull(row)) {
    bytes->push_back('\0');
    return Status::OK();
  }
  bytes->push_back('\1');
  switch (ShapeOf(*array.type())) {
    case Shape::kBool:
      bytes->push_back(static_cast<const arrow::BooleanArray&>(array).Value(row) ? '\1' : '\0');
      return Status::OK();
    case Shape::kFixed: {
      const int32_t width = WidthOf(*array.type());
      const auto* values = reinterpret_cast<const char*>(array.data()->buffers[1]->data());
      bytes->append(values + (array.offset() + row) * width, static_cast<size_t>(width));
      return Status::OK();
    }
    case Shape::kBytes:
      return EncodeBytes<arrow::BinaryArray>(array, row, bytes);
    case Shape::kLargeBytes:
      return EncodeBytes<arrow::LargeBinaryArray>(array, row, bytes);
    case Shape::kList:
      return EncodeList<arrow::ListArray>(array, row, bytes);
    case Shape::kLargeList:
      return EncodeList<arrow::LargeListArray>(array, row, bytes);
    case Shape::kFixedList: {
      const auto& lists = static_cast<const arrow::FixedSizeListArray&>(array);
      return EncodeRange(array, *lists.values(), lists.value_offset(row), lists.value_length(row), bytes);
    }
    case Shape::kStruct:
      for (int i = 0; i < array.num_fields(); ++i) {
        const auto& child = *static_cast<const arrow::StructArray&>(array).field(i);
        if (!array.type()->field(i)->nullable() && child.IsNull(row))
          return NullInside(*array.type()->field(i));
        FZ_TRY(Encode(child, row, bytes));
      }
      return Status::OK();
    case Shape::kOther:
      break;
  }
  return Error(ErrorKind::kInternal, "encoding a row: " + array.type()->ToString());
}

Status Damaged(const char* what) {
  return Error(ErrorKind::kState, std::string("reading state of a key: ") + what +
                                      "; the state is damaged or of another version");
}

// What is left of a row.
struct Reader {
  std::string_view left;

  template <typename T>
  bool take(T* value) {
    if (left.size() < sizeof(T)) return false;
    std::memcpy(value, left.data(), sizeof(T));
    left.remove_prefix(sizeof(T));
    return true;
  }
  bool take(size_t size, std::string_view* bytes) {
    if (left.size() < size) return false;
    *bytes = left.substr(0, size);
    left.remove_prefix(size);
    return true;
  }
};

// A column that is being made.
class Column {
 public:
  Column(std::shared_ptr<arrow::DataType> type, arrow::MemoryPool* pool)
      : type_(std::move(type)),
        shape_(ShapeOf(*type_)),
        pool_(pool),
        valid_(pool),
        bytes_(pool),
        bits_(pool) {
    for (const auto& child : type_->fields()) children_.emplace_back(child->type(), pool);
    text_ = type_->id() == arrow::Type::STRING || type_->id() == arrow::Type::LARGE_STRING;
  }

  Status begin() { return append_offset(); }
  Status append_null();
  Status append(Reader* reader, bool nullable = true);
  Result<std::shared_ptr<arrow::ArrayData>> finish();

 private:
  bool large() const { return shape_ == Shape::kLargeBytes || shape_ == Shape::kLargeList; }
  bool has_offsets() const { return large() || shape_ == Shape::kBytes || shape_ == Shape::kList; }
  int64_t end() const {
    return shape_ == Shape::kBytes || shape_ == Shape::kLargeBytes ? bytes_.length() : children_[0].length_;
  }
  Status append_offset();
  Status append_value(Reader* reader);
  Status append_child(int child, Reader* reader) {
    const auto i = static_cast<size_t>(child);
    return children_[i].append(reader, type_->field(child)->nullable());
  }

  std::shared_ptr<arrow::DataType> type_;
  Shape shape_;
  arrow::MemoryPool* pool_;
  bool text_ = false;
  bool begun_ = false;
  int64_t length_ = 0;
  int64_t nulls_ = 0;
  arrow::TypedBufferBuilder<bool> valid_;
  arrow::BufferBuilder bytes_;            // values of a fixed width, or of strings
  arrow::TypedBufferBuilder<bool> bits_;  // of booleans
  std::vector<int64_t> offsets_;
  std::vector<Column> children_;
};

Status Column::append_offset() {
  if (!has_offsets()) return Status::OK();
  const int64_t at = end();
  if (!large() && at > kItemsMax) return Error(ErrorKind::kUser, "states of one batch are over 2 GiB");
  offsets_.push_back(at);
  return Status::OK();
}

Status Column::append_null() {
  if (!std::exchange(begun_, true)) FZ_TRY(begin());
  FZ_TRY(valid_.Append(false));
  ++length_;
  ++nulls_;
  switch (shape_) {
    case Shape::kBool:
      return bits_.Append(false);
    case Shape::kFixed:
      return bytes_.Append(WidthOf(*type_), uint8_t{0});
    case Shape::kFixedList:
      for (int i = 0; i < static_cast<const arrow::FixedSizeListType&>(*type_).list_size(); ++i) {
        FZ_TRY(children_[0].append_null());
      }
      return Status::OK();
    case Shape::kStruct:
      for (Column& child : children_) FZ_TRY(child.append_null());
      return Status::OK();
    default:
      return append_offset();
  }
}

Status Column::append(Reader* reader, bool nullable) {
  uint8_t there = 0;
  if (!reader->take(&there) || there > 1) return Damaged("it ends, or a value is neither there nor null");
  if (there == 0 && !nullable) return Damaged("a null where none can be");
  if (there == 0) return append_null();
  if (!std::exchange(begun_, true)) FZ_TRY(begin());
  FZ_TRY(valid_.Append(true));
  ++length_;
  return append_value(reader);
}

Status Column::append_value(Reader* reader) {
  std::string_view view;
  uint32_t size = 0;
  switch (shape_) {
    case Shape::kBool: {
      uint8_t value = 0;
      if (!reader->take(&value) || value > 1) return Damaged("a value that is neither true nor false");
      return bits_.Append(value == 1);
    }
    case Shape::kFixed:
      if (!reader->take(static_cast<size_t>(WidthOf(*type_)), &view)) return Damaged("it ends in a value");
      return bytes_.Append(view.data(), static_cast<int64_t>(view.size()));
    case Shape::kBytes:
    case Shape::kLargeBytes:
      if (!reader->take(&size) || !reader->take(size, &view)) return Damaged("it ends in a text");
      if (text_ && !arrow::util::ValidateUTF8(view)) return Damaged("a text that is not UTF-8");
      FZ_TRY(bytes_.Append(view.data(), static_cast<int64_t>(view.size())));
      return append_offset();
    case Shape::kList:
    case Shape::kLargeList:
      if (!reader->take(&size)) return Damaged("it ends in a list");
      // Each value has a byte at least.
      if (size > reader->left.size()) return Damaged("a list that is longer than its bytes");
      for (uint32_t i = 0; i < size; ++i) FZ_TRY(append_child(0, reader));
      return append_offset();
    case Shape::kFixedList:
      for (int i = 0; i < static_cast<const arrow::FixedSizeListType&>(*type_).list_size(); ++i) {
        FZ_TRY(append_child(0, reader));
      }
      return Status::OK();
    case Shape::kStruct:
      for (int i = 0; i < type_->num_fields(); ++i) FZ_TRY(append_child(i, reader));
      return Status::OK();
    case Shape::kOther:
      break;
  }
  return Error(ErrorKind::kInternal, "decoding a row: " + type_->ToString());
}

Result<std::shared_ptr<arrow::ArrayData>> Column::finish() {
  if (!std::exchange(begun_, true)) FZ_TRY(begin());
  std::vector<std::shared_ptr<arrow::Buffer>> buffers(1);
  FZ_TRY(valid_.Finish(&buffers[0]));
  if (nulls_ == 0) buffers[0] = nullptr;
  if (has_offsets()) {
    arrow::BufferBuilder offsets(pool_);
    for (const int64_t offset : offsets_) {
      const auto narrow = static_cast<int32_t>(offset);
      FZ_TRY(large() ? offsets.Append(&offset, sizeof(offset)) : offsets.Append(&narrow, sizeof(narrow)));
    }
    FZ_TRY(offsets.Finish(&buffers.emplace_back()));
  }
  if (shape_ == Shape::kBool) {
    FZ_TRY(bits_.Finish(&buffers.emplace_back()));
  } else if (children_.empty() && shape_ != Shape::kStruct) {
    FZ_TRY(bytes_.Finish(&buffers.emplace_back()));
  }
  std::vector<std::shared_ptr<arrow::ArrayData>> children;
  for (Column& child : children_) {
    FZ_ASSIGN(children.emplace_back(), child.finish());
  }
  return arrow::ArrayData::Make(type_, length_, std::move(buffers), std::move(children), nulls_);
}

}  // namespace

Result<RowCodec> RowCodec::Make(arrow::FieldVector fields) {
  for (const auto& field : fields) FZ_TRY(CheckType(*field->type(), field->name()));
  return RowCodec(std::move(fields));
}

Status RowCodec::encode(const arrow::ArrayVector& columns, int64_t row, std::string* bytes) const {
  for (const auto& column : columns) FZ_TRY(Encode(*column, row, bytes));
  return Status::OK();
}

Result<arrow::ArrayVector> RowCodec::decode(std::span<const std::string_view> rows,
                                            arrow::MemoryPool* pool) const {
  std::vector<Column> columns;
  for (const auto& field : fields_) columns.emplace_back(field->type(), pool);
  for (const std::string_view row : rows) {
    Reader reader{row};
    for (Column& column : columns) FZ_TRY(row.empty() ? column.append_null() : column.append(&reader));
    if (!reader.left.empty()) return Damaged("bytes behind the last value");
  }
  arrow::ArrayVector made;
  for (Column& column : columns) {
    FZ_ASSIGN(auto data, column.finish());
    made.push_back(arrow::MakeArray(std::move(data)));
  }
  return made;
}

}  // namespace frazil
