// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "RowClusters.h"
#include "StructuredRewrites.h"
#include "caat/Lower/Passes.h"
#include "mlir/Analysis/TopologicalSortUtils.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Linalg/Transforms/Transforms.h"
#include "mlir/Dialect/Linalg/Utils/Utils.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StructuredOpsUtils.h"
#include "mlir/IR/Remarks.h"

namespace caat {
#define GEN_PASS_DEF_RTFORMKERNELSPASS
#include "caat/Lower/Passes.h.inc"
} // namespace caat

using namespace mlir;
using namespace caat;
using namespace caat::lower;
using linalg::LinalgOp;

/// The largest value that lives in a row buffer (on the stack), in bytes.
static constexpr int64_t kMaxRowBytes = 32 * 1024;

namespace {

using Sizes = SmallVector<OpFoldResult>;

/// Builds the scf.forall of one cluster.
class KernelBuilder {
public:
  KernelBuilder(RewriterBase &rewriter, RowCluster &cluster) : rewriter(rewriter), cluster(cluster) {
    for (LinalgOp op : cluster.ops)
      members.insert(op);
  }

  void build() {
    LinalgOp last = cluster.ops.back();
    rewriter.setInsertionPoint(last);
    Location loc = last.getLoc();
    for (LinalgOp op : cluster.ops)
      ranges[op] = loopSizes(op);
    findOutputs();

    // The grid: the product of the rows' sizes.
    Sizes rowSizes;
    for (unsigned loop : cluster.rows[last])
      rowSizes.push_back(ranges[last][loop]);
    OpFoldResult grid = rewriter.getIndexAttr(1);
    for (OpFoldResult size : rowSizes)
      grid = mul(loc, grid, size);

    SmallVector<Value> destinations;
    for (OpResult output : outputs)
      destinations.push_back(destination(output));
    auto mapping = rewriter.getArrayAttr({rt::RowsAttr::get(rewriter.getContext())});
    auto forall = scf::ForallOp::create(rewriter, loc, ArrayRef<OpFoldResult>{grid}, destinations, mapping);
    rewriter.setInsertionPoint(forall.getTerminator());
    SmallVector<OpFoldResult> row = splitRow(loc, forall.getInductionVar(0), rowSizes);
    for (auto [output, arg] : llvm::zip_equal(outputs, forall.getRegionIterArgs()))
      sharedOut[output] = arg;
    assignDestinations();
    for (LinalgOp op : cluster.ops)
      buildRow(op, row);

    rewriter.setInsertionPointToStart(forall.getTerminator().getBody());
    for (OpResult output : outputs) {
      Slice slice = sliceOf(output, row);
      tensor::ParallelInsertSliceOp::create(rewriter, loc, tiles[output], sharedOut[output], slice.offsets, slice.sizes,
                                            slice.strides);
    }
    for (auto [output, result] : llvm::zip_equal(outputs, forall.getResults()))
      rewriter.replaceUsesWithIf(output, result, [&](OpOperand &use) { return !members.contains(use.getOwner()); });
    for (LinalgOp op : llvm::reverse(cluster.ops))
      rewriter.eraseOp(op);
  }

private:
  struct Slice {
    Sizes offsets, sizes, strides;
    bool whole = true;
  };

  /// Size of a dimension of an operand, without asking a value of the cluster, which is to be replaced.
  OpFoldResult sizeOf(Value value, int64_t dim) {
    auto type = cast<RankedTensorType>(value.getType());
    if (!type.isDynamicDim(dim))
      return rewriter.getIndexAttr(type.getDimSize(dim));
    auto result = dyn_cast<OpResult>(value);
    if (!result || !members.contains(result.getOwner()))
      return tensor::getMixedSize(rewriter, value.getLoc(), value, dim);
    auto op = cast<LinalgOp>(result.getOwner());
    return ranges[op][cast<AffineDimExpr>(op.getIndexingMapMatchingResult(result).getResult(dim)).getPosition()];
  }

  Sizes loopSizes(LinalgOp op) {
    Sizes sizes(op.getNumLoops());
    for (OpOperand &operand : op->getOpOperands())
      for (auto [dim, expr] : llvm::enumerate(op.getMatchingIndexingMap(&operand).getResults()))
        if (auto loop = dyn_cast<AffineDimExpr>(expr)) {
          OpFoldResult &size = sizes[loop.getPosition()];
          if (size.isNull() ||
              (!getConstantIntValue(size) && !cast<RankedTensorType>(operand.get().getType()).isDynamicDim(dim)))
            size = sizeOf(operand.get(), dim);
        }
    if (llvm::any_of(sizes, [](OpFoldResult size) { return size.isNull(); }))
      for (auto [size, range] : llvm::zip_equal(sizes, op.createLoopRanges(rewriter, op.getLoc())))
        size = size.isNull() ? range.size : size;
    return sizes;
  }

  OpFoldResult mul(Location loc, OpFoldResult a, OpFoldResult b) {
    AffineExpr x, y;
    bindSymbols(rewriter.getContext(), x, y);
    std::optional<int64_t> ca = getConstantIntValue(a), cb = getConstantIntValue(b);
    if (ca && cb)
      return rewriter.getIndexAttr(*ca * *cb);
    if (ca == 1)
      return b;
    if (cb == 1)
      return a;
    return arith::MulIOp::create(rewriter, loc, getValueOrCreateConstantIndexOp(rewriter, loc, a),
                                 getValueOrCreateConstantIndexOp(rewriter, loc, b))
        .getResult();
  }

  /// The coordinates of row number `row` (the last one varies fastest).
  SmallVector<OpFoldResult> splitRow(Location loc, Value row, ArrayRef<OpFoldResult> sizes) {
    SmallVector<OpFoldResult> result(sizes.size(), rewriter.getIndexAttr(0));
    for (size_t r = sizes.size(); r-- > 0;) {
      if (getConstantIntValue(sizes[r]) == 1)
        continue;
      if (llvm::all_of(sizes.take_front(r), [](OpFoldResult s) { return getConstantIntValue(s) == 1; })) {
        result[r] = row;
        break;
      }
      Value size = getValueOrCreateConstantIndexOp(rewriter, loc, sizes[r]);
      result[r] = arith::RemUIOp::create(rewriter, loc, row, size).getResult();
      row = arith::DivUIOp::create(rewriter, loc, row, size);
    }
    return result;
  }

  /// The part of a value with `map` that one row touches. `dims` are the value's sizes.
  Slice slice(LinalgOp op, AffineMap map, ArrayRef<OpFoldResult> dims, ArrayRef<OpFoldResult> row) {
    Slice result;
    ArrayRef<unsigned> loops = cluster.rows[op];
    for (auto [expr, size] : llvm::zip_equal(map.getResults(), dims)) {
      auto dim = dyn_cast<AffineDimExpr>(expr);
      auto it = dim ? llvm::find(loops, dim.getPosition()) : loops.end();
      bool isRow = it != loops.end();
      result.whole &= !isRow;
      result.offsets.push_back(isRow ? row[it - loops.begin()] : OpFoldResult(rewriter.getIndexAttr(0)));
      result.sizes.push_back(isRow ? OpFoldResult(rewriter.getIndexAttr(1)) : size);
      result.strides.push_back(rewriter.getIndexAttr(1));
    }
    return result;
  }

  /// The part of a result that one row makes.
  Slice sliceOf(OpResult value, ArrayRef<OpFoldResult> row) {
    auto op = cast<LinalgOp>(value.getOwner());
    AffineMap map = op.getIndexingMapMatchingResult(value);
    Sizes dims;
    for (auto [i, size] : llvm::enumerate(cast<RankedTensorType>(value.getType()).getShape())) {
      if (!ShapedType::isDynamic(size))
        dims.push_back(rewriter.getIndexAttr(size));
      else
        dims.push_back(ranges[op][cast<AffineDimExpr>(map.getResult(i)).getPosition()]);
    }
    return slice(op, map, dims, row);
  }

  /// Results that are read outside, or are too large for a row buffer.
  void findOutputs() {
    for (LinalgOp op : cluster.ops)
      for (OpResult result : op->getResults()) {
        bool outside = llvm::any_of(result.getUsers(), [&](Operation *user) { return !members.contains(user); });
        Sizes zeros(cluster.rows[op].size(), rewriter.getIndexAttr(0));
        int64_t bytes = (cast<RankedTensorType>(result.getType()).getElementTypeBitWidth() + 7) / 8;
        for (OpFoldResult size : sliceOf(result, zeros).sizes) {
          std::optional<int64_t> constant = getConstantIntValue(size);
          bytes = constant && bytes <= kMaxRowBytes ? bytes * *constant : kMaxRowBytes + 1;
        }
        if (outside || (bytes > kMaxRowBytes && !result.use_empty()))
          outputs.push_back(result);
      }
  }

  /// What a result is written over, as seen from outside of the cluster.
  Value destination(OpResult output) {
    OpResult value = output;
    while (true) {
      Value init = cast<LinalgOp>(value.getOwner()).getDpsInitsMutable()[value.getResultNumber()].get();
      auto inner = dyn_cast<OpResult>(init);
      if (!inner || !members.contains(inner.getOwner())) {
        auto op = cast<LinalgOp>(value.getOwner());
        if (op.payloadUsesValueFromOperand(op.getDpsInitOperand(value.getResultNumber())))
          return init;
        Sizes dims;
        Sizes zeros(cluster.rows[output.getOwner()].size(), rewriter.getIndexAttr(0));
        auto outputOp = cast<LinalgOp>(output.getOwner());
        AffineMap map = outputOp.getIndexingMapMatchingResult(output);
        for (AffineExpr expr : map.getResults())
          dims.push_back(ranges[outputOp][cast<AffineDimExpr>(expr).getPosition()]);
        return tensor::EmptyOp::create(rewriter, output.getLoc(), dims,
                                       cast<RankedTensorType>(output.getType()).getElementType());
      }
      value = inner;
    }
  }

  /// An output's row is written where its chain of destinations begins (a fill, say).
  void assignDestinations() {
    for (OpResult output : outputs) {
      OpResult value = output;
      home[value] = output;
      while (true) {
        Value init = cast<LinalgOp>(value.getOwner()).getDpsInitsMutable()[value.getResultNumber()].get();
        auto inner = dyn_cast<OpResult>(init);
        if (!inner || !members.contains(inner.getOwner()) || !inner.hasOneUse())
          break;
        home.try_emplace(inner, output);
        value = inner;
      }
    }
  }

  Value extract(Location loc, Value source, const Slice &slice) {
    if (slice.whole)
      return source;
    return tensor::ExtractSliceOp::create(rewriter, loc, source, slice.offsets, slice.sizes, slice.strides);
  }

  Value rowDestination(LinalgOp op, OpOperand &init, ArrayRef<OpFoldResult> row) {
    OpResult result = op.getTiedOpResult(&init);
    Slice slice = sliceOf(result, row);
    if (auto it = home.find(result); it != home.end())
      return extract(op.getLoc(), sharedOut[it->second], slice);
    if (op.payloadUsesValueFromOperand(&init))
      return extract(op.getLoc(), init.get(), slice);
    return tensor::EmptyOp::create(rewriter, op.getLoc(), slice.sizes,
                                   cast<RankedTensorType>(result.getType()).getElementType());
  }

  /// One row of `op`.
  void buildRow(LinalgOp op, ArrayRef<OpFoldResult> row) {
    Location loc = op.getLoc();
    SmallVector<Value> operands;
    SmallVector<Type> types;
    for (OpOperand &operand : op->getOpOperands()) {
      Value value = operand.get();
      if (Value tile = tiles.lookup(value))
        operands.push_back(tile);
      else if (op.isDpsInit(&operand))
        operands.push_back(rowDestination(op, operand, row));
      else if (isa<RankedTensorType>(value.getType()))
        operands.push_back(
            extract(loc, value,
                    slice(op, op.getMatchingIndexingMap(&operand), tensor::getMixedSizes(rewriter, loc, value), row)));
      else
        operands.push_back(value);
      if (op.isDpsInit(&operand))
        types.push_back(operands.back().getType());
    }
    auto tiled = cast<LinalgOp>(mlir::clone(rewriter, op.getOperation(), types, operands));
    SmallVector<OpFoldResult> offsets(op.getNumLoops(), rewriter.getIndexAttr(0));
    for (auto [r, loop] : llvm::enumerate(cluster.rows[op]))
      offsets[loop] = row[r];
    linalg::offsetIndices(rewriter, tiled, offsets);
    for (auto [result, tile] : llvm::zip_equal(op->getResults(), tiled->getResults()))
      tiles[result] = tile;
  }

  RewriterBase &rewriter;
  RowCluster &cluster;
  DenseSet<Operation *> members;
  DenseMap<Operation *, Sizes> ranges; // sizes of the loops of each op
  SmallVector<OpResult> outputs;       // results with a place outside of the rows
  DenseMap<Value, Value> sharedOut;    // output -> block argument of the forall
  DenseMap<Value, Value> home;         // value -> output whose row it is written to
  DenseMap<Value, Value> tiles;        // value -> its row
};

/// What the host knows is an argument of a kernel, not memory that is written before and read by it.
struct TakeHostScalars : OpRewritePattern<linalg::GenericOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(linalg::GenericOp op, PatternRewriter &rewriter) const override {
    bool any = false;
    for (OpOperand *input : op.getDpsInputOperands()) {
      auto scalar = input->get().getDefiningOp<tensor::FromElementsOp>();
      BlockArgument argument = op.getMatchingBlockArgument(input);
      if (!scalar || scalar.getType().getRank() != 0 || argument.use_empty())
        continue;
      rewriter.replaceAllUsesWith(argument, scalar.getElements().front());
      any = true;
    }
    return success(any);
  }
};

struct FormKernelsPass : caat::impl::RTFormKernelsPassBase<FormKernelsPass> {
  /// Each fusion copies both bodies: a chain without end would take time that grows with its square.
  static bool isFusible(OpOperand *operand) {
    constexpr size_t maxBody = 200;
    auto size = [](Operation *op) {
      auto generic = dyn_cast_or_null<linalg::GenericOp>(op);
      return generic ? generic.getBody()->getOperations().size() : 0;
    };
    return operand->get().hasOneUse() && size(operand->get().getDefiningOp()) + size(operand->getOwner()) <= maxBody;
  }

  /// Destinations whose sizes are known better than their types become the types of what is written to them. Upstream's
  /// fusion would make a destination of the old type for ever.
  static void refineDestinations(func::FuncOp func) {
    RewritePatternSet patterns(func.getContext());
    tensor::EmptyOp::getCanonicalizationPatterns(patterns, func.getContext());
    func.getContext()->getLoadedDialect<tensor::TensorDialect>()->getCanonicalizationPatterns(patterns);
    (void)applyToStructured(func, std::move(patterns));
  }

  /// Element-wise producers with one use go into their consumer, and so do scalars of the host.
  static void fuseElementwise(func::FuncOp func) {
    RewritePatternSet patterns(func.getContext());
    auto control = [](OpOperand *operand) { return isFusible(operand); };
    linalg::populateElementwiseOpsFusionPatterns(patterns, control);
    linalg::populateEraseUnusedOperandsAndResultsPatterns(patterns);
    linalg::populateConstantFoldLinalgOperations(patterns, control);
    patterns.add<TakeHostScalars>(func.getContext());
    tensor::EmptyOp::getCanonicalizationPatterns(patterns, func.getContext());
    (void)applyToStructured(func, std::move(patterns));
  }

  /// A fill belongs to whoever continues it.
  static void separateFills(Block &block) {
    for (auto fill : llvm::make_early_inc_range(block.getOps<linalg::FillOp>()))
      if (fill->getNumResults() == 1)
        for (OpOperand &use : llvm::make_early_inc_range(fill->getUses()))
          if (!fill->hasOneUse()) {
            OpBuilder b(fill);
            use.set(b.clone(*fill)->getResult(0));
          }
  }

  void runOnOperation() override {
    func::FuncOp func = getOperation();
    IRRewriter rewriter(&getContext());
    auto mapping = rewriter.getArrayAttr({rt::RowsAttr::get(&getContext())});
    func.walk<WalkOrder::PreOrder>([&](scf::ForallOp forall) {
      if (forall.getRank() == 1)
        forall.setMappingAttr(mapping);
      return WalkResult::skip();
    });
    refineDestinations(func);
    fuseElementwise(func);

    SmallVector<Block *> blocks;
    func.walk<WalkOrder::PreOrder>([&](Operation *op) {
      if (isa<scf::ForallOp, linalg::LinalgOp>(op))
        return WalkResult::skip();
      for (Region &region : op->getRegions())
        for (Block &block : region)
          blocks.push_back(&block);
      return WalkResult::advance();
    });
    for (Block *block : blocks) {
      separateFills(*block);
      for (RowCluster &cluster : findRowClusters(*block)) {
        remark::passed(cluster.ops.back().getLoc(), remark::RemarkOpts::name("form-kernels").category("caat"))
            << std::to_string(cluster.ops.size()) + " ops in one kernel over " +
                   std::to_string(cluster.rows[cluster.ops.back()].size()) + " dimensions";
        KernelBuilder(rewriter, cluster).build();
      }
      if (!sortTopologically(block)) {
        func.emitError("kernels depend on each other in a circle");
        return signalPassFailure();
      }
    }
  }
};
} // namespace
