// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Lower/BlockStructure.h"
#include "dialects/tp/TP.h"
#include "llvm/ADT/TypeSwitch.h"
#include <map>
#include <numeric>

using namespace mlir;
using namespace caat;

static RankedTensorType typeOf(Value value) { return cast<RankedTensorType>(value.getType()); }
static int64_t normalized(int64_t axis, int64_t rank) { return axis < 0 ? axis + rank : axis; }
static int64_t product(ArrayRef<int64_t> sizes) {
  return std::accumulate(sizes.begin(), sizes.end(), int64_t(1), std::multiplies<>());
}

bool caat::movesElements(Operation *op) {
  return isa_and_nonnull<onnx::TransposeOp, onnx::ReshapeOp, onnx::FlattenOp, onnx::SqueezeOp, onnx::UnsqueezeOp,
                         onnx::IdentityOp, onnx::ExpandOp, onnx::SliceOp, onnx::GatherOp, onnx::PadOp, onnx::SplitOp,
                         onnx::ConcatOp, tp::ShardOp>(op);
}

OperandRange caat::movedOperands(Operation *op) {
  return isa<onnx::ConcatOp>(op) ? op->getOperands() : op->getOperands().take_front(1);
}

onnx::DequantizeLinearOp caat::dequantizationOf(Value value) {
  Operation *op = value.getDefiningOp();
  while (movesElements(op) || isa_and_nonnull<onnx::CastOp>(op))
    op = op->getOperand(0).getDefiningOp();
  return dyn_cast_or_null<onnx::DequantizeLinearOp>(op);
}

//===-- Codes -----------------------------------------------------------------------------------------------------===//

/// What `value` is but for the place of its elements.
static Value unmoved(Value value) {
  Operation *op = value.getDefiningOp();
  while (movesElements(op) && !isa<onnx::ConcatOp>(op)) {
    value = op->getOperand(0);
    op = value.getDefiningOp();
  }
  return value;
}

/// Bits of the integers in `value`, which may be unpacked into wider ones.
static unsigned bitsOf(Value value) {
  auto unpack = unmoved(value).getDefiningOp<onnx::UnpackOp>();
  return unpack ? unpack.getBits() : getElementTypeOrSelf(value).getIntOrFloatBitWidth();
}

/// The integer that all elements are. Zeros that are put beside it do not count: their scale is zero, too.
static std::optional<int64_t> splatOf(Value value) {
  auto constant = unmoved(value).getDefiningOp<onnx::ConstantOp>();
  auto elements = constant ? dyn_cast<DenseIntElementsAttr>(constant.getValue()) : DenseIntElementsAttr();
  if (!elements || !elements.isSplat())
    return std::nullopt;
  auto splat = elements.getSplatValue<APInt>();
  return elements.getElementType().isUnsignedInteger() ? splat.getZExtValue() : splat.getSExtValue();
}

std::optional<Codes> caat::codesOf(onnx::DequantizeLinearOp op) {
  Type element = getElementTypeOrSelf(op.getX());
  if (!element.isInteger(2) && !element.isInteger(4) && !element.isInteger(8))
    return std::nullopt;
  auto isUnsigned = [](Value value, unsigned bits) {
    Type type = getElementTypeOrSelf(value);
    return type.isUnsignedInteger() || bits < type.getIntOrFloatBitWidth();
  };
  Codes codes;
  codes.bits = bitsOf(op.getX());
  codes.lowest = isUnsigned(op.getX(), codes.bits) ? 0 : -(int64_t(1) << (codes.bits - 1));
  Value zero = op.getXZeroPoint();
  codes.zero = zero ? splatOf(zero) : std::optional<int64_t>(0);
  unsigned bits = std::max(4u, codes.bits);
  if (codes.zero)
    return *codes.zero >= codes.lowest && (*codes.zero - codes.lowest) >> bits == 0 ? std::optional(codes)
                                                                                    : std::nullopt;
  if (getElementTypeOrSelf(zero) != element || bitsOf(zero) > bits ||
      isUnsigned(zero, bitsOf(zero)) != (codes.lowest == 0))
    return std::nullopt;
  return codes;
}

//===-- Blocks ----------------------------------------------------------------------------------------------------===//

namespace {

/// Neighbouring dimensions of a value that together are K.
struct Group {
  unsigned first, last; // last is excluded
  bool contains(unsigned dim) const { return first <= dim && dim < last; }
};

/// What a value's elements are along K.
struct Strip {
  SmallVector<int64_t> blocks;     // for each place a number of the scale and offset there, below 0 for zeros
  unsigned bits = 4;               // that hold the codes: 4 or 8
  bool hasZeros = false;           // with zero points that are not known
  int64_t lowest = 0, highest = 0; // what codes can be beside their zero points, where these are known
  bool hasMinimum = false;         // with floats added
  bool hasHalves = true;           // scales are f16
};

/// Follows one rank's matrix down to its codes.
class Tracer {
public:
  Tracer(int64_t rank, std::string &why) : rank(rank), why(why) {}

  std::optional<Strip> trace(Value value, Group group) {
    std::tuple key(value.getAsOpaquePointer(), group.first, group.last);
    if (auto known = strips.find(key); known != strips.end())
      return known->second;
    constexpr int64_t kMostPlaces = 1 << 26;
    if (!onnx::storageBytes(typeOf(value)) || product(sizes(value, group)) > kMostPlaces)
      return refuse("it is cut from far more than it has");
    std::optional<Strip> strip = compute(cast<OpResult>(value), group);
    strips.try_emplace(key, strip);
    return strip;
  }

private:
  std::nullopt_t refuse(const Twine &reason) {
    if (why.empty())
      why = reason.str();
    return std::nullopt;
  }

  static ArrayRef<int64_t> sizes(Value value, Group group) {
    return typeOf(value).getShape().slice(group.first, group.last - group.first);
  }

  std::optional<Strip> compute(OpResult value, Group group) {
    Operation *op = value.getOwner();
    return llvm::TypeSwitch<Operation *, std::optional<Strip>>(op)
        .Case([&](onnx::DequantizeLinearOp op) { return traceCodes(op, group); })
        .Case([&](onnx::CastOp cast) -> std::optional<Strip> {
          if (!isa<FloatType>(getElementTypeOrSelf(cast.getInput())))
            return refuse("its values are integers that are cast");
          return trace(cast.getInput(), group);
        })
        .Case([&](onnx::IdentityOp identity) { return trace(identity.getInput(), group); })
        .Case([&](onnx::TransposeOp transpose) { return traceTranspose(transpose, group); })
        .Case<onnx::ReshapeOp, onnx::FlattenOp, onnx::SqueezeOp, onnx::UnsqueezeOp>(
            [&](Operation *op) { return traceReshape(op->getOperand(0), value, group); })
        .Case([&](onnx::ExpandOp expand) -> std::optional<Strip> {
          if (expand->getOperand(0).getType() != value.getType())
            return refuse("it is repeated");
          return trace(expand->getOperand(0), group);
        })
        .Case([&](tp::ShardOp shard) { return traceShard(shard, group); })
        .Case([&](onnx::SliceOp slice) { return traceSlice(slice, group); })
        .Case([&](onnx::GatherOp gather) { return traceGather(gather, group); })
        .Case([&](onnx::PadOp pad) { return tracePad(pad, group); })
        .Case([&](onnx::SplitOp split) { return traceSplit(split, value.getResultNumber(), group); })
        .Case([&](onnx::ConcatOp concat) { return traceConcat(concat, group); })
        .Case([&](onnx::SubOp sub) { return traceMinimum(sub.getA(), sub.getB(), value, group); })
        .Case([&](onnx::AddOp add) -> std::optional<Strip> {
          bool second = !dequantizationOf(add.getA());
          return traceMinimum(second ? add.getB() : add.getA(), second ? add.getA() : add.getB(), value, group);
        })
        .Default([&](Operation *op) {
          return refuse("its values are computed by " + op->getName().getStringRef() + ", not moved");
        });
  }

  /// Whether numbers are f16 in the file.
  static bool areHalves(Value value) {
    value = unmoved(value);
    while (auto cast = value.getDefiningOp<onnx::CastOp>())
      value = unmoved(cast.getInput());
    return getElementTypeOrSelf(value).isF16();
  }

  std::optional<Strip> traceCodes(onnx::DequantizeLinearOp op, Group group) {
    std::optional<Codes> codes = codesOf(op);
    if (!codes)
      return refuse("its codes are not of 2, 4 or 8 bits");
    RankedTensorType type = typeOf(op.getX()), scale = typeOf(op.getXScale());
    Type element = scale.getElementType();
    if (!element.isF32() && !element.isF16() && !element.isBF16())
      return refuse("its scales are not of 16 or 32 bits");
    Strip strip;
    strip.bits = std::max(4u, codes->bits);
    strip.hasHalves = element.isF16() || areHalves(op.getXScale());
    strip.hasZeros = !codes->zero;
    if (codes->zero) {
      strip.lowest = codes->lowest - *codes->zero;
      strip.highest = codes->highest() - *codes->zero;
    }
    ArrayRef<int64_t> extents = sizes(op.getY(), group);
    strip.blocks.assign(product(extents), 0);
    if (scale.getNumElements() == 1)
      return strip;
    int64_t axis = normalized(op.getAxis(), type.getRank()), block = op.getBlockSize();
    if (block == 0 && !group.contains(axis))
      return strip;
    if (!group.contains(axis)) // a scale for each place of K
      std::iota(strip.blocks.begin(), strip.blocks.end(), 0);
    else {
      int64_t inner = product(extents.drop_front(axis + 1 - group.first)), extent = type.getDimSize(axis);
      for (auto [place, number] : llvm::enumerate(strip.blocks)) {
        int64_t i = static_cast<int64_t>(place) / inner % extent, slice = static_cast<int64_t>(place) / inner / extent;
        number = block == 0 ? i : (slice * extent + i / block) * inner + static_cast<int64_t>(place) % inner;
      }
    }
    return strip;
  }

  /// The strip of a result whose dimension `dim` has, at i, what the operand has at map[i], or zeros below 0.
  static Strip mapped(Strip strip, Value operand, Group group, unsigned dim, ArrayRef<int64_t> map) {
    ArrayRef<int64_t> extents = sizes(operand, group);
    int64_t inner = product(extents.drop_front(dim + 1 - group.first)), extent = extents[dim - group.first];
    int64_t outer = product(extents.take_front(dim - group.first));
    SmallVector<int64_t> blocks;
    for (int64_t o = 0; o < outer; ++o)
      for (int64_t i : map)
        for (int64_t r = 0; r < inner; ++r)
          blocks.push_back(i < 0 ? -1 : strip.blocks[(o * extent + i) * inner + r]);
    strip.blocks = std::move(blocks);
    return strip;
  }

  std::optional<Strip> traceMapped(Value operand, Group group, unsigned dim, ArrayRef<int64_t> map) {
    std::optional<Strip> strip = trace(operand, group);
    if (!strip || !group.contains(dim))
      return strip;
    int64_t extent = typeOf(operand).getDimSize(dim);
    if (llvm::any_of(map, [&](int64_t i) { return i >= extent; }))
      return refuse("it is read outside of its bounds");
    return mapped(std::move(*strip), operand, group, dim, map);
  }

  static SmallVector<int64_t> range(int64_t start, int64_t count, int64_t step = 1) {
    SmallVector<int64_t> result;
    for (int64_t i = 0; i < count; ++i)
      result.push_back(start + i * step);
    return result;
  }

  std::optional<Strip> traceTranspose(onnx::TransposeOp op, Group group) {
    int64_t rank = typeOf(op.getTransposed()).getRank();
    auto from = [&](int64_t d) { return op.getPerm() ? (*op.getPerm())[d] : rank - 1 - d; };
    for (unsigned d = group.first; d + 1 < group.last; ++d)
      if (from(d + 1) != from(d) + 1)
        return refuse("a transposition mixes its columns");
    unsigned first = from(group.first);
    return trace(op.getData(), {first, first + group.last - group.first});
  }

  /// The dimensions of the operand that are as many places and stand where the group does.
  std::optional<Strip> traceReshape(Value operand, Value result, Group group) {
    ArrayRef<int64_t> shape = typeOf(operand).getShape();
    int64_t before = product(typeOf(result).getShape().take_front(group.first)), count = product(sizes(result, group));
    unsigned first = 0, last;
    for (int64_t passed = 1; first < shape.size() && (passed < before || shape[first] == 1); ++first)
      passed *= shape[first];
    int64_t places = 1;
    for (last = first; last < shape.size() && places < count; ++last)
      places *= shape[last];
    if (product(shape.take_front(first)) != before || places != count || first == last)
      return refuse("a Reshape mixes rows and columns");
    return trace(operand, {first, last});
  }

  std::optional<Strip> traceShard(tp::ShardOp op, Group group) {
    SmallVector<int64_t> map;
    if (rank >= static_cast<int64_t>(op.getPieces().size()))
      return refuse("its shards are of fewer ranks than others");
    auto pieces = cast<DenseI64ArrayAttr>(op.getPieces()[rank]).asArrayRef();
    for (size_t i = 0; i + 1 < pieces.size(); i += 2)
      if (pieces[i] < 0)
        map.append(pieces[i + 1], -1);
      else
        llvm::append_range(map, range(pieces[i], pieces[i + 1]));
    map.resize(op.getSize(), -1);
    return traceMapped(op.getInput(), group, op.getDim(), map);
  }

  std::optional<Strip> traceSlice(onnx::SliceOp op, Group group) {
    ArrayRef<int64_t> shape = typeOf(op.getData()).getShape(), sizes = typeOf(op.getOutput()).getShape();
    auto starts = onnx::constantInts(op.getStarts());
    auto axes = op.getAxes() ? onnx::constantInts(op.getAxes()) : range(0, starts ? starts->size() : 0);
    auto steps =
        op.getSteps() ? onnx::constantInts(op.getSteps()) : SmallVector<int64_t>(starts ? starts->size() : 0, 1);
    if (!starts || !axes || !steps || axes->size() != starts->size() || steps->size() != starts->size())
      return refuse("the bounds of a Slice are not known");
    std::optional<Strip> strip = trace(op.getData(), group);
    // A group of several dimensions is sliced in one of them at a time, of which the others are whole yet.
    unsigned inGroup = 0;
    for (auto [start, axis, step] : llvm::zip_equal(*starts, *axes, *steps)) {
      unsigned dim = normalized(axis, shape.size());
      if (!strip || dim >= shape.size() || !group.contains(dim))
        continue;
      if (++inGroup > 1)
        return refuse("a Slice of several dimensions mixes its columns");
      int64_t size = shape[dim], first = start < 0 ? start + size : start;
      first = std::clamp<int64_t>(first, 0, step > 0 ? size : size - 1);
      strip = traceMapped(op.getData(), group, dim, range(first, sizes[dim], step));
    }
    return strip;
  }

  std::optional<Strip> traceGather(onnx::GatherOp op, Group group) {
    RankedTensorType data = typeOf(op.getData()), indices = typeOf(op.getIndices());
    unsigned axis = normalized(op.getAxis(), data.getRank()), added = indices.getRank();
    if (group.last <= axis)
      return trace(op.getData(), group);
    if (group.first >= axis + added)
      return trace(op.getData(), {group.first + 1 - added, group.last + 1 - added});
    std::optional<SmallVector<int64_t>> map = onnx::constantInts(op.getIndices());
    if (added != 1 || !map)
      return refuse("which of its columns a Gather takes is not known");
    for (int64_t &index : *map)
      if (index < 0 && (index += data.getDimSize(axis)) < 0)
        return refuse("it is read outside of its bounds");
    return traceMapped(op.getData(), group, axis, *map);
  }

  std::optional<Strip> tracePad(onnx::PadOp op, Group group) {
    RankedTensorType type = typeOf(op.getData());
    auto pads = onnx::constantInts(op.getPads());
    auto axes = op.getAxes() ? onnx::constantInts(op.getAxes()) : range(0, type.getRank());
    bool isZero = !op.getConstantValue() || onnx::constantFloat(op.getConstantValue()) == 0.0;
    if (!pads || !axes || pads->size() != 2 * axes->size() || !isZero || op.getMode() != "constant" ||
        llvm::any_of(*pads, [](int64_t pad) { return pad < 0; }))
      return refuse("it is padded with something else than zeros");
    std::optional<Strip> strip = trace(op.getData(), group);
    unsigned inGroup = 0;
    for (auto [i, axis] : llvm::enumerate(*axes)) {
      unsigned dim = normalized(axis, type.getRank());
      if (!strip || dim >= type.getRank() || !group.contains(dim))
        continue;
      if (++inGroup > 1)
        return refuse("padding of several dimensions mixes its columns");
      SmallVector<int64_t> map((*pads)[i], -1);
      llvm::append_range(map, range(0, type.getDimSize(dim)));
      map.append((*pads)[i + axes->size()], -1);
      strip = traceMapped(op.getData(), group, dim, map);
    }
    return strip;
  }

  std::optional<Strip> traceSplit(onnx::SplitOp op, unsigned part, Group group) {
    unsigned axis = normalized(op.getAxis(), typeOf(op.getInput()).getRank());
    int64_t start = 0;
    for (unsigned i = 0; i < part; ++i)
      start += typeOf(op->getResult(i)).getDimSize(axis);
    return traceMapped(op.getInput(), group, axis, range(start, typeOf(op->getResult(part)).getDimSize(axis)));
  }

  /// Numbers the pairs of numbers at each place.
  static void refine(SmallVectorImpl<int64_t> &blocks, ArrayRef<int64_t> others) {
    llvm::DenseMap<std::pair<int64_t, int64_t>, int64_t> numbers;
    for (auto [block, other] : llvm::zip_equal(blocks, others))
      if (block >= 0 || other >= 0)
        block = numbers.try_emplace({block, other}, numbers.size()).first->second;
  }

  std::optional<Strip> traceConcat(onnx::ConcatOp op, Group group) {
    unsigned axis = normalized(op.getAxis(), typeOf(op.getConcatResult()).getRank());
    bool along = group.contains(axis);
    ArrayRef<int64_t> extents = sizes(op.getConcatResult(), group);
    int64_t inner = along ? product(extents.drop_front(axis + 1 - group.first)) : 1;
    int64_t outer = along ? product(extents.take_front(axis - group.first)) : 1, used = 0;
    SmallVector<Strip> parts;
    for (Value operand : op.getInputs()) {
      std::optional<Strip> part = trace(operand, group);
      if (!part)
        return std::nullopt;
      // Numbers of blocks differ from part to part.
      int64_t most = -1;
      for (int64_t &block : part->blocks) {
        most = std::max(most, block);
        block += block < 0 ? 0 : used;
      }
      used += most + 1;
      parts.push_back(std::move(*part));
    }
    Strip joined = parts.front();
    if (along) {
      joined.blocks.clear();
      for (int64_t o = 0; o < outer; ++o)
        for (auto [operand, part] : llvm::zip_equal(op.getInputs(), parts)) {
          int64_t run = typeOf(operand).getDimSize(axis) * inner;
          llvm::append_range(joined.blocks, ArrayRef(part.blocks).slice(o * run, run));
        }
    }
    for (const Strip &part : ArrayRef(parts).drop_front()) {
      if (part.hasMinimum != joined.hasMinimum)
        return refuse("of its parts only some have a minimum");
      if (!along)
        refine(joined.blocks, part.blocks);
      joined.bits = std::max(joined.bits, part.bits);
      joined.hasZeros |= part.hasZeros;
      joined.hasHalves &= part.hasHalves;
      joined.lowest = std::min(joined.lowest, part.lowest);
      joined.highest = std::max(joined.highest, part.highest);
    }
    return joined;
  }

  /// `codes` plus or minus floats that are the same in a block.
  std::optional<Strip> traceMinimum(Value codes, Value minimum, Value result, Group group) {
    RankedTensorType type = typeOf(result), added = typeOf(minimum);
    if (typeOf(codes).getShape() != type.getShape())
      return refuse("its values are computed by arithmetic between matrices");
    std::optional<Strip> strip = trace(codes, group);
    if (!strip)
      return std::nullopt;
    // Only of codes without zero points is the sum rounded once, as in the product from codes.
    if (strip->hasMinimum || strip->hasZeros || strip->lowest < 0 || strip->highest >> strip->bits != 0)
      return refuse("it has zero points and a minimum");
    SmallVector<int64_t> places(strip->blocks.size(), 0);
    int64_t stride = 1;
    for (unsigned d = group.first; d < group.last; ++d) {
      int64_t own = d + added.getRank() < type.getRank() ? 1 : added.getDimSize(d + added.getRank() - type.getRank());
      int64_t extent = type.getDimSize(d), inner = product(sizes(result, {d + 1, group.last}));
      for (auto [place, number] : llvm::enumerate(places))
        if (own != 1)
          number = number * own + static_cast<int64_t>(place) / inner % extent;
      stride *= own;
    }
    if (stride > 1)
      refine(strip->blocks, places);
    strip->hasMinimum = true;
    return strip;
  }

  int64_t rank;
  std::string &why;
  std::map<std::tuple<const void *, unsigned, unsigned>, std::optional<Strip>> strips;
};

} // namespace

/// Whether runs of `size` places have one scale and offset each. Zeros go with any scale, but not with a minimum.
static bool fits(const Strip &strip, int64_t size) {
  ArrayRef<int64_t> blocks = strip.blocks;
  if (blocks.size() % size != 0)
    return false;
  for (; !blocks.empty(); blocks = blocks.drop_front(size)) {
    int64_t shared = -1;
    for (int64_t block : blocks.take_front(size)) {
      bool differs = shared >= 0 && block != shared && (block >= 0 || strip.hasMinimum);
      bool beforeMinimum = strip.hasMinimum && shared < 0 && block >= 0 && block != blocks.front();
      if (differs || beforeMinimum)
        return false;
      shared = block >= 0 ? block : shared;
    }
  }
  return true;
}

std::optional<rt::BlocksAttr> caat::findBlocks(Value matrix, unsigned depth, std::string &why) {
  int64_t k = typeOf(matrix).getDimSize(depth);
  if (k % 16 != 0 || k == 0) {
    why = "its columns have " + std::to_string(k) + " elements, no multiple of 16";
    return std::nullopt;
  }
  int64_t ranks = 1;
  matrix.getParentRegion()->walk(
      [&](tp::ShardOp shard) { ranks = std::max(ranks, static_cast<int64_t>(shard.getPieces().size())); });
  int64_t size = 256;
  Strip form;
  for (int64_t rank = 0; rank < ranks; ++rank) {
    std::optional<Strip> strip = Tracer(rank, why).trace(matrix, {depth, depth + 1});
    if (!strip)
      return std::nullopt;
    while (size >= 16 && !fits(*strip, size))
      size /= 2;
    strip->blocks.clear();
    form = std::move(*strip);
  }
  if (size < 16) {
    why = "its blocks do not consist of runs of 16 or more of a column's elements on every rank";
    return std::nullopt;
  }
  int64_t half = int64_t(1) << (form.bits - 1);
  bool isMiddle = !form.hasZeros && form.lowest >= -half && form.highest < half;
  rt::BlockOffset offset = form.hasMinimum ? rt::BlockOffset::Minimum
                           : isMiddle      ? rt::BlockOffset::Middle
                                           : rt::BlockOffset::Zeros;
  // A minimum is the product of a zero point and a scale, which f16 does not hold.
  Builder b(matrix.getContext());
  auto scales = form.hasHalves && !form.hasMinimum ? cast<FloatType>(b.getF16Type()) : cast<FloatType>(b.getF32Type());
  return rt::BlocksAttr::get(b.getContext(), form.bits, size, scales, offset);
}
