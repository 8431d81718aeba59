#pragma once

#include <arrow/array.h>
#include <arrow/memory_pool.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "operator/batch_function.h"
#include "operator/operator.h"

namespace frazil {

// Gives a row for each element of a list: the element stands in the list's place under a name of its own, all
// other columns and marks as they were. A list that is null or empty gives no row, or with `keep_empty` one
// with null. Rows that come of one row are told apart by the element's number (join/partner_order.h), so what
// is ordered behind it is so in the same way in each run.
struct UnnestSpec {
  std::string column;
  std::string into;
  bool keep_empty = false;
};

// Of {"column", "into", "keep_empty"}. An error is kConfig: the column is no list.
UnnestSpec ParseUnnest(const nlohmann::json& node);
Result<std::shared_ptr<arrow::Schema>> UnnestSchema(const UnnestSpec& spec, const arrow::Schema& input);

class Unnest : public Operator {
 public:
  static Result<std::unique_ptr<Unnest>> Make(const nlohmann::json& node, const arrow::Schema& input,
                                              const OperatorContext& context);

  // Emits about a batch at a time, however long lists are.
  Result<Progress> process(Batch batch, Output& out) override;
  Result<Progress> resume(Output& out) override;

 private:
  // A batch on its way through: which element of which row is next.
  struct Emission {
    Batch batch;
    int64_t row = 0;
    int64_t element = 0;
    int64_t row_bytes = 0;  // of a row of the batch, about
  };
  // Rows of the input, each with an element of its list.
  struct Pairs {
    std::vector<int64_t> rows;
    std::vector<int64_t> elements;  // places in the values of all lists; -1: none
    std::vector<uint32_t> numbers;  // of the elements of a row, from 0
  };

  Unnest(UnnestSpec spec, int place, std::shared_ptr<arrow::Schema> output, const OperatorContext& context)
      : spec_(std::move(spec)),
        place_(place),
        output_(std::move(output)),
        pool_(context.pool),
        partitions_(context.partitions) {}
  template <typename Lists>
  Pairs next_pairs(const Lists& lists);
  template <typename Lists>
  Result<Progress> emit(const Lists& lists, Output& out);
  Result<Batch> unnested(const Pairs& pairs, const std::shared_ptr<arrow::Array>& values) const;

  const UnnestSpec spec_;
  const int place_;  // of the list in the input
  const std::shared_ptr<arrow::Schema> output_;
  arrow::MemoryPool* const pool_;
  const PartitionNames* const partitions_;
  Emission emission_;
};

}  // namespace frazil
