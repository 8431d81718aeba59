#pragma once

#include <arrow/memory_pool.h>
#include <arrow/type.h>

#include <memory>
#include <string>
#include <vector>

#include "format/avro_cursor.h"
#include "format/avro_schema.h"
#include "format/row_builders.h"

namespace frazil {

using AvroColumn = BuiltColumn;

// Goes over one value of a message. Made for a type of the writer's schema and what becomes of its values.
// After a false the columns it was to fill may have a part of a value, see RowBuilders::GiveUp.
class AvroStep {
 public:
  virtual ~AvroStep() = default;
  virtual bool Take(AvroCursor& in, JsonFailure& failure) = 0;
};

using AvroSteps = std::vector<std::unique_ptr<AvroStep>>;

// The steps that go over values nobody reads, one for each type of a schema.
class AvroSkips {
 public:
  explicit AvroSkips(const AvroSchema& schema) : schema_(schema), steps_(schema.types.size()) {}
  // Lives as long as this.
  AvroStep* Of(int32_t type);

 private:
  std::unique_ptr<AvroStep> Make(int32_t type);

  const AvroSchema& schema_;
  AvroSteps steps_;
};

// What making the steps of one program goes by.
struct AvroMaking {
  const AvroSchema& schema;
  AvroSkips* skips;
  arrow::MemoryPool* pool;
  std::vector<std::string>* blamed;  // after an error: the column, then names inside it
};

// The step that reads values of a type into a column: null and the branches of a union looked at. A decode
// error says that the two do not go together; it names the place within the column, if there is one.
Result<std::unique_ptr<AvroStep>> MakeAvroStep(const AvroMaking& making, int32_t type,
                                               const AvroColumn& column);

// The same for one type that is no union and not null, if it is of theirs; else nullptr.
Result<std::unique_ptr<AvroStep>> MakeAvroNumberStep(const AvroType& type, const AvroColumn& column);
Result<std::unique_ptr<AvroStep>> MakeAvroTimeStep(const AvroType& type, const AvroColumn& column);
Result<std::unique_ptr<AvroStep>> MakeAvroDecimalStep(const AvroMaking& making, const AvroType& type,
                                                      const AvroColumn& column);
Result<std::unique_ptr<AvroStep>> MakeAvroTextStep(const AvroType& type, const AvroColumn& column);
Result<std::unique_ptr<AvroStep>> MakeAvroNestedStep(const AvroMaking& making, const AvroType& type,
                                                     const AvroColumn& column);

// The step that makes values of a column of Debezium (debezium_column.h) bad where one stands for a value
// that was not sent; `values` itself for any other column.
Result<std::unique_ptr<AvroStep>> MakeAvroAvailableStep(const AvroMaking& making, const AvroType& type,
                                                        const AvroColumn& column,
                                                        std::unique_ptr<AvroStep> values);

// A column and the names on the way to its value in a record.
struct AvroWanted {
  const AvroColumn* column = nullptr;
  std::vector<std::string> path;  // at least one
  bool root = false;              // failures name it as the column
};

// The step that reads a record into columns; those that the record does not have get their default or null.
Result<std::unique_ptr<AvroStep>> MakeAvroRecordStep(const AvroMaking& making, int32_t record,
                                                     const std::vector<AvroWanted>& wanted);

// The error of two types that do not go together.
Status AvroClash(const AvroType& type, const arrow::Field& field, const std::string& advice);

}  // namespace frazil
