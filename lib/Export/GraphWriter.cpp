// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "GraphWriter.h"
#include "Protos.h"
#include "dialects/onnx/ONNX.h"
#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace caat;
using ::onnx::NodeProto;

static StringRef textAttr(Attribute attr, StringRef otherwise) {
  auto text = dyn_cast_or_null<StringAttr>(attr);
  return text ? text.getValue() : otherwise;
}

static InFlightDiagnostic refuse(Operation *op) {
  StringRef name = nameIn(op->getLoc());
  InFlightDiagnostic diagnostic = op->emitError() << "cannot be written to ONNX: ";
  if (!name.empty())
    diagnostic << "node '" << name << "': ";
  return diagnostic;
}

LogicalResult GraphWriter::checkTypes() {
  auto check = [&](Value value, Operation *op) -> LogicalResult {
    if (isa<NoneType>(value.getType()))
      return success();
    auto type = dyn_cast<TensorType>(value.getType());
    if (!type || dataTypeOf(type.getElementType()) == ::onnx::TensorProto::UNDEFINED)
      return refuse(op) << "ONNX has no type " << value.getType();
    return success();
  };
  for (BlockArgument argument : function.getArguments())
    if (failed(check(argument, function)))
      return failure();
  for (Operation &op : function.getBody().front()) {
    if (!isa<caat::onnx::ONNXDialect>(op.getDialect()) || op.getNumRegions() != 0)
      if (stored.isNode(&op) && !op.hasTrait<OpTrait::IsTerminator>())
        return refuse(&op) << op.getName().getStringRef() << " has no ONNX form";
    for (Value result : op.getResults())
      if ((stored.isNode(&op) || stored.isStored(result)) && failed(check(result, &op)))
        return failure();
  }
  return success();
}

void GraphWriter::writeInputs() {
  for (BlockArgument argument : function.getArguments()) {
    unsigned index = argument.getArgNumber();
    std::string name =
        valueNames.unique(textAttr(function.getArgAttr(index, "onnx.name"), "input_" + std::to_string(index)));
    names[argument] = name;
    auto &input = *graph.add_input();
    input.set_name(name);
    fillType(cast<TensorType>(argument.getType()), function.getArgAttrOfType<ArrayAttr>(index, "onnx.dims"),
             *input.mutable_type());
  }
}

/// Takes the names of outputs before others are given. A value that is made by a node and returned once gets its name.
void GraphWriter::nameOutputs(Operation *terminator) {
  for (auto [index, value] : llvm::enumerate(terminator->getOperands())) {
    std::string name =
        valueNames.unique(textAttr(function.getResultAttr(index, "onnx.name"), "output_" + std::to_string(index)));
    if (Operation *op = value.getDefiningOp(); op && stored.isNode(op))
      names.try_emplace(value, name);
    outputNames.push_back(name);
  }
}

void GraphWriter::writeInitializers() {
  for (Value value : stored.values()) {
    // The name of the weight, or of the first of those that this is made of.
    Operation *op = value.getDefiningOp();
    while (op->getNumOperands() > 0 && !isa<caat::onnx::GetInitializerOp>(op))
      op = op->getOperand(0).getDefiningOp();
    auto get = dyn_cast<caat::onnx::GetInitializerOp>(op);
    StringRef name = get ? get.getName() : nameIn(op->getLoc());
    // A constant that was made for a node is called after it.
    bool isMade = !get && takenByNodes.contains(name);
    names[value] = valueNames.unique(name.empty() ? "constant" : isMade ? name + "/constant" : name);
    auto &tensor = *graph.add_initializer();
    tensor.set_name(names[value]);
    fillTensorType(cast<RankedTensorType>(value.getType()), tensor);
  }
}

/// The inherent attributes that an operation has where nobody gave any: those need not be written.
DictionaryAttr GraphWriter::defaultsOf(Operation *op) {
  DictionaryAttr &known = defaults[op->getName()];
  if (!known) {
    OperationState state(op->getLoc(), op->getName());
    Operation *bare = Operation::create(state);
    NamedAttrList list;
    for (StringAttr name : op->getRegisteredInfo()->getAttributeNames())
      if (Attribute value = bare->getInherentAttr(name).value_or(Attribute()))
        list.append(name, value);
    known = list.getDictionary(op->getContext());
    bare->destroy();
  }
  return known;
}

LogicalResult GraphWriter::writeTyped(Operation *op, NodeProto &node) {
  auto segments = [&](StringRef name) {
    return dyn_cast_or_null<DenseI32ArrayAttr>(op->getInherentAttr(name).value_or(Attribute()));
  };
  // An empty name for each optional operand or result that is not there.
  auto write = [&](ValueRange values, DenseI32ArrayAttr sizes, auto add) {
    SmallVector<std::string> list;
    SmallVector<::onnx::TensorProto::DataType> types;
    int32_t all = values.size();
    size_t next = 0;
    for (int32_t size : sizes ? sizes.asArrayRef() : ArrayRef(all)) {
      if (size == 0) {
        list.push_back("");
        types.push_back(::onnx::TensorProto::UNDEFINED);
      }
      for (int32_t i = 0; i < size; ++i, ++next) {
        list.push_back(names[values[next]]);
        types.push_back(dataTypeOf(getElementTypeOrSelf(values[next].getType())));
      }
    }
    for (; !list.empty() && list.back().empty(); types.pop_back())
      list.pop_back();
    llvm::for_each(list, add);
    return types;
  };
  auto inputs =
      write(op->getOperands(), segments("operandSegmentSizes"), [&](const std::string &name) { node.add_input(name); });
  auto outputs =
      write(op->getResults(), segments("resultSegmentSizes"), [&](const std::string &name) { node.add_output(name); });
  DictionaryAttr known = defaultsOf(op);
  for (StringAttr name : op->getRegisteredInfo()->getAttributeNames()) {
    Attribute value = op->getInherentAttr(name).value_or(Attribute());
    if (!value || value == known.get(name) || name.strref().ends_with("SegmentSizes"))
      continue;
    if (llvm::Error error = fillAttribute(name, value, *node.add_attribute()))
      return refuse(op) << toString(std::move(error));
  }
  opset.add(node, inputs, outputs);
  return success();
}

LogicalResult GraphWriter::writeCustom(Operation *op, NodeProto &node) {
  auto custom = cast<caat::onnx::CustomOp>(op);
  node.set_domain(custom.getDomain().str());
  for (Value input : custom.getInputs())
    node.add_input(isa<NoneType>(input.getType()) ? "" : names[input]);
  for (Value output : custom.getOutputs())
    node.add_output(isa<NoneType>(output.getType()) ? "" : names[output]);
  for (NamedAttribute attribute : custom.getNodeAttributes())
    if (llvm::Error error = fillAttribute(attribute.getName(), attribute.getValue(), *node.add_attribute()))
      return refuse(op) << toString(std::move(error));
  if (custom.getDomain().empty()) {
    opset.addUnknown(node, custom.getVersion());
    return success();
  }
  int64_t version = custom.getVersion();
  auto [domain, isNew] = domains.try_emplace(custom.getDomain(), version);
  if (!isNew && domain->second != version)
    return refuse(op) << "it is of version " << version << " of domain '" << custom.getDomain()
                      << "', another node of version " << domain->second;
  return success();
}

LogicalResult GraphWriter::writeNode(Operation *op) {
  if (isa<caat::onnx::NoValueOp>(op))
    return success();
  NodeProto &node = *graph.add_node();
  node.set_name(nodeNames[op]);
  node.set_op_type(operatorOf(op).str());
  for (OpResult result : op->getResults()) {
    auto type = dyn_cast<TensorType>(result.getType());
    if (!type || names.contains(result)) // the type of an output stands there
      continue;
    names[result] = valueNames.unique(nodeNames[op] + "_output_" + std::to_string(result.getResultNumber()));
    auto &info = *graph.add_value_info();
    info.set_name(names[result]);
    fillType(type, {}, *info.mutable_type());
  }
  return isa<caat::onnx::CustomOp>(op) ? writeCustom(op, node) : writeTyped(op, node);
}

void GraphWriter::writeOutputs(Operation *terminator) {
  for (auto [index, value, name] : llvm::enumerate(terminator->getOperands(), outputNames)) {
    if (names[value] != name) { // an input, a weight, or returned under another name as well
      NodeProto &node = *graph.add_node();
      node.set_name(name + "/Identity");
      node.set_op_type("Identity");
      node.add_input(names[value]);
      node.add_output(name);
      auto type = dataTypeOf(getElementTypeOrSelf(value.getType()));
      opset.add(node, type, type);
    }
    auto &output = *graph.add_output();
    output.set_name(name);
    fillType(cast<TensorType>(value.getType()), function.getResultAttrOfType<ArrayAttr>(index, "onnx.dims"),
             *output.mutable_type());
  }
}

LogicalResult GraphWriter::writeOpsets() {
  llvm::Expected<int64_t> version = opset.get();
  if (!version)
    return function.emitError() << "cannot be written to ONNX: " << toString(version.takeError())
                                << "; write newer operators by older ones first: --onnx-lower-opset=opset=N";
  auto add = [&](StringRef domain, int64_t version) {
    auto &entry = *model.add_opset_import();
    entry.set_domain(domain.str());
    entry.set_version(version);
  };
  add("", *version);
  SmallVector<StringRef> others(domains.keys());
  llvm::sort(others);
  for (StringRef domain : others)
    add(domain, domains.lookup(domain));
  model.set_ir_version(irVersionOf(*version));
  return success();
}

LogicalResult GraphWriter::run() {
  Block &body = function.getBody().front();
  if (failed(checkTypes()))
    return failure();
  graph.set_name(function.getName().str());
  SmallVector<Operation *> nodes;
  for (Operation &op : body.without_terminator())
    if (stored.isNode(&op))
      nodes.push_back(&op);
  nodeNames = nameNodes(nodes);
  for (const auto &entry : nodeNames)
    takenByNodes.insert(entry.second);
  writeInputs();
  nameOutputs(body.getTerminator());
  writeInitializers();
  for (Operation *op : nodes)
    if (failed(writeNode(op)))
      return failure();
  writeOutputs(body.getTerminator());
  return writeOpsets();
}
