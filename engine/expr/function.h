#pragma once

#include <arrow/compute/function.h>
#include <arrow/compute/function_options.h>

#include <nlohmann/json.hpp>
#include <span>

#include "expr/node.h"

namespace frazil::expr {

struct Function;

// A call that is being bound: what a rule sees.
struct Call {
  const Function& function;
  std::vector<NodePtr> args;
  const nlohmann::json& options;  // an object
  std::string text;
};

// Checks the types of the arguments, casts them, and gives type, nullability and kernel of the call. Text is
// filled in by Bind; a node without kernel of its own (a composition of others) may be returned as well.
using Rule = Result<Node> (*)(Call& call);

constexpr int kAnyNumber = -1;

// One entry of the table in functions.cc.
struct Function {
  const char* name;
  const char* signature;  // types, for the documentation
  const char* spelling;   // as written in Python: {0}, {1} are arguments, {*} all, {1*} those from 1, {=name}
                          // an option
  int args_min;
  int args_max;  // or kAnyNumber
  Rule rule;
  const char* kernel;  // of Arrow, where one does the work
  const char* doc;     // one line
  const char* example;
  const char* result;            // of the example, as Python shows it
  const char* advice = nullptr;  // what to do when the data causes an error
};

// The table, in the order of the documentation.
std::span<const Function> Functions();

// The entry of that name, or null.
const Function* FindFunction(std::string_view name);

// The call as the user would write it.
std::string Spelled(const Function& function, const std::vector<std::string>& args,
                    const nlohmann::json& options);

// Binds a call of a function of the table on bound arguments: for rules that are compositions of others.
Result<NodePtr> BindCall(std::string_view function, std::vector<NodePtr> args,
                         const nlohmann::json& options = nlohmann::json::object());

// A call of a kernel of Arrow on the (already cast) arguments. Its type is what the kernel gives for no rows.
// Null if and only if an argument is null, unless the caller changes it.
Result<Node> ArrowCall(const Call& call, const char* kernel,
                       std::shared_ptr<arrow::compute::FunctionOptions> options = nullptr);
// The same where values can be refused (overflow, parsing).
Result<Node> FallibleArrowCall(const Call& call, const char* kernel,
                               std::shared_ptr<arrow::compute::FunctionOptions> options = nullptr);

// A call of a kernel of our own.
Node OwnCall(const Call& call, TypePtr type, Kernel kernel);

// A type from the option `type`: base64 of the IPC schema of one field.
Result<TypePtr> DecodeType(const std::string& encoded);

// A kernel that sees arrays of equal length only: scalars are expanded, and if all are scalars one row is
// computed.
using ArrayKernel = std::function<Result<std::shared_ptr<arrow::Array>>(const arrow::ArrayVector& args,
                                                                        ExecContext* context)>;
Kernel OnArrays(ArrayKernel kernel);

// Calls a kernel of Arrow on values.
Result<Datum> CallArrow(const char* kernel, const std::vector<Datum>& args, ExecContext* context,
                        const arrow::compute::FunctionOptions* options = nullptr);

}  // namespace frazil::expr
