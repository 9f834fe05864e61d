// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Older forms of operators, opset 7 on, to the newest one. Element types that later versions added need nothing.
#include "Node.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/TypeUtilities.h"
#include "llvm/ADT/StringSwitch.h"

using namespace mlir;
using namespace caat;
using namespace caat::importer;

using Results = llvm::Expected<SmallVector<Value>>;

/// Moves an integer list from attribute `name` to input `index`.
static void attributeToInput(Node &node, StringRef name, unsigned index, OpBuilder &builder) {
  auto values = dyn_cast_or_null<DenseI64ArrayAttr>(node.attributes.erase(name));
  if (!values)
    return;
  node.inputs.resize(std::max<size_t>(node.inputs.size(), index + 1));
  node.inputs[index] = onnx::createInts(builder, node.loc, values);
}

/// Moves a number from attribute `name` to input `index`, as a tensor of shape `shape` ([] or [1]).
static void numberToInput(Node &node, StringRef name, unsigned index, Type element, ArrayRef<int64_t> shape,
                          OpBuilder &builder) {
  Attribute value = node.attributes.erase(name);
  auto number = dyn_cast_or_null<FloatAttr>(value);
  auto integer = dyn_cast_or_null<IntegerAttr>(value);
  auto floatType = dyn_cast<FloatType>(element);
  if ((!number || !floatType) && (!integer || !isa<IntegerType>(element)))
    return;
  Attribute scalar = integer ? Attribute(builder.getIntegerAttr(element, integer.getInt()))
                             : Attribute(builder.getFloatAttr(floatType, number.getValueAsDouble()));
  node.inputs.resize(std::max<size_t>(node.inputs.size(), index + 1));
  auto type = RankedTensorType::get(shape, element);
  node.inputs[index] = onnx::ConstantOp::create(builder, node.loc, DenseElementsAttr::get(type, scalar));
}

/// Attributes that became operands before opset 11.
static void upgradeBefore11(Node &node, OpBuilder &builder) {
  StringRef op = node.opType;
  if (node.inputs.empty() || !node.inputs[0])
    return;
  Type element = getElementTypeOrSelf(node.inputs[0].getType());
  if (op == "Clip") {
    numberToInput(node, "min", 1, element, {}, builder);
    numberToInput(node, "max", 2, element, {}, builder);
  } else if (op == "Pad") {
    attributeToInput(node, "pads", 1, builder);
    numberToInput(node, "value", 2, element, {}, builder);
  } else if (op == "Slice" && node.version < 10) {
    attributeToInput(node, "starts", 1, builder);
    attributeToInput(node, "ends", 2, builder);
    attributeToInput(node, "axes", 3, builder);
  } else if (op == "TopK" && node.version < 10) {
    numberToInput(node, "k", 1, builder.getI64Type(), {1}, builder);
  } else if (op == "Scatter") {
    node.opType = "ScatterElements";
  }
}

/// Softmax and LogSoftmax before opset 13: over all dimensions from `axis` (default 1) on.
template <typename Op> static Results upgradeSoftmax(Node &node, OpBuilder &builder) {
  int64_t axis = node.intAttribute("axis", 1);
  if (node.inputs.empty() || !node.inputs[0])
    return SmallVector<Value>();
  Value input = node.inputs[0];
  auto type = cast<TensorType>(input.getType());
  if (axis == -1 || (type.hasRank() && axis == type.getRank() - 1)) {
    node.attributes.set("axis", builder.getI64IntegerAttr(-1));
    return SmallVector<Value>();
  }
  if (!type.hasRank()) {
    node.isOldForm = true;
    return SmallVector<Value>();
  }
  Type element = type.getElementType();
  auto flatType = RankedTensorType::get({ShapedType::kDynamic, ShapedType::kDynamic}, element);
  auto shapeType = RankedTensorType::get({type.getRank()}, builder.getI64Type());
  Value shape = onnx::ShapeOp::create(builder, node.loc, shapeType, input, /*end=*/IntegerAttr());
  Value flat = onnx::FlattenOp::create(builder, node.loc, flatType, input, axis);
  Value result = Op::create(builder, node.loc, flatType, flat, /*axis=*/-1);
  return SmallVector<Value>{onnx::ReshapeOp::create(builder, node.loc, type, result, shape, /*allowzero=*/1)};
}

/// GroupNormalization before opset 21: scale and bias per group instead of per channel.
static Results upgradeGroupNormalization(Node &node, OpBuilder &builder) {
  auto type = node.inputs.empty() || !node.inputs[0] ? RankedTensorType()
                                                     : dyn_cast<RankedTensorType>(node.inputs[0].getType());
  int64_t groups = node.intAttribute("num_groups", 0);
  if (!type || type.getRank() < 2 || type.isDynamicDim(1)) {
    node.isOldForm = true;
    return SmallVector<Value>();
  }
  if (groups <= 0 || type.getDimSize(1) % groups != 0)
    return llvm::createStringError("its number of channels is not known or no multiple of num_groups");
  int64_t channels = type.getDimSize(1);
  for (unsigned i = 1; i < std::min<size_t>(3, node.inputs.size()); ++i) {
    if (!node.inputs[i])
      continue;
    Type element = getElementTypeOrSelf(node.inputs[i].getType());
    Value column = onnx::ReshapeOp::create(builder, node.loc, RankedTensorType::get({groups, 1}, element),
                                           node.inputs[i], onnx::createInts(builder, node.loc, {groups, 1}));
    Value spread =
        onnx::ExpandOp::create(builder, node.loc, RankedTensorType::get({groups, channels / groups}, element), column,
                               onnx::createInts(builder, node.loc, {groups, channels / groups}));
    node.inputs[i] = onnx::ReshapeOp::create(builder, node.loc, RankedTensorType::get({channels}, element), spread,
                                             onnx::createInts(builder, node.loc, {channels}));
  }
  return SmallVector<Value>();
}

/// Dropout does nothing outside training.
static void upgradeDropout(Node &node) {
  bool hasMask = node.outputs.size() > 1 && !node.outputs[1].empty();
  std::optional<SmallVector<int64_t>> training;
  if (node.inputs.size() > 2 && node.inputs[2]) {
    training = onnx::constantInts(node.inputs[2]);
    if (!training || *training != SmallVector<int64_t>{0})
      return;
  }
  if (hasMask || node.inputs.empty())
    return;
  node.opType = "Identity";
  node.inputs.resize(1);
  node.attributes.clear();
}

Results caat::importer::upgradeNode(Node &node, OpBuilder &builder) {
  StringRef op = node.opType;
  int64_t version = node.version;
  if (version < 11)
    upgradeBefore11(node, builder);
  op = node.opType;
  if (op == "Dropout") {
    upgradeDropout(node);
  } else if (version < 13 && op == "Softmax") {
    return upgradeSoftmax<onnx::SoftmaxOp>(node, builder);
  } else if (version < 13 && op == "LogSoftmax") {
    return upgradeSoftmax<onnx::LogSoftmaxOp>(node, builder);
  } else if (version < 13 && (op == "Squeeze" || op == "Unsqueeze" || op == "ReduceSum")) {
    attributeToInput(node, "axes", 1, builder);
  } else if (version < 18 && op.starts_with("Reduce")) {
    attributeToInput(node, "axes", 1, builder);
  } else if (version < 18 && op == "Split") {
    if (version < 13)
      attributeToInput(node, "split", 1, builder);
    if (node.inputs.size() < 2 || !node.inputs[1])
      node.attributes.set("num_outputs", builder.getI64IntegerAttr(node.outputs.size()));
  } else if (version < 21 && op == "GroupNormalization") {
    return upgradeGroupNormalization(node, builder);
  }
  return SmallVector<Value>();
}
