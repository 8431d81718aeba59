#include <arrow/type_traits.h>

#include <limits>
#include <unordered_map>

#include "format/json_object.h"

namespace frazil {
namespace {

// Offsets into child values, shared by lists and maps.
template <typename Offset>
class OffsetColumn : public JsonColumn {
 public:
  OffsetColumn(std::shared_ptr<arrow::DataType> type, bool nullable, const char* expected,
               arrow::MemoryPool* pool)
      : JsonColumn(std::move(type), nullable, expected, pool), offsets_(pool) {}

  Status Reserve(int64_t values) override {
    FZ_TRY(offsets_.Grow((length_ + values + 1) * static_cast<int64_t>(sizeof(Offset))));
    capacity_ = offsets_.capacity() / static_cast<int64_t>(sizeof(Offset)) - 1;
    if (length_ == 0) offsets_.template as<Offset>()[0] = 0;
    return Status::OK();
  }

 protected:
  Offset start(int64_t value) { return offsets_.template as<Offset>()[value]; }
  bool Close(int64_t child_length, JsonFailure& failure) {
    if (length_ == capacity_ && !failure.Ok(OffsetColumn::Reserve(1))) [[unlikely]]
      return false;
    if (child_length > std::numeric_limits<Offset>::max()) {
      return failure.Fatal(
          Error(ErrorKind::kDecode, "more than 2^31 list values in one batch\n  read smaller batches"));
    }
    offsets_.template as<Offset>()[++length_] = static_cast<Offset>(child_length);
    return true;
  }
  Result<std::shared_ptr<arrow::ArrayData>> FinishWith(std::shared_ptr<arrow::ArrayData> child) {
    int64_t nulls = 0;
    FZ_ASSIGN(auto validity, FinishNulls(&nulls));
    FZ_ASSIGN(auto offsets, offsets_.Finish((length_ + 1) * static_cast<int64_t>(sizeof(Offset))));
    auto made = arrow::ArrayData::Make(type_, length_, {std::move(validity), std::move(offsets)},
                                       {std::move(child)}, nulls);
    length_ = capacity_ = 0;
    return made;
  }

 private:
  JsonBuffer offsets_;
  int64_t capacity_ = 0;  // values
};

template <typename Offset>
class ListColumn : public OffsetColumn<Offset> {
 public:
  ListColumn(const arrow::Field& field, std::unique_ptr<JsonColumn> values, arrow::MemoryPool* pool)
      : OffsetColumn<Offset>(field.type(), field.nullable(), "list", pool), values_(std::move(values)) {}

  bool Append(JsonCursor& cursor, JsonFailure& failure) override {
    if (cursor.Peek() != '[') return this->Expected(cursor, failure);
    if (!cursor.Enter(failure)) return false;
    const int64_t begin = values_->length();
    if (cursor.Peek() != ']') {
      for (;;) {
        if (!values_->Read(cursor, failure)) {
          failure.Within("[" + std::to_string(values_->length() - begin) + "]");
          return false;
        }
        const char c = cursor.Peek();
        if (c == ']') break;
        if (c != ',') return cursor.Expected("',' or ']' after a value", failure);
        cursor.Advance();
      }
    }
    cursor.Leave();
    return this->Close(values_->length(), failure);
  }
  bool AppendEmpty(JsonFailure& failure) override { return this->Close(values_->length(), failure); }
  void Truncate(int64_t length) override {
    this->TruncateNulls(length);
    values_->Truncate(this->start(length));
  }
  Status Reserve(int64_t values) override {
    FZ_TRY(OffsetColumn<Offset>::Reserve(values));
    return values_->Reserve(values);
  }
  Result<std::shared_ptr<arrow::ArrayData>> Finish() override {
    FZ_ASSIGN(auto child, values_->Finish());
    return this->FinishWith(std::move(child));
  }

 private:
  std::unique_ptr<JsonColumn> values_;
};

class StructColumn : public JsonColumn {
 public:
  StructColumn(const arrow::Field& field, std::unique_ptr<JsonObject> object, arrow::MemoryPool* pool)
      : JsonColumn(field.type(), field.nullable(), "object", pool), object_(std::move(object)) {}

  bool Append(JsonCursor& cursor, JsonFailure& failure) override {
    if (cursor.Peek() != '{') return Expected(cursor, failure);
    if (!object_->Read(cursor, failure)) return false;
    ++length_;
    return true;
  }
  bool AppendEmpty(JsonFailure& failure) override {
    if (!object_->AppendEmpty(failure)) return false;
    ++length_;
    return true;
  }
  void Truncate(int64_t length) override {
    TruncateNulls(length);
    object_->Truncate(length);
  }
  Status Reserve(int64_t values) override { return object_->Reserve(values); }
  Result<std::shared_ptr<arrow::ArrayData>> Finish() override {
    int64_t nulls = 0;
    FZ_ASSIGN(auto validity, FinishNulls(&nulls));
    FZ_ASSIGN(auto children, object_->Finish());
    auto made = arrow::ArrayData::Make(type_, length_, {std::move(validity)}, std::move(children), nulls);
    length_ = 0;
    return made;
  }

 private:
  std::unique_ptr<JsonObject> object_;
};

// An object read as a map. Of equal keys the first one's place and the last one's value count, so the entries
// are found first and read then.
class MapColumn : public OffsetColumn<int32_t> {
 public:
  MapColumn(const arrow::Field& field, std::unique_ptr<JsonColumn> keys, std::unique_ptr<JsonColumn> items,
            std::shared_ptr<arrow::DataType> entry, arrow::MemoryPool* pool)
      : OffsetColumn<int32_t>(field.type(), field.nullable(), "object", pool),
        keys_(std::move(keys)),
        items_(std::move(items)),
        entry_(std::move(entry)) {}

  bool Append(JsonCursor& cursor, JsonFailure& failure) override {
    if (cursor.Peek() != '{') return Expected(cursor, failure);
    std::vector<Entry> entries;
    if (!FindEntries(cursor, &entries, failure)) return false;
    for (Entry& entry : entries) {
      if (!keys_->Append(entry.key, failure)) return false;
      if (items_->Read(entry.value, failure)) continue;
      failure.Within("[\"" + ShownJson(entry.name) + "\"]");
      return false;
    }
    return Close(keys_->length(), failure);
  }
  bool AppendEmpty(JsonFailure& failure) override { return Close(keys_->length(), failure); }
  void Truncate(int64_t length) override {
    TruncateNulls(length);
    keys_->Truncate(start(length));
    items_->Truncate(start(length));
  }
  Status Reserve(int64_t values) override {
    FZ_TRY(OffsetColumn<int32_t>::Reserve(values));
    FZ_TRY(keys_->Reserve(values));
    return items_->Reserve(values);
  }
  Result<std::shared_ptr<arrow::ArrayData>> Finish() override {
    const int64_t length = keys_->length();
    FZ_ASSIGN(auto keys, keys_->Finish());
    FZ_ASSIGN(auto items, items_->Finish());
    return FinishWith(
        arrow::ArrayData::Make(entry_, length, {nullptr}, {std::move(keys), std::move(items)}, 0));
  }

 private:
  struct Entry {
    std::string name;
    JsonCursor key;
    JsonCursor value;
  };

  static bool FindEntries(JsonCursor& cursor, std::vector<Entry>* entries, JsonFailure& failure) {
    if (!cursor.Enter(failure)) return false;
    std::unordered_map<std::string, size_t> places;
    if (cursor.Peek() == '}') {
      cursor.Leave();
      return true;
    }
    for (;;) {
      Entry entry;
      entry.key = cursor;
      if (cursor.Peek() != '"') return cursor.Expected("a key", failure);
      const std::string_view raw = cursor.TakeRawString();
      entry.name.assign(raw);
      if (cursor.HasEscape(raw)) {
        size_t size = 0;
        if (!UnescapeJson(raw, entry.name.data(), &size, failure)) return false;
        entry.name.resize(size);
      }
      if (!cursor.Take(':')) return cursor.Expected("':' after a key", failure);
      entry.value = cursor;
      if (!cursor.Skip(failure)) return false;
      const auto [place, added] = places.emplace(entry.name, entries->size());
      if (added) {
        entries->push_back(std::move(entry));
      } else {
        (*entries)[place->second].value = entry.value;
      }
      const char c = cursor.Peek();
      if (c == '}') break;
      if (c != ',') return cursor.Expected("',' or '}' after a value", failure);
      cursor.Advance();
    }
    cursor.Leave();
    return true;
  }

  std::unique_ptr<JsonColumn> keys_;
  std::unique_ptr<JsonColumn> items_;
  std::shared_ptr<arrow::DataType> entry_;
};

template <typename Offset>
Result<std::unique_ptr<JsonColumn>> MakeList(const arrow::Field& field, const JsonOptions& options,
                                             arrow::MemoryPool* pool, int level) {
  FZ_ASSIGN(auto values, MakeJsonColumn(*field.type()->field(0), options, pool, level + 1));
  return std::make_unique<ListColumn<Offset>>(field, std::move(values), pool);
}

Result<std::unique_ptr<JsonColumn>> MakeMap(const arrow::Field& field, const JsonOptions& options,
                                            arrow::MemoryPool* pool, int level) {
  const auto& type = static_cast<const arrow::MapType&>(*field.type());
  if (!arrow::is_string(type.key_type()->id())) {
    return Error(ErrorKind::kConfig,
                 "type " + type.ToString() + " cannot be read from JSON: keys are strings there");
  }
  FZ_ASSIGN(auto keys, MakeJsonColumn(*type.key_field(), options, pool, level + 1));
  FZ_ASSIGN(auto items, MakeJsonColumn(*type.item_field(), options, pool, level + 1));
  return std::make_unique<MapColumn>(field, std::move(keys), std::move(items), type.value_type(), pool);
}

}  // namespace

Result<std::unique_ptr<JsonColumn>> MakeJsonNestedColumn(const arrow::Field& field,
                                                         const JsonOptions& options, arrow::MemoryPool* pool,
                                                         int level) {
  switch (field.type()->id()) {
    case arrow::Type::LIST:
      return MakeList<int32_t>(field, options, pool, level);
    case arrow::Type::LARGE_LIST:
      return MakeList<int64_t>(field, options, pool, level);
    case arrow::Type::MAP:
      return MakeMap(field, options, pool, level);
    case arrow::Type::STRUCT: {
      FZ_ASSIGN(auto object,
                JsonObject::Make(field.type()->fields(), options, pool, level + 1, /*root=*/false));
      return std::make_unique<StructColumn>(field, std::move(object), pool);
    }
    default:
      return nullptr;
  }
}

}  // namespace frazil
