#pragma once

#include "expr/function.h"

// The rules that the table in functions.cc names, by topic file.
namespace frazil::expr {

// arithmetic.cc
Result<Node> BindArithmetic(Call& call);  // add, subtract, multiply
Result<Node> BindDivide(Call& call);
Result<Node> BindFloorDivide(Call& call);
Result<Node> BindModulo(Call& call);
Result<Node> BindPower(Call& call);

// math.cc
Result<Node> BindNegate(Call& call);  // negate, abs
Result<Node> BindSign(Call& call);
Result<Node> BindRound(Call& call);
Result<Node> BindFloor(Call& call);    // floor, ceil
Result<Node> BindOfFloat(Call& call);  // sqrt, exp, ...: always float64
Result<Node> BindIsNan(Call& call);    // is_nan, is_finite
Result<Node> BindMinMaxOf(Call& call);

// comparison.cc
Result<Node> BindComparison(Call& call);
Result<Node> BindBetween(Call& call);
Result<Node> BindIsIn(Call& call);

// conditional.cc
Result<Node> BindAndOr(Call& call);
Result<Node> BindLogic(Call& call);     // not, xor
Result<Node> BindIsNull(Call& call);    // is_null, is_not_null
Result<Node> BindCoalesce(Call& call);  // coalesce, fill_null
Result<Node> BindNullIf(Call& call);
Result<Node> BindWhen(Call& call);

// cast.cc
Result<Node> BindCast(Call& call);
Result<Node> BindTryCast(Call& call);

// string.cc
Result<Node> BindString(Call& call);  // string to string, or to a number as int64
Result<Node> BindStrip(Call& call);
Result<Node> BindMatch(Call& call);  // starts_with, contains, count, ...
Result<Node> BindReplace(Call& call);
Result<Node> BindExtract(Call& call);
Result<Node> BindSlice(Call& call);
Result<Node> BindSplit(Call& call);
Result<Node> BindPad(Call& call);
Result<Node> BindConcat(Call& call);

// time.cc
Result<Node> BindTimeField(Call& call);
Result<Node> BindWeekday(Call& call);
Result<Node> BindMicrosecond(Call& call);
Result<Node> BindDate(Call& call);
Result<Node> BindTruncate(Call& call);
Result<Node> BindConvertTimeZone(Call& call);
Result<Node> BindReplaceTimeZone(Call& call);
Result<Node> BindEpoch(Call& call);
Result<Node> BindFromEpoch(Call& call);
Result<Node> BindStrftime(Call& call);
Result<Node> BindToTime(Call& call);  // to_datetime, to_date
Result<Node> BindDurationTotal(Call& call);

// nested.cc
Result<Node> BindStruct(Call& call);
Result<Node> BindStructField(Call& call);
Result<Node> BindListLength(Call& call);
Result<Node> BindListGet(Call& call);
Result<Node> BindListContains(Call& call);
Result<Node> BindListJoin(Call& call);
Result<Node> BindMapGet(Call& call);

// json.cc
Result<Node> BindJsonGet(Call& call);

// binary.cc
Result<Node> BindHash(Call& call);
Result<Node> BindSha256(Call& call);
Result<Node> BindEncode(Call& call);
Result<Node> BindDecode(Call& call);

}  // namespace frazil::expr
