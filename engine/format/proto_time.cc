#include <optional>

#include "format/proto_number.h"
#include "format/proto_step.h"
#include "format/time_sink.h"

namespace frazil {
namespace {

using Type = ProtoField::Type;
using Unit = arrow::TimeUnit;

constexpr int64_t kNanos = 1'000'000'000;           // of a second
constexpr int64_t kLeastSeconds = -62'135'596'800;  // 0001-01-01T00:00:00Z, as timestamp.proto says
constexpr int64_t kMostSeconds = 253'402'300'799;   // 9999-12-31T23:59:59Z
constexpr int64_t kSpanSeconds = 315'576'000'000;   // either way, as duration.proto says

// Seconds (1) and nanoseconds (2).
bool TakeSeconds(const ProtoPiece* pieces, size_t count, int64_t* seconds, int64_t* nanos,
                 JsonFailure& failure) {
  ProtoPiece values[2];
  __int128 first = 0, second = 0;
  if (!TakeProtoFields(pieces, count, {ProtoWire::kVarint, ProtoWire::kVarint}, values, failure) ||
      !TakeProtoWhole(Type::kInt64, values[0], &first, failure) ||
      !TakeProtoWhole(Type::kInt32, values[1], &second, failure)) {
    return false;
  }
  *seconds = static_cast<int64_t>(first);
  *nanos = static_cast<int64_t>(second);
  return true;
}

// google.protobuf.Timestamp.
class TimestampStep : public ProtoStep {
 public:
  explicit TimestampStep(arrow::ArrayBuilder* builder) : sink_(builder) {}
  bool Take(const ProtoPiece* pieces, size_t count, JsonFailure& failure) override {
    int64_t seconds = 0, nanos = 0;
    if (!TakeSeconds(pieces, count, &seconds, &nanos, failure)) return false;
    if (seconds < kLeastSeconds || seconds > kMostSeconds || nanos < 0 || nanos >= kNanos) [[unlikely]] {
      return failure.Because(std::to_string(seconds) + " s and " + std::to_string(nanos) +
                             " ns are no timestamp");
    }
    return sink_.PutNanos(static_cast<__int128>(seconds) * kNanos + nanos, failure);
  }

 private:
  TimeSink sink_;
};

// google.protobuf.Duration: both parts have the sign.
class DurationStep : public ProtoStep {
 public:
  explicit DurationStep(arrow::ArrayBuilder* builder) : sink_(builder) {}
  bool Take(const ProtoPiece* pieces, size_t count, JsonFailure& failure) override {
    int64_t seconds = 0, nanos = 0;
    if (!TakeSeconds(pieces, count, &seconds, &nanos, failure)) return false;
    if (seconds < -kSpanSeconds || seconds > kSpanSeconds || nanos <= -kNanos || nanos >= kNanos ||
        (seconds < 0 && nanos > 0) || (seconds > 0 && nanos < 0)) [[unlikely]] {
      return failure.Because(std::to_string(seconds) + " s and " + std::to_string(nanos) +
                             " ns are no duration");
    }
    return sink_.PutNanos(static_cast<__int128>(seconds) * kNanos + nanos, failure);
  }

 private:
  TimeSink sink_;
};

// google.type.Date; one of which a part is zero is no day.
class DateStep : public ProtoStep {
 public:
  explicit DateStep(arrow::ArrayBuilder* builder) : sink_(builder) {}
  bool Take(const ProtoPiece* pieces, size_t count, JsonFailure& failure) override {
    constexpr ProtoWire kNumber = ProtoWire::kVarint;
    ProtoPiece values[3];
    __int128 parts[3];
    if (!TakeProtoFields(pieces, count, {kNumber, kNumber, kNumber}, values, failure)) return false;
    for (size_t i = 0; i < 3; ++i) {
      if (!TakeProtoWhole(Type::kInt32, values[i], &parts[i], failure)) return false;
    }
    const auto year = static_cast<int64_t>(parts[0]), month = static_cast<int64_t>(parts[1]),
               day = static_cast<int64_t>(parts[2]);
    if (year >= 1 && year <= 9999 && month >= 1 && month <= 12 && day >= 1 && day <= 31) [[likely]] {
      const int64_t days = DaysFromCivil(year, static_cast<int>(month), day);
      if (CivilFromDays(days).month == month) [[likely]]
        return sink_.Put(days, {}, failure);
    }
    return failure.Because("year " + std::to_string(year) + ", month " + std::to_string(month) + ", day " +
                           std::to_string(day) + " are no date");
  }

 private:
  TimeSink sink_;
};

// google.type.TimeOfDay.
class TimeOfDayStep : public ProtoStep {
 public:
  explicit TimeOfDayStep(arrow::ArrayBuilder* builder) : sink_(builder) {}
  bool Take(const ProtoPiece* pieces, size_t count, JsonFailure& failure) override {
    constexpr ProtoWire kNumber = ProtoWire::kVarint;
    constexpr int64_t kMost[] = {23, 59, 59, kNanos - 1};
    ProtoPiece values[4];
    if (!TakeProtoFields(pieces, count, {kNumber, kNumber, kNumber, kNumber}, values, failure)) return false;
    int64_t parts[4];
    for (size_t i = 0; i < 4; ++i) {
      __int128 part = 0;
      if (!TakeProtoWhole(Type::kInt32, values[i], &part, failure)) return false;
      parts[i] = static_cast<int64_t>(part);
      if (parts[i] < 0 || parts[i] > kMost[i])
        return failure.Because(
            "hours, minutes, seconds and nanoseconds "
            "that are no time of a day");
    }
    const int64_t seconds = (parts[0] * 60 + parts[1]) * 60 + parts[2];
    return sink_.PutNanos(static_cast<__int128>(seconds) * kNanos + parts[3], failure);
  }

 private:
  TimeSink sink_;
};

// Whole numbers of a unit.
class NumberTime : public ProtoStep {
 public:
  NumberTime(arrow::ArrayBuilder* builder, Type from, TimeScale scale)
      : sink_(builder), from_(from), scale_(scale) {}
  bool Take(const ProtoPiece* piece, size_t, JsonFailure& failure) override {
    __int128 number = 0;
    if (!TakeProtoWhole(from_, *piece, &number, failure)) return false;
    if (number > INT64_MAX) return sink_.Outside(ProtoWholeText(number), failure);
    return sink_.PutNumber(static_cast<int64_t>(number), scale_, failure);
  }

 private:
  TimeSink sink_;
  Type from_;
  TimeScale scale_;
};

// Texts of ISO 8601.
class TextTime : public ProtoStep {
 public:
  explicit TextTime(arrow::ArrayBuilder* builder) : sink_(builder) {}
  bool Take(const ProtoPiece* piece, size_t, JsonFailure& failure) override {
    return sink_.PutText(piece->bytes(), failure);
  }

 private:
  TimeSink sink_;
};

Result<std::unique_ptr<ProtoStep>> MakeOfMessage(const ProtoMaking& making, const ProtoField& field,
                                                 const BuiltColumn& column) {
  const std::string& name = making.schema.message(field.of).name;
  const auto id = column.field->type()->id();
  const bool time = id == arrow::Type::TIME32 || id == arrow::Type::TIME64;
  if (name == "google.protobuf.Timestamp") {
    if (id != arrow::Type::TIMESTAMP) return ProtoClash(making, field, column, "declare a timestamp");
    return std::make_unique<TimestampStep>(column.builder);
  }
  if (name == "google.protobuf.Duration") {
    if (id != arrow::Type::DURATION) return ProtoClash(making, field, column, "declare a duration");
    return std::make_unique<DurationStep>(column.builder);
  }
  if (name == "google.type.Date") {
    if (id != arrow::Type::DATE32) return ProtoClash(making, field, column, "declare a date");
    return std::make_unique<DateStep>(column.builder);
  }
  if (name == "google.type.TimeOfDay" && (time || id == arrow::Type::DURATION))
    return std::make_unique<TimeOfDayStep>(column.builder);
  return ProtoClash(making, field, column, "");
}

}  // namespace

Result<std::unique_ptr<ProtoStep>> MakeProtoTimeStep(const ProtoMaking& making, const ProtoField& field,
                                                     const BuiltColumn& column) {
  const arrow::DataType& wanted = *column.field->type();
  const auto id = wanted.id();
  if (id != arrow::Type::DATE32 && id != arrow::Type::TIME32 && id != arrow::Type::TIME64 &&
      id != arrow::Type::TIMESTAMP && id != arrow::Type::DURATION) {
    return nullptr;
  }
  if (field.type == Type::kMessage) return MakeOfMessage(making, field, column);
  if (field.type == Type::kString) return std::make_unique<TextTime>(column.builder);
  if (!IsProtoWhole(field.type) || field.type == Type::kEnum) return ProtoClash(making, field, column, "");
  auto unit = DeclaredTimeUnit(*column.field);
  if (id == arrow::Type::DATE32 && !unit.has_value())
    return std::make_unique<NumberTime>(column.builder, field.type, TimeScale());
  if (!unit.has_value() && id == arrow::Type::DURATION) unit = TimeUnitOf(wanted);
  if (unit.has_value())
    return std::make_unique<NumberTime>(column.builder, field.type, TimeScale::Of(*unit, wanted));
  return ProtoClash(making, field, column, "say the unit of its numbers: fz.field(time_unit=\"ms\")");
}

}  // namespace frazil
