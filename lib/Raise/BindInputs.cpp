// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// onnx-bind-inputs: see Passes.td.
#include "caat/Raise/DimExpr.h"
#include "caat/Raise/Passes.h"
#include "llvm/ADT/StringExtras.h"
#include <set>

namespace caat {
#define GEN_PASS_DEF_ONNXBINDINPUTSPASS
#include "caat/Raise/Passes.h.inc"
} // namespace caat

using namespace mlir;
using namespace caat;

/// One element of type `element` from its text; null where it is none.
static Attribute parseElement(Type element, StringRef text) {
  text = text.trim();
  if (element.isInteger(1))
    text = text == "true" ? "1" : text == "false" ? "0" : text;
  if (auto type = dyn_cast<IntegerType>(element)) {
    APInt value(128, 0);
    bool negative = text.consume_front("-");
    if (text.size() > 30 || text.getAsInteger(10, value))
      return {};
    value = value.zextOrTrunc(128);
    if (negative)
      value.negate();
    bool fits = type.getWidth() == 1 || type.isUnsigned() ? !negative && value.isIntN(type.getWidth())
                                                          : value.isSignedIntN(type.getWidth());
    return fits ? IntegerAttr::get(type, value.trunc(type.getWidth())) : Attribute();
  }
  double number;
  auto type = dyn_cast<FloatType>(element);
  return type && !text.getAsDouble(number) ? FloatAttr::get(type, number) : Attribute();
}

namespace {

/// The dimension texts of a function's arguments and results, with symbols that have a value replaced by it.
class DimBinder {
public:
  DimBinder(MLIRContext *context, ArrayRef<std::pair<std::string, int64_t>> values)
      : context(context), values(values) {}

  /// What `text` is now: a number, or another text.
  std::pair<std::optional<int64_t>, std::string> bind(StringRef text) {
    bool changed = false;
    AffineExpr expr = parseDim(text, context, [&](StringRef name) -> AffineExpr {
      names.insert(name.str());
      for (const auto &[bound, value] : values)
        if (bound == name) {
          found.insert(bound);
          changed = true;
          return getAffineConstantExpr(value, context);
        }
      auto it = llvm::find(symbols, name);
      if (it == symbols.end()) {
        symbols.push_back(name.str());
        it = std::prev(symbols.end());
      }
      return getAffineSymbolExpr(it - symbols.begin(), context);
    });
    if (!expr || !changed)
      return {std::nullopt, text.str()};
    if (auto number = constantDim(expr))
      return {number, ""};
    return {std::nullopt, printDim(expr, [&](unsigned position) { return symbols[position]; })};
  }

  bool wasFound(StringRef name) const { return found.contains(name.str()); }
  /// "'batch', 'seq'".
  std::string known() const {
    std::string text;
    for (const std::string &name : names)
      text += (text.empty() ? "'" : ", '") + name + "'";
    return text.empty() ? "none" : text;
  }

private:
  MLIRContext *context;
  ArrayRef<std::pair<std::string, int64_t>> values;
  std::vector<std::string> symbols;
  std::set<std::string> names, found;
};

class BindInputs : public caat::impl::ONNXBindInputsPassBase<BindInputs> {
public:
  using ONNXBindInputsPassBase::ONNXBindInputsPassBase;

  void runOnOperation() override {
    func::FuncOp function = getOperation();
    if (function.isExternal())
      return;
    for (StringRef text : values)
      if (failed(bindValue(function, text)))
        return signalPassFailure();
    if (!dims.empty() && failed(bindDims(function)))
      return signalPassFailure();
    function.setFunctionType(
        FunctionType::get(&getContext(), function.getBody().getArgumentTypes(), function.getResultTypes()));
  }

private:
  LogicalResult fail(func::FuncOp function, const Twine &message) {
    emitError(function.getLoc()) << message.str();
    return failure();
  }

  LogicalResult bindValue(func::FuncOp function, StringRef text) {
    auto [name, value] = text.split('=');
    std::string inputs;
    for (BlockArgument argument : function.getArguments()) {
      auto argumentName = function.getArgAttrOfType<StringAttr>(argument.getArgNumber(), "onnx.name");
      if (!argumentName)
        continue;
      if (argumentName.getValue() != name) {
        inputs += (inputs.empty() ? "'" : ", '") + argumentName.str() + "'";
        continue;
      }
      auto type = dyn_cast<RankedTensorType>(argument.getType());
      if (!type || !type.hasStaticShape())
        return fail(function, "--set " + name + ": the input has no fixed shape; give its sizes too (--dim)");
      SmallVector<StringRef> texts;
      value.split(texts, ',');
      SmallVector<Attribute> elements;
      for (StringRef element : texts) {
        elements.push_back(parseElement(type.getElementType(), element));
        if (!elements.back()) {
          std::string message;
          llvm::raw_string_ostream(message)
              << "--set " << name << ": '" << element << "' is no value of type " << type.getElementType();
          return fail(function, message);
        }
      }
      if (elements.size() != 1 && static_cast<int64_t>(elements.size()) != type.getNumElements())
        return fail(function, "--set " + name + ": " + Twine(elements.size()) + " values are given, the input has " +
                                  Twine(type.getNumElements()));
      OpBuilder builder = OpBuilder::atBlockBegin(&function.getBody().front());
      argument.replaceAllUsesWith(
          onnx::ConstantOp::create(builder, argument.getLoc(), DenseElementsAttr::get(type, elements)));
      return function.eraseArgument(argument.getArgNumber());
    }
    return fail(function, "--set " + name + ": the model has no input of that name; there are " +
                              (inputs.empty() ? "none" : inputs));
  }

  LogicalResult bindDims(func::FuncOp function) {
    SmallVector<std::pair<std::string, int64_t>> bindings;
    for (StringRef text : dims) {
      auto [name, number] = text.split('=');
      int64_t value;
      if (name.empty() || number.getAsInteger(10, value) || value < 0)
        return fail(function, "--dim " + text + ": expected NAME=SIZE");
      bindings.emplace_back(name.str(), value);
    }
    DimBinder binder(&getContext(), bindings);
    Builder b(&getContext());
    auto bindAll = [&](ArrayAttr texts, SmallVectorImpl<int64_t> *shape) -> FailureOr<ArrayAttr> {
      SmallVector<Attribute> result(texts.getValue());
      for (auto [d, text] : llvm::enumerate(texts.getAsRange<StringAttr>())) {
        auto [size, rest] = binder.bind(text.getValue());
        if (size && *size < 0)
          return fail(function, "the dimension '" + text.getValue() + "' becomes " + Twine(*size));
        if (size && shape && d < shape->size())
          (*shape)[d] = *size;
        result[d] = b.getStringAttr(rest);
      }
      return b.getArrayAttr(result);
    };
    for (BlockArgument argument : function.getArguments()) {
      auto texts = function.getArgAttrOfType<ArrayAttr>(argument.getArgNumber(), "onnx.dims");
      auto type = dyn_cast<RankedTensorType>(argument.getType());
      if (!texts || !type)
        continue;
      SmallVector<int64_t> shape(type.getShape());
      FailureOr<ArrayAttr> bound = bindAll(texts, &shape);
      if (failed(bound))
        return failure();
      argument.setType(type.clone(shape));
      function.setArgAttr(argument.getArgNumber(), "onnx.dims", *bound);
    }
    std::string known = binder.known();
    for (const auto &[name, value] : bindings)
      if (!binder.wasFound(name))
        return fail(function, "--dim " + name + ": no input has a dimension of that name; there are " + known);
    for (unsigned i = 0; i < function.getNumResults(); ++i)
      if (auto texts = function.getResultAttrOfType<ArrayAttr>(i, "onnx.dims")) {
        FailureOr<ArrayAttr> bound = bindAll(texts, nullptr);
        if (failed(bound))
          return failure();
        function.setResultAttr(i, "onnx.dims", *bound);
      }
    return success();
  }
};

} // namespace
