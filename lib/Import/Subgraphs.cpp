// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// If, Loop and Scan: nodes whose attributes are graphs, which may use the values of the graph around them.
#include "GraphImporter.h"

#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace caat;
using namespace caat::importer;

static constexpr int64_t maxDepth = 64;

static llvm::Error invalid(const Twine &message) { return llvm::createStringError(message); }

bool caat::importer::isControlFlow(const ::onnx::NodeProto &node) {
  bool own = node.domain().empty() || node.domain() == "ai.onnx";
  return own && (node.op_type() == "If" || node.op_type() == "Loop" || node.op_type() == "Scan");
}

/// Fills `region` with the graph in `attribute` of `proto`; its arguments have the given types. Leaves the builder
/// where it was.
llvm::Error GraphImporter::importSubgraph(const Scope &outer, const ::onnx::NodeProto &proto, StringRef attribute,
                                          Region &region, ArrayRef<Type> arguments) {
  const auto found = llvm::find_if(proto.attribute(), [&](const auto &a) { return a.name() == attribute; });
  if (found == proto.attribute().end() || !found->has_g())
    return invalid("it has no graph '" + attribute + "'");
  const ::onnx::GraphProto &body = found->g();
  auto fail = [&](llvm::Error error) { return invalid("'" + attribute + "': " + toString(std::move(error))); };
  if (depth >= maxDepth)
    return fail(invalid("subgraphs are nested more than " + Twine(maxDepth) + " deep"));
  if (body.input_size() != static_cast<int>(arguments.size()))
    return fail(invalid("it has " + Twine(body.input_size()) + " inputs, not " + Twine(arguments.size())));

  OpBuilder::InsertionGuard guard(builder);
  Block *block = builder.createBlock(&region);
  Scope scope;
  scope.outer = &outer;
  scope.opsets = outer.opsets;
  scope.arguments = outer.arguments;
  scope.prefix = outer.prefix + (proto.name().empty() ? proto.op_type() : proto.name()) + "/";
  readHints(scope, body.value_info());
  readHints(scope, body.output());
  for (auto [input, type] : llvm::zip_equal(body.input(), arguments))
    if (llvm::Error error =
            define(scope, input.name(), block->addArgument(type, NameLoc::get(builder.getStringAttr(input.name())))))
      return fail(std::move(error));

  ++depth;
  llvm::Error error = importInitializers(scope, body);
  if (!error)
    error = importNodes(scope, body.node());
  --depth;
  if (error)
    return fail(std::move(error));
  SmallVector<Value> results;
  for (const auto &output : body.output()) {
    Value value = scope.lookup(output.name());
    if (!value)
      return fail(invalid("output '" + Twine(output.name()) + "' is made by no node"));
    results.push_back(value);
  }
  onnx::YieldOp::create(builder, nodeLocation(outer, proto), results);
  return llvm::Error::success();
}

/// The type of which only the elements are known.
static Type unranked(Value value) { return UnrankedTensorType::get(getElementTypeOrSelf(value)); }

/// An operation with regions and no results yet; they follow from what the regions yield.
static Operation *withResults(OpBuilder &builder, Operation *op, TypeRange types) {
  OperationState state(op->getLoc(), op->getName(), op->getOperands(), types, op->getAttrs());
  for (Region &region : op->getRegions())
    state.addRegion()->takeBody(region);
  Operation *result = builder.create(state);
  op->erase();
  return result;
}

llvm::Error GraphImporter::importControlFlow(Scope &scope, const ::onnx::NodeProto &proto) {
  Location loc = nodeLocation(scope, proto);
  SmallVector<Value> inputs;
  for (const std::string &input : proto.input())
    inputs.push_back(input.empty() ? Value() : scope.lookup(input));
  OperationState state(loc, "onnx." + proto.op_type());
  unsigned hidden = 0; // yielded values that are no results
  SmallVector<Type> arguments;

  if (proto.op_type() == "If") {
    if (inputs.size() != 1 || !inputs[0])
      return invalid("it has " + Twine(inputs.size()) + " inputs, not 1");
    if (!getElementTypeOrSelf(inputs[0]).isInteger(1))
      return invalid("its condition is no boolean");
    state.addOperands(inputs);
  } else if (proto.op_type() == "Loop") {
    inputs.resize(std::max<size_t>(inputs.size(), 2));
    hidden = 1;
    SmallVector<int32_t> segments = {inputs[0] != nullptr, inputs[1] != nullptr,
                                     static_cast<int32_t>(inputs.size() - 2)};
    state.addAttribute("operandSegmentSizes", builder.getDenseI32ArrayAttr(segments));
    arguments = {RankedTensorType::get({}, builder.getI64Type()), RankedTensorType::get({}, builder.getI1Type())};
    for (auto [i, input] : llvm::enumerate(inputs)) {
      if (!input && i > 1)
        return invalid("input " + Twine(i) + " is missing");
      if (input)
        state.addOperands(input);
      if (i > 1)
        arguments.push_back(unranked(input)); // its shape may change from turn to turn
    }
  } else {
    for (auto [i, input] : llvm::enumerate(inputs))
      if (!input)
        return invalid("input " + Twine(i) + " is missing");
    for (const auto &attribute : proto.attribute()) {
      if (attribute.has_g())
        continue;
      llvm::Expected<Attribute> value = readAttribute(scope, attribute);
      if (!value)
        return value.takeError();
      bool isList = isa_and_present<DenseI64ArrayAttr>(*value), isCount = attribute.name() == "num_scan_inputs";
      if (*value && (!StringRef(attribute.name()).starts_with("scan_") || !isList) && !isCount)
        return invalid("attribute '" + Twine(attribute.name()) + "' is none of the operator's, or of another type");
      if (*value)
        state.addAttribute(attribute.name(), *value);
    }
    static constexpr StringRef lists[] = {"scan_input_axes", "scan_input_directions", "scan_output_axes",
                                          "scan_output_directions"};
    for (NamedAttribute attribute : state.attributes)
      if (attribute.getName() != "num_scan_inputs" && !llvm::is_contained(lists, attribute.getName().strref()))
        return invalid("it has no attribute '" + attribute.getName().strref() + "'");
    auto scanned = dyn_cast_or_null<IntegerAttr>(state.attributes.get("num_scan_inputs"));
    if (!scanned || scanned.getInt() < 1 || scanned.getInt() > static_cast<int64_t>(inputs.size()))
      return invalid("num_scan_inputs is missing or not in 1 to " + Twine(inputs.size()));
    state.addOperands(inputs);
    for (Value input : inputs)
      arguments.push_back(unranked(input));
  }

  bool isIf = proto.op_type() == "If";
  for (int i = 0; i < (isIf ? 2 : 1); ++i)
    state.addRegion();
  Operation *op = builder.create(state);
  for (auto [i, region] : llvm::enumerate(op->getRegions())) {
    StringRef name = !isIf ? "body" : i == 0 ? "then_branch" : "else_branch";
    if (llvm::Error error = importSubgraph(scope, proto, name, region, arguments)) {
      op->erase();
      return error;
    }
  }
  SmallVector<Type> types;
  for (auto [i, value] : llvm::enumerate(op->getRegion(0).front().getTerminator()->getOperands())) {
    if (i < hidden)
      continue;
    Type type = value.getType();
    if (isIf) {
      OperandRange others = op->getRegion(1).front().getTerminator()->getOperands();
      if (i >= others.size() || others[i].getType() != type)
        type = unranked(value);
    } else {
      type = unranked(value); // carried values may change their shape, scan outputs are stacked
    }
    types.push_back(type);
  }
  op = withResults(builder, op, types);
  if (llvm::Error error = checkVerified(op))
    return error;
  if (proto.output_size() > static_cast<int>(op->getNumResults()))
    return invalid("it has " + Twine(proto.output_size()) + " outputs, its graph " + Twine(op->getNumResults()));
  for (auto [name, result] : llvm::zip(proto.output(), op->getResults()))
    if (!name.empty())
      if (llvm::Error error = define(scope, name, result))
        return error;
  return llvm::Error::success();
}
