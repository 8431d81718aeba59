// Functions of timestamps, dates and durations. Fields and truncation are of the wall clock of the
// timestamp's zone.
#include <arrow/array/util.h>
#include <arrow/compute/api_scalar.h>
#include <arrow/compute/cast.h>
#include <arrow/util/value_parsing.h>

#include <charconv>
#include <map>

#include "expr/functions/rules.h"
#include "expr/types.h"

namespace frazil::expr {
namespace {

namespace compute = arrow::compute;
using arrow::TimeUnit;

constexpr int64_t kNanosPerUnit[] = {1'000'000'000, 1'000'000, 1'000, 1};  // by TimeUnit

Result<TimeUnit::type> UnitOf(const Call& call) {
  static const std::map<std::string, TimeUnit::type> units = {
      {"s", TimeUnit::SECOND}, {"ms", TimeUnit::MILLI}, {"us", TimeUnit::MICRO}, {"ns", TimeUnit::NANO}};
  const auto name = call.options.at("unit").get<std::string>();
  const auto found = units.find(name);
  if (found == units.end()) return Mismatch(call, "'" + name + "' is not a unit", "one of s, ms, us, ns");
  return found->second;
}

Status ExpectTimestamp(Call& call, bool date_too) {
  FZ_ASSIGN(call.args[0], Plain(call.args[0]));
  const arrow::DataType& type = *call.args[0]->type;
  FZ_TRY(Expect(call, 0, IsTimestamp(type) || (date_too && IsDate(type)),
                date_too ? "timestamp or date" : "timestamp"));
  if (IsNull(type)) return CastArg(call, 0, arrow::timestamp(TimeUnit::MICRO, "UTC"));
  // Errors of unknown zones belong to the plan, not to the first row.
  if (IsTimestamp(type) && !static_cast<const arrow::TimestampType&>(type).timezone().empty()) {
    FZ_ASSIGN(auto one, arrow::MakeArrayFromScalar(arrow::TimestampScalar(0, call.args[0]->type), 1));
    if (auto year = compute::CallFunction("year", {Datum(one)}); !year.ok()) {
      return Mismatch(call, year.status().message(), "name a zone as in 'Europe/Berlin'");
    }
  }
  return Status::OK();
}

Kernel CastKernel(const compute::CastOptions& options) {
  return [options](const std::vector<Datum>& args, int64_t, ExecContext* context) {
    return compute::Cast(args[0], options, context);
  };
}

// (x + shift) / by, rounded towards zero; rounded down if `down`.
Result<Datum> DivideBy(const Datum& value, int64_t by, bool down, ExecContext* context) {
  if (by == 1) return value;
  const Datum divisor(arrow::MakeScalar(by));
  FZ_ASSIGN(Datum quotient, compute::CallFunction("divide", {value, divisor}, context));
  if (!down) return quotient;
  FZ_ASSIGN(Datum rest, compute::CallFunction("remainder", {value, divisor}, context));
  FZ_ASSIGN(Datum below,
            compute::CallFunction("less", {rest, Datum(arrow::MakeScalar(int64_t{0}))}, context));
  FZ_ASSIGN(Datum one, compute::Cast(below, arrow::int64(), compute::CastOptions::Safe(), context));
  return compute::CallFunction("subtract", {quotient, one}, context);
}

// A time or duration as a number of `to` units. Finer units may overflow, which is an error.
Kernel CountKernel(TimeUnit::type from, TimeUnit::type to, bool down) {
  return [from, to, down](const std::vector<Datum>& args, int64_t, ExecContext* context) -> Result<Datum> {
    FZ_ASSIGN(Datum count, compute::Cast(args[0], arrow::int64(), compute::CastOptions::Safe(), context));
    const int64_t factor = kNanosPerUnit[from] / std::max<int64_t>(kNanosPerUnit[to], 1);
    if (factor > 1) {
      return compute::CallFunction("multiply_checked", {count, Datum(arrow::MakeScalar(factor))}, context);
    }
    return DivideBy(count, kNanosPerUnit[to] / kNanosPerUnit[from], down, context);
  };
}

// ISO 8601; without an offset a time is UTC.
Result<Node> ParseIsoTimes(const Call& call, const TypePtr& to, bool strict) {
  const bool date = IsDate(*to);
  Node node = OwnCall(
      call, to,
      OnArrays([to, date, strict](const arrow::ArrayVector& args,
                                  ExecContext* context) -> Result<std::shared_ptr<arrow::Array>> {
        const auto& texts = static_cast<const arrow::StringArray&>(*args[0]);
        arrow::Date32Builder dates(context->memory_pool());
        arrow::TimestampBuilder times(arrow::timestamp(TimeUnit::MICRO, "UTC"), context->memory_pool());
        arrow::ArrayBuilder& builder = date ? static_cast<arrow::ArrayBuilder&>(dates) : times;
        FZ_TRY(builder.Reserve(texts.length()));
        for (int64_t i = 0; i < texts.length(); ++i) {
          const std::string_view text = texts.IsValid(i) ? texts.GetView(i) : std::string_view();
          int32_t days = 0;
          int64_t micros = 0;
          const bool read =
              texts.IsValid(i) &&
              (date ? arrow::internal::ParseValue<arrow::Date32Type>(text.data(), text.size(), &days)
                    : arrow::internal::ParseTimestampISO8601(text.data(), text.size(), TimeUnit::MICRO,
                                                             &micros));
          if (!read && strict && texts.IsValid(i)) {
            return Status::Invalid("not a ", date ? "date" : "time", " of ISO 8601");
          }
          if (!read) {
            FZ_TRY(builder.AppendNull());
          } else if (date) {
            dates.UnsafeAppend(days);
          } else {
            times.UnsafeAppend(micros);
          }
        }
        return builder.Finish();
      }));
  node.nullable = node.nullable || !strict;
  node.fallible = strict;
  return node;
}

}  // namespace

Result<Node> BindTimeField(Call& call) {
  FZ_TRY(ExpectTimestamp(call, /*date_too=*/true));
  return ArrowCall(call, call.function.kernel);
}

Result<Node> BindWeekday(Call& call) {
  FZ_TRY(ExpectTimestamp(call, /*date_too=*/true));
  return ArrowCall(call, call.function.kernel,
                   std::make_shared<compute::DayOfWeekOptions>(/*count_from_zero=*/false, /*week_start=*/1));
}

Result<Node> BindMicrosecond(Call& call) {
  FZ_TRY(ExpectTimestamp(call, /*date_too=*/false));
  return OwnCall(call, arrow::int64(),
                 [](const std::vector<Datum>& args, int64_t, ExecContext* context) -> Result<Datum> {
                   FZ_ASSIGN(Datum millis, compute::CallFunction("millisecond", args, context));
                   FZ_ASSIGN(Datum micros, compute::CallFunction("microsecond", args, context));
                   const Datum thousand(arrow::MakeScalar(int64_t{1000}));
                   FZ_ASSIGN(Datum shifted, compute::CallFunction("multiply", {millis, thousand}, context));
                   return compute::CallFunction("add", {shifted, micros}, context);
                 });
}

Result<Node> BindDate(Call& call) {
  FZ_TRY(ExpectTimestamp(call, /*date_too=*/true));
  const bool zoned = IsTimestamp(*call.args[0]->type) &&
                     !static_cast<const arrow::TimestampType&>(*call.args[0]->type).timezone().empty();
  return OwnCall(call, arrow::date32(),
                 [zoned](const std::vector<Datum>& args, int64_t, ExecContext* context) -> Result<Datum> {
                   Datum local = args[0];
                   if (zoned) {
                     FZ_ASSIGN(local, compute::CallFunction("local_timestamp", args, context));
                   }
                   return compute::Cast(local, arrow::date32(), compute::CastOptions::Safe(), context);
                 });
}

Result<Node> BindTruncate(Call& call) {
  static const std::map<std::string, compute::CalendarUnit> units = {
      {"us", compute::CalendarUnit::MICROSECOND}, {"ms", compute::CalendarUnit::MILLISECOND},
      {"s", compute::CalendarUnit::SECOND},       {"m", compute::CalendarUnit::MINUTE},
      {"h", compute::CalendarUnit::HOUR},         {"d", compute::CalendarUnit::DAY},
      {"w", compute::CalendarUnit::WEEK},         {"mo", compute::CalendarUnit::MONTH},
      {"q", compute::CalendarUnit::QUARTER},      {"y", compute::CalendarUnit::YEAR}};
  FZ_TRY(ExpectTimestamp(call, /*date_too=*/true));
  const auto every = call.options.at("every").get<std::string>();
  int count = 0;
  const auto digits = std::from_chars(every.data(), every.data() + every.size(), count);
  const auto unit = units.find(std::string(digits.ptr, every.data() + every.size()));
  if (digits.ec != std::errc() || count < 1 || unit == units.end()) {
    return NamedError("ConfigError",
                      "'" + every + "' is not an interval\nin: " + call.text +
                          "\nwrite a number and us, ms, s, m, h, d, w, mo, q or y: '15m', '1mo'");
  }
  return FallibleArrowCall(call, call.function.kernel,
                           std::make_shared<compute::RoundTemporalOptions>(count, unit->second));
}

Result<Node> BindConvertTimeZone(Call& call) {
  FZ_TRY(ExpectTimestamp(call, /*date_too=*/false));
  const auto& type = static_cast<const arrow::TimestampType&>(*call.args[0]->type);
  if (type.timezone().empty()) {
    return Mismatch(call, "the timestamp has no zone to convert from", "first .dt.replace_time_zone('UTC')");
  }
  const TypePtr to = arrow::timestamp(type.unit(), call.options.at("zone").get<std::string>());
  FZ_ASSIGN(NodePtr probe, CastTo(call.args[0], to));
  Call check{call.function, {probe}, call.options, call.text};
  FZ_TRY(ExpectTimestamp(check, /*date_too=*/false));
  return OwnCall(call, to, CastKernel(compute::CastOptions::Safe(to)));
}

Result<Node> BindReplaceTimeZone(Call& call) {
  FZ_TRY(ExpectTimestamp(call, /*date_too=*/false));
  const auto& type = static_cast<const arrow::TimestampType&>(*call.args[0]->type);
  const bool zoned = !type.timezone().empty();
  const nlohmann::json& zone = call.options.at("zone");
  const TypePtr local = arrow::timestamp(type.unit());
  const TypePtr to = zone.is_null() ? local : arrow::timestamp(type.unit(), zone.get<std::string>());
  if (!zone.is_null()) {
    FZ_ASSIGN(NodePtr probe, CastTo(LiteralNode(arrow::MakeNullScalar(local)), to));
    Call check{call.function, {probe}, call.options, call.text};
    FZ_TRY(ExpectTimestamp(check, /*date_too=*/false));
  }
  const auto ambiguous = call.options.value("ambiguous", std::string("raise"));
  using Assume = compute::AssumeTimezoneOptions;
  const auto options = zone.is_null()
                           ? nullptr
                           : std::make_shared<Assume>(zone.get<std::string>(),
                                                      ambiguous == "earliest" ? Assume::AMBIGUOUS_EARLIEST
                                                      : ambiguous == "latest" ? Assume::AMBIGUOUS_LATEST
                                                                              : Assume::AMBIGUOUS_RAISE,
                                                      ambiguous == "earliest" ? Assume::NONEXISTENT_EARLIEST
                                                      : ambiguous == "latest" ? Assume::NONEXISTENT_LATEST
                                                                              : Assume::NONEXISTENT_RAISE);
  Node node = OwnCall(
      call, to,
      [zoned, options](const std::vector<Datum>& args, int64_t, ExecContext* context) -> Result<Datum> {
        Datum value = args[0];
        if (zoned) {
          FZ_ASSIGN(value, compute::CallFunction("local_timestamp", {value}, context));
        }
        if (options != nullptr) {
          FZ_ASSIGN(value, compute::CallFunction("assume_timezone", {value}, options.get(), context));
        }
        return value;
      });
  node.fallible = options != nullptr && ambiguous == "raise";
  return node;
}

Result<Node> BindEpoch(Call& call) {
  FZ_TRY(ExpectTimestamp(call, /*date_too=*/true));
  FZ_ASSIGN(const auto unit, UnitOf(call));
  if (IsDate(*call.args[0]->type)) FZ_TRY(CastArg(call, 0, arrow::timestamp(TimeUnit::SECOND)));
  const auto from = static_cast<const arrow::TimestampType&>(*call.args[0]->type).unit();
  Node node = OwnCall(call, arrow::int64(), CountKernel(from, unit, /*down=*/true));
  node.fallible = unit > from;
  return node;
}

Result<Node> BindDurationTotal(Call& call) {
  FZ_ASSIGN(call.args[0], Plain(call.args[0]));
  FZ_TRY(Expect(call, 0, IsDuration(*call.args[0]->type), "duration"));
  if (IsNull(*call.args[0]->type)) FZ_TRY(CastArg(call, 0, arrow::duration(TimeUnit::MICRO)));
  FZ_ASSIGN(const auto unit, UnitOf(call));
  const auto from = static_cast<const arrow::DurationType&>(*call.args[0]->type).unit();
  Node node = OwnCall(call, arrow::int64(), CountKernel(from, unit, /*down=*/false));
  node.fallible = unit > from;
  return node;
}

Result<Node> BindFromEpoch(Call& call) {
  FZ_ASSIGN(call.args[0], Plain(call.args[0]));
  FZ_TRY(Expect(call, 0, IsInteger(*call.args[0]->type), "integer"));
  FZ_ASSIGN(const auto unit, UnitOf(call));
  FZ_TRY(CastArg(call, 0, arrow::int64()));
  const TypePtr read = arrow::timestamp(unit, "UTC");
  const TypePtr to = arrow::timestamp(TimeUnit::MICRO, "UTC");
  auto options = compute::CastOptions::Safe(to);
  options.allow_time_truncate = true;
  // Nanoseconds below the microsecond are cut off downwards, also before 1970.
  Node node = OwnCall(
      call, to,
      [unit, read, options](const std::vector<Datum>& args, int64_t, ExecContext* context) -> Result<Datum> {
        Datum count = args[0];
        TypePtr as = read;
        if (unit == TimeUnit::NANO) {
          FZ_ASSIGN(count, DivideBy(count, 1000, /*down=*/true, context));
          as = options.to_type.GetSharedPtr();
        }
        FZ_ASSIGN(Datum time, compute::Cast(count, as, compute::CastOptions::Safe(), context));
        return compute::Cast(time, options, context);
      });
  node.fallible = unit < TimeUnit::MICRO;
  return node;
}

Result<Node> BindStrftime(Call& call) {
  FZ_TRY(ExpectTimestamp(call, /*date_too=*/true));
  FZ_ASSIGN(std::string format, ConstantString(call, 1, "format"));
  call.args.resize(1);
  // Arrow's %S has as many digits as the unit of the type: take the unit down to seconds.
  if (IsTimestamp(*call.args[0]->type)) {
    const auto& type = static_cast<const arrow::TimestampType&>(*call.args[0]->type);
    const TypePtr seconds = arrow::timestamp(TimeUnit::SECOND, type.timezone());
    FZ_ASSIGN(NodePtr whole, BindCall("truncate", {call.args[0]}, {{"every", "1s"}}));
    FZ_ASSIGN(call.args[0], CastTo(whole, seconds));
  }
  FZ_ASSIGN(Node node, ArrowCall(call, call.function.kernel,
                                 std::make_shared<compute::StrftimeOptions>(std::move(format), "C")));
  return node;
}

Result<Node> BindToTime(Call& call) {
  FZ_ASSIGN(call.args[0], Plain(call.args[0]));
  FZ_TRY(Expect(call, 0, IsString(*call.args[0]->type), "string"));
  FZ_TRY(CastArg(call, 0, arrow::utf8()));
  const bool strict = call.options.value("strict", true);
  const bool date = std::string_view(call.function.name) == "str_to_date";
  const TypePtr to = date ? arrow::date32() : arrow::timestamp(TimeUnit::MICRO, "UTC");
  const auto format = call.options.find("format");
  if (format != call.options.end() && !format->is_null()) {
    const auto options =
        std::make_shared<compute::StrptimeOptions>(format->get<std::string>(), TimeUnit::MICRO, !strict);
    FZ_ASSIGN(Node node, ArrowCall(call, "strptime", options));
    node.type = to;
    node.nullable = node.nullable || !strict;
    node.fallible = strict;
    node.kernel = [parse = node.kernel, to](const std::vector<Datum>& args, int64_t rows,
                                            ExecContext* context) -> Result<Datum> {
      FZ_ASSIGN(Datum time, parse(args, rows, context));
      return compute::Cast(time, to, compute::CastOptions::Safe(), context);
    };
    return node;
  }
  return ParseIsoTimes(call, to, strict);
}

}  // namespace frazil::expr
