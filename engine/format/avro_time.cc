#include <arrow/builder.h>

#include <limits>
#include <map>
#include <optional>

#include "format/avro_step.h"
#include "format/time_sink.h"

namespace frazil {
namespace {

using Kind = AvroType::Kind;
using Unit = arrow::TimeUnit;
using Means = AvroMeaning::Means;

// Numbers of a unit.
class NumberTime : public AvroStep {
 public:
  NumberTime(arrow::ArrayBuilder* builder, bool narrow, TimeScale scale)
      : sink_(builder), narrow_(narrow), scale_(scale) {}
  bool Take(AvroCursor& in, JsonFailure& failure) override {
    int64_t number = 0;
    if (!(narrow_ ? in.TakeInt(&number, failure) : in.TakeLong(&number, failure))) return false;
    return sink_.PutNumber(number, scale_, failure);
  }

 private:
  TimeSink sink_;
  bool narrow_;
  TimeScale scale_;
};

// Texts of ISO 8601.
class TextTime : public AvroStep {
 public:
  explicit TextTime(arrow::ArrayBuilder* builder) : sink_(builder) {}
  bool Take(AvroCursor& in, JsonFailure& failure) override {
    std::string_view text;
    return in.TakeText(&text, failure) && sink_.PutText(text, failure);
  }

 private:
  TimeSink sink_;
};

// Avro's own durations: months, days, milliseconds, each 32 bits. Months have no length.
class FixedSpan : public AvroStep {
 public:
  FixedSpan(arrow::ArrayBuilder* builder, Unit::type unit) : sink_(builder), unit_(unit) {}
  bool Take(AvroCursor& in, JsonFailure& failure) override {
    uint32_t parts[3];
    if (!in.TakeFixed(&parts, failure)) return false;
    if (parts[0] != 0) return failure.Because("a duration of months, which have no length");
    const __int128 millis = static_cast<__int128>(parts[1]) * kDaySeconds * 1000 + parts[2];
    const __int128 value = millis * PerSecond(unit_) / 1000;
    if (value * 1000 != millis * PerSecond(unit_))
      return sink_.TooFine("a duration of milliseconds", failure);
    if (value > std::numeric_limits<int64_t>::max()) return sink_.Outside("a duration of days", failure);
    return sink_.Put(static_cast<int64_t>(value), {}, failure);
  }

 private:
  TimeSink sink_;
  Unit::type unit_;
};

bool Fits(arrow::Type::type id, const arrow::DataType& type, Means means) {
  switch (means) {
    case Means::kDate:
      return id == arrow::Type::DATE32;
    case Means::kTime:
      return id == arrow::Type::TIME32 || id == arrow::Type::TIME64 || id == arrow::Type::DURATION;
    case Means::kLocal:
      return id == arrow::Type::TIMESTAMP &&
             static_cast<const arrow::TimestampType&>(type).timezone().empty();
    case Means::kInstant:
    case Means::kStamp:
      return id == arrow::Type::TIMESTAMP;
    case Means::kSpan:
      return id == arrow::Type::DURATION;
  }
  return false;
}

const char* Advice(Means means) {
  switch (means) {
    case Means::kDate:
      return "declare a date";
    case Means::kTime:
      return "declare a time, or a duration";
    case Means::kLocal:
      return "declare a timestamp without a zone, and say in the pipeline which zone it is of";
    case Means::kInstant:
    case Means::kStamp:
      return "declare a timestamp";
    case Means::kSpan:
      return "declare a duration, or int64";
  }
  return "";
}

std::unique_ptr<AvroStep> Scaled(const AvroType& type, arrow::ArrayBuilder* builder, Unit::type from) {
  return std::make_unique<NumberTime>(builder, type.kind == Kind::kInt,
                                      TimeScale::Of(from, *builder->type()));
}

}  // namespace

const AvroMeaning* AvroMeaningOf(const AvroType& type) {
  static const std::map<std::string, AvroMeaning, std::less<>> meanings{
      {"date", {Means::kDate}},
      {"time-millis", {Means::kTime, Unit::MILLI}},
      {"time-micros", {Means::kTime, Unit::MICRO}},
      {"timestamp-millis", {Means::kInstant, Unit::MILLI}},
      {"timestamp-micros", {Means::kInstant, Unit::MICRO}},
      {"timestamp-nanos", {Means::kInstant, Unit::NANO}},
      {"local-timestamp-millis", {Means::kLocal, Unit::MILLI}},
      {"local-timestamp-micros", {Means::kLocal, Unit::MICRO}},
      {"local-timestamp-nanos", {Means::kLocal, Unit::NANO}},
      {"org.apache.kafka.connect.data.Date", {Means::kDate}},
      {"org.apache.kafka.connect.data.Time", {Means::kTime, Unit::MILLI}},
      {"org.apache.kafka.connect.data.Timestamp", {Means::kStamp, Unit::MILLI}},
      {"io.debezium.time.Date", {Means::kDate}},
      {"io.debezium.time.Time", {Means::kTime, Unit::MILLI}},
      {"io.debezium.time.MicroTime", {Means::kTime, Unit::MICRO}},
      {"io.debezium.time.NanoTime", {Means::kTime, Unit::NANO}},
      {"io.debezium.time.Timestamp", {Means::kStamp, Unit::MILLI}},
      {"io.debezium.time.MicroTimestamp", {Means::kStamp, Unit::MICRO}},
      {"io.debezium.time.NanoTimestamp", {Means::kStamp, Unit::NANO}},
      {"io.debezium.time.MicroDuration", {Means::kSpan, Unit::MICRO}},
      {"io.debezium.time.NanoDuration", {Means::kSpan, Unit::NANO}},
  };
  if (type.kind != Kind::kInt && type.kind != Kind::kLong) return nullptr;
  if (const auto found = meanings.find(type.connect); found != meanings.end()) return &found->second;
  const auto found = meanings.find(type.logical);
  return type.logical.empty() || found == meanings.end() ? nullptr : &found->second;
}

Result<std::unique_ptr<AvroStep>> MakeAvroTimeStep(const AvroType& type, const AvroColumn& column) {
  const auto& wanted = *column.field->type();  // builders of lists make theirs anew each time
  const auto id = wanted.id();
  if (id != arrow::Type::DATE32 && id != arrow::Type::TIME32 && id != arrow::Type::TIME64 &&
      id != arrow::Type::TIMESTAMP && id != arrow::Type::DURATION) {
    return nullptr;
  }
  if (const AvroMeaning* meaning = AvroMeaningOf(type); meaning != nullptr) {
    if (!Fits(id, wanted, meaning->means)) return AvroClash(type, *column.field, Advice(meaning->means));
    if (meaning->means == Means::kDate) {
      return std::make_unique<NumberTime>(column.builder, type.kind == Kind::kInt, TimeScale());
    }
    return Scaled(type, column.builder, meaning->unit);
  }
  if (type.kind == Kind::kString) return std::make_unique<TextTime>(column.builder);
  if (type.kind == Kind::kFixed && type.logical == "duration" && id == arrow::Type::DURATION) {
    return std::make_unique<FixedSpan>(column.builder, TimeUnitOf(wanted));
  }
  if (type.kind != Kind::kInt && type.kind != Kind::kLong) return AvroClash(type, *column.field, "");
  auto unit = DeclaredTimeUnit(*column.field);
  if (!unit.has_value() && id == arrow::Type::DURATION) unit = TimeUnitOf(wanted);
  if (unit.has_value()) return Scaled(type, column.builder, *unit);
  return AvroClash(type, *column.field, "say the unit of its numbers: fz.field(time_unit=\"ms\")");
}

}  // namespace frazil
