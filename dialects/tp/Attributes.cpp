// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Syntax and invariants of the attributes.
#include "dialects/tp/Syntax.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/ADT/TypeSwitch.h"
#include <cmath>

using namespace mlir;
using namespace caat::tp;

#define GET_ATTRDEF_CLASSES
#include "dialects/tp/Attributes.cpp.inc"

using EmitError = llvm::function_ref<InFlightDiagnostic()>;

//===-- Pieces ----------------------------------------------------------------------------------------------------===//

SmallVector<Piece> caat::tp::getPieces(ArrayAttr pieces, int64_t rank) {
  SmallVector<Piece> result;
  ArrayRef<int64_t> flat = cast<DenseI64ArrayAttr>(pieces[rank]).asArrayRef();
  for (size_t i = 0; i + 1 < flat.size(); i += 2)
    result.push_back({flat[i], flat[i + 1]});
  return result;
}

ArrayAttr caat::tp::getPiecesAttr(MLIRContext *context, ArrayRef<SmallVector<Piece>> pieces) {
  SmallVector<Attribute> ranks;
  for (const SmallVector<Piece> &own : pieces) {
    SmallVector<int64_t> flat;
    for (Piece piece : own)
      flat.append({piece.start, piece.length});
    ranks.push_back(DenseI64ArrayAttr::get(context, flat));
  }
  return ArrayAttr::get(context, ranks);
}

LogicalResult caat::tp::detail::verifyPieces(ArrayAttr pieces, int64_t extent, EmitError emitError) {
  if (pieces.empty())
    return emitError() << "pieces must be given for at least one rank";
  for (auto [rank, attr] : llvm::enumerate(pieces)) {
    auto flat = dyn_cast<DenseI64ArrayAttr>(attr);
    if (!flat || flat.size() % 2 != 0)
      return emitError() << "pieces of rank " << rank << " must be pairs of start and length";
    int64_t total = 0;
    for (Piece piece : getPieces(pieces, rank)) {
      if (piece.start < 0 || piece.length < 0 || piece.start > extent || piece.length > extent - piece.start)
        return emitError() << "piece [" << piece.start << ", " << piece.length << "] of rank " << rank
                           << " lies outside [0, " << extent << ")";
      if (llvm::AddOverflow(total, piece.length, total))
        return emitError() << "pieces of rank " << rank << " have more elements than can be counted";
    }
  }
  return success();
}

/// [[[start, length], …], …]: one list of pairs per rank.
ParseResult caat::tp::parsePieceLists(AsmParser &parser, ArrayAttr &pieces) {
  SmallVector<SmallVector<Piece>> ranks;
  auto parseRank = [&]() -> ParseResult {
    SmallVector<Piece> &own = ranks.emplace_back();
    return parser.parseCommaSeparatedList(AsmParser::Delimiter::Square, [&]() -> ParseResult {
      Piece &piece = own.emplace_back();
      return failure(parser.parseLSquare() || parser.parseInteger(piece.start) || parser.parseComma() ||
                     parser.parseInteger(piece.length) || parser.parseRSquare());
    });
  };
  if (parser.parseCommaSeparatedList(AsmParser::Delimiter::Square, parseRank))
    return failure();
  pieces = getPiecesAttr(parser.getContext(), ranks);
  return success();
}

void caat::tp::printPieceLists(AsmPrinter &printer, ArrayAttr pieces) {
  printer << "[";
  for (size_t rank = 0; rank < pieces.size(); ++rank) {
    printer << (rank ? ", [" : "[");
    llvm::interleaveComma(getPieces(pieces, rank), printer.getStream(),
                          [&](Piece piece) { printer << "[" << piece.start << ", " << piece.length << "]"; });
    printer << "]";
  }
  printer << "]";
}

//===-- #tp.axes --------------------------------------------------------------------------------------------------===//

Attribute AxesAttr::parse(AsmParser &parser, Type) {
  SmallVector<StringAttr> names;
  SmallVector<int64_t> sizes;
  auto parseAxis = [&]() -> ParseResult {
    std::string name;
    int64_t size;
    if (parser.parseString(&name) || parser.parseEqual() || parser.parseInteger(size))
      return failure();
    names.push_back(StringAttr::get(parser.getContext(), name));
    sizes.push_back(size);
    return success();
  };
  if (parser.parseLess() || parser.parseCommaSeparatedList(AsmParser::Delimiter::Square, parseAxis) ||
      parser.parseGreater())
    return {};
  return parser.getChecked<AxesAttr>(parser.getContext(), names, sizes);
}

void AxesAttr::print(AsmPrinter &printer) const {
  printer << "<[";
  llvm::interleaveComma(llvm::zip(getNames(), getSizes()), printer.getStream(),
                        [&](auto axis) { printer << std::get<0>(axis) << " = " << std::get<1>(axis); });
  printer << "]>";
}

LogicalResult AxesAttr::verify(EmitError emitError, ArrayRef<StringAttr> names, ArrayRef<int64_t> sizes) {
  if (names.empty())
    return emitError() << "a mesh has at least one axis";
  llvm::StringSet<> seen;
  constexpr int64_t kMostRanks = 1024;
  int64_t ranks = 1;
  for (auto [name, size] : llvm::zip(names, sizes)) {
    if (name.empty())
      return emitError() << "the name of an axis must not be empty";
    if (!seen.insert(name.getValue()).second)
      return emitError() << "axis " << name << " is named twice";
    if (size < 1)
      return emitError() << "axis " << name << " has size " << size << ", below 1";
    if (size > kMostRanks / ranks)
      return emitError() << "a mesh has at most " << kMostRanks << " ranks";
    ranks *= size;
  }
  return success();
}

//===-- #tp.shard -------------------------------------------------------------------------------------------------===//

Attribute ShardAttr::parse(AsmParser &parser, Type) {
  int64_t dim, global;
  ArrayAttr pieces;
  if (parser.parseLess() || parser.parseKeyword("dim") || parser.parseEqual() || parser.parseInteger(dim) ||
      parser.parseComma() || parser.parseKeyword("global") || parser.parseEqual() || parser.parseInteger(global) ||
      parser.parseComma() || parser.parseKeyword("pieces") || parser.parseEqual() || parsePieceLists(parser, pieces) ||
      parser.parseGreater())
    return {};
  return parser.getChecked<ShardAttr>(parser.getContext(), dim, global, pieces);
}

void ShardAttr::print(AsmPrinter &printer) const {
  printer << "<dim = " << getDim() << ", global = " << getGlobal() << ", pieces = ";
  printPieceLists(printer, getPieces());
  printer << ">";
}

LogicalResult ShardAttr::verify(EmitError emitError, int64_t dim, int64_t global, ArrayAttr pieces) {
  if (dim < 0)
    return emitError() << "dim " << dim << " is negative";
  if (global < 1)
    return emitError() << "global is " << global << ", below 1";
  return caat::tp::detail::verifyPieces(pieces, global, emitError);
}

int64_t ShardAttr::getLength(int64_t rank) const {
  int64_t length = 0;
  for (Piece piece : caat::tp::getPieces(getPieces(), rank))
    length += piece.length;
  return length;
}

//===-- #tp.sharding ----------------------------------------------------------------------------------------------===//

/// ["a", "b"]
static ParseResult parseAxisSet(AsmParser &parser, ArrayAttr &axes) {
  SmallVector<Attribute> names;
  auto parseName = [&]() -> ParseResult {
    std::string name;
    if (parser.parseString(&name))
      return failure();
    names.push_back(StringAttr::get(parser.getContext(), name));
    return success();
  };
  if (parser.parseCommaSeparatedList(AsmParser::Delimiter::Square, parseName))
    return failure();
  axes = ArrayAttr::get(parser.getContext(), names);
  return success();
}

static void printAxisSet(AsmPrinter &printer, ArrayAttr axes) { printer << axes; }

Attribute ShardingAttr::parse(AsmParser &parser, Type) {
  SmallVector<ArrayAttr> dims;
  ArrayAttr unreduced = ArrayAttr::get(parser.getContext(), {}), privateAxes = unreduced;
  if (parser.parseLess() || parser.parseCommaSeparatedList(AsmParser::Delimiter::Square,
                                                           [&]() { return parseAxisSet(parser, dims.emplace_back()); }))
    return {};
  while (succeeded(parser.parseOptionalComma())) {
    StringRef keyword;
    if (parser.parseKeyword(&keyword))
      return {};
    if (keyword != "unreduced" && keyword != "private") {
      parser.emitError(parser.getCurrentLocation(), "expected 'unreduced' or 'private', not '") << keyword << "'";
      return {};
    }
    if (parser.parseEqual() || parseAxisSet(parser, keyword == "unreduced" ? unreduced : privateAxes))
      return {};
  }
  if (parser.parseGreater())
    return {};
  return parser.getChecked<ShardingAttr>(parser.getContext(), dims, unreduced, privateAxes);
}

void ShardingAttr::print(AsmPrinter &printer) const {
  printer << "<[";
  llvm::interleaveComma(getDims(), printer.getStream(), [&](ArrayAttr axes) { printAxisSet(printer, axes); });
  printer << "]";
  if (!getUnreduced().empty()) {
    printer << ", unreduced = ";
    printAxisSet(printer, getUnreduced());
  }
  if (!getPrivateAxes().empty()) {
    printer << ", private = ";
    printAxisSet(printer, getPrivateAxes());
  }
  printer << ">";
}

LogicalResult ShardingAttr::verify(EmitError emitError, ArrayRef<ArrayAttr> dims, ArrayAttr unreduced,
                                   ArrayAttr privateAxes) {
  llvm::StringSet<> seen;
  SmallVector<ArrayAttr> sets(dims);
  sets.append({unreduced, privateAxes});
  for (ArrayAttr axes : sets)
    for (Attribute attr : axes) {
      auto name = dyn_cast<StringAttr>(attr);
      if (!name || name.empty())
        return emitError() << "the name of an axis must be a string that is not empty";
      if (!seen.insert(name.getValue()).second)
        return emitError() << "axis " << name << " is used twice";
    }
  return success();
}

ShardingAttr ShardingAttr::getReplicated(MLIRContext *context, int64_t rank) {
  ArrayAttr none = ArrayAttr::get(context, {});
  return get(context, SmallVector<ArrayAttr>(rank, none), none, none);
}

bool ShardingAttr::isReplicated() const {
  return getUnreduced().empty() && getPrivateAxes().empty() &&
         llvm::all_of(getDims(), [](ArrayAttr axes) { return axes.empty(); });
}

//===-- #tp.rounding ----------------------------------------------------------------------------------------------===//

Attribute RoundingAttr::parse(AsmParser &parser, Type) {
  int64_t bits = 0, block = 32;
  SmallVector<int64_t> exact;
  bool feedback = true;
  auto parseParameter = [&]() -> ParseResult {
    StringRef keyword, word;
    llvm::SMLoc location = parser.getCurrentLocation();
    if (parser.parseKeyword(&keyword) || parser.parseEqual())
      return failure();
    if (keyword == "bits")
      return parser.parseInteger(bits);
    if (keyword == "block")
      return parser.parseInteger(block);
    if (keyword == "exact")
      return parser.parseCommaSeparatedList(AsmParser::Delimiter::Square,
                                            [&]() { return parser.parseInteger(exact.emplace_back()); });
    if (keyword != "feedback")
      return parser.emitError(location, "unknown parameter '") << keyword << "' of a rounding";
    location = parser.getCurrentLocation();
    if (parser.parseKeyword(&word))
      return failure();
    feedback = word == "true";
    return feedback || word == "false" ? ParseResult(success())
                                       : parser.emitError(location, "expected 'true' or 'false', not '") << word << "'";
  };
  if (parser.parseCommaSeparatedList(AsmParser::Delimiter::LessGreater, parseParameter))
    return {};
  return parser.getChecked<RoundingAttr>(parser.getContext(), bits, block, exact, feedback);
}

void RoundingAttr::print(AsmPrinter &printer) const {
  printer << "<bits = " << getBits() << ", block = " << getBlock();
  if (!getExact().empty()) {
    printer << ", exact = [";
    llvm::interleaveComma(getExact(), printer.getStream());
    printer << "]";
  }
  printer << ", feedback = " << (getFeedback() ? "true" : "false") << ">";
}

LogicalResult RoundingAttr::verify(EmitError emitError, int64_t bits, int64_t block, ArrayRef<int64_t> exact,
                                   bool feedback) {
  return caat::tp::detail::verifyRounding(bits, block, exact, emitError);
}

LogicalResult caat::tp::detail::verifyRounding(int64_t bits, int64_t block, ArrayRef<int64_t> exact,
                                               EmitError emitError) {
  if (bits != 8 && bits != 4 && bits != 3)
    return emitError() << "bits is " << bits << ", not 8, 4 or 3";
  if (block < 8 || block > 1024 || block % 8 != 0)
    return emitError() << "block is " << block << ", no multiple of 8 in [8, 1024]";
  for (size_t i = 0; i < exact.size(); ++i)
    if (exact[i] < 0 || (i > 0 && exact[i] <= exact[i - 1]))
      return emitError() << "exact must list channels in ascending order, and has " << exact[i] << " at " << i;
  return success();
}

//===-- #tp.low_rank ----------------------------------------------------------------------------------------------===//

LogicalResult LowRankAttr::verify(EmitError emitError, DenseElementsAttr u, DenseElementsAttr v, Feature feature) {
  ShapedType uType = u.getType(), vType = v.getType();
  if (uType.getRank() != 3 || vType.getRank() != 3 || !isa<FloatType>(u.getElementType()) ||
      u.getElementType() != v.getElementType())
    return emitError() << "u and v need three dimensions and one floating-point type";
  int64_t channels = uType.getDimSize(1);
  int64_t length = feature == Feature::Both ? 2 * channels : channels;
  if (vType.getShape() != ArrayRef({uType.getDimSize(0), uType.getDimSize(2), length}))
    return emitError() << "u of " << uType << " needs a v of [" << uType.getDimSize(0) << ", " << uType.getDimSize(2)
                       << ", " << length << "], not " << vType;
  return success();
}

//===-- #tp.policy ------------------------------------------------------------------------------------------------===//

static FloatAttr getScaleAttr(MLIRContext *context, double scale) {
  return FloatAttr::get(Float64Type::get(context), scale);
}

PolicyAttr PolicyAttr::getFull(MLIRContext *context, RoundingAttr rounding, DenseI64ArrayAttr order) {
  return get(context, SyncKind::Full, 0, Rest::Deferred, getScaleAttr(context, 1.0), order, {}, {}, {}, rounding);
}

bool PolicyAttr::isReduced(int64_t channel, int64_t channels) const {
  int64_t reduced = getReduced(channels);
  if (!getOrder() || reduced == channels)
    return channel >= 0 && channel < reduced;
  return llvm::is_contained(getOrder().asArrayRef().take_front(reduced), channel);
}

bool PolicyAttr::hasFeedback() const { return getRounding() && getRounding().getFeedback(); }

Attribute PolicyAttr::parse(AsmParser &parser, Type) {
  MLIRContext *context = parser.getContext();
  int64_t shared = 0;
  Rest rest = Rest::Deferred;
  double scale = 1.0;
  DenseI64ArrayAttr order;
  DenseElementsAttr estimateScale, estimateOffset;
  LowRankAttr lowRank;
  RoundingAttr rounding;
  StringRef keyword;
  llvm::SMLoc location = parser.getCurrentLocation();
  if (parser.parseLess() || parser.parseKeyword(&keyword))
    return {};
  std::optional<SyncKind> kind = symbolizeSyncKind(keyword);
  if (!kind) {
    parser.emitError(location, "expected 'full' or 'partial', not '") << keyword << "'";
    return {};
  }
  while (succeeded(parser.parseOptionalComma())) {
    location = parser.getCurrentLocation();
    if (parser.parseKeyword(&keyword) || parser.parseEqual())
      return {};
    if (keyword == "shared") {
      if (parser.parseInteger(shared))
        return {};
    } else if (keyword == "rest") {
      StringRef word;
      if (parser.parseKeyword(&word))
        return {};
      std::optional<Rest> parsed = symbolizeRest(word);
      if (!parsed) {
        parser.emitError(location, "expected 'deferred' or 'private', not '") << word << "'";
        return {};
      }
      rest = *parsed;
    } else if (keyword == "scale") {
      if (parser.parseFloat(scale))
        return {};
    } else if (keyword == "order") {
      SmallVector<int64_t> channels;
      if (parser.parseCommaSeparatedList(AsmParser::Delimiter::Square,
                                         [&]() { return parser.parseInteger(channels.emplace_back()); }))
        return {};
      order = DenseI64ArrayAttr::get(context, channels);
    } else if (keyword == "estimate") {
      if (parser.parseLSquare() || parser.parseAttribute(estimateScale) || parser.parseComma() ||
          parser.parseAttribute(estimateOffset) || parser.parseRSquare())
        return {};
    } else if (keyword == "low_rank") {
      if (parser.parseCustomAttributeWithFallback(lowRank))
        return {};
    } else if (keyword == "rounding") {
      if (parser.parseCustomAttributeWithFallback(rounding))
        return {};
    } else {
      parser.emitError(location, "unknown parameter '") << keyword << "' of a policy";
      return {};
    }
  }
  if (parser.parseGreater())
    return {};
  return parser.getChecked<PolicyAttr>(context, *kind, shared, rest, getScaleAttr(context, scale), order, estimateScale,
                                       estimateOffset, lowRank, rounding);
}

void PolicyAttr::print(AsmPrinter &printer) const {
  printer << "<" << stringifySyncKind(getKind());
  if (!isFull()) {
    printer << ", shared = " << getShared() << ", rest = " << stringifyRest(getRest());
    if (getScaleValue() != 1.0) {
      printer << ", scale = ";
      printer.printFloat(getScale().getValue());
    }
  }
  if (getOrder()) {
    printer << ", order = [";
    llvm::interleaveComma(getOrder().asArrayRef(), printer.getStream());
    printer << "]";
  }
  if (getEstimateScale())
    printer << ", estimate = [" << getEstimateScale() << ", " << getEstimateOffset() << "]";
  if (getLowRank()) {
    printer << ", low_rank = ";
    printer.printStrippedAttrOrType(getLowRank());
  }
  if (getRounding()) {
    printer << ", rounding = ";
    printer.printStrippedAttrOrType(getRounding());
  }
  printer << ">";
}

LogicalResult PolicyAttr::verify(EmitError emitError, SyncKind kind, int64_t shared, Rest rest, FloatAttr scale,
                                 DenseI64ArrayAttr order, DenseElementsAttr estimateScale,
                                 DenseElementsAttr estimateOffset, LowRankAttr lowRank, RoundingAttr rounding) {
  double value = scale.getValueAsDouble();
  if (kind == SyncKind::Full &&
      (shared != 0 || rest != Rest::Deferred || value != 1.0 || estimateScale || (order && !rounding)))
    return emitError() << "a full policy has no other parameter than rounding and, beside it, order";
  if (shared < 0)
    return emitError() << "shared is " << shared << ", below 0";
  if (!std::isfinite(value))
    return emitError() << "scale must be finite";
  if (value != 1.0 && rest != Rest::Private)
    return emitError() << "scale " << value << " needs private channels: deferred ones are not scaled";
  if (estimateScale && rest != Rest::Deferred)
    return emitError() << "an estimate needs deferred channels";
  if (bool(estimateScale) != bool(estimateOffset) ||
      (estimateScale && (estimateScale.getType() != estimateOffset.getType() ||
                         estimateScale.getType().getRank() != 2 || !isa<FloatType>(estimateScale.getElementType()))))
    return emitError() << "an estimate needs two matrices of one floating-point type";
  if (lowRank && (!estimateScale || estimateScale.getElementType() != lowRank.getU().getElementType() ||
                  estimateScale.getType().getShape() != lowRank.getU().getType().getShape().take_front(2)))
    return emitError() << "low_rank needs an estimate of the same ranks, channels and type";
  if (order) {
    SmallVector<bool> seen(order.size());
    for (int64_t channel : order.asArrayRef()) {
      if (channel < 0 || channel >= order.size() || seen[channel])
        return emitError() << "order is no permutation of 0 to " << order.size() - 1 << ": channel " << channel
                           << (channel < 0 || channel >= order.size() ? " is out of range" : " occurs twice");
      seen[channel] = true;
    }
  }
  return success();
}

void TPDialect::registerAttributes() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialects/tp/Attributes.cpp.inc"
      >();
}
