// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "StructuredRewrites.h"
#include "caat/Lower/Passes.h"
#include "caat/Lower/Program.h"
#include "caat/Raise/DimExpr.h"
#include "dialects/onnx/ONNX.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Affine/Utils.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/MemRef/Transforms/Transforms.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "llvm/ADT/StringSet.h"

namespace caat {
#define GEN_PASS_DEF_RTFORMENTRYPASS
#include "caat/Lower/Passes.h.inc"
} // namespace caat

using namespace mlir;
using namespace caat;
using namespace caat::lower;

namespace {

/// The dimensions of an interface: names in the order in which they appear, values as arithmetic on rt.dim.
class NamedDims {
public:
  explicit NamedDims(OpBuilder &builder) : builder(builder) {}

  /// The value of a dimension's text, or null where it is no expression.
  Value get(Location loc, StringRef text) {
    AffineExpr expr = parseDim(text, builder.getContext(), [&](StringRef name) {
      return getAffineSymbolExpr(position(name), builder.getContext());
    });
    if (!expr)
      return {};
    SmallVector<Value> symbols;
    for (StringAttr name : names)
      symbols.push_back(rt::DimOp::create(builder, loc, name));
    return affine::expandAffineExpr(builder, loc, expr, {}, symbols);
  }

  void add(StringRef name) { (void)position(name); }
  ArrayAttr getNames() { return builder.getArrayAttr(SmallVector<Attribute>(names.begin(), names.end())); }

private:
  unsigned position(StringRef name) {
    StringAttr attr = builder.getStringAttr(name);
    auto it = llvm::find(names, attr);
    if (it == names.end())
      return names.push_back(attr), names.size() - 1;
    return it - names.begin();
  }

  OpBuilder &builder;
  SmallVector<StringAttr> names;
};

/// tensor.dim of a collective that keeps its operand's type, or of a gather in another dimension.
struct ForwardDim : OpRewritePattern<tensor::DimOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(tensor::DimOp dim, PatternRewriter &rewriter) const override {
    Operation *op = dim.getSource().getDefiningOp();
    if (!op || op->getName().getDialectNamespace() != "tp" || op->getNumOperands() != 1)
      return failure();
    auto gather = dyn_cast<tp::AllGatherOp>(op);
    std::optional<int64_t> index = dim.getConstantIndex();
    bool isElsewhere = gather && index && *index != static_cast<int64_t>(gather.getDim());
    if (!isElsewhere && op->getOperand(0).getType() != dim.getSource().getType())
      return failure();
    rewriter.modifyOpInPlace(dim, [&] { dim.getSourceMutable().assign(op->getOperand(0)); });
    return success();
  }
};

/// Moves index arithmetic that follows from rt.dim alone, and checks of it, to the front of the block, in order.
void hoistDims(Block &block) {
  DenseSet<Operation *> hoisted;
  Operation *last = nullptr;
  for (Operation &op : llvm::make_early_inc_range(block)) {
    bool scalar = isa<rt::DimOp, rt::BufferOp, rt::CheckOp>(op) ||
                  (isMemoryEffectFree(&op) && op.getNumRegions() == 0 && op.getNumResults() == 1 &&
                   isa<IndexType, IntegerType>(op.getResult(0).getType()));
    if (!scalar || !llvm::all_of(op.getOperands(), [&](Value v) { return hoisted.contains(v.getDefiningOp()); }))
      continue;
    last ? op.moveAfter(last) : op.moveBefore(&block, block.begin());
    hoisted.insert(&op);
    last = &op;
  }
}

void resolveDims(Operation *op) {
  RewritePatternSet patterns(op->getContext());
  patterns.add<ForwardDim>(op->getContext());
  tensor::DimOp::getCanonicalizationPatterns(patterns, op->getContext());
  tensor::CastOp::getCanonicalizationPatterns(patterns, op->getContext());
  tensor::EmptyOp::getCanonicalizationPatterns(patterns, op->getContext());
  bufferization::ToTensorOp::getCanonicalizationPatterns(patterns, op->getContext());
  rt::BufferOp::getCanonicalizationPatterns(patterns, op->getContext());
  memref::populateResolveShapedTypeResultDimsPatterns(patterns);
  (void)applyToStructured(op, std::move(patterns));
}

/// The part of a virtual rank in `buffer`, or the buffer itself where `shard` is null.
Value atBlock(OpBuilder &b, Value buffer, Value shard) {
  auto whole = buffer.getDefiningOp<rt::BufferOp>();
  if (!shard)
    return buffer;
  return rt::BufferOp::create(b, whole.getLoc(), whole.getType(), whole.getPositionAttr(), whole.getSizes(), shard);
}

/// Writes the length of each cache after the run into its description; one check for each length stays.
LogicalResult nameLengths(ArrayRef<std::pair<rt::CheckOp, unsigned>> checks, MutableArrayRef<Attribute> caches) {
  llvm::StringSet<> seen;
  for (auto [check, entry] : checks) {
    auto fits = check.getCondition().getDefiningOp<arith::CmpIOp>();
    std::optional<std::string> text = fits ? dimText(fits.getLhs()) : std::nullopt;
    if (!text)
      return check.emitError("the length of a cache does not follow from the dims");
    NamedAttrList attrs(cast<DictionaryAttr>(caches[entry]));
    attrs.set("present_length", StringAttr::get(check.getContext(), *text));
    caches[entry] = attrs.getDictionary(check.getContext());
    if (!seen.insert(*text).second)
      check.erase();
  }
  return success();
}

class EntryFormer {
public:
  explicit EntryFormer(func::FuncOp func)
      : func(func), block(func.getBody().front()), b(&block, block.begin()), named(b), numArgs(func.getNumArguments()) {
  }

  LogicalResult run() {
    nameDims();
    if (failed(bindArguments()) || failed(writeResults()))
      return failure();
    block.eraseArguments(0, numArgs);
    func->removeAttr("arg_attrs");
    func->removeAttr("res_attrs");
    func.setFunctionType(b.getFunctionType({}, {}));
    func.setSymName("caat_forward");
    resolveDims(func);
    if (failed(nameLengths(checks, caches)))
      return failure();
    hoistDims(block);
    return success();
  }

  DictionaryAttr getInterface() {
    return b.getDictionaryAttr(
        {b.getNamedAttr("dims", named.getNames()), b.getNamedAttr("inputs", b.getArrayAttr(inputs)),
         b.getNamedAttr("caches", b.getArrayAttr(caches)), b.getNamedAttr("outputs", b.getArrayAttr(outputs))});
  }

private:
  /// Dims in the order in which arguments name them; those that only an expression holds come later.
  void nameDims() {
    MLIRContext *context = func.getContext();
    auto isName = [&](StringRef text) {
      return bool(parseDim(text, context, [&](StringRef name) -> AffineExpr {
        return name == text ? getAffineConstantExpr(0, context) : AffineExpr();
      }));
    };
    for (unsigned i = 0; i < numArgs; ++i) {
      numCaches += bool(func.getArgAttr(i, kCacheArgAttr));
      if (auto dims = func.getArgAttrOfType<ArrayAttr>(i, "onnx.dims"))
        for (auto text : dims.getAsRange<StringAttr>())
          if (!text.getValue().empty() && text.getValue() != "max_length" && isName(text.getValue()))
            named.add(text.getValue());
    }
    for (unsigned i = 0; i < numArgs; ++i)
      if (auto length = func.getArgAttrOfType<StringAttr>(i, "rt.past_length"))
        named.add(length.getValue());
    if (numCaches)
      named.add("max_length");
  }

  DictionaryAttr describe(StringAttr name, Type type, ArrayAttr dims, Attribute shard, Attribute declared,
                          ArrayRef<NamedAttribute> more = {}) {
    SmallVector<NamedAttribute> attrs(more);
    attrs.push_back(b.getNamedAttr("name", name ? name : b.getStringAttr("")));
    attrs.push_back(b.getNamedAttr("type", TypeAttr::get(type)));
    if (dims)
      attrs.push_back(b.getNamedAttr("dims", dims));
    if (shard)
      attrs.push_back(b.getNamedAttr("shard", shard));
    if (declared)
      attrs.push_back(b.getNamedAttr("declared", declared));
    return b.getDictionaryAttr(attrs);
  }

  /// The buffer of argument `arg`: rt.buffer `position` with the sizes that its dims name.
  FailureOr<Value> bufferOf(BlockArgument arg, ArrayAttr dims, unsigned position) {
    bool written = bool(func.getArgAttr(arg.getArgNumber(), kCacheArgAttr));
    auto type = cast<RankedTensorType>(arg.getType());
    SmallVector<Value> sizes, all;
    for (int64_t d = 0; d < type.getRank(); ++d) {
      if (!type.isDynamicDim(d)) {
        all.push_back(nullptr);
        continue;
      }
      StringRef text = dims && d < static_cast<int64_t>(dims.size()) ? cast<StringAttr>(dims[d]).getValue() : "";
      Value size = text.empty() ? Value() : named.get(arg.getLoc(), text);
      if (!size)
        return emitError(arg.getLoc(), "argument ")
               << arg.getArgNumber() << ": dimension " << d << " is unknown and has no name";
      sizes.push_back(size);
      all.push_back(size);
    }
    Value buffer = rt::BufferOp::create(b, arg.getLoc(), MemRefType::get(type.getShape(), type.getElementType()),
                                        b.getI64IntegerAttr(position), sizes, /*block=*/Value());
    auto resolve = [&](Value value) {
      for (OpOperand &use : llvm::make_early_inc_range(value.getUses()))
        if (auto dim = dyn_cast<tensor::DimOp>(use.getOwner()))
          if (std::optional<int64_t> index = dim.getConstantIndex(); index && all[*index]) {
            dim.replaceAllUsesWith(all[*index]);
            dim.erase();
          }
    };
    resolve(arg);
    // The parts of the virtual ranks lie one behind the other.
    for (OpOperand &use : llvm::make_early_inc_range(arg.getUses()))
      if (auto block = dyn_cast<tp::BlockOp>(use.getOwner())) {
        resolve(block);
        OpBuilder at(block);
        Value part = atBlock(at, buffer, block.getShard());
        block.getResult().replaceAllUsesWith(bufferization::ToTensorOp::create(
            at, block.getLoc(), arg.getType(), part, /*restrict=*/true, /*writable=*/written));
        block.erase();
      }
    return buffer;
  }

  /// Arguments become buffers, which are numbered: inputs, caches, then outputs.
  LogicalResult bindArguments() {
    unsigned nextInput = 0, nextCache = numArgs - numCaches;
    SmallVector<Value> tensors;
    for (BlockArgument arg : block.getArguments()) {
      unsigned i = arg.getArgNumber();
      auto present = func.getArgAttrOfType<StringAttr>(i, kCacheArgAttr);
      auto dims = func.getArgAttrOfType<ArrayAttr>(i, "onnx.dims");
      FailureOr<Value> buffer = bufferOf(arg, dims, present ? nextCache++ : nextInput++);
      if (failed(buffer))
        return failure();
      buffers.push_back(*buffer);
      tensors.push_back(bufferization::ToTensorOp::create(b, arg.getLoc(), arg.getType(), *buffer, /*restrict=*/true,
                                                          /*writable=*/bool(present)));
      cacheEntry.push_back(caches.size());
      SmallVector<NamedAttribute> more;
      if (present) {
        more.push_back(b.getNamedAttr("present", present));
        more.push_back(b.getNamedAttr("past_length", func.getArgAttr(i, "rt.past_length")));
      }
      (present ? caches : inputs)
          .push_back(describe(func.getArgAttrOfType<StringAttr>(i, "onnx.name"), arg.getType(), dims,
                              func.getArgAttr(i, "tp.shard"), func.getArgAttr(i, onnx::kDeclaredTypeAttr), more));
    }
    for (auto [arg, tensor] : llvm::zip_equal(block.getArguments(), tensors))
      arg.replaceAllUsesWith(tensor);
    return success();
  }

  /// A cache is written in place; any other result has a buffer of its own.
  LogicalResult writeResults() {
    auto ret = cast<func::ReturnOp>(block.getTerminator());
    b.setInsertionPoint(ret);
    SmallVector<Operation *> joined;
    for (auto [i, value] : llvm::enumerate(ret.getOperands())) {
      // One part, or one of each virtual rank.
      auto blocks = value.getDefiningOp<tp::BlocksOp>();
      SmallVector<Value> parts{value}, shards{Value()};
      if (blocks) {
        parts = blocks.getValues();
        shards = blocks.getShards();
        joined.push_back(blocks);
      }
      auto cache = func.getResultAttrOfType<IntegerAttr>(i, kCacheArgAttr);
      for (auto [part, shard] : llvm::zip_equal(parts, shards))
        if (!cache)
          writeOutput(part, shard);
        else if (failed(writeCache(part, shard, cache.getInt())))
          return ret.emitError("result ") << i << " should be a slice of a cache";
      if (!cache)
        outputs.push_back(describe(func.getResultAttrOfType<StringAttr>(i, "onnx.name"), value.getType(), {},
                                   func.getResultAttr(i, "tp.shard"), func.getResultAttr(i, onnx::kDeclaredTypeAttr)));
    }
    func::ReturnOp::create(b, ret.getLoc());
    ret.erase();
    for (Operation *op : joined)
      op->erase();
    return success();
  }

  void write(Location loc, Value part, Value buffer) {
    bufferization::MaterializeInDestinationOp::create(b, loc, Type(), part, buffer, /*restrict=*/true,
                                                      /*writable=*/true);
  }

  void writeOutput(Value part, Value shard) {
    auto type = cast<RankedTensorType>(part.getType());
    SmallVector<Value> sizes;
    for (int64_t d = 0; d < type.getRank(); ++d)
      if (type.isDynamicDim(d))
        sizes.push_back(tensor::DimOp::create(b, part.getLoc(), part, d));
    write(part.getLoc(), part,
          rt::BufferOp::create(b, part.getLoc(), MemRefType::get(type.getShape(), type.getElementType()),
                               b.getI64IntegerAttr(numArgs + outputs.size()), sizes, shard));
  }

  /// Into the buffer of argument `arg`, whose room is checked.
  LogicalResult writeCache(Value part, Value shard, unsigned arg) {
    Location loc = part.getLoc();
    if (auto cast = part.getDefiningOp<tensor::CastOp>())
      part = cast.getSource();
    auto slice = part.getDefiningOp<tensor::ExtractSliceOp>();
    if (!slice)
      return failure();
    Value buffer = atBlock(b, buffers[arg], shard);
    Value length = getValueOrCreateConstantIndexOp(b, loc, slice.getMixedSizes()[2]);
    Value room = rt::DimOp::create(b, loc, b.getStringAttr("max_length"));
    Value fits = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ule, length, room);
    checks.emplace_back(rt::CheckOp::create(b, loc, fits, "the sequence is longer than max_length"), cacheEntry[arg]);
    write(loc, slice.getSource(), buffer);
    return success();
  }

  func::FuncOp func;
  Block &block;
  OpBuilder b;
  NamedDims named;
  unsigned numArgs, numCaches = 0;
  SmallVector<Attribute> inputs, caches, outputs;
  SmallVector<Value> buffers;                           // of each argument
  SmallVector<unsigned> cacheEntry;                     // argument -> position in `caches`
  SmallVector<std::pair<rt::CheckOp, unsigned>> checks; // that a cache has room, and which
};

struct FormEntryPass : caat::impl::RTFormEntryPassBase<FormEntryPass> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    auto func = module.lookupSymbol<func::FuncOp>("main");
    if (!func || func.isExternal() || !func.getBody().hasOneBlock()) {
      module.emitError("no function @main with one block");
      return signalPassFailure();
    }
    EntryFormer former(func);
    if (failed(former.run()))
      return signalPassFailure();
    module->setAttr("rt.interface", former.getInterface());
  }
};
} // namespace
