// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Registration, custom assembly and effects of the tp dialect.
#include "dialects/tp/Syntax.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "mlir/Interfaces/FunctionInterfaces.h"

using namespace mlir;
using namespace caat::tp;

//===-- Custom directives -----------------------------------------------------------------------------------------===//

static ParseResult parseInt(OpAsmParser &parser, IntegerAttr &attr) {
  int64_t value;
  if (parser.parseInteger(value))
    return failure();
  attr = parser.getBuilder().getI64IntegerAttr(value);
  return success();
}

static void printInt(OpAsmPrinter &printer, Operation *, IntegerAttr attr) { printer << attr.getInt(); }

static ParseResult parsePieces(OpAsmParser &parser, ArrayAttr &pieces) { return parsePieceLists(parser, pieces); }

static void printPieces(OpAsmPrinter &printer, Operation *, ArrayAttr pieces) { printPieceLists(printer, pieces); }

/// ["a", "b"]
static ParseResult parseNames(OpAsmParser &parser, ArrayAttr &names) {
  SmallVector<Attribute> attrs;
  auto parseName = [&]() -> ParseResult {
    std::string name;
    if (parser.parseString(&name))
      return failure();
    attrs.push_back(parser.getBuilder().getStringAttr(name));
    return success();
  };
  if (parser.parseCommaSeparatedList(AsmParser::Delimiter::Square, parseName))
    return failure();
  names = parser.getBuilder().getArrayAttr(attrs);
  return success();
}

static void printNames(OpAsmPrinter &printer, Operation *, ArrayAttr names) { printer << names; }

/// One type: that of the operand, and of the result where it is a tensor.
static ParseResult parseSameType(OpAsmParser &parser, Type &input, Type &result) {
  if (parser.parseType(input))
    return failure();
  if (isa<TensorType>(input))
    result = input;
  return success();
}

static void printSameType(OpAsmPrinter &printer, Operation *, Type input, Type) { printer << input; }

/// [3, 7], or [] for none.
static ParseResult parseChannels(OpAsmParser &parser, DenseI64ArrayAttr &channels) {
  SmallVector<int64_t> list;
  if (parser.parseCommaSeparatedList(AsmParser::Delimiter::Square,
                                     [&]() { return parser.parseInteger(list.emplace_back()); }))
    return failure();
  channels = parser.getBuilder().getDenseI64ArrayAttr(list);
  return success();
}

static void printChannels(OpAsmPrinter &printer, Operation *, DenseI64ArrayAttr channels) {
  printer << "[";
  llvm::interleaveComma(channels.asArrayRef(), printer);
  printer << "]";
}

/// One type: that of the operand and the error, and of both results where it is a tensor.
static ParseResult parseQuantizedTypes(OpAsmParser &parser, Type &input, Type &error, SmallVectorImpl<Type> &results,
                                       std::optional<OpAsmParser::UnresolvedOperand> errorOperand) {
  if (parser.parseType(input))
    return failure();
  if (isa<TensorType>(input))
    results.assign(2, input);
  if (errorOperand)
    error = input;
  return success();
}

static void printQuantizedTypes(OpAsmPrinter &printer, Operation *, Type input, Type, TypeRange, Value) {
  printer << input;
}

/// `tensor -> tensor` or `memref into memref`.
static ParseResult parseOutTypes(OpAsmParser &parser, Type &input, Type &out, Type &result) {
  if (parser.parseType(input))
    return failure();
  if (succeeded(parser.parseOptionalKeyword("into")))
    return parser.parseType(out);
  if (succeeded(parser.parseOptionalArrow()))
    return parser.parseType(result);
  return parser.emitError(parser.getCurrentLocation(), "expected '->' and a tensor, or 'into' and a memref");
}

static void printOutTypes(OpAsmPrinter &printer, Operation *, Type input, Type out, Type result) {
  printer << input;
  if (out)
    printer << " into " << out;
  if (result)
    printer << " -> " << result;
}

/// One type for all values and the result.
static ParseResult parseBlockTypes(OpAsmParser &parser, SmallVectorImpl<Type> &values, Type &result,
                                   ArrayRef<OpAsmParser::UnresolvedOperand> operands) {
  if (parser.parseType(result))
    return failure();
  values.assign(operands.size(), result);
  return success();
}

static void printBlockTypes(OpAsmPrinter &printer, Operation *, TypeRange, Type result, ValueRange) {
  printer << result;
}

/// The stream's type, and that of the bias where there is one.
static ParseResult parseStreamTypes(OpAsmParser &parser, Type &base, Type &pending, Type &partial, Type &input,
                                    Type &bias, Type &newBase, Type &newPending,
                                    std::optional<OpAsmParser::UnresolvedOperand> baseOperand,
                                    std::optional<OpAsmParser::UnresolvedOperand> pendingOperand,
                                    std::optional<OpAsmParser::UnresolvedOperand> inputOperand,
                                    std::optional<OpAsmParser::UnresolvedOperand> biasOperand) {
  if (parser.parseType(partial))
    return failure();
  newBase = newPending = partial;
  if (baseOperand)
    base = partial;
  if (pendingOperand)
    pending = partial;
  if (inputOperand)
    input = partial;
  return biasOperand ? failure(parser.parseComma() || parser.parseType(bias)) : success();
}

static void printStreamTypes(OpAsmPrinter &printer, Operation *, Type, Type, Type partial, Type, Type bias, Type, Type,
                             Value, Value, Value, Value) {
  printer << partial;
  if (bias)
    printer << ", " << bias;
}

//===-- Effects ---------------------------------------------------------------------------------------------------===//

using Effects = SmallVectorImpl<SideEffects::EffectInstance<MemoryEffects::Effect>>;

static void getCollectiveEffects(CollectiveOpInterface op, Effects &effects) {
  effects.emplace_back(MemoryEffects::Write::get(), NetworkResource::get());
  for (OpOperand &operand : op->getOpOperands()) {
    if (!isa<BaseMemRefType>(operand.get().getType()))
      continue;
    bool isDestination = operand.get() == op.getDestination();
    if (!isDestination)
      effects.emplace_back(MemoryEffects::Read::get(), &operand, SideEffects::DefaultResource::get());
    if (isDestination || op.worksInPlace())
      effects.emplace_back(MemoryEffects::Write::get(), &operand, SideEffects::DefaultResource::get());
  }
}

void AllReduceOp::getEffects(Effects &effects) { getCollectiveEffects(*this, effects); }
void QuantizedAllReduceOp::getEffects(Effects &effects) { getCollectiveEffects(*this, effects); }
void BroadcastOp::getEffects(Effects &effects) { getCollectiveEffects(*this, effects); }
void PermuteOp::getEffects(Effects &effects) { getCollectiveEffects(*this, effects); }
void AllGatherOp::getEffects(Effects &effects) { getCollectiveEffects(*this, effects); }
void ReduceScatterOp::getEffects(Effects &effects) { getCollectiveEffects(*this, effects); }
void AllToAllOp::getEffects(Effects &effects) { getCollectiveEffects(*this, effects); }
void RotateOp::getEffects(Effects &effects) {
  effects.emplace_back(MemoryEffects::Write::get(), NetworkResource::get());
  // The buffers of the weights, which no operand stands for.
  effects.emplace_back(MemoryEffects::Write::get(), SideEffects::DefaultResource::get());
}
void SyncPointOp::getEffects(Effects &effects) {
  effects.emplace_back(MemoryEffects::Write::get(), NetworkResource::get());
}

//===-- Meshes ----------------------------------------------------------------------------------------------------===//

std::optional<int64_t> MeshOp::getAxisSize(StringRef axis) {
  for (auto [name, size] : llvm::zip(getAxes().getNames(), getAxes().getSizes()))
    if (name.getValue() == axis)
      return size;
  return std::nullopt;
}

int64_t MeshOp::getNumRanks() {
  int64_t ranks = 1;
  for (int64_t size : getAxes().getSizes())
    ranks *= size;
  return ranks;
}

MeshOp caat::tp::lookupMesh(Operation *from, FlatSymbolRefAttr mesh) {
  return SymbolTable::lookupNearestSymbolFrom<MeshOp>(from, mesh);
}

int64_t caat::tp::detail::getGroupSize(Operation *op, FlatSymbolRefAttr mesh, ArrayAttr axes) {
  MeshOp meshOp = lookupMesh(op, mesh);
  int64_t size = 1;
  for (Attribute axis : axes)
    size *= meshOp ? meshOp.getAxisSize(cast<StringAttr>(axis).getValue()).value_or(1) : 1;
  return size;
}

//===-- Dialect ---------------------------------------------------------------------------------------------------===//

LogicalResult TPDialect::verifyOperationAttribute(Operation *op, NamedAttribute attribute) {
  if (attribute.getName() == kPrivateAttrName) {
    auto site = dyn_cast<StringAttr>(attribute.getValue());
    return site && !site.empty() ? success() : op->emitOpError() << "'tp.private' must name a site";
  }
  if (attribute.getName() == kSyncAttrName) {
    auto sites = dyn_cast<ArrayAttr>(attribute.getValue());
    return sites && llvm::all_of(sites, llvm::IsaPred<DictionaryAttr>)
               ? success()
               : op->emitOpError() << "'tp.sync' must be a list of dictionaries";
  }
  if (attribute.getName() == kPlanAttrName)
    return isa<StringAttr>(attribute.getValue()) ? success() : op->emitOpError() << "'tp.plan' must be a digest";
  return op->emitOpError() << "unknown attribute '" << attribute.getName().getValue() << "' of the tp dialect";
}

static LogicalResult verifyShardAttr(Operation *op, NamedAttribute attribute, Type type, const Twine &what) {
  if (attribute.getName() != kShardAttrName)
    return op->emitOpError() << "unknown attribute '" << attribute.getName().getValue() << "' of the tp dialect";
  auto shard = dyn_cast<ShardAttr>(attribute.getValue());
  auto shaped = dyn_cast<ShapedType>(type);
  if (!shard || !shaped || !shaped.hasRank())
    return op->emitOpError() << "'tp.shard' of " << what << " must be a #tp.shard on a ranked tensor";
  if (shard.getDim() >= shaped.getRank())
    return op->emitOpError() << "'tp.shard' of " << what << " splits dimension " << shard.getDim() << " of " << type;
  for (int64_t rank = 0; rank < shard.getNumRanks(); ++rank)
    if (!shaped.isDynamicDim(shard.getDim()) && shard.getLength(rank) > shaped.getDimSize(shard.getDim()))
      return op->emitOpError() << "'tp.shard' of " << what << " gives rank " << rank << " " << shard.getLength(rank)
                               << " elements, more than " << type << " holds";
  return success();
}

LogicalResult TPDialect::verifyRegionArgAttribute(Operation *op, unsigned region, unsigned arg,
                                                  NamedAttribute attribute) {
  auto function = dyn_cast<FunctionOpInterface>(op);
  if (!function)
    return op->emitOpError() << "'" << attribute.getName().getValue() << "' belongs on arguments of functions";
  return verifyShardAttr(op, attribute, function.getArgumentTypes()[arg], "argument " + Twine(arg));
}

LogicalResult TPDialect::verifyRegionResultAttribute(Operation *op, unsigned region, unsigned result,
                                                     NamedAttribute attribute) {
  auto function = dyn_cast<FunctionOpInterface>(op);
  if (!function)
    return op->emitOpError() << "'" << attribute.getName().getValue() << "' belongs on results of functions";
  return verifyShardAttr(op, attribute, function.getResultTypes()[result], "result " + Twine(result));
}

void TPDialect::initialize() {
  registerAttributes();
  addOperations<
#define GET_OP_LIST
#include "dialects/tp/Ops.cpp.inc"
      >();
}

#include "dialects/tp/Dialect.cpp.inc"
#include "dialects/tp/Enums.cpp.inc"
#include "dialects/tp/Interfaces.cpp.inc"
#define GET_OP_CLASSES
#include "dialects/tp/Ops.cpp.inc"
