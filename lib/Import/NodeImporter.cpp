// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// One node: attributes, operands, result types, and the operation.
#include "GraphImporter.h"

#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/Verifier.h"

using namespace mlir;
using namespace caat;
using namespace caat::importer;
using ::onnx::AttributeProto;

static llvm::Error invalid(const Twine &message) { return llvm::createStringError(message); }

Location GraphImporter::nodeLocation(const Scope &scope, const ::onnx::NodeProto &proto) {
  StringRef name = !proto.name().empty() ? proto.name() : proto.output_size() ? proto.output(0) : proto.op_type();
  return NameLoc::get(builder.getStringAttr(scope.prefix + name));
}

/// The value of an attribute; null where it stands for one of the function's that its call does not give.
llvm::Expected<Attribute> GraphImporter::readAttribute(const Scope &scope, const AttributeProto &proto) {
  if (!proto.ref_attr_name().empty()) {
    if (!scope.arguments)
      return invalid("attribute '" + Twine(proto.name()) + "' refers to a function's, but this is no function");
    return scope.arguments->lookup(proto.ref_attr_name());
  }
  switch (proto.type()) {
  case AttributeProto::INT:
    return builder.getI64IntegerAttr(proto.i());
  case AttributeProto::FLOAT:
    return builder.getF32FloatAttr(proto.f());
  case AttributeProto::STRING:
    return builder.getStringAttr(proto.s());
  case AttributeProto::INTS:
    return builder.getDenseI64ArrayAttr(SmallVector<int64_t>(proto.ints().begin(), proto.ints().end()));
  case AttributeProto::FLOATS:
    return builder.getDenseF32ArrayAttr(SmallVector<float>(proto.floats().begin(), proto.floats().end()));
  case AttributeProto::STRINGS:
    return builder.getStrArrayAttr(SmallVector<StringRef>(proto.strings().begin(), proto.strings().end()));
  case AttributeProto::TENSOR: {
    llvm::Expected<StoredTensor> stored = tensors.read(proto.t(), /*alwaysValue=*/true);
    if (!stored)
      return invalid("attribute '" + Twine(proto.name()) + "': " + toString(stored.takeError()));
    return stored->value;
  }
  case AttributeProto::GRAPH:
  case AttributeProto::GRAPHS:
    return invalid("attribute '" + Twine(proto.name()) + "' is a graph, which only If, Loop and Scan may have");
  default:
    return invalid("attribute '" + Twine(proto.name()) + "' has the type " + Twine(int(proto.type())) +
                   ", which is not supported");
  }
}

/// A Constant node's value, whichever of its attributes holds it.
llvm::Error GraphImporter::importConstant(Scope &scope, const ::onnx::NodeProto &proto) {
  if (proto.attribute_size() != 1 || proto.output_size() != 1 || proto.input_size() != 0)
    return invalid("it has " + Twine(proto.attribute_size()) + " attributes and " + Twine(proto.output_size()) +
                   " outputs, not one each");
  const AttributeProto &attribute = proto.attribute(0);
  StringRef name = attribute.name();
  StoredTensor stored;
  if (name == "value" && attribute.type() == AttributeProto::TENSOR && attribute.ref_attr_name().empty()) {
    llvm::Expected<StoredTensor> read = tensors.read(attribute.t());
    if (!read)
      return read.takeError();
    stored = *read;
  } else {
    llvm::Expected<Attribute> read = readAttribute(scope, attribute);
    if (!read)
      return read.takeError();
    auto tensor = [](ArrayRef<int64_t> shape, Type element) { return RankedTensorType::get(shape, element); };
    if (auto number = dyn_cast_or_null<IntegerAttr>(*read); number && name == "value_int") {
      stored.value = DenseElementsAttr::get(tensor({}, builder.getI64Type()), number.getInt());
    } else if (auto number = dyn_cast_or_null<FloatAttr>(*read); number && name == "value_float") {
      stored.value = DenseElementsAttr::get(tensor({}, builder.getF32Type()), number.getValue().convertToFloat());
    } else if (auto list = dyn_cast_or_null<DenseI64ArrayAttr>(*read); list && name == "value_ints") {
      stored.value = DenseElementsAttr::get(tensor({list.size()}, builder.getI64Type()), list.asArrayRef());
    } else if (auto list = dyn_cast_or_null<DenseF32ArrayAttr>(*read); list && name == "value_floats") {
      stored.value = DenseElementsAttr::get(tensor({list.size()}, builder.getF32Type()), list.asArrayRef());
    } else if (auto value = dyn_cast_or_null<DenseElementsAttr>(*read); value && name == "value") {
      stored.value = value;
    } else if (!*read) {
      return invalid("the function's attribute '" + Twine(attribute.ref_attr_name()) + "' is not given");
    } else {
      return invalid("its attribute '" + name + "' is not supported");
    }
  }
  llvm::Expected<Value> value = materialize(stored, scope.prefix + proto.output(0), nodeLocation(scope, proto));
  if (!value)
    return value.takeError();
  return define(scope, proto.output(0), *value);
}

llvm::Expected<Node> GraphImporter::readNode(const Scope &scope, const ::onnx::NodeProto &proto, int64_t version) {
  Node node{proto.op_type(),
            proto.domain() == "ai.onnx" ? StringRef() : StringRef(proto.domain()),
            version,
            nodeLocation(scope, proto),
            {},
            {},
            {},
            false};
  for (const auto &attribute : proto.attribute()) {
    llvm::Expected<Attribute> value = readAttribute(scope, attribute);
    if (!value)
      return value.takeError();
    if (node.attributes.get(attribute.name()))
      return invalid("attribute '" + Twine(attribute.name()) + "' stands twice");
    if (*value)
      node.attributes.append(attribute.name(), *value);
  }
  for (const std::string &input : proto.input())
    node.inputs.push_back(input.empty() ? Value() : scope.lookup(input));
  node.outputs.assign(proto.output().begin(), proto.output().end());
  return node;
}

llvm::Error GraphImporter::checkVerified(Operation *op) {
  firstError.clear();
  if (succeeded(verify(op, /*verifyRecursively=*/false)))
    return llvm::Error::success();
  return invalid(firstError);
}

llvm::Expected<Operation *> GraphImporter::createTyped(const Scope &scope, Node &node, const KnownOperator &known) {
  const auto &[info, registered] = known;
  while (!node.inputs.empty() && !node.inputs.back())
    node.inputs.pop_back();
  int given = node.inputs.size();
  if (given < info.required || (info.inputs >= 0 && given > info.inputs))
    return invalid("it has " + Twine(given) + " inputs, not " + Twine(info.required) +
                   (info.inputs < 0               ? " or more"
                    : info.inputs > info.required ? " to " + Twine(info.inputs)
                                                  : ""));
  for (int i = 0; i < (info.inputs < 0 ? given : info.required); ++i)
    if (!node.inputs[i])
      return invalid("input " + Twine(i) + " is missing");
  int wanted = node.outputs.size();
  if (wanted == 0 || (info.outputs >= 0 && wanted > info.outputs))
    return invalid("it has " + Twine(wanted) + " outputs");

  if (node.opType == "Cast" || node.opType == "BitCast")
    if (auto to = dyn_cast_or_null<IntegerAttr>(node.attributes.get("to"))) {
      Type element = elementType(to.getInt(), builder.getContext());
      if (!element)
        return invalid("the element type " + Twine(to.getInt()) + " is not supported");
      node.attributes.set("to", TypeAttr::get(element));
    }

  OperationState state(node.loc, registered);
  for (NamedAttribute attribute : node.attributes)
    if (!llvm::is_contained(registered.getAttributeNames(), attribute.getName()) ||
        attribute.getName().strref().ends_with("SegmentSizes"))
      return invalid("it has no attribute '" + attribute.getName().strref() + "'");
  state.addAttributes(node.attributes.getAttrs());

  if (registered.hasTrait<OpTrait::AttrSizedOperandSegments>()) {
    SmallVector<int32_t> segments(info.inputs, 0);
    for (int i = 0; i < given; ++i)
      segments[i] = node.inputs[i] != nullptr;
    state.addAttribute("operandSegmentSizes", builder.getDenseI32ArrayAttr(segments));
  }
  for (Value input : node.inputs)
    if (input)
      state.addOperands(input);

  bool optionalResults = registered.hasTrait<OpTrait::AttrSizedResultSegments>();
  int least = info.outputs - info.optionalOutputs;
  int results = info.outputs < 0 || optionalResults ? wanted : std::max(wanted, least);
  SmallVector<int32_t> segments(std::max(info.outputs, 0), 0);
  for (int i = 0; i < results; ++i) {
    StringRef name = i < wanted ? StringRef(node.outputs[i]) : StringRef();
    if (optionalResults && name.empty() && i > 0)
      continue;
    Type element = resultElementType(node, i);
    if (!element)
      return invalid("the element type of its result cannot be told");
    TensorType hint = name.empty() ? TensorType() : scope.hints.lookup(name);
    state.addTypes(hint && hint.hasRank() ? Type(hint.clone(element)) : UnrankedTensorType::get(element));
    if (optionalResults)
      segments[i] = 1;
  }
  if (optionalResults)
    state.addAttribute("resultSegmentSizes", builder.getDenseI32ArrayAttr(segments));

  Operation *op = builder.create(state);
  for (NamedAttribute attribute : node.attributes)
    if (op->getInherentAttr(attribute.getName()) != attribute.getValue())
      return invalid("attribute '" + attribute.getName().strref() + "' has another type than the operator's");
  if (llvm::Error error = checkVerified(op)) {
    llvm::consumeError(std::move(error));
    // A shape that the file states may be wrong: shapes are inferred later.
    for (Value result : op->getResults())
      result.setType(UnrankedTensorType::get(cast<TensorType>(result.getType()).getElementType()));
    if (llvm::Error error = checkVerified(op))
      return error;
  }
  return op;
}

llvm::Expected<Operation *> GraphImporter::createCustom(const Scope &scope, Node &node) {
  if (node.domain.empty() &&
      (StringRef(node.opType).contains("Sequence") || StringRef(node.opType).starts_with("Optional")))
    return invalid("sequences and optionals are not supported");
  SmallVector<Type> types;
  for (auto [i, name] : llvm::enumerate(node.outputs)) {
    TensorType hint = scope.hints.lookup(name);
    Type element = hint ? hint.getElementType() : customElementType(node, i);
    if (!name.empty() && !element)
      return invalid("the element type of its result cannot be told");
    if (name.empty())
      types.push_back(builder.getNoneType());
    else
      types.push_back(hint ? Type(hint) : UnrankedTensorType::get(element));
  }
  for (Value &input : node.inputs)
    if (!input)
      input = onnx::NoValueOp::create(builder, node.loc);
  return onnx::CustomOp::create(builder, node.loc, types, node.inputs, node.domain, node.opType, node.version,
                                node.attributes.getDictionary(builder.getContext()));
}

const std::optional<GraphImporter::KnownOperator> &GraphImporter::findOperator(StringRef opType) {
  auto [found, isNew] = operators.try_emplace(opType);
  if (isNew)
    if (std::optional<OperatorInfo> info = lookupOperator(opType))
      found->second = {*info, *RegisteredOperationName::lookup(("onnx." + opType).str(), builder.getContext())};
  return found->second;
}

llvm::Error GraphImporter::importNode(Scope &scope, const ::onnx::NodeProto &proto) {
  StringRef domain = proto.domain() == "ai.onnx" ? StringRef() : StringRef(proto.domain());
  auto opset = scope.opsets->find(domain);
  auto import = [&]() -> llvm::Error {
    if (const ::onnx::FunctionProto *callee = findFunction(proto))
      return inlineFunction(scope, proto, *callee);
    if (opset == scope.opsets->end())
      return invalid("the model imports no opset of domain '" + Twine(proto.domain()) + "'");
    if (isControlFlow(proto))
      return importControlFlow(scope, proto);
    if (proto.op_type() == "Constant" && domain.empty())
      return importConstant(scope, proto);
    return importOperator(scope, proto, opset->second);
  };
  if (llvm::Error error = import())
    return invalid(describeNode(scope, proto) + ": " + toString(std::move(error)));
  return llvm::Error::success();
}

llvm::Error GraphImporter::importOperator(Scope &scope, const ::onnx::NodeProto &proto, int64_t version) {
  llvm::Expected<Node> node = readNode(scope, proto, version);
  if (!node)
    return node.takeError();
  Block *block = builder.getInsertionBlock();
  Operation *before = block->empty() ? nullptr : &block->back(), *typed = nullptr;
  SmallVector<Value> results;
  if (node->domain.empty()) {
    llvm::Expected<SmallVector<Value>> upgraded = upgradeNode(*node, builder);
    if (!upgraded)
      return upgraded.takeError();
    results = *upgraded;
  }
  if (results.empty()) {
    static const std::optional<KnownOperator> none;
    const auto &known = node->domain.empty() && !node->isOldForm ? findOperator(node->opType) : none;
    llvm::Expected<Operation *> op = known ? createTyped(scope, *node, *known) : createCustom(scope, *node);
    if (!op)
      return op.takeError();
    typed = known ? *op : nullptr;
    bool skipsEmpty = (*op)->hasTrait<OpTrait::AttrSizedResultSegments>();
    auto made = (*op)->result_begin();
    for (auto [i, name] : llvm::enumerate(node->outputs))
      results.push_back(skipsEmpty && name.empty() && i > 0 ? Value() : *made++);
  }
  for (Operation &op : llvm::make_range(before ? std::next(Block::iterator(before)) : block->begin(), block->end()))
    if (&op != typed)
      if (llvm::Error error = checkVerified(&op))
        return error;
  for (auto [name, result] : llvm::zip(node->outputs, results))
    if (!name.empty())
      if (llvm::Error error = define(scope, name, result))
        return error;
  return llvm::Error::success();
}
