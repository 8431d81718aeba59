#include <arrow/builder.h>

#include <limits>
#include <map>
#include <optional>

#include "base/calendar.h"
#include "format/avro_step.h"
#include "format/json_column.h"
#include "format/json_time.h"

namespace frazil {
namespace {

using Kind = AvroType::Kind;
using Unit = arrow::TimeUnit;
using Means = AvroMeaning::Means;

constexpr int64_t kDaySeconds = 86'400;

// Where values go: a column of 32 or 64 bits, and what it holds.
class TimeSink {
 public:
  explicit TimeSink(arrow::ArrayBuilder* builder) : builder_(builder), id_(builder->type()->id()) {
    if (id_ == arrow::Type::TIME32 || id_ == arrow::Type::TIME64) {
      const auto unit = static_cast<const arrow::TimeType&>(*builder->type()).unit();
      least_ = 0;
      most_ = kDaySeconds * PerSecond(unit) - 1;
    } else if (id_ == arrow::Type::DATE32) {
      least_ = std::numeric_limits<int32_t>::min();
      most_ = std::numeric_limits<int32_t>::max();
    }
  }

  const arrow::DataType& type() const { return *builder_->type(); }

  bool Put(int64_t value, const std::string& shown, JsonFailure& failure) {
    if (value < least_ || value > most_) [[unlikely]]
      return Outside(shown.empty() ? std::to_string(value) : shown, failure);
    switch (id_) {
      case arrow::Type::DATE32:
        return failure.Ok(static_cast<arrow::Date32Builder*>(builder_)->Append(static_cast<int32_t>(value)));
      case arrow::Type::TIME32:
        return failure.Ok(static_cast<arrow::Time32Builder*>(builder_)->Append(static_cast<int32_t>(value)));
      case arrow::Type::TIME64:
        return failure.Ok(static_cast<arrow::Time64Builder*>(builder_)->Append(value));
      case arrow::Type::TIMESTAMP:
        return failure.Ok(static_cast<arrow::TimestampBuilder*>(builder_)->Append(value));
      default:
        return failure.Ok(static_cast<arrow::DurationBuilder*>(builder_)->Append(value));
    }
  }
  bool Outside(const std::string& shown, JsonFailure& failure) const {
    return failure.Because(shown + " is outside the range of " + type().ToString());
  }
  bool TooFine(const std::string& shown, JsonFailure& failure) const {
    return failure.Because(shown + " has more digits than " + type().ToString() + " holds");
  }

 private:
  arrow::ArrayBuilder* builder_;
  arrow::Type::type id_;
  int64_t least_ = std::numeric_limits<int64_t>::min();
  int64_t most_ = std::numeric_limits<int64_t>::max();
};

// Numbers, times or through a factor.
class NumberTime : public AvroStep {
 public:
  NumberTime(arrow::ArrayBuilder* builder, bool narrow, int64_t times, int64_t through)
      : sink_(builder), narrow_(narrow), times_(times), through_(through) {}
  bool Take(AvroCursor& in, JsonFailure& failure) override {
    int64_t number = 0;
    if (!(narrow_ ? in.TakeInt(&number, failure) : in.TakeLong(&number, failure))) return false;
    int64_t value = number;
    if (times_ != 1 && __builtin_mul_overflow(number, times_, &value)) [[unlikely]]
      return sink_.Outside(std::to_string(number), failure);
    if (through_ != 1) {
      if (number % through_ != 0) [[unlikely]]
        return sink_.TooFine(std::to_string(number), failure);
      value = number / through_;
    }
    return sink_.Put(value, {}, failure);
  }

 private:
  TimeSink sink_;
  bool narrow_;
  int64_t times_, through_;
};

// Texts of ISO 8601.
class TextTime : public AvroStep {
 public:
  TextTime(arrow::ArrayBuilder* builder, Unit::type unit) : sink_(builder), unit_(unit) {}
  bool Take(AvroCursor& in, JsonFailure& failure) override {
    std::string_view text;
    if (!in.TakeText(&text, failure)) return false;
    int64_t value = 0;
    const TimeFit fit = Parse(text, &value);
    if (fit == TimeFit::kExact) [[likely]]
      return sink_.Put(value, std::string(text), failure);
    const std::string shown = QuotedAvro(text);
    if (fit == TimeFit::kInexact) return sink_.TooFine(shown, failure);
    if (fit == TimeFit::kOverflow) return sink_.Outside(shown, failure);
    return failure.Because("expected ISO 8601 text of " + sink_.type().ToString() + ", got " + shown);
  }

 private:
  TimeFit Parse(std::string_view text, int64_t* value) const {
    switch (sink_.type().id()) {
      case arrow::Type::DATE32: {
        int32_t days = 0;
        const TimeFit fit = ParseIsoDate(text, &days);
        *value = days;
        return fit;
      }
      case arrow::Type::TIME32:
      case arrow::Type::TIME64:
        return ParseIsoTime(text, unit_, value);
      case arrow::Type::TIMESTAMP:
        return ParseIsoTimestamp(text, unit_, value);
      default:
        return ParseIsoDuration(text, unit_, value);
    }
  }

  TimeSink sink_;
  Unit::type unit_;
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

std::optional<Unit::type> DeclaredUnit(const arrow::Field& field) {
  const std::string text = JsonMetadata(field, "fz:time_unit");
  for (const auto unit : {Unit::SECOND, Unit::MILLI, Unit::MICRO, Unit::NANO}) {
    if (text == UnitName(unit)) return unit;
  }
  return std::nullopt;
}

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

Unit::type UnitOf(const arrow::DataType& type) {
  switch (type.id()) {
    case arrow::Type::TIMESTAMP:
      return static_cast<const arrow::TimestampType&>(type).unit();
    case arrow::Type::DURATION:
      return static_cast<const arrow::DurationType&>(type).unit();
    case arrow::Type::DATE32:
      return Unit::SECOND;
    default:
      return static_cast<const arrow::TimeType&>(type).unit();
  }
}

std::unique_ptr<AvroStep> Scaled(const AvroType& type, arrow::ArrayBuilder* builder, Unit::type from) {
  const bool narrow = type.kind == Kind::kInt;
  if (builder->type()->id() == arrow::Type::DATE32) {
    return std::make_unique<NumberTime>(builder, narrow, 1, kDaySeconds * PerSecond(from));
  }
  const int64_t have = PerSecond(from), want = PerSecond(UnitOf(*builder->type()));
  return std::make_unique<NumberTime>(builder, narrow, want > have ? want / have : 1,
                                      have > want ? have / want : 1);
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
      return std::make_unique<NumberTime>(column.builder, type.kind == Kind::kInt, 1, 1);
    }
    return Scaled(type, column.builder, meaning->unit);
  }
  if (type.kind == Kind::kString) return std::make_unique<TextTime>(column.builder, UnitOf(wanted));
  if (type.kind == Kind::kFixed && type.logical == "duration" && id == arrow::Type::DURATION) {
    return std::make_unique<FixedSpan>(column.builder, UnitOf(wanted));
  }
  if (type.kind != Kind::kInt && type.kind != Kind::kLong) return AvroClash(type, *column.field, "");
  auto unit = DeclaredUnit(*column.field);
  if (!unit.has_value() && id == arrow::Type::DURATION) unit = UnitOf(wanted);
  if (unit.has_value()) return Scaled(type, column.builder, *unit);
  return AvroClash(type, *column.field, "say the unit of its numbers: fz.field(time_unit=\"ms\")");
}

}  // namespace frazil
