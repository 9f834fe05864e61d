// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "StepInputs.h"
#include "caat/Raise/DimExpr.h"
#include "dialects/onnx/ONNX.h"
#include "llvm/ADT/StringMap.h"

using namespace mlir;

namespace caat::shard {

static StringRef nameOf(func::FuncOp function, BlockArgument argument) {
  auto name = function.getArgAttrOfType<StringAttr>(argument.getArgNumber(), "onnx.name");
  return name ? name.getValue() : StringRef();
}

static StringRef dimOf(func::FuncOp function, BlockArgument argument, unsigned dim) {
  auto dims = function.getArgAttrOfType<ArrayAttr>(argument.getArgNumber(), "onnx.dims");
  return dims && dim < dims.size() ? cast<StringAttr>(dims[dim]).getValue() : StringRef();
}

/// Whether the text is a symbol, and no expression.
static bool isSymbol(StringRef text, MLIRContext *context) {
  AffineExpr expr = parseDim(text, context, [&](StringRef) { return getAffineSymbolExpr(0, context); });
  return !text.empty() && isa_and_nonnull<AffineSymbolExpr>(expr);
}

std::optional<std::string> StepInputs::find(func::FuncOp function) {
  MLIRContext *context = function.getContext();
  function.walk([&](onnx::AttentionOp attention) {
    for (Value value : {attention.getPastKey(), attention.getPastValue()})
      if (auto argument = dyn_cast_if_present<BlockArgument>(value); argument && argument.getOwner()->isEntryBlock())
        caches.insert(argument.getArgNumber());
  });
  for (BlockArgument argument : function.getArguments()) {
    StringRef name = nameOf(function, argument);
    auto type = dyn_cast<RankedTensorType>(argument.getType());
    int64_t rank = type ? type.getRank() : 0;
    if (name == "input_ids" && rank == 2 && type.getElementType().isInteger(64)) {
      if (!isSymbol(dimOf(function, argument, 1), context))
        return "their number, the second dimension of 'input_ids', has no name";
      if (!type.isDynamicDim(0) && type.getDimSize(0) != 1)
        return "the batch is fixed at " + std::to_string(type.getDimSize(0));
      tokens = dimOf(function, argument, 1).str();
    } else if (caches.contains(argument.getArgNumber())) {
      StringRef length = rank == 4 ? dimOf(function, argument, 2) : StringRef();
      if (!isSymbol(length, context))
        return "the length of the cache '" + name.str() + "' has no name";
      past = past.empty() ? length.str() : past;
    } else if (!(name == "attention_mask" && rank == 2) && !(name == "position_ids" && rank == 2) &&
               !(name == "cache_position" && rank == 1)) {
      return "input '" + name.str() + "' is neither filled from tokens nor a cache that an Attention takes";
    }
  }
  if (tokens.empty())
    return std::string("there is no i64 input 'input_ids' of them");
  if (past.empty())
    return std::string("there are no caches");
  if (past == tokens)
    return "'" + past + "' names both their number and the length of a cache";
  return std::nullopt;
}

std::optional<std::string> StepInputs::bind(func::FuncOp function) const {
  MLIRContext *context = function.getContext();
  SmallVector<std::string> names{tokens, past};
  auto symbolOf = [&](StringRef name) {
    auto *it = llvm::find(names, name.str());
    if (it == names.end()) {
      names.push_back(name.str());
      it = std::prev(names.end());
    }
    return getAffineSymbolExpr(it - names.begin(), context);
  };
  AffineExpr one = getAffineConstantExpr(1, context), n = symbolOf(tokens), p = symbolOf(past);
  llvm::StringMap<AffineExpr> bound; // symbols that stand for a size of the step
  SmallVector<std::pair<BlockArgument, SmallVector<AffineExpr>>> filled;
  for (BlockArgument argument : function.getArguments()) {
    StringRef name = nameOf(function, argument);
    SmallVector<AffineExpr> sizes;
    if (caches.contains(argument.getArgNumber()))
      sizes = {one, AffineExpr(), p, AffineExpr()};
    else if (name == "cache_position")
      sizes = {n};
    else
      sizes = {one, name == "attention_mask" ? addDims(p, n) : n};
    for (auto [dim, size] : llvm::enumerate(sizes))
      if (StringRef text = dimOf(function, argument, dim); size && isSymbol(text, context))
        if (text != tokens && text != past)
          bound.try_emplace(text, size);
    filled.emplace_back(argument, std::move(sizes));
  }
  for (auto &[argument, sizes] : filled) {
    auto type = cast<RankedTensorType>(argument.getType());
    SmallVector<int64_t> shape(type.getShape());
    SmallVector<Attribute> texts;
    for (int64_t dim = 0; dim < type.getRank(); ++dim) {
      AffineExpr size = getAffineConstantExpr(shape[dim], context);
      if (type.isDynamicDim(dim))
        size = parseDim(dimOf(function, argument, dim), context, [&](StringRef name) {
          auto it = bound.find(name);
          return it == bound.end() ? symbolOf(name) : it->second;
        });
      if (!size || (sizes[dim] && size != sizes[dim]))
        return "dimension " + std::to_string(dim) + " of '" + nameOf(function, argument).str() +
               "' is not that of one sequence of tokens behind the cached ones";
      if (std::optional<int64_t> number = constantDim(size))
        shape[dim] = *number;
      texts.push_back(StringAttr::get(
          context, constantDim(size) ? "" : printDim(size, [&](unsigned position) { return names[position]; })));
    }
    argument.setType(type.clone(shape));
    function.setArgAttr(argument.getArgNumber(), "onnx.dims", ArrayAttr::get(context, texts));
  }
  return std::nullopt;
}

} // namespace caat::shard
