#include <arrow/builder.h>

#include <cmath>
#include <limits>
#include <type_traits>

#include "format/avro_step.h"
#include "format/json_column.h"

namespace frazil {
namespace {

using Kind = AvroType::Kind;

class BooleanStep : public AvroStep {
 public:
  explicit BooleanStep(arrow::BooleanBuilder* builder) : builder_(builder) {}
  bool Take(AvroCursor& in, JsonFailure& failure) override {
    bool value = false;
    return in.TakeBoolean(&value, failure) && failure.Ok(builder_->Append(value));
  }

 private:
  arrow::BooleanBuilder* builder_;
};

// Ints and longs into any column of whole numbers that holds the value.
template <typename Builder>
class IntegerStep : public AvroStep {
 public:
  using T = typename Builder::value_type;
  IntegerStep(Builder* builder, bool narrow) : builder_(builder), narrow_(narrow) {}

  bool Take(AvroCursor& in, JsonFailure& failure) override {
    int64_t value = 0;
    if (!(narrow_ ? in.TakeInt(&value, failure) : in.TakeLong(&value, failure))) return false;
    if (!Fits(value)) [[unlikely]] {
      return failure.Because(std::to_string(value) + " is outside the range of " +
                             builder_->type()->ToString());
    }
    return failure.Ok(builder_->Append(static_cast<T>(value)));
  }

 private:
  static bool Fits(int64_t value) {
    if constexpr (std::is_same_v<T, uint64_t>) {
      return value >= 0;
    } else if constexpr (std::is_same_v<T, int64_t>) {
      return true;
    } else {
      return value >= std::numeric_limits<T>::min() && value <= std::numeric_limits<T>::max();
    }
  }

  Builder* builder_;
  bool narrow_;
};

// Numbers into a column of floats. Whole ones become the nearest, which is Avro's promotion.
template <typename Builder>
class FloatStep : public AvroStep {
 public:
  using T = typename Builder::value_type;
  FloatStep(Builder* builder, Kind from) : builder_(builder), from_(from) {}

  bool Take(AvroCursor& in, JsonFailure& failure) override {
    T value = 0;
    return Read(in, &value, failure) && failure.Ok(builder_->Append(value));
  }

 private:
  bool Read(AvroCursor& in, T* value, JsonFailure& failure) const {
    switch (from_) {
      case Kind::kFloat: {
        float narrow = 0;
        if (!in.TakeFixed(&narrow, failure)) return false;
        *value = static_cast<T>(narrow);
        return true;
      }
      case Kind::kDouble: {
        double wide = 0;
        if (!in.TakeFixed(&wide, failure)) return false;
        *value = static_cast<T>(wide);
        return true;
      }
      default: {
        int64_t whole = 0;
        if (!(from_ == Kind::kInt ? in.TakeInt(&whole, failure) : in.TakeLong(&whole, failure))) return false;
        *value = static_cast<T>(whole);
        return true;
      }
    }
  }

  Builder* builder_;
  Kind from_;
};

template <typename Builder>
std::unique_ptr<AvroStep> Integer(arrow::ArrayBuilder* builder, bool narrow) {
  return std::make_unique<IntegerStep<Builder>>(static_cast<Builder*>(builder), narrow);
}

std::unique_ptr<AvroStep> IntegerOf(arrow::ArrayBuilder* builder, bool narrow) {
  switch (builder->type()->id()) {
    case arrow::Type::INT8:
      return Integer<arrow::Int8Builder>(builder, narrow);
    case arrow::Type::INT16:
      return Integer<arrow::Int16Builder>(builder, narrow);
    case arrow::Type::INT32:
      return Integer<arrow::Int32Builder>(builder, narrow);
    case arrow::Type::INT64:
      return Integer<arrow::Int64Builder>(builder, narrow);
    case arrow::Type::UINT8:
      return Integer<arrow::UInt8Builder>(builder, narrow);
    case arrow::Type::UINT16:
      return Integer<arrow::UInt16Builder>(builder, narrow);
    case arrow::Type::UINT32:
      return Integer<arrow::UInt32Builder>(builder, narrow);
    default:
      return Integer<arrow::UInt64Builder>(builder, narrow);
  }
}

}  // namespace

Result<std::unique_ptr<AvroStep>> MakeAvroNumberStep(const AvroType& type, const AvroColumn& column) {
  const auto id = column.builder->type()->id();
  const bool whole = type.kind == Kind::kInt || type.kind == Kind::kLong;
  std::unique_ptr<AvroStep> made;
  if (id == arrow::Type::BOOL) {
    if (type.kind != Kind::kBoolean) return AvroClash(type, *column.field, "");
    return std::make_unique<BooleanStep>(static_cast<arrow::BooleanBuilder*>(column.builder));
  }
  if (arrow::is_integer(id)) {
    if (!whole) return AvroClash(type, *column.field, type.kind == Kind::kDouble ? "declare float" : "");
    return IntegerOf(column.builder, type.kind == Kind::kInt);
  }
  if (id == arrow::Type::FLOAT) {
    if (type.kind == Kind::kDouble) return AvroClash(type, *column.field, "declare float, which has 64 bits");
    if (!whole && type.kind != Kind::kFloat) return AvroClash(type, *column.field, "");
    return std::make_unique<FloatStep<arrow::FloatBuilder>>(static_cast<arrow::FloatBuilder*>(column.builder),
                                                            type.kind);
  }
  if (id == arrow::Type::DOUBLE) {
    if (!whole && type.kind != Kind::kFloat && type.kind != Kind::kDouble) {
      return AvroClash(type, *column.field, "");
    }
    return std::make_unique<FloatStep<arrow::DoubleBuilder>>(
        static_cast<arrow::DoubleBuilder*>(column.builder), type.kind);
  }
  return made;
}

}  // namespace frazil
