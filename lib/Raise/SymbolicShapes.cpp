// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Raise/SymbolicShapes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;

namespace caat {

SymbolicShapes::SymbolicShapes(Operation *function) : context(function->getContext()) {
  auto func = cast<func::FuncOp>(function);
  addArguments(func);
  if (func.isExternal())
    return;
  Block &body = func.getBody().front();
  dims.reserve(body.getOperations().size());
  for (Operation &op : body)
    visit(&op);
}

SymbolicShapes SymbolicShapes::ofArguments(func::FuncOp function) {
  SymbolicShapes shapes(function.getContext());
  shapes.addArguments(function);
  return shapes;
}

unsigned SymbolicShapes::addSymbol(std::string name) {
  symbols.emplace_back();
  symbols.back().name = std::move(name);
  return symbols.size() - 1;
}

AffineExpr SymbolicShapes::symbol(StringRef name) {
  auto [it, isNew] = byName.try_emplace(name, 0);
  if (isNew)
    it->second = addSymbol(name.str());
  return getAffineSymbolExpr(it->second, context);
}

AffineExpr SymbolicShapes::parse(StringRef text) {
  AffineExpr expr = parseDim(text, context, [&](StringRef name) { return symbol(name); });
  return expr ? resolve(expr) : expr;
}

AffineExpr SymbolicShapes::unknown(Value value, int64_t axis) {
  auto [it, isNew] = unknowns.try_emplace({value, axis}, 0);
  if (isNew) {
    unsigned position = addSymbol("");
    it->second = position;
    symbols[position].anchor = value;
    symbols[position].axis = axis;
  }
  return getAffineSymbolExpr(it->second, context);
}

/// The texts of an argument's `onnx.dims`, empty where it has none.
static SmallVector<StringRef> dimTexts(func::FuncOp function, unsigned argument, int64_t rank) {
  SmallVector<StringRef> texts(rank);
  if (auto names = function.getArgAttrOfType<ArrayAttr>(argument, "onnx.dims"))
    for (auto [text, name] : llvm::zip(texts, names))
      if (auto string = dyn_cast<StringAttr>(name))
        text = string.getValue();
  return texts;
}

void SymbolicShapes::addArguments(func::FuncOp function) {
  if (function.isExternal())
    return;
  auto isName = [](StringRef text) { return text.find_first_of("+-*/() ") == StringRef::npos; };
  // Plain names first: expressions may use names that a later argument binds.
  for (BlockArgument argument : function.getArguments()) {
    auto type = dyn_cast<RankedTensorType>(argument.getType());
    if (!type)
      continue;
    for (auto [axis, text] : llvm::enumerate(dimTexts(function, argument.getArgNumber(), type.getRank()))) {
      if (text.empty() || !type.isDynamicDim(axis) || !isName(text))
        continue;
      Symbol &entry = symbols[cast<AffineSymbolExpr>(symbol(text)).getPosition()];
      if (!entry.anchor) {
        entry.anchor = argument;
        entry.axis = axis;
      }
    }
  }
  for (BlockArgument argument : function.getArguments()) {
    auto type = dyn_cast<RankedTensorType>(argument.getType());
    if (!type)
      continue;
    Dims &known = dims[argument];
    for (auto [axis, text] : llvm::enumerate(dimTexts(function, argument.getArgNumber(), type.getRank()))) {
      AffineExpr size;
      if (!type.isDynamicDim(axis))
        size = constant(type.getDimSize(axis));
      else if (!text.empty())
        size = parse(text);
      known.push_back(size ? size : unknown(argument, axis));
    }
  }
}

AffineExpr SymbolicShapes::resolve(AffineExpr expr) const {
  auto replace = [&](unsigned position) { return symbols[position].equals; };
  if (!isa<AffineBinaryOpExpr>(expr))
    return normalizeDim(expr, replace);
  AffineExpr &known = resolved[expr];
  if (!known)
    known = normalizeDim(expr, replace);
  return known;
}

std::optional<SymbolicShapes::Dims> SymbolicShapes::getDims(Value value) const {
  Dims result;
  if (auto it = dims.find(value); it != dims.end()) {
    for (AffineExpr dim : it->second)
      result.push_back(resolve(dim));
    return result;
  }
  auto type = dyn_cast<RankedTensorType>(value.getType());
  if (!type || !type.hasStaticShape())
    return std::nullopt; // not visited
  for (int64_t size : type.getShape())
    result.push_back(constant(size));
  return result;
}

std::optional<int64_t> SymbolicShapes::getRank(Value value) const {
  if (auto it = dims.find(value); it != dims.end())
    return it->second.size();
  if (auto type = dyn_cast<RankedTensorType>(value.getType()))
    return type.getRank();
  return std::nullopt;
}

AffineExpr SymbolicShapes::getDim(Value value, int64_t axis) const {
  auto known = getDims(value);
  if (!known)
    return {};
  if (axis < 0)
    axis += known->size();
  if (axis < 0 || axis >= static_cast<int64_t>(known->size()))
    return {};
  return (*known)[axis];
}

std::optional<int64_t> SymbolicShapes::getStaticDim(Value value, int64_t axis) const {
  return constantDim(getDim(value, axis));
}

std::optional<SymbolicShapes::Dims> SymbolicShapes::getElements(Value value) const {
  auto it = elements.find(value);
  if (it == elements.end())
    return std::nullopt;
  Dims result;
  for (AffineExpr element : it->second)
    result.push_back(element ? resolve(element) : element);
  return result;
}

std::optional<SmallVector<int64_t>> SymbolicShapes::getConstants(Value value) const {
  auto known = getElements(value);
  if (!known)
    return std::nullopt;
  SmallVector<int64_t> result;
  for (AffineExpr element : *known) {
    auto number = constantDim(element);
    if (!number)
      return std::nullopt;
    result.push_back(*number);
  }
  return result;
}

AffineExpr SymbolicShapes::getScalar(Value value) const {
  auto known = getElements(value);
  return known && known->size() == 1 ? known->front() : AffineExpr();
}

Type SymbolicShapes::refinedType(Value value) const {
  auto type = dyn_cast<TensorType>(value.getType());
  auto known = getDims(value);
  if (!type || !known)
    return value.getType();
  SmallVector<int64_t> shape;
  for (AffineExpr dim : *known)
    shape.push_back(constantDim(dim).value_or(ShapedType::kDynamic));
  auto ranked = dyn_cast<RankedTensorType>(type);
  return RankedTensorType::get(shape, type.getElementType(), ranked ? ranked.getEncoding() : Attribute());
}

bool SymbolicShapes::sameShape(Value a, Value b) const {
  auto x = getDims(a), y = getDims(b);
  return x && y && *x == *y;
}

std::string SymbolicShapes::print(AffineExpr expr) const {
  bool named = true;
  std::string text = printDim(resolve(expr), [&](unsigned position) {
    named &= !symbols[position].name.empty();
    return symbols[position].name;
  });
  return named ? text : std::string();
}

void SymbolicShapes::setDims(Value value, ArrayRef<AffineExpr> inferred) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  bool useType = type && type.getRank() == static_cast<int64_t>(inferred.size());
  Dims known;
  for (size_t axis = 0; axis < inferred.size(); ++axis) {
    AffineExpr dim = inferred[axis];
    if (!dim && useType && !type.isDynamicDim(axis))
      dim = constant(type.getDimSize(axis));
    known.push_back(dim ? resolve(dim) : unknown(value, axis));
  }
  dims[value] = std::move(known);
}

void SymbolicShapes::setElements(Value value, ArrayRef<AffineExpr> values) {
  if (static_cast<int64_t>(values.size()) > maxElements)
    return;
  if (llvm::all_of(values, [](AffineExpr e) { return !e; }) && !values.empty())
    return;
  elements[value] = Dims(values);
}

AffineExpr SymbolicShapes::broadcast(AffineExpr a, AffineExpr b) const {
  if (!a || !b)
    return {};
  if (a == b)
    return a;
  auto x = constantDim(a), y = constantDim(b);
  if (x == 1)
    return b;
  if (y == 1)
    return a;
  // A constant above one wins: the other side is it or one.
  if (x)
    return a;
  if (y)
    return b;
  return {};
}

std::optional<SymbolicShapes::Dims> SymbolicShapes::broadcastShapes(ArrayRef<AffineExpr> a,
                                                                    ArrayRef<AffineExpr> b) const {
  if (a.size() < b.size())
    std::swap(a, b);
  Dims result(a);
  size_t offset = a.size() - b.size();
  for (size_t i = 0; i < b.size(); ++i)
    result[offset + i] = broadcast(a[offset + i], b[i]);
  return result;
}

void SymbolicShapes::proveEqual(AffineExpr a, AffineExpr b) {
  if (!a || !b)
    return;
  a = resolve(a);
  b = resolve(b);
  if (a == b)
    return;
  resolved.clear();
  auto x = dyn_cast<AffineSymbolExpr>(a), y = dyn_cast<AffineSymbolExpr>(b);
  // Names and earlier symbols stay, unnamed and later ones give way.
  if (x && y) {
    bool xNamed = !symbols[x.getPosition()].name.empty(), yNamed = !symbols[y.getPosition()].name.empty();
    bool xStays = xNamed != yNamed ? xNamed : x.getPosition() < y.getPosition();
    (xStays ? symbols[y.getPosition()] : symbols[x.getPosition()]).equals = xStays ? a : b;
    return;
  }
  if (!x) {
    std::swap(x, y);
    std::swap(a, b);
  }
  if (!x)
    return; // two composite expressions: nothing to replace
  bool occurs = false;
  std::optional<AffineSymbolExpr> latest; // unnamed, and found later than x
  b.walk([&](AffineExpr e) {
    occurs |= e == a;
    auto symbol = dyn_cast<AffineSymbolExpr>(e);
    if (symbol && symbols[symbol.getPosition()].name.empty() && symbol.getPosition() > latest.value_or(x).getPosition())
      latest = symbol;
  });
  if (occurs)
    return;
  if (!latest) {
    symbols[x.getPosition()].equals = b;
    return;
  }
  // seq = n + 1, n being a later value's dimension: n = seq - 1. Earlier symbols are never said by later ones.
  AffineExpr rest = subDims(b, *latest);
  if (!rest)
    return;
  bool isSum = true;
  rest.walk([&](AffineExpr e) { isSum &= e != *latest; });
  if (isSum)
    if (AffineExpr value = subDims(a, rest))
      symbols[latest->getPosition()].equals = value;
}

bool SymbolicShapes::canMaterialize(AffineExpr expr) const {
  bool possible = true;
  resolve(expr).walk([&](AffineExpr e) {
    if (auto symbol = dyn_cast<AffineSymbolExpr>(e))
      possible &= static_cast<bool>(symbols[symbol.getPosition()].anchor);
    possible &= !isa<AffineDimExpr>(e);
  });
  return possible;
}

Value SymbolicShapes::materialize(OpBuilder &builder, Location loc, AffineExpr expr) const {
  if (!canMaterialize(expr))
    return {};
  auto build = [&](auto &&self, AffineExpr e) -> Value {
    if (auto constant = dyn_cast<AffineConstantExpr>(e))
      return arith::ConstantIndexOp::create(builder, loc, constant.getValue());
    if (auto symbol = dyn_cast<AffineSymbolExpr>(e)) {
      const Symbol &entry = symbols[symbol.getPosition()];
      return tensor::DimOp::create(builder, loc, entry.anchor, entry.axis);
    }
    auto binary = cast<AffineBinaryOpExpr>(e);
    Value lhs = self(self, binary.getLHS()), rhs = self(self, binary.getRHS());
    switch (e.getKind()) {
    case AffineExprKind::Add:
      return arith::AddIOp::create(builder, loc, lhs, rhs);
    case AffineExprKind::Mul:
      return arith::MulIOp::create(builder, loc, lhs, rhs);
    case AffineExprKind::FloorDiv:
      return arith::FloorDivSIOp::create(builder, loc, lhs, rhs);
    case AffineExprKind::CeilDiv:
      return arith::CeilDivSIOp::create(builder, loc, lhs, rhs);
    default:
      return arith::RemSIOp::create(builder, loc, lhs, rhs);
    }
  };
  return build(build, resolve(expr));
}

void SymbolicShapes::visit(Operation *op) {
  bool known = inferElementwiseShape(op, *this) || inferReductionShape(op, *this) || inferMovementShape(op, *this) ||
               inferNetworkShape(op, *this);
  if (!known)
    for (Value result : op->getResults())
      if (auto type = dyn_cast<RankedTensorType>(result.getType()))
        setDims(result, Dims(type.getRank()));
  inferElements(op, *this);
}

} // namespace caat
