// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Lower/Program.h"
#include "caat/Raise/DimExpr.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/Interfaces/ViewLikeInterface.h"

using namespace mlir;
using namespace caat;

/// The names, at the position of their code.
static constexpr llvm::StringLiteral kDtypeNames[] = {"f32", "bf16", "f16", "i64",  "i32",  "i8",  "bool",
                                                      "f64", "ui8",  "i16", "ui16", "ui32", "ui64"};

std::optional<int64_t> caat::dtypeCode(Type element) {
  if (element.isF32())
    return 0;
  if (element.isBF16())
    return 1;
  if (element.isF16())
    return 2;
  if (element.isF64())
    return 7;
  if (element.isIndex())
    return 3;
  auto integer = dyn_cast<IntegerType>(element);
  if (!integer)
    return std::nullopt;
  bool isUnsigned = integer.isUnsigned();
  switch (integer.getWidth()) {
  case 64:
    return isUnsigned ? 12 : 3;
  case 32:
    return isUnsigned ? 11 : 4;
  case 16:
    return isUnsigned ? 10 : 9;
  case 8:
    return isUnsigned ? 8 : 5;
  case 1:
    return 6;
  default:
    return std::nullopt;
  }
}

std::optional<StringRef> caat::dtypeName(Type element) {
  std::optional<int64_t> code = dtypeCode(element);
  return code ? std::optional<StringRef>(kDtypeNames[*code]) : std::nullopt;
}

FailureOr<Program> Program::get(ModuleOp module) {
  Program program;
  program.host = module.lookupSymbol<func::FuncOp>("caat_forward");
  program.interface = module->getAttrOfType<DictionaryAttr>("rt.interface");
  if (!program.host || !program.interface)
    return module.emitError("no program: run rt-form-entry first"), failure();
  llvm::append_range(program.weights, module.getOps<rt::WeightOp>());
  llvm::SmallSetVector<Operation *, 32> kernels;
  program.host.walk([&](Operation *op) {
    if (auto linear = dyn_cast<rt::LinearOp>(op)) {
      program.hasEpilogues |= linear.getBias() || linear.getActivation();
      program.hasGates |= bool(linear.getGate());
    } else if (auto launch = dyn_cast<rt::LaunchOp>(op)) {
      kernels.insert(module.lookupSymbol(launch.getKernel()));
      if (launch.getSumming())
        kernels.insert(module.lookupSymbol(*launch.getSumming()));
    } else if (auto collective = dyn_cast<tp::CollectiveOpInterface>(op)) {
      program.add(collective);
    } else if (auto site = dyn_cast<rt::SyncPointOp>(op)) {
      program.sites.push_back(site);
    } else if (isa<rt::PartRowsOp>(op)) {
      program.hasParts = true;
    } else if (isa<rt::UnreadTokensOp>(op)) {
      program.skipsUnread = true;
    } else if (auto check = dyn_cast<rt::CheckOp>(op)) {
      program.messages.insert(check.getMessageAttr());
    } else if (auto later = dyn_cast<rt::CheckLaterOp>(op)) {
      program.messages.insert(later.getMessageAttr());
      program.checksLater = true;
    } else if (auto start = dyn_cast<rt::RotateStartOp>(op)) {
      program.rotations.insert({start.getGroupAttr(), static_cast<int64_t>(start.getSpare())});
    } else if (auto rotate = dyn_cast<rt::RotateOp>(op)) {
      program.rotations.insert({rotate.getGroupAttr(), -1});
    }
  });
  for (Operation *kernel : kernels)
    program.kernels.push_back(cast<func::FuncOp>(kernel));
  return program;
}

void Program::add(tp::CollectiveOpInterface op) {
  auto start = dyn_cast<rt::AllReduceStartOp>(*op);
  int64_t &part0 = firstParts[op.getSiteName()];
  if (!start || start.getPart() == 0) {
    part0 = collectives.size();
    collectives.push_back(op);
  }
  numbers[op] = part0;
  if (start && isa<rt::AllReduceWaitOp>(start.getEnd()))
    numbers[start.getEnd()] = part0;
}

bool Program::isOnDevice() const { return func::FuncOp(host)->getParentOfType<ModuleOp>()->hasAttr(kDeviceAttr); }

/// Operators of dim texts bind as in C; operands that are sums are put in parentheses.
static std::optional<std::string> binaryText(Operation *op, StringRef sign) {
  std::optional<std::string> a = dimText(op->getOperand(0)), b = dimText(op->getOperand(1));
  if (!a || !b)
    return std::nullopt;
  auto wrapped = [](const std::string &text) { return text.find(' ') == std::string::npos ? text : "(" + text + ")"; };
  if (sign == "+")
    return *a + " + " + wrapped(*b);
  return wrapped(*a) + " " + sign.str() + " " + wrapped(*b);
}

static std::optional<std::string> callText(Operation *op, StringRef function) {
  std::optional<std::string> a = dimText(op->getOperand(0)), b = dimText(op->getOperand(1));
  return a && b ? std::optional(function.str() + "(" + *a + ", " + *b + ")") : std::nullopt;
}

/// True where `index` cannot be negative, dimensions being sizes. Bounds of slices are normalised with this in mind.
static bool isNonNegative(Value index) {
  if (std::optional<int64_t> constant = getConstantIntValue(index))
    return *constant >= 0;
  Operation *op = index.getDefiningOp();
  if (isa_and_nonnull<rt::DimOp>(op))
    return true;
  if (isa_and_nonnull<arith::MaxSIOp>(op))
    return isNonNegative(op->getOperand(0)) || isNonNegative(op->getOperand(1));
  if (isa_and_nonnull<arith::IndexCastOp>(op))
    return isNonNegative(op->getOperand(0));
  return isa_and_nonnull<arith::AddIOp, arith::MulIOp, arith::MinSIOp, arith::DivUIOp, arith::FloorDivSIOp>(op) &&
         isNonNegative(op->getOperand(0)) && isNonNegative(op->getOperand(1));
}

/// `x < 0 ? … : value` for an x that is not negative: what counts a slice's bounds from the end.
static Value unwrappedBound(arith::SelectOp select) {
  auto compare = select.getCondition().getDefiningOp<arith::CmpIOp>();
  bool never = compare && compare.getPredicate() == arith::CmpIPredicate::slt &&
               getConstantIntValue(compare.getRhs()) == 0 && isNonNegative(compare.getLhs());
  return never ? select.getFalseValue() : Value();
}

/// `x == 1 ? y : x`, the size that sizes x and y are broadcast to: 0 if one of them is 0, else the larger one.
static std::optional<std::string> broadcastText(arith::SelectOp select) {
  auto isOne = select.getCondition().getDefiningOp<arith::CmpIOp>();
  if (!isOne || isOne.getPredicate() != arith::CmpIPredicate::eq || isOne.getLhs() != select.getFalseValue() ||
      getConstantIntValue(isOne.getRhs()) != 1)
    return std::nullopt;
  std::optional<std::string> x = dimText(select.getFalseValue()), y = dimText(select.getTrueValue());
  if (!x || !y)
    return std::nullopt;
  std::string both = "(" + *x + ", " + *y + ")";
  return "max" + both + " * min(1, min" + both + ")";
}

/// The map's result over the texts of its operands.
static std::optional<std::string> applyText(affine::AffineApplyOp op) {
  SmallVector<std::string> operands;
  for (Value operand : op.getMapOperands()) {
    std::optional<std::string> text = dimText(operand);
    if (!text)
      return std::nullopt;
    operands.push_back("(" + *text + ")");
  }
  // Dims come before symbols in the operands; as symbols all of them.
  AffineMap map = op.getAffineMap();
  SmallVector<AffineExpr> dims, symbols;
  for (unsigned i = 0; i < operands.size(); ++i)
    (i < map.getNumDims() ? dims : symbols).push_back(getAffineSymbolExpr(i, op.getContext()));
  AffineExpr expr = map.getResult(0).replaceDimsAndSymbols(dims, symbols);
  return printDim(expr, [&](unsigned position) { return operands[position]; });
}

memref::AllocOp caat::allocationOf(Value buffer) {
  while (auto view = buffer.getDefiningOp<ViewLikeOpInterface>())
    buffer = view.getViewSource();
  return buffer.getDefiningOp<memref::AllocOp>();
}

std::optional<std::string> caat::dimText(Value index) {
  if (std::optional<int64_t> constant = getConstantIntValue(index))
    return std::to_string(*constant);
  Operation *op = index.getDefiningOp();
  if (!op)
    return std::nullopt;
  if (auto dim = dyn_cast<rt::DimOp>(op))
    return dim.getName().str();
  if (isa<arith::AddIOp>(op))
    return binaryText(op, "+");
  if (isa<arith::SubIOp>(op))
    return binaryText(op, "-");
  if (isa<arith::MulIOp>(op))
    return binaryText(op, "*");
  if (isa<arith::DivUIOp, arith::DivSIOp, arith::FloorDivSIOp>(op))
    return binaryText(op, "floordiv");
  if (isa<arith::MinSIOp>(op))
    return callText(op, "min");
  if (isa<arith::MaxSIOp>(op) && getConstantIntValue(op->getOperand(1)) == 0 && isNonNegative(op->getOperand(0)))
    return dimText(op->getOperand(0));
  if (isa<arith::MaxSIOp>(op))
    return callText(op, "max");
  if (auto select = dyn_cast<arith::SelectOp>(op)) {
    if (Value bound = unwrappedBound(select))
      return dimText(bound);
    return broadcastText(select);
  }
  if (isa<arith::IndexCastOp, arith::IndexCastUIOp>(op))
    return dimText(op->getOperand(0));
  if (auto apply = dyn_cast<affine::AffineApplyOp>(op))
    return applyText(apply);
  return std::nullopt;
}

static std::optional<SmallVector<std::string>> texts(ArrayRef<OpFoldResult> sizes) {
  SmallVector<std::string> result;
  for (OpFoldResult size : sizes) {
    std::optional<int64_t> constant = getConstantIntValue(size);
    std::optional<std::string> text = constant ? std::to_string(*constant) : dimText(cast<Value>(size));
    if (!text)
      return std::nullopt;
    result.push_back(*text);
  }
  return result;
}

std::optional<SmallVector<std::string>> caat::sizeTexts(Value memref) {
  auto type = cast<MemRefType>(memref.getType());
  Operation *op = memref.getDefiningOp();
  Builder b(memref.getContext());
  auto mixed = [&](ValueRange dynamic) { return texts(getMixedValues(type.getShape(), dynamic, b)); };
  if (type.hasStaticShape())
    return mixed({});
  if (auto buffer = dyn_cast_or_null<rt::BufferOp>(op))
    return mixed(buffer.getSizes());
  if (auto alloc = dyn_cast_or_null<memref::AllocOp>(op))
    return mixed(alloc.getDynamicSizes());
  if (auto view = dyn_cast_or_null<memref::ViewOp>(op))
    return mixed(view.getSizes());
  if (auto view = dyn_cast_or_null<memref::SubViewOp>(op); view && view.getSourceType().getRank() == type.getRank())
    return texts(view.getMixedSizes());
  if (auto cast = dyn_cast_or_null<memref::ReinterpretCastOp>(op))
    return texts(cast.getMixedSizes());
  if (auto cast = dyn_cast_or_null<memref::CastOp>(op))
    return sizeTexts(cast.getSource());
  if (auto expand = dyn_cast_or_null<memref::ExpandShapeOp>(op))
    return texts(expand.getMixedOutputShape());
  if (auto collapse = dyn_cast_or_null<memref::CollapseShapeOp>(op)) {
    std::optional<SmallVector<std::string>> source = sizeTexts(collapse.getSrc());
    if (!source)
      return std::nullopt;
    SmallVector<std::string> result;
    for (auto group : collapse.getReassociationIndices()) {
      std::string product;
      for (int64_t d : group)
        product += (product.empty() ? "(" : " * (") + (*source)[d] + ")";
      result.push_back(product);
    }
    return result;
  }
  return std::nullopt;
}
