#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "operator/batch_function.h"
#include "operator/join/dimension.h"
#include "operator/operator.h"
#include "state/key_codec.h"

namespace frazil {

enum class LookupHow { kInner, kLeft, kSemi, kAnti };

// A lookup node of the plan:
// {"how","keys":[column],"dimension_keys":[column],"take":[[column, its name in the output],...],
//  "duplicates":"fail"|"all","schema": of the table,"dimension":{"name","max_bytes",...}}
struct LookupSpec {
  LookupHow how = LookupHow::kInner;
  std::vector<std::string> keys;                          // of the stream
  std::vector<std::pair<std::string, std::string>> take;  // columns of the table, and as what
  Dimension::Spec dimension;                              // its keys are in the order of `keys`
  std::shared_ptr<arrow::Schema> schema;                  // of the table
};
Result<LookupSpec> ParseLookup(const nlohmann::json& node);

// The columns of the stream, then those taken of the table, then hidden ones.
Result<std::shared_ptr<arrow::Schema>> LookupSchema(const LookupSpec& spec, const arrow::Schema& input);

// Joins a stream with a lookup table by equal keys. Every worker has all of the table, so rows stay where
// they are. Rows keep their marks and their batch its origin, so event time passes through. A row with
// several partners comes once for each, in the order of the table, with an order mark of its own
// (partner_order.h). Nulls equal nothing: such a row has no partner.
class LookupJoin : public Operator {
 public:
  static Result<std::unique_ptr<LookupJoin>> Make(const nlohmann::json& node, const arrow::Schema& input,
                                                  const OperatorContext& context);

  // The table from here on. Before the first batch, and at barriers; never while an emission is unfinished.
  void use(std::shared_ptr<const Dimension> dimension) { dimension_ = std::move(dimension); }

  Result<Progress> process(Batch batch, Output& out) override;
  Result<Progress> resume(Output& out) override;

 private:
  // A batch on its way through: where the next pair of rows is.
  struct Emission {
    Batch batch;
    std::vector<uint32_t> first;  // first partner of each row
    int64_t row = 0;
    uint32_t partner = Dimension::kNoRow;  // the next one of `row`
    uint32_t number = 0;                   // of that partner, from 0
    int64_t row_bytes = 0;                 // of a row of the batch, about
  };
  // Rows of the stream and of the table that stand beside each other.
  struct Pairs {
    std::vector<int32_t> rows;
    std::vector<int32_t> partners;  // -1: none
    std::vector<uint32_t> numbers;  // of the partners of a row, from 0
  };

  LookupJoin(LookupSpec spec, KeyCodec codec, std::vector<int> keys, std::shared_ptr<arrow::Schema> output,
             int visible, const OperatorContext& context);
  Status find(const Batch& batch, std::vector<uint32_t>* first);
  Result<Batch> keep(const Batch& batch, const std::vector<uint32_t>& first) const;
  Pairs next_pairs();
  Result<Batch> joined(const Batch& batch, const Pairs& pairs) const;

  const LookupSpec spec_;
  const KeyCodec codec_;
  const std::vector<int> keys_;  // places in the input
  const std::shared_ptr<arrow::Schema> output_;
  const int visible_;  // columns of the input that are not hidden
  arrow::MemoryPool* const pool_;
  const PartitionNames* const partitions_;
  std::shared_ptr<const Dimension> dimension_;
  EncodedKeys encoded_;
  Emission emission_;
};

}  // namespace frazil
