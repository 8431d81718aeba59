#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "format/json_column.h"
#include "format/json_index.h"
#include "format/json_rest.h"

namespace frazil {

// The keys of one object of the data and what each is for. Remembers which key came after which in the last
// rows, so that a key is usually recognised by one comparison with the expected name.
class JsonKeys {
 public:
  struct Key {
    std::string name;                  // unescaped
    uint64_t head = 0;                 // first word of the name
    uint64_t head_mask = 0;            // bytes of it that count
    size_t size = 0;                   // bytes of the name
    bool plain = true;                 // equal to its raw text: no quote or backslash in it
    std::vector<int32_t> columns;      // that read the value here
    int32_t first_below = -1;          // first column in or under the value, for error texts
    std::unique_ptr<JsonKeys> inside;  // keys of the object here that columns read
    Key* next = nullptr;               // came after it last time

    std::string_view text() const { return {name.data(), size}; }
    bool read() const { return !columns.empty() || inside != nullptr; }
  };

  JsonKeys();
  // Adds or finds a key that something reads.
  Key* Add(std::string_view name);
  // Recognises the key at the cursor and goes over it; `before` is the key before it in this object or
  // nullptr. nullptr if it cannot be read.
  Key* Take(JsonCursor& cursor, Key* before, JsonFailure& failure) {
    Key* const expected = before == nullptr ? first_.next : before->next;
    if (expected != nullptr && !cursor.AtEnd() && Is(*expected, cursor.TokenBegin(), cursor.TokenEnd()))
        [[likely]] {
      cursor.Advance();
      return expected;
    }
    return Look(cursor, before == nullptr ? &first_ : before, failure);
  }
  // Goes over members that nothing reads, as long as they are the ones that came here last time and their
  // values have no brackets; never over the last one. Returns the key of the last one, or `before`.
  Key* PassUnread(JsonCursor& cursor, Key* before) {
    const char* const text = cursor.text();
    const uint32_t* at = cursor.tokens();
    const uint32_t* const end = cursor.tokens_end();
    Key* key = before == nullptr ? &first_ : before;
    for (; end - at > 4; at += 4) {  // key, colon, value, comma
      Key* const expected = key->next;
      if (expected == nullptr || expected->read() || !Is(*expected, text + at[0], text + at[1])) break;
      if (text[at[1]] != ':' || !JsonCursor::BeginsScalar(text[at[2]]) || text[at[3]] != ',') break;
      key = expected;
    }
    cursor.GoTo(at);
    return key == &first_ ? nullptr : key;
  }
  // Every column in or under a value of this object.
  const std::vector<int32_t>& columns() const { return columns_; }
  void AddColumn(int32_t column) { columns_.push_back(column); }

 private:
  // True if a token is this key as it is usually written. Reads a word at a time: rows are padded.
  static bool Is(const Key& key, const char* begin, const char* end) {
    if (*begin != '"' || static_cast<size_t>(end - begin) < key.size + 2) return false;
    uint64_t head;
    std::memcpy(&head, ++begin, sizeof(head));
    if (((head ^ key.head) & key.head_mask) != 0 || begin[key.size] != '"') return false;
    return key.plain &&
           (key.size <= sizeof(head) ||
            std::memcmp(begin + sizeof(head), key.name.data() + sizeof(head), key.size - sizeof(head)) == 0);
  }
  // Looks the key here up.
  Key* Look(JsonCursor& cursor, Key* before, JsonFailure& failure);
  Key* Find(std::string_view name);
  Key* Insert(std::string_view name);

  std::vector<std::unique_ptr<Key>> keys_;
  std::unordered_map<std::string_view, Key*> by_name_;  // views into keys_
  std::vector<int32_t> columns_;
  Key first_;    // stands before the first key
  Key unknown_;  // keys that nothing reads and that there was no room to remember
  std::string scratch_;
};

// The columns that are read from one object: a row, or a struct's value. Every Read, AppendEmpty or
// AppendMissing gives each column one value.
class JsonObject {
 public:
  // `root`: failures name the column, else they get the field's name in front of their path.
  static Result<std::unique_ptr<JsonObject>> Make(const arrow::FieldVector& fields,
                                                  const JsonOptions& options, arrow::MemoryPool* pool,
                                                  int level, bool root);

  // Reads the object here. The cursor has to be at `{`. After a false, Truncate to the length before.
  bool Read(JsonCursor& cursor, JsonFailure& failure);
  bool AppendEmpty(JsonFailure& failure);
  void Truncate(int64_t length);
  Status Reserve(int64_t values);
  Result<std::vector<std::shared_ptr<arrow::ArrayData>>> Finish();

 private:
  struct Member {
    std::string name;
    std::unique_ptr<JsonColumn> column;
    std::optional<JsonText> missing;  // the default
  };

  static Result<Member> MakeMember(const arrow::Field& field, const JsonOptions& options,
                                   arrow::MemoryPool* pool, int level);
  Status AddKeys(const arrow::Field& field, int32_t at, int level);
  // Reads an object by its keys; what no column reads of it goes to `rest` unless that is nullptr.
  bool ReadKeys(JsonKeys& keys, JsonRest* rest, JsonCursor& cursor, JsonFailure& failure);
  bool EndRest(JsonFailure& failure);
  bool ReadValue(JsonKeys::Key& key, JsonCursor& cursor, JsonFailure& failure);
  bool ReadColumn(int32_t at, JsonCursor& cursor, JsonFailure& failure);
  bool ReadInside(JsonKeys::Key& key, JsonCursor& cursor, JsonFailure& failure);
  bool AppendMissing(int32_t at, JsonFailure& failure);
  bool Blame(int32_t at, JsonFailure& failure) const;

  std::vector<Member> members_;
  JsonKeys keys_;
  std::optional<JsonRest> rest_;
  int32_t rest_at_ = -1;  // its member
  int64_t length_ = 0;
  bool root_ = false;
};

// The keys of a source as json.h describes it: "a.b", "/a/b" or ["a","b"].
Result<std::vector<std::string>> ParseJsonSource(const std::string& source);

}  // namespace frazil
