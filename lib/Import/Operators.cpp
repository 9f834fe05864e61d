// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the importer has to know of operators beyond their ODS: how many operands may be given, and what their results'
// element types are.
#include "Node.h"

#include "Tensors.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/TypeUtilities.h"
#include "llvm/ADT/StringSwitch.h"

using namespace mlir;
using namespace caat;
using namespace caat::importer;

std::optional<OperatorInfo> caat::importer::lookupOperator(StringRef opType) {
  constexpr OperatorInfo none = {-1, 0, 0};
  constexpr OperatorInfo unary = {1, 1, 1}, binary = {2, 2, 1}, variadic = {1, -1, 1}, reduce = {1, 2, 1};
  OperatorInfo info =
      llvm::StringSwitch<OperatorInfo>(opType)
          .Cases({"Neg", "Abs", "Sqrt", "Reciprocal", "Exp", "Log", "Sin", "Cos", "Tanh", "Sigmoid", "Erf", "Relu"},
                 unary)
          .Cases({"LeakyRelu", "Gelu", "Swish", "Mish", "HardSwish", "HardSigmoid", "Elu", "Celu", "Selu"}, unary)
          .Cases({"ThresholdedRelu", "Softplus", "Floor", "Ceil", "Round", "Sign", "Not", "IsNaN", "IsInf"}, unary)
          .Cases({"Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh", "Asinh", "Acosh", "Atanh", "Softsign", "Shrink"},
                 unary)
          .Cases({"BitwiseNot", "BitCast", "AveragePool", "LpPool"}, unary)
          .Cases({"Identity", "Cast", "Softmax", "LogSoftmax", "Transpose", "Flatten", "ConstantOfShape"}, unary)
          .Cases({"Shape", "Size", "ArgMax", "ArgMin", "NonZero", "DepthToSpace", "SpaceToDepth"}, unary)
          .Cases({"Add", "Sub", "Mul", "Div", "Pow", "Mod", "And", "Or", "Xor", "Equal", "Greater"}, binary)
          .Cases({"GreaterOrEqual", "Less", "LessOrEqual", "PRelu", "MatMul", "CastLike", "Gather"}, binary)
          .Cases({"GatherND", "GatherElements", "Reshape", "Expand", "Tile", "Unsqueeze", "CumSum"}, binary)
          .Cases(
              {"RMSNormalization", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitShift", "CumProd", "ReverseSequence"},
              binary)
          .Cases({"Where", "GroupNormalization", "ScatterND", "ScatterElements", "Range", "OneHot"},
                 OperatorInfo{3, 3, 1})
          .Cases({"Min", "Max", "Sum", "Mean", "Concat", "Einsum"}, variadic)
          .Cases({"ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2"}, reduce)
          .Cases({"ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp", "Squeeze", "Trilu"}, reduce)
          .Case("Clip", OperatorInfo{1, 3, 1})
          .Cases({"Gemm", "Conv", "ConvTranspose", "QuantizeLinear", "DequantizeLinear", "TensorScatter"},
                 OperatorInfo{2, 3, 1})
          .Case("LayerNormalization", OperatorInfo{2, 3, 3})
          .Case("Attention", OperatorInfo{3, 7, 4})
          .Case("LinearAttention", OperatorInfo{3, 6, 2})
          .Case("RotaryEmbedding", OperatorInfo{3, 4, 1})
          .Case("Slice", OperatorInfo{3, 5, 1})
          .Case("Pad", OperatorInfo{2, 4, 1})
          .Case("Split", OperatorInfo{1, 2, -1})
          .Case("TopK", OperatorInfo{2, 2, 2})
          .Case("MaxPool", OperatorInfo{1, 1, 2, 1})
          .Default(none);
  if (info.required < 0)
    return std::nullopt;
  return info;
}

static Type inputElementType(const Node &node, unsigned index) {
  return index < node.inputs.size() && node.inputs[index] ? getElementTypeOrSelf(node.inputs[index].getType()) : Type();
}

Type caat::importer::resultElementType(const Node &node, unsigned index) {
  Builder b(node.loc.getContext());
  StringRef op = node.opType;
  enum Rule {
    Input0,
    Input1,
    Input2,
    Bool,
    Int64,
    Cast,
    ShapeValue,
    TopK,
    Layer,
    Attention,
    LinearAttention,
    Quantize,
    Dequantize
  };
  Rule rule = llvm::StringSwitch<Rule>(op)
                  .Cases({"Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "IsNaN", "IsInf"}, Bool)
                  .Cases({"Shape", "Size", "ArgMax", "ArgMin", "NonZero"}, Int64)
                  .Cases({"Where", "CastLike", "RMSNormalization"}, Input1)
                  .Case("OneHot", Input2)
                  .Cases({"Cast", "BitCast"}, Cast)
                  .Case("ConstantOfShape", ShapeValue)
                  .Cases({"TopK", "MaxPool"}, TopK)
                  .Case("LayerNormalization", Layer)
                  .Case("Attention", Attention)
                  .Case("LinearAttention", LinearAttention)
                  .Case("QuantizeLinear", Quantize)
                  .Case("DequantizeLinear", Dequantize)
                  .Default(Input0);
  switch (rule) {
  case Input0:
    return inputElementType(node, 0);
  case Input1:
    return inputElementType(node, 1);
  case Input2:
    return inputElementType(node, 2);
  case Bool:
    return b.getI1Type();
  case Int64:
    return b.getI64Type();
  case Cast: {
    auto to = dyn_cast_or_null<TypeAttr>(node.attributes.get("to"));
    return to ? to.getValue() : Type();
  }
  case ShapeValue: {
    auto value = dyn_cast_or_null<ElementsAttr>(node.attributes.get("value"));
    return value ? value.getElementType() : b.getF32Type();
  }
  case TopK:
    return index == 0 ? inputElementType(node, 0) : b.getI64Type();
  case Layer:
    // Mean and InvStdDev have the type that the statistics are computed in.
    return index == 0 ? inputElementType(node, 0) : elementType(node.intAttribute("stash_type", 1), b.getContext());
  case Attention:
    return inputElementType(node, index == 1 ? 1 : index == 2 ? 2 : 0);
  case LinearAttention: // the state has a type of its own where there is one before
    if (Type state = index == 1 ? inputElementType(node, 3) : Type())
      return state;
    return inputElementType(node, 0);
  case Quantize:
    if (Type zeroPoint = inputElementType(node, 2))
      return zeroPoint;
    return elementType(node.intAttribute("output_dtype", 0) ?: int64_t(::onnx::TensorProto::UINT8), b.getContext());
  case Dequantize:
    if (int64_t type = node.intAttribute("output_dtype", 0))
      return elementType(type, b.getContext());
    return inputElementType(node, 1);
  }
  llvm_unreachable("every rule returns");
}

Type caat::importer::customElementType(const Node &node, unsigned index) {
  Builder b(node.loc.getContext());
  StringRef op = node.opType;
  if (Attribute dtype = node.attributes.get("dtype"))
    if (auto value = dyn_cast<IntegerAttr>(dtype))
      return elementType(value.getInt(), b.getContext());
  if (op.ends_with("SimplifiedLayerNormalization") || op == "SkipLayerNormalization")
    return index == 1 || index == 2 ? b.getF32Type() : inputElementType(node, 0); // mean and inverse deviation
  if (op == "MatMulInteger" || op == "ConvInteger")
    return b.getI32Type();
  if (op == "QLinearMatMul" || op == "QLinearConv")
    return inputElementType(node, 7); // of the result's zero point
  if (op == "DynamicQuantizeLinear")
    return index == 1 ? Type(b.getF32Type()) : b.getIntegerType(8, /*isSigned=*/false);
  if (op == "Dropout" && index == 1)
    return b.getI1Type();
  if ((op == "MaxPool" || op == "Unique") && index > 0)
    return b.getI64Type();
  for (Value input : node.inputs)
    if (input && isa<FloatType>(getElementTypeOrSelf(input.getType())))
      return getElementTypeOrSelf(input.getType());
  for (Value input : node.inputs)
    if (input)
      return getElementTypeOrSelf(input.getType());
  return nullptr;
}
