// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Functions of the model, which replace the nodes that call them. torch's exporters write operators that way.
#include "GraphImporter.h"

using namespace mlir;
using namespace caat;
using namespace caat::importer;

/// Functions that call each other, and subgraphs in subgraphs.
static constexpr int64_t maxDepth = 64;
/// Nodes that inlining may make. Ten functions that each call the one before ten times would be 10^10.
static constexpr int64_t maxInlinedNodes = 500'000;

static llvm::Error invalid(const Twine &message) { return llvm::createStringError(message); }

static std::string functionName(const ::onnx::FunctionProto &function) {
  return (function.domain().empty() ? "" : function.domain() + ".") + function.name();
}

const ::onnx::FunctionProto *GraphImporter::findFunction(const ::onnx::NodeProto &proto) const {
  if (functions.empty())
    return nullptr;
  return functions.lookup(proto.domain() + ":" + proto.op_type() + ":" + proto.overload());
}

llvm::Error GraphImporter::inlineFunction(Scope &caller, const ::onnx::NodeProto &call,
                                          const ::onnx::FunctionProto &callee) {
  std::string name = functionName(callee);
  auto fail = [&](const Twine &message) { return invalid("function '" + name + "': " + message); };
  if (const auto *recursive = llvm::find(calls, &callee); recursive != calls.end()) {
    std::string path;
    for (const ::onnx::FunctionProto *function : ArrayRef(recursive, calls.end()))
      path += functionName(*function) + " -> ";
    return invalid("the model's functions call each other in a circle: " + path + name);
  }
  if (depth >= maxDepth)
    return fail("calls are nested more than " + Twine(maxDepth) + " deep");
  inlinedNodes += callee.node_size();
  if (inlinedNodes > maxInlinedNodes)
    return fail("inlining the model's functions makes more than " + Twine(maxInlinedNodes) + " nodes");
  if (call.input_size() > callee.input_size())
    return fail("it is given " + Twine(call.input_size()) + " inputs and takes " + Twine(callee.input_size()));
  if (call.output_size() > callee.output_size())
    return fail("its call has " + Twine(call.output_size()) + " outputs, the function " + Twine(callee.output_size()));

  auto [opsets, isNew] = functionOpsets.try_emplace(&callee);
  if (isNew) {
    llvm::Expected<OpsetMap> read = readOpsets(callee.opset_import());
    if (!read)
      return fail(toString(read.takeError()));
    opsets->second = std::move(*read);
  }
  OpsetMap versions = opsets->second; // calls inside may grow the table

  llvm::StringMap<Attribute> arguments;
  for (const auto &fallback : callee.attribute_proto()) {
    Scope none;
    llvm::Expected<Attribute> value = readAttribute(none, fallback);
    if (!value)
      return fail(toString(value.takeError()));
    arguments[fallback.name()] = *value;
  }
  for (const auto &attribute : call.attribute()) {
    bool known = llvm::is_contained(callee.attribute(), attribute.name()) || arguments.contains(attribute.name());
    if (!known)
      return fail("it has no attribute '" + Twine(attribute.name()) + "'");
    llvm::Expected<Attribute> value = readAttribute(caller, attribute);
    if (!value)
      return value.takeError();
    if (*value)
      arguments[attribute.name()] = *value;
  }

  Scope scope;
  scope.opsets = &versions;
  scope.arguments = &arguments;
  std::string label = !call.name().empty() ? call.name() : call.output_size() ? call.output(0) : callee.name();
  scope.prefix = caller.prefix + label + "/";
  readHints(scope, callee.value_info());
  for (auto [i, input] : llvm::enumerate(callee.input())) {
    bool given = static_cast<int>(i) < call.input_size() && !call.input(i).empty();
    if (llvm::Error error = define(scope, input, given ? caller.lookup(call.input(i)) : Value()))
      return fail(toString(std::move(error)));
  }

  ++depth;
  calls.push_back(&callee);
  llvm::Error error = importNodes(scope, callee.node());
  calls.pop_back();
  --depth;
  if (error)
    return fail(toString(std::move(error)));
  for (auto [i, output] : llvm::enumerate(call.output())) {
    if (output.empty())
      continue;
    Value value = scope.lookup(callee.output(i));
    if (!value)
      return fail("its output '" + Twine(callee.output(i)) + "' is made by no node");
    if (llvm::Error error = define(caller, output, value))
      return error;
  }
  return llvm::Error::success();
}
