// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Raise/SymbolicShapes.h"
#include "dialects/onnx/ONNX.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/TypeUtilities.h"

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
  // What an op needs holds for those before it as well.
  if (undecided && !nonNegative.empty())
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
  isExplicit = function->hasAttr(onnx::kExplicitBroadcastsAttr);
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
    Dims known;
    for (auto [axis, text] : llvm::enumerate(dimTexts(function, argument.getArgNumber(), type.getRank()))) {
      AffineExpr size;
      if (!type.isDynamicDim(axis))
        size = constant(type.getDimSize(axis));
      else if (!text.empty())
        size = parse(text);
      known.push_back(size ? size : unknown(argument, axis));
    }
    dims[argument] = keep(known);
  }
}

AffineExpr SymbolicShapes::resolve(AffineExpr expr) const {
  if (isa<AffineConstantExpr>(expr))
    return expr;
  if (auto symbol = dyn_cast<AffineSymbolExpr>(expr); symbol && !symbols[symbol.getPosition()].equals)
    return expr;
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
  int64_t rank = getRank(value).value_or(0);
  if (axis < 0)
    axis += rank;
  if (axis < 0 || axis >= rank)
    return {};
  if (auto it = dims.find(value); it != dims.end())
    return resolve(it->second[axis]);
  auto type = cast<RankedTensorType>(value.getType());
  return type.hasStaticShape() ? constant(type.getDimSize(axis)) : AffineExpr();
}

std::optional<int64_t> SymbolicShapes::getStaticDim(Value value, int64_t axis) const {
  auto size = constantDim(getDim(value, axis));
  return size && *size < 0 ? std::nullopt : size; // of a shape that is refused when its op is verified
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
  auto it = elements.find(value);
  if (it == elements.end())
    return std::nullopt;
  SmallVector<int64_t> result;
  for (AffineExpr element : it->second) {
    auto number = constantDim(element ? resolve(element) : element);
    if (!number)
      return std::nullopt;
    result.push_back(*number);
  }
  return result;
}

AffineExpr SymbolicShapes::getScalar(Value value) const {
  auto it = elements.find(value);
  if (it == elements.end() || it->second.size() != 1 || !it->second.front())
    return {};
  return resolve(it->second.front());
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

std::string SymbolicShapes::describe(AffineExpr expr) const {
  return printDim(expr, [&](unsigned position) {
    const Symbol &entry = symbols[position];
    if (entry.choice != Choice::None)
      return (entry.choice == Choice::Larger ? "max(" : "broadcast(") + describe(entry.first) + ", " +
             describe(entry.second) + ")";
    if (!entry.name.empty())
      return entry.name;
    Operation *op = entry.anchor ? entry.anchor.getDefiningOp() : nullptr;
    auto named = op ? dyn_cast<NameLoc>(op->getLoc()) : NameLoc();
    return named ? "size(" + named.getName().str() + ", " + std::to_string(entry.axis) + ")" : std::string("?");
  });
}

std::string SymbolicShapes::print(AffineExpr expr) const {
  bool named = true;
  std::string text = printDim(resolve(expr), [&](unsigned position) {
    named &= !symbols[position].name.empty();
    return symbols[position].name;
  });
  return named ? text : std::string();
}

ArrayRef<AffineExpr> SymbolicShapes::keep(ArrayRef<AffineExpr> exprs) { return exprs.copy(kept); }

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
  dims[value] = keep(known);
}

/// Whether an integer type holds `element` as it is: what is too large for it wraps, and what is negative where there
/// is no sign. Sizes are taken to fit into 32 bits.
static bool holds(IntegerType type, AffineExpr element, SymbolicShapes &shapes) {
  constexpr unsigned widthOfSizes = 32;
  unsigned width = type.getWidth();
  if (auto constant = constantDim(element)) {
    if (type.isUnsigned() || width == 1)
      return *constant >= 0 && (width >= 64 || llvm::isUIntN(width, *constant));
    return width >= 64 || llvm::isIntN(width, *constant);
  }
  return width >= widthOfSizes && (!type.isUnsigned() || shapes.isNonNegative(element));
}

void SymbolicShapes::setElements(Value value, ArrayRef<AffineExpr> values) {
  if (static_cast<int64_t>(values.size()) > maxElements)
    return;
  Dims held(values);
  if (auto type = dyn_cast<IntegerType>(getElementTypeOrSelf(value)))
    for (AffineExpr &element : held)
      if (element && !holds(type, element, *this))
        element = {};
  if (llvm::all_of(held, [](AffineExpr e) { return !e; }) && !held.empty())
    return;
  elements[value] = keep(held);
}

void SymbolicShapes::proveEqual(AffineExpr a, AffineExpr b) {
  if (!a || !b)
    return;
  a = resolve(a);
  b = resolve(b);
  if (a == b)
    return;
  assumptions.push_back({visited, a, b});
  makeEqual(a, b);
}

void SymbolicShapes::makeEqual(AffineExpr a, AffineExpr b) {
  if (!decideChoice(a, b) && (mentions(a, b) || mentions(b, a) || !unite(a, b)))
    return;
  resolved.clear();
  updateChoices();
}

/// Makes one symbol of `a` or `b` say what the other one does; false where none can.
bool SymbolicShapes::unite(AffineExpr a, AffineExpr b) {
  auto x = dyn_cast<AffineSymbolExpr>(a), y = dyn_cast<AffineSymbolExpr>(b);
  // Names and earlier symbols stay, unnamed and later ones give way.
  if (x && y) {
    bool xNamed = !symbols[x.getPosition()].name.empty(), yNamed = !symbols[y.getPosition()].name.empty();
    bool xStays = xNamed != yNamed ? xNamed : x.getPosition() < y.getPosition();
    (xStays ? symbols[y.getPosition()] : symbols[x.getPosition()]).equals = xStays ? a : b;
    return true;
  }
  if (!x) {
    std::swap(x, y);
    std::swap(a, b);
  }
  if (!x)
    return false;                         // two composite expressions: nothing to replace
  std::optional<AffineSymbolExpr> latest; // unnamed, and found later than x
  b.walk([&](AffineExpr e) {
    auto symbol = dyn_cast<AffineSymbolExpr>(e);
    if (symbol && symbols[symbol.getPosition()].name.empty() && symbol.getPosition() > latest.value_or(x).getPosition())
      latest = symbol;
  });
  if (!latest) {
    symbols[x.getPosition()].equals = b;
    return true;
  }
  // seq = n + 1, n being a later value's dimension: n = seq - 1. Earlier symbols are never said by later ones.
  AffineExpr rest = subDims(b, *latest);
  if (!rest)
    return false;
  bool isSum = true;
  rest.walk([&](AffineExpr e) { isSum &= e != *latest; });
  AffineExpr value = isSum ? subDims(a, rest) : AffineExpr();
  if (value)
    symbols[latest->getPosition()].equals = value;
  return static_cast<bool>(value);
}

/// Whether `value` is there at the place where `builder` inserts.
static bool isDefinedBefore(Value value, OpBuilder &builder) {
  Operation *op = value.getDefiningOp();
  Block *block = builder.getInsertionBlock();
  if (!op || !block)
    return true;
  if (op->getBlock() == block)
    return builder.getInsertionPoint() == block->end() || op->isBeforeInBlock(&*builder.getInsertionPoint());
  Operation *ancestor = op->getBlock()->findAncestorOpInBlock(*block->getParentOp());
  return ancestor && op->isBeforeInBlock(ancestor);
}

bool SymbolicShapes::isAnchored(OpBuilder &builder, AffineExpr expr, bool asWas) const {
  bool possible = true;
  (asWas ? expr : resolve(expr)).walk([&](AffineExpr e) {
    if (auto symbol = dyn_cast<AffineSymbolExpr>(e)) {
      if (const Symbol *choice = asChoice(e))
        possible &= isAnchored(builder, choice->first, asWas) && isAnchored(builder, choice->second, asWas);
      else if (Value anchor = symbols[symbol.getPosition()].anchor)
        possible &= isDefinedBefore(anchor, builder);
      else
        possible = false;
    }
    possible &= !isa<AffineDimExpr>(e);
  });
  return possible;
}

Value SymbolicShapes::build(OpBuilder &builder, Location loc, AffineExpr expr, bool asWas) const {
  AffineExpr e = asWas ? expr : resolve(expr);
  if (auto constant = dyn_cast<AffineConstantExpr>(e))
    return arith::ConstantIndexOp::create(builder, loc, constant.getValue());
  if (const Symbol *choice = asChoice(e)) {
    Value first = build(builder, loc, choice->first, asWas), second = build(builder, loc, choice->second, asWas);
    if (choice->choice == Choice::Larger)
      return arith::MaxSIOp::create(builder, loc, first, second);
    Value one = arith::ConstantIndexOp::create(builder, loc, 1);
    Value isOne = arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::eq, first, one);
    return arith::SelectOp::create(builder, loc, isOne, second, first);
  }
  if (auto symbol = dyn_cast<AffineSymbolExpr>(e)) {
    const Symbol &entry = symbols[symbol.getPosition()];
    return tensor::DimOp::create(builder, loc, entry.anchor, entry.axis);
  }
  auto binary = cast<AffineBinaryOpExpr>(e);
  Value lhs = build(builder, loc, binary.getLHS(), asWas), rhs = build(builder, loc, binary.getRHS(), asWas);
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
}

Value SymbolicShapes::materialize(OpBuilder &builder, Location loc, AffineExpr expr) const {
  return expr && isAnchored(builder, expr, false) ? build(builder, loc, expr, false) : Value();
}

Value SymbolicShapes::materializeAsWas(OpBuilder &builder, Location loc, AffineExpr expr) const {
  return expr && isAnchored(builder, expr, true) ? build(builder, loc, expr, true) : Value();
}

bool SymbolicShapes::isArgumentSize(AffineExpr expr) const {
  auto symbol = dyn_cast<AffineSymbolExpr>(expr);
  return symbol && isa_and_present<BlockArgument>(symbols[symbol.getPosition()].anchor);
}

bool SymbolicShapes::isProved(Value value, int64_t axis) const {
  auto it = unknowns.find({value, axis});
  if (it == unknowns.end())
    return false;
  AffineExpr own = getAffineSymbolExpr(it->second, context);
  return dims.lookup(value)[axis] == own && resolve(own) != own;
}

void SymbolicShapes::visit(Operation *op) {
  visited = op;
  bool known = inferElementwiseShape(op, *this) || inferReductionShape(op, *this) || inferMovementShape(op, *this) ||
               inferNetworkShape(op, *this);
  if (!known)
    for (Value result : op->getResults())
      if (auto type = dyn_cast<RankedTensorType>(result.getType()))
        setDims(result, Dims(type.getRank()));
  inferElements(op, *this);
}

} // namespace caat
