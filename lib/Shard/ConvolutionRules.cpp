// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Convolutions, and products in Einstein's notation.
#include "caat/Shard/LocalShapes.h"
#include "caat/Shard/ShardingRule.h"
#include "dialects/onnx/ONNX.h"
#include "llvm/ADT/MapVector.h"

using namespace mlir;

namespace caat::shard {

/// X [N, C, ...], W [M, C / group, ...], B [M]: output channels are columns; input channels are summed over, or with
/// groups, dealt out with them.
static LogicalResult convFactors(Operation *op, FactorBuilder &factors) {
  auto conv = cast<onnx::ConvOp>(op);
  RankedTensorType x = factors.operandType(0), w = factors.operandType(1);
  int64_t groups = conv.getGroup();
  if (x.getRank() < 3 || w.getRank() != x.getRank() || x.isDynamicDim(1) || w.isDynamicDim(0) || groups < 1)
    return failure();
  factors.same(factors.operand(0, 0), factors.result(0, 0));
  factors.same(factors.operand(1, 0), factors.result(0, 1));
  if (conv.getB())
    factors.same(factors.operand(2, 0), factors.result(0, 1));
  for (int64_t dim = 2; dim < x.getRank(); ++dim) {
    factors.replicate(factors.operand(0, dim), "is a window of a convolution");
    factors.replicate(factors.operand(1, dim), "is a window of a convolution");
    factors.replicate(factors.result(0, dim), "is a window of a convolution");
  }
  DimLayout inner = factors.operand(0, 1), rows = factors.operand(1, 1);
  if (groups > 1) {
    factors.replicate(rows, "is summed over within a group");
    int64_t in = x.getDimSize(1), out = w.getDimSize(0);
    DimLayout units = factors.space().fresh(groups);
    if (in % groups != 0 || out % groups != 0)
      return failure();
    factors.same(inner, factors.space().scaled(units, in / groups));
    factors.same(factors.result(0, 1), factors.space().scaled(units, out / groups));
  } else if (conv.getB()) {
    factors.replicate(inner, "is summed over in a convolution with a bias");
    factors.replicate(rows, "is summed over in a convolution with a bias");
  } else {
    factors.contract(inner, rows);
  }
  return success();
}

static LogicalResult convLocal(Operation *op, LocalShapes &local) {
  auto conv = cast<onnx::ConvOp>(op);
  if (conv.getGroup() > 1 && local.resultSplit(op, 0) == 1) {
    DimLayout layout = local.resultLayout(op, 0)[1];
    conv.setGroup(local.localSize(layout) / (local.getSpace().getSize(layout) / conv.getGroup()));
  }
  return success();
}

/// Letters of the operands and of the result; false where the equation has an ellipsis or a letter twice in a term.
static bool parseEquation(StringRef equation, SmallVectorImpl<std::string> &inputs, std::string &output) {
  std::string text;
  for (char c : equation)
    if (!isspace(static_cast<unsigned char>(c)))
      text += c;
  auto [left, right] = StringRef(text).split("->");
  if (StringRef(text).contains('.') || !StringRef(text).contains("->"))
    return false;
  SmallVector<StringRef> terms;
  left.split(terms, ',');
  terms.push_back(right);
  for (StringRef term : terms)
    for (size_t i = 0; i < term.size(); ++i)
      if (term.find(term[i], i + 1) != StringRef::npos)
        return false;
  output = right.str();
  for (StringRef term : ArrayRef(terms).drop_back())
    inputs.push_back(term.str());
  return true;
}

static LogicalResult einsumFactors(Operation *op, FactorBuilder &factors) {
  SmallVector<std::string> inputs;
  std::string output;
  if (!parseEquation(cast<onnx::EinsumOp>(op).getEquation(), inputs, output) || inputs.size() != op->getNumOperands())
    return failure();
  llvm::MapVector<char, SmallVector<DimLayout>> letters;
  llvm::DenseSet<char> ones;
  bool weight = false;
  for (auto [index, term] : llvm::enumerate(inputs)) {
    if (int64_t(term.size()) != factors.operandType(index).getRank())
      return failure();
    weight |= factors.isWeight(index);
    for (auto [dim, letter] : llvm::enumerate(term))
      if (factors.operandType(index).getDimSize(dim) != 1)
        letters[letter].push_back(factors.operand(index, dim));
  }
  for (auto &[letter, layouts] : letters) {
    size_t at = output.find(letter);
    if (at != std::string::npos) {
      for (const DimLayout &layout : layouts)
        factors.same(layout, factors.result(0, at));
      continue;
    }
    for (const DimLayout &layout : ArrayRef(layouts).drop_front())
      factors.same(layouts.front(), layout);
    if (layouts.size() < 2 || op->getNumOperands() != 2) {
      factors.replicate(layouts.front(), "is summed over in a product");
      continue;
    }
    factors.contract(layouts[0], layouts[1]);
    if (!weight)
      factors.space().forbidPadding(layouts[0], "is summed over in a product of two activations");
  }
  return success();
}

void populateConvolutionRules(ShardingRules &rules) {
  rules.add<onnx::ConvOp>(convFactors, convLocal);
  rules.add<onnx::EinsumOp>(einsumFactors);
}

} // namespace caat::shard
