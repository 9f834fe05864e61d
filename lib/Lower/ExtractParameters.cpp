// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Lower/BlockStructure.h"
#include "caat/Lower/Passes.h"
#include "dialects/onnx/ONNX.h"
#include "dialects/tp/TP.h"
#include "mlir/Analysis/SliceAnalysis.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Remarks.h"
#include <numeric>

namespace caat {
#define GEN_PASS_DEF_RTEXTRACTPARAMETERSPASS
#include "caat/Lower/Passes.h.inc"
} // namespace caat

using namespace mlir;
using namespace caat;

/// `op` (a Gather or Slice along one dimension of a matrix) of `matrix`, the transpose of its own operand, or null.
static Value selectTransposed(Operation *op, Value matrix, RankedTensorType type) {
  OpBuilder builder(op);
  if (auto gather = dyn_cast<onnx::GatherOp>(op)) {
    int64_t axis = gather.getAxis() < 0 ? gather.getAxis() + 2 : gather.getAxis();
    return onnx::GatherOp::create(builder, op->getLoc(), type, matrix, gather.getIndices(), 1 - axis);
  }
  auto slice = cast<onnx::SliceOp>(op);
  std::optional<SmallVector<int64_t>> axes =
      slice.getAxes() ? onnx::constantInts(slice.getAxes()) : std::optional<SmallVector<int64_t>>();
  if (!axes || axes->size() != 1)
    return {};
  int64_t axis = axes->front() < 0 ? axes->front() + 2 : axes->front();
  return onnx::SliceOp::create(builder, op->getLoc(), type, matrix, slice.getStarts(), slice.getEnds(),
                               onnx::createInts(builder, op->getLoc(), {1 - axis}), slice.getSteps());
}

/// `b` without a final exchange of its two dimensions: the matrix as stored [N, K], or null. A shard of a transposed
/// matrix is a transposed shard, a choice of its columns one of rows.
static Value withoutTransposition(Value b) {
  Operation *op = b.getDefiningOp();
  if (auto transpose = dyn_cast_or_null<onnx::TransposeOp>(op)) {
    std::optional<ArrayRef<int64_t>> perm = transpose.getPerm();
    return !perm || *perm == ArrayRef<int64_t>{1, 0} ? transpose.getData() : Value();
  }
  auto shard = dyn_cast_or_null<tp::ShardOp>(op);
  bool selects = isa_and_nonnull<onnx::GatherOp, onnx::SliceOp>(op) &&
                 cast<RankedTensorType>(op->getOperand(0).getType()).getRank() == 2;
  auto type = cast<RankedTensorType>(b.getType());
  if ((!selects && (!shard || shard.getDim() > 1)) || type.getRank() != 2)
    return {};
  Value stored = withoutTransposition(op->getOperand(0));
  if (!stored)
    return {};
  OpBuilder builder(op);
  auto flipped = RankedTensorType::get({type.getDimSize(1), type.getDimSize(0)}, type.getElementType());
  if (selects)
    return selectTransposed(op, stored, flipped);
  return tp::ShardOp::create(builder, op->getLoc(), flipped, stored,
                             builder.getI64IntegerAttr(1 - static_cast<int64_t>(shard.getDim())), shard.getPiecesAttr(),
                             shard.getSizeAttr());
}

/// The sum that `product` is added to in place: the other addend is a product (or such a sum) that nothing reads later.
static onnx::AddOp findRunningSum(onnx::MatMulOp product) {
  if (!product->hasOneUse())
    return {};
  auto sum = dyn_cast<onnx::AddOp>(*product->getUsers().begin());
  if (!sum || sum.getB() != product.getResult() || sum.getA().getType() != sum.getType() ||
      !sum.getA().getDefiningOp<rt::LinearOp>())
    return {};
  auto isLater = [&](Operation *user) {
    return user != sum && (user->getBlock() != sum->getBlock() || !user->isBeforeInBlock(sum));
  };
  return llvm::any_of(sum.getA().getUsers(), isLater) ? onnx::AddOp() : sum;
}

/// The matrix as the file stores it, in f16 or bf16, where `b` is that widened to f32; null otherwise. The runtime
/// widens weights of f16 when it loads them and multiplies those of bf16 as they are, so only what the model itself
/// multiplies in bf16 counts there. Transposes, shards and choices of a cast are those of what is cast.
static Value asStored(Value b) {
  Operation *op = b.getDefiningOp();
  if (auto cast = dyn_cast_or_null<onnx::CastOp>(op)) {
    Type from = getElementTypeOrSelf(cast.getInput());
    bool widens = cast.getTo().isF32() && (from.isF16() || (from.isBF16() && cast->hasAttr(onnx::kStorageCastAttr)));
    return widens ? cast.getInput() : Value();
  }
  if (!isa_and_nonnull<onnx::TransposeOp, tp::ShardOp, onnx::GatherOp, onnx::SliceOp>(op))
    return {};
  Value stored = asStored(op->getOperand(0));
  if (!stored)
    return {};
  OpBuilder builder(op);
  Operation *copy = builder.clone(*op);
  copy->setOperand(0, stored);
  copy->getResult(0).setType(cast<RankedTensorType>(b.getType()).clone(getElementTypeOrSelf(stored)));
  return copy->getResult(0);
}

/// Whether `value` is known when the artifact is written, as small biases are that stand in the graph, alone or side by
/// side.
static bool isKnown(Value value) {
  auto isOne = [](Value part) { return part.getDefiningOp<onnx::ConstantOp>() || isWeightExpression(part); };
  auto concat = value.getDefiningOp<onnx::ConcatOp>();
  return isOne(value) || (concat && llvm::all_of(concat.getInputs(), isOne));
}

/// Whether `operand` is added to the columns of a product with a weight.
static bool isBias(OpOperand &operand) {
  auto sum = dyn_cast<onnx::AddOp>(operand.getOwner());
  auto type = cast<RankedTensorType>(operand.get().getType());
  if (!sum || type.getRank() == 0 || type.getNumElements() != type.getShape().back() || !isKnown(operand.get()))
    return false;
  Value product = operand.get() == sum.getA() ? sum.getB() : sum.getA();
  if (auto cast = product.getDefiningOp<tensor::CastOp>())
    product = cast.getSource();
  return product.getDefiningOp<rt::LinearOp>();
}

namespace {

/// Makes one rt.weight for each expression and form.
class WeightTable {
public:
  explicit WeightTable(ModuleOp module) : symbols(module), builder(module.getBodyRegion()) {
    for (auto weight : module.getOps<rt::WeightOp>())
      table.try_emplace(key(weight), weight.getSymNameAttr());
  }

  /// `group`: of the weights that travel together; null for one that stays.
  StringAttr get(Value value, bool linear, bool transposed, StringAttr group) {
    SetVector<Operation *> ops;
    BackwardSliceOptions options;
    options.inclusive = true;
    (void)getBackwardSlice(value, &ops, options);

    auto weight = rt::WeightOp::create(builder, value.getLoc(), name(ops), value.getType(), linear, transposed, group);
    OpBuilder inside = OpBuilder::atBlockEnd(&weight.getBody().emplaceBlock());
    IRMapping mapping;
    for (Operation *op : ops)
      inside.clone(*op, mapping);
    rt::YieldOp::create(inside, value.getLoc(), mapping.lookup(value));
    auto [entry, isNew] = table.try_emplace(key(weight), weight.getSymNameAttr());
    if (!isNew) {
      weight.erase();
      return entry->second;
    }
    entry->second = symbols.insert(weight);
    return entry->second;
  }

private:
  /// The weight's text without its name.
  static std::string key(rt::WeightOp weight) {
    std::string text =
        llvm::formatv("{0}{1}{2}", weight.getLinear(), weight.getTransposed(), weight.getGroup().value_or("")).str();
    llvm::raw_string_ostream os(text);
    for (Operation &op : weight.getBody().front())
      op.print(os, OpPrintingFlags().useLocalScope());
    return text;
  }

  /// The only initializer's name, or the first one's.
  static std::string name(const SetVector<Operation *> &ops) {
    for (Operation *op : ops)
      if (auto get = dyn_cast<onnx::GetInitializerOp>(op))
        return get.getName().str();
    return "constant";
  }

  SymbolTable symbols;
  OpBuilder builder;
  llvm::StringMap<StringAttr> table;
};

struct ExtractParametersPass : caat::impl::RTExtractParametersPassBase<ExtractParametersPass> {
  using Base::Base;

  /// A product's matrix: [K, N], or [N, K] as it is stored.
  struct Matrix {
    Value value;
    bool transposed;
  };

  Matrix matrixOf(onnx::MatMulOp op) {
    OpBuilder builder(op);
    bool travels = op.getB().getDefiningOp<tp::HeldOp>() != nullptr;
    Value b = withoutHeld(op.getB());
    if (Value narrow = travels ? Value() : asStored(b)) // what travels is used as it arrives
      b = narrow;
    Value stored = withoutTransposition(b), matrix = stored ? stored : b;
    Type narrow = dtype == "bf16" ? builder.getBF16Type() : dtype == "f16" ? builder.getF16Type() : Type();
    if (narrow && !travels && getElementTypeOrSelf(matrix).isF32())
      matrix = onnx::CastOp::create(builder, op.getLoc(), matrix, narrow).getOutput();
    return {matrix, bool(stored)};
  }

  /// The sum of a product, which nothing else uses, and a weight along its columns; or null.
  static onnx::AddOp biasedSum(onnx::MatMulOp op) {
    auto sum = op->hasOneUse() ? dyn_cast<onnx::AddOp>(*op->getUsers().begin()) : onnx::AddOp();
    if (!sum || sum.getResult().getType() != op.getResult().getType())
      return {};
    Value bias = biasOf(sum, op);
    auto type = dyn_cast<RankedTensorType>(bias.getType());
    bool fits = type && type.getRank() == 1 && type.getDimSize(0) == op.getResult().getType().getShape().back() &&
                type.getElementType().isF32();
    return fits && isKnown(bias) ? sum : onnx::AddOp();
  }

  static Value biasOf(onnx::AddOp sum, onnx::MatMulOp op) {
    return sum.getA() == op.getResult() ? sum.getB() : sum.getA();
  }

  /// Whether whoever reads the result can as well read columns of a wider one: no product and no collective, which
  /// would have them copied, and not the caller. What is summed over the ranks begins to be as soon as it is there.
  static bool canBeColumns(onnx::MatMulOp op) {
    auto isSummed = [](Operation *user) {
      return isa<onnx::AddOp>(user) && llvm::any_of(user->getUsers(), llvm::IsaPred<tp::CollectiveOpInterface>);
    };
    auto reads = [&](Operation *user) {
      return isa<onnx::ONNXDialect>(user->getDialect()) && !isWeightProduct(user) && !isSummed(user);
    };
    onnx::AddOp sum = biasedSum(op);
    Operation *made = sum ? sum.getOperation() : op.getOperation();
    return !op.getB().getDefiningOp<tp::HeldOp>() && !made->use_empty() && llvm::all_of(made->getUsers(), reads);
  }

  /// Biases side by side, with zeros for products without; null where none has one.
  static Value joinedBiases(OpBuilder &b, Location loc, ArrayRef<onnx::MatMulOp> products, ArrayRef<int64_t> widths) {
    SmallVector<Value> biases;
    bool any = false;
    int64_t width = 0;
    for (auto [op, size] : llvm::zip_equal(products, widths)) {
      width += size;
      auto type = RankedTensorType::get({size}, b.getF32Type());
      if (onnx::AddOp sum = biasedSum(op)) {
        biases.push_back(biasOf(sum, op));
        any = true;
      } else {
        biases.push_back(onnx::ConstantOp::create(b, loc, DenseElementsAttr::get(type, 0.0f)).getOutput());
      }
    }
    auto type = RankedTensorType::get({width}, b.getF32Type());
    return any ? onnx::ConcatOp::create(b, loc, type, biases, 0).getConcatResult() : Value();
  }

  /// Bits of the codes that a matrix is made from, 0 where it is of floats: side by side with others it would be
  /// neither.
  static unsigned codeBits(Value matrix) {
    onnx::DequantizeLinearOp op = dequantizationOf(matrix);
    std::optional<Codes> codes = op ? codesOf(op) : std::nullopt;
    return codes ? std::max(4u, codes->bits) : 0;
  }

  /// Products of the same rows -> one product with the matrices side by side, and a Split. Biases go with them.
  void mergeProducts(SmallVectorImpl<onnx::MatMulOp> &products) {
    llvm::MapVector<std::pair<Value, Block *>, SmallVector<onnx::MatMulOp>> byRows;
    for (onnx::MatMulOp op : products)
      if (canBeColumns(op))
        byRows[{op.getA(), op->getBlock()}].push_back(op);
    for (auto &[rows, all] : byRows) {
      SmallVector<std::pair<onnx::MatMulOp, Matrix>> group;
      if (all.size() < 2)
        continue;
      for (onnx::MatMulOp op : all) {
        Matrix matrix = matrixOf(op);
        auto isLike = [&](const Matrix &first) {
          return first.transposed == matrix.transposed && codeBits(first.value) == codeBits(matrix.value) &&
                 getElementTypeOrSelf(first.value) == getElementTypeOrSelf(matrix.value);
        };
        if (group.empty() || isLike(group.front().second))
          group.push_back({op, matrix});
      }
      if (group.size() < 2)
        continue;
      onnx::MatMulOp first = group.front().first, last = group.back().first;
      bool transposed = group.front().second.transposed;
      OpBuilder b(last);
      SmallVector<Value> matrices;
      SmallVector<onnx::MatMulOp> members;
      SmallVector<int64_t> widths;
      SmallVector<Type> types;
      for (auto [op, matrix] : group) {
        matrices.push_back(matrix.value);
        members.push_back(op);
        widths.push_back(cast<RankedTensorType>(matrix.value.getType()).getDimSize(transposed ? 0 : 1));
        types.push_back(op.getResult().getType());
      }
      int64_t width = std::accumulate(widths.begin(), widths.end(), int64_t(0));
      auto type = cast<RankedTensorType>(matrices.front().getType());
      int64_t depth = type.getDimSize(transposed ? 1 : 0), axis = transposed ? 0 : 1;
      SmallVector<int64_t> shape = transposed ? SmallVector<int64_t>{width, depth} : SmallVector<int64_t>{depth, width};
      Value joined = onnx::ConcatOp::create(b, last.getLoc(), type.clone(shape), matrices, axis).getConcatResult();
      if (transposed)
        joined = onnx::TransposeOp::create(b, last.getLoc(), type.clone({depth, width}), joined,
                                           b.getDenseI64ArrayAttr({1, 0}))
                     .getTransposed();
      if (!type.getElementType().isF32()) {
        auto wide = onnx::CastOp::create(b, last.getLoc(), joined, b.getF32Type());
        wide->setAttr(onnx::kStorageCastAttr, b.getUnitAttr());
        joined = wide.getOutput();
      }
      Value bias = joinedBiases(b, last.getLoc(), members, widths);
      // In place of the first, before what reads it: all weights are expressions, which are nowhere.
      b.setInsertionPoint(first);
      auto result = cast<RankedTensorType>(first.getResult().getType());
      SmallVector<int64_t> sizes(result.getShape());
      sizes.back() = width;
      auto product = onnx::MatMulOp::create(b, first.getLoc(), result.clone(sizes), first.getA(), joined);
      Value joint = product.getResult();
      if (bias)
        joint = onnx::AddOp::create(b, first.getLoc(), joint.getType(), joint, bias).getResult();
      auto parts = onnx::ConstantOp::create(
          b, first.getLoc(),
          DenseElementsAttr::get(RankedTensorType::get({static_cast<int64_t>(widths.size())}, b.getI64Type()),
                                 ArrayRef<int64_t>(widths)));
      auto split = onnx::SplitOp::create(b, first.getLoc(), types, joint, parts.getOutput(), result.getRank() - 1,
                                         IntegerAttr());
      for (auto [entry, part] : llvm::zip_equal(group, split.getOutputs())) {
        onnx::AddOp sum = biasedSum(entry.first);
        (sum ? sum.getResult() : entry.first.getResult()).replaceAllUsesWith(part);
        if (sum)
          sum.erase();
        llvm::erase(products, entry.first);
        entry.first.erase();
      }
      products.push_back(product);
      remark::passed(product.getLoc(), remark::RemarkOpts::name("extract-parameters").category("caat"))
          << std::to_string(widths.size()) + " products of the same rows are one";
    }
  }

  /// onnx.MatMul by a weight -> rt.linear. The sum that collects the slices of a travelling weight takes its products
  /// in place.
  void extractProduct(onnx::MatMulOp op, WeightTable &weights) {
    OpBuilder builder(op);
    auto held = op.getB().getDefiningOp<tp::HeldOp>();
    auto [matrix, stored] = matrixOf(op);
    StringAttr weight =
        weights.get(matrix, /*linear=*/true, /*transposed=*/stored, held ? held.getGroupAttr() : StringAttr());
    Value shard = held ? held.getShard() : Value();
    if (onnx::AddOp sum = held ? findRunningSum(op) : onnx::AddOp()) {
      builder.setInsertionPoint(sum);
      Value y = rt::LinearOp::create(builder, op.getLoc(), weight, op.getA(), sum.getA(), shard, /*accumulate=*/true)
                    ->getResult(0);
      sum.getResult().replaceAllUsesWith(y);
      sum.erase();
      op.erase();
      return;
    }
    auto type = cast<RankedTensorType>(op.getResult().getType());
    SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(builder, op.getLoc(), op.getA());
    sizes.back() = builder.getIndexAttr(cast<RankedTensorType>(op.getB().getType()).getDimSize(1));
    Value init = tensor::EmptyOp::create(builder, op.getLoc(), sizes, type.getElementType());
    Value y = rt::LinearOp::create(builder, op.getLoc(), weight, op.getA(), init, shard)->getResult(0);
    if (y.getType() != type)
      y = tensor::CastOp::create(builder, op.getLoc(), type, y);
    op.getResult().replaceAllUsesWith(y);
    op.erase();
    remark::passed(y.getLoc(), remark::RemarkOpts::name("extract-parameters").category("caat"))
        << "product by weight '" + weight.str() + "'" + (stored ? ", stored transposed" : "");
  }

  /// Every use of a weight expression by an op that runs -> rt.parameter. It stands in the function's body: what is in
  /// a region may become a kernel, and a kernel is handed its parameters.
  void extractUses(Operation *op, WeightTable &weights) {
    for (OpOperand &operand : op->getOpOperands()) {
      Value value = operand.get();
      auto type = dyn_cast<RankedTensorType>(value.getType());
      auto constant = constants ? value.getDefiningOp<arith::ConstantOp>() : arith::ConstantOp();
      auto held = value.getDefiningOp<tp::HeldOp>();
      bool dense = constant && type && !cast<ElementsAttr>(constant.getValue()).isSplat();
      if (!type || !type.hasStaticShape() || !(dense || isWeightExpression(withoutHeld(value)) || isBias(operand)))
        continue;
      OpBuilder builder(held ? op : op->getParentOfType<func::FuncOp>().getBody().findAncestorOpInRegion(*op));
      StringAttr weight = weights.get(withoutHeld(value), /*linear=*/false, /*transposed=*/false,
                                      held ? held.getGroupAttr() : StringAttr());
      operand.set(rt::ParameterOp::create(builder, value.getLoc(), type, FlatSymbolRefAttr::get(weight),
                                          held ? held.getShard() : Value()));
    }
  }

  void runOnOperation() override {
    WeightTable weights(getOperation());
    for (auto func : getOperation().getOps<func::FuncOp>()) {
      SmallVector<onnx::MatMulOp> products;
      func.walk([&](onnx::MatMulOp op) {
        auto type = dyn_cast<RankedTensorType>(op.getA().getType()); // unranked behind an op that has no lowering
        if (type && type.getRank() >= 2 && isWeightProduct(op))
          products.push_back(op);
        else if (!constants)
          remark::missed(op.getLoc(), remark::RemarkOpts::name("extract-parameters").category("caat"))
              << "product stays a loop: its second operand is " +
                     std::string(isWeightExpression(op.getB()) ? "a weight of another rank than 2" : "no weight");
      });
      if (merge)
        mergeProducts(products);
      for (onnx::MatMulOp op : products)
        extractProduct(op, weights);

      SmallVector<Operation *> running;
      func.walk([&](Operation *op) {
        bool expression = op->getNumResults() != 0 && isWeightExpression(op->getResult(0));
        if (!expression && !isa<arith::ConstantOp, tp::HeldOp>(op))
          running.push_back(op);
      });
      for (Operation *op : running)
        extractUses(op, weights);
      SmallVector<tp::HeldOp> helds;
      func.walk([&](tp::HeldOp op) { helds.push_back(op); });
      for (tp::HeldOp op : helds)
        if (op->use_empty())
          op.erase();
    }
  }
};
} // namespace
