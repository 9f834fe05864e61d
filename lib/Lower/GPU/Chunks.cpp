// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "lib/Lower/GPU/Chunks.h"
#include "lib/Lower/GPU/Team.h"
#include "mlir/Analysis/SliceAnalysis.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include <numeric>

using namespace mlir;
using linalg::LinalgOp;

namespace caat::lower {

/// The most elements of an op that a thread has, all of them in registers.
static constexpr int64_t kMaxElements = 32;
static constexpr int64_t kMaxAlignment = 16;
/// The most results that a team reduces one after the other; where there are more, each thread has its own.
static constexpr int64_t kReducedTogether = 8;

SmallVector<unsigned> loopsOf(LinalgOp op, utils::IteratorType kind) {
  SmallVector<unsigned> dims;
  for (auto [d, type] : llvm::enumerate(op.getIteratorTypesArray()))
    if (type == kind)
      dims.push_back(d);
  return dims;
}

int64_t extent(ArrayRef<int64_t> sizes, ArrayRef<unsigned> which, int64_t unknown) {
  int64_t result = 1;
  for (unsigned d : which)
    result *= ShapedType::isDynamic(sizes[d]) ? unknown : sizes[d];
  return result;
}

std::optional<SmallVector<Operation *>> reductionsOf(LinalgOp op) {
  SmallVector<Operation *> result;
  for (int64_t i = 0; i < op.getNumDpsInits(); ++i) {
    SmallVector<Operation *> combiners;
    if (!matchReduction(op.getRegionOutputArgs(), i, combiners) || combiners.size() != 1 || !isCombiner(combiners[0]))
      return std::nullopt;
    result.push_back(combiners[0]);
  }
  return result;
}

bool isReducedTogether(LinalgOp op) {
  SmallVector<int64_t> sizes = op.getStaticLoopRanges();
  SmallVector<unsigned> reduced = loopsOf(op, utils::IteratorType::reduction);
  int64_t results = extent(sizes, loopsOf(op, utils::IteratorType::parallel), kUnknownLength);
  if (reduced.empty() || results > kReducedTogether || !reductionsOf(op))
    return false;
  return results == 1 || extent(sizes, reduced, kUnknownLength) >= 2 * kWarp;
}

/// Elements of a chunk of a loop: the most that divide it.
static int64_t chunkWidth(int64_t size, const Team &team) {
  for (int64_t width : {team.chunk, kLeastChunk})
    if (size % width == 0)
      return width;
  return 1;
}

std::optional<Chunks> Chunks::of(LinalgOp op, const Team &team) {
  SmallVector<int64_t> sizes = op.getStaticLoopRanges();
  SmallVector<unsigned> reduced = loopsOf(op, utils::IteratorType::reduction);
  if (!reduced.empty() && !isReducedTogether(op))
    return std::nullopt;
  Chunks chunks;
  chunks.count = 1;
  for (auto [d, size] : llvm::enumerate(sizes)) {
    if (ShapedType::isDynamic(size) || size == 0)
      return std::nullopt;
    if (size == 1)
      continue;
    if (!reduced.empty() && !llvm::is_contained(reduced, d))
      return std::nullopt;
    chunks.loops.push_back(d);
    chunks.count *= size;
  }
  if (team.size == 1 || chunks.loops.empty())
    return std::nullopt;
  chunks.width = chunkWidth(sizes[chunks.loops.back()], team);
  chunks.count /= chunks.width;
  chunks.rounds = llvm::divideCeil(chunks.count, team.size);
  if (chunks.rounds * chunks.width > kMaxElements)
    return std::nullopt;
  return chunks;
}

std::optional<Chunks> Chunks::along(LinalgOp op, unsigned loop, const Team &team) {
  int64_t size = op.getStaticLoopRanges()[loop];
  if (ShapedType::isDynamic(size) || size == 0)
    return std::nullopt;
  int64_t width = chunkWidth(size, team);
  if (width == 1)
    return std::nullopt;
  return Chunks{{loop}, width, size / width, size / width};
}

std::string placesOf(LinalgOp op, OpOperand &operand, ArrayRef<unsigned> divided, int64_t width) {
  SmallVector<int64_t> sizes = op.getStaticLoopRanges();
  std::string text = "linalg";
  llvm::raw_string_ostream os(text);
  os << " " << operand.get().getAsOpaquePointer() << " x" << width;
  // The position of each loop that is shared, among those that are and in the operand.
  SmallVector<int64_t> positionOf(sizes.size(), -1);
  for (auto [dim, expr] : llvm::enumerate(op.getMatchingIndexingMap(&operand).getResults())) {
    auto loop = dyn_cast<AffineDimExpr>(expr);
    if (!loop || positionOf[loop.getPosition()] >= 0)
      return "";
    positionOf[loop.getPosition()] = dim;
  }
  for (unsigned d : divided) {
    if (sizes[d] == 1)
      continue;
    if (positionOf[d] < 0)
      return "";
    // A size that is not known is the size of this very view.
    os << " " << positionOf[d] << ":" << sizes[d];
  }
  return text;
}

/// A number that divides `value`; 0 divides by everything.
static int64_t divisorOf(OpFoldResult value) {
  if (std::optional<int64_t> constant = getConstantIntValue(value))
    return std::abs(*constant);
  Operation *op = dyn_cast<Value>(value).getDefiningOp();
  if (!op)
    return 1;
  auto of = [&](unsigned operand) { return divisorOf(op->getOperand(operand)); };
  if (isa<arith::MulIOp>(op))
    return std::min<int64_t>(of(0), 1 << 20) * std::min<int64_t>(of(1), 1 << 20);
  if (isa<arith::AddIOp, arith::SubIOp, arith::MinSIOp, arith::MaxSIOp, arith::MinUIOp, arith::MaxUIOp>(op))
    return std::gcd(of(0), of(1));
  if (isa<arith::SelectOp>(op))
    return std::gcd(of(1), of(2));
  if (isa<arith::IndexCastOp, arith::IndexCastUIOp>(op))
    return of(0);
  return 1;
}

namespace {
/// Numbers that divide where a view's first element lies and its strides, in elements.
struct Divisors {
  int64_t offset = 1;
  SmallVector<int64_t> strides;
};
} // namespace

static Divisors divisorsOfType(MemRefType type) {
  Divisors result;
  SmallVector<int64_t> strides;
  if (failed(type.getStridesAndOffset(strides, result.offset)))
    strides.assign(type.getRank(), ShapedType::kDynamic);
  auto known = [](int64_t value) { return ShapedType::isDynamic(value) ? 1 : std::abs(value); };
  result.offset = known(result.offset);
  for (int64_t stride : strides)
    result.strides.push_back(known(stride));
  if (!type.getLayout().isIdentity())
    return result;
  // Dense: a stride is the product of the sizes behind it.
  int64_t stride = 1;
  for (int64_t d = type.getRank(); d-- > 0;) {
    result.strides[d] = stride;
    stride *= ShapedType::isDynamic(type.getDimSize(d)) ? 1 : type.getDimSize(d);
  }
  return result;
}

static Divisors divisorsOf(Value memref) {
  auto type = cast<MemRefType>(memref.getType());
  Divisors result = divisorsOfType(type);
  Operation *op = memref.getDefiningOp();
  if (auto cast = dyn_cast_or_null<memref::ReinterpretCastOp>(op)) {
    result.offset = divisorOf(cast.getMixedOffsets().front());
    result.strides = llvm::map_to_vector(cast.getMixedStrides(), divisorOf);
  } else if (auto cast = dyn_cast_or_null<memref::CastOp>(op)) {
    result = divisorsOf(cast.getSource());
  } else if (auto view = dyn_cast_or_null<memref::SubViewOp>(op)) {
    Divisors source = divisorsOf(view.getSource());
    llvm::SmallBitVector dropped = view.getDroppedDims();
    result = {source.offset, {}};
    for (auto [d, offset, stride] : llvm::enumerate(view.getMixedOffsets(), view.getMixedStrides())) {
      result.offset = std::gcd(result.offset, divisorOf(offset) * source.strides[d]);
      if (!dropped.test(d))
        result.strides.push_back(source.strides[d] * divisorOf(stride));
    }
  } else if (auto expand = dyn_cast_or_null<memref::ExpandShapeOp>(op)) {
    Divisors source = divisorsOf(expand.getSrc());
    SmallVector<OpFoldResult> sizes = expand.getMixedOutputShape();
    result.offset = source.offset;
    for (auto [d, group] : llvm::enumerate(expand.getReassociationIndices())) {
      int64_t stride = source.strides[d];
      for (int64_t dim : llvm::reverse(group)) {
        result.strides[dim] = stride;
        stride *= divisorOf(sizes[dim]);
      }
    }
  } else if (auto collapse = dyn_cast_or_null<memref::CollapseShapeOp>(op)) {
    Divisors source = divisorsOf(collapse.getSrc());
    result.offset = source.offset;
    for (auto [d, group] : llvm::enumerate(collapse.getReassociationIndices()))
      result.strides[d] = group.empty() ? 0 : source.strides[group.back()];
  } else if (auto view = dyn_cast_or_null<memref::ViewOp>(op)) {
    int64_t bytes = std::max<int64_t>(1, type.getElementTypeBitWidth() / 8), shift = divisorOf(view.getByteShift());
    result.offset = shift % bytes == 0 ? shift / bytes : 1;
  }
  return result;
}

bool isOnePiece(LinalgOp op, OpOperand &operand, const Chunks &chunks) {
  auto type = dyn_cast<MemRefType>(operand.get().getType());
  if (!type || chunks.width == 1 || type.getRank() == 0 || type.getElementTypeBitWidth() % 8 != 0 ||
      !type.isLastDimUnitStride())
    return false;
  unsigned along = chunks.loops.back();
  AffineMap map = op.getMatchingIndexingMap(&operand);
  for (auto [dim, expr] : llvm::enumerate(map.getResults())) {
    bool isLast = dim + 1 == map.getNumResults();
    auto loop = dyn_cast<AffineDimExpr>(expr);
    if (isLast ? !loop || loop.getPosition() != along : expr.isFunctionOfDim(along))
      return false;
  }
  int64_t elements = std::min<int64_t>(chunks.width, kMaxAlignment * 8 / type.getElementTypeBitWidth());
  Divisors divisors = divisorsOf(operand.get());
  if (divisors.offset % elements != 0)
    return false;
  for (auto [dim, stride] : llvm::enumerate(ArrayRef(divisors.strides).drop_back()))
    if (type.getDimSize(dim) != 1 && stride % elements != 0)
      return false;
  return true;
}

bool isKeptInRegisters(memref::AllocaOp alloca, Block &row, const Team &team) {
  std::string places;
  Operation *first = nullptr;
  for (OpOperand &use : alloca->getUses()) {
    auto op = dyn_cast<LinalgOp>(use.getOwner());
    if (!op || op->getBlock() != &row)
      return false;
    std::optional<Chunks> chunks = Chunks::of(op, team);
    if (!chunks || (op.isDpsInit(&use) && op.getNumReductionLoops()))
      return false;
    std::string own = placesOf(op, use, chunks->loops, chunks->width);
    if (own.empty() || (!places.empty() && own != places))
      return false;
    places = own;
    if (!first || op->isBeforeInBlock(first))
      first = op;
  }
  return first && llvm::all_of(first->getOpOperands(), [&](OpOperand &operand) {
           return operand.get() != alloca.getResult() || (cast<LinalgOp>(first).isDpsInit(&operand) &&
                                                          !cast<LinalgOp>(first).payloadUsesValueFromOperand(&operand));
         });
}

} // namespace caat::lower
