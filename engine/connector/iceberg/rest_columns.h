#pragma once

#include <arrow/memory_pool.h>
#include <arrow/record_batch.h>
#include <arrow/type.h>

#include <cstdint>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/status.h"
#include "connector/iceberg/rest_members.h"

namespace frazil::iceberg {

constexpr size_t kColumnNameBytes = 128;  // bytes of a field's name that may become a column's
constexpr size_t kRefusedNames = 10'000;  // fields that get no column; past it no more are asked for

// What is done about fields that a stream has in its rest: the part of a sink's "drift" that is of them.
struct RestPolicies {
  std::string column;                        // that has the rest
  std::map<std::string, std::string> fresh;  // by field, "*" for all others: evolve, ignore, stop
  std::map<std::string, std::string> wider;
  std::map<std::string, std::string> conflict;
  int64_t columns_max = 0;  // of the table
};

// {"expand","on_new_column","on_wider_type","on_type_conflict","columns_max"} of options["drift"]; null if it
// does not say "expand". kConfig error for what is wrong with it.
Result<std::shared_ptr<const RestPolicies>> ParseRestPolicies(const nlohmann::json& options);

// Fields by name, and a type that holds the values seen: "boolean", "long", "double", "string".
using WantedColumns = std::map<std::string, std::string>;

// Puts fields of a JSON object, which a column of text has (format/json_rest.h), into the columns that a
// table has for them; what has none stays in the text. Values become booleans, integers, floats and text;
// objects and arrays become text. A value goes into a column only whole: an integer into one of doubles if
// there is such a double. Everything else is a conflict, which `on_type_conflict` decides. A null needs no
// column, and is not kept where one could be made for it. A field that has the name of a column of the stream
// stays in the text.
//
// Which names columns may have, and how many there may be, is said by who makes them (answer()).
//
// One thread.
class RestColumns {
 public:
  // Of a table with these columns; null: they are not known yet. `reserved` is one that no field may go into;
  // empty: none. With `rows_go`, rows that go are not written, and neither are their fields.
  RestColumns(std::shared_ptr<const RestPolicies> policies, const arrow::Schema* table, std::string reserved,
              bool rows_go, arrow::MemoryPool* pool);
  ~RestColumns();

  // The table has these columns now. `options` may say what has become of those that were asked for:
  // "answered":[["name","type"]]: the table is as it will be for them; "refused":{"name":"why"}: there will
  // be no such column; "full":"why": there will be no further one.
  Status answer(const arrow::Schema& table, const nlohmann::json& options);

  // True if no row of a batch has a rest: it goes as it is.
  static bool Nothing(const RestPolicies& policies, const arrow::RecordBatch& rows);
  // The rows with their fields in columns behind theirs. Null if some need a column that the table does not
  // have and may get: `wanted` has what has not been asked for before. Errors: kUser with the field where a
  // policy says "stop".
  Result<std::shared_ptr<arrow::RecordBatch>> unpack(const std::shared_ptr<arrow::RecordBatch>& rows,
                                                     WantedColumns* wanted);

 private:
  class Target;
  enum class Place { kTaken, kLeft, kWaits };

  Status plan(const arrow::RecordBatch& rows);
  Result<Place> put(const std::string& name, std::string_view text, int64_t row);
  Result<Place> no_column(const std::string& name, const RestValue& value, std::string_view text);
  Result<Place> conflict(const std::string& name, std::string_view text, const std::string& why);
  Place want(const std::string& name, const std::string& type);
  Result<bool> unpack_row(std::string_view text, int64_t row, std::string* left);

  const std::shared_ptr<const RestPolicies> policies_;
  const std::string reserved_;
  const bool rows_go_;
  arrow::MemoryPool* pool_;
  std::shared_ptr<arrow::Schema> table_;                              // null: not known yet
  std::shared_ptr<arrow::Schema> stream_;                             // that the rest is planned for
  std::unordered_map<std::string, std::unique_ptr<Target>> targets_;  // columns that fields may go into
  std::set<std::string> streams_;                                     // columns of the stream
  std::set<std::pair<std::string, std::string>> answered_, asked_;    // fields with types
  std::map<std::string, std::string> refused_;                        // fields that get no column, and why
  std::string full_;  // why there are no further columns; empty: there may be
  // Of the batch at hand.
  WantedColumns wanted_;
  std::vector<RestMember> members_;
  std::vector<std::optional<std::string>> names_;  // of the members of a row
  std::unordered_map<std::string, size_t> last_;   // which member of a row has a name
};

}  // namespace frazil::iceberg
