// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// rt-block-weights: see Passes.td.
#include "caat/Lower/BlockStructure.h"
#include "caat/Lower/Passes.h"
#include "caat/Lower/WeightRules.h"
#include "mlir/IR/Remarks.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/StringExtras.h"

namespace caat {
#define GEN_PASS_DEF_RTBLOCKWEIGHTSPASS
#include "caat/Lower/Passes.h.inc"
} // namespace caat

using namespace mlir;
using namespace caat;

namespace {

/// Makes values f32 without the rounding to fewer bits of matrices that are stored so: blocks are made of, or are, what
/// stands before it.
class Widener {
public:
  explicit Widener(OpBuilder builder) : b(builder) {}

  Value widen(Value value) {
    if (Value known = wide.lookup(value))
      return known;
    Value result = compute(value);
    wide[value] = result;
    return result;
  }

private:
  Value compute(Value value) {
    Operation *op = value.getDefiningOp();
    auto type = cast<RankedTensorType>(value.getType());
    if (auto cast = dyn_cast<onnx::CastOp>(op); cast && isa<FloatType>(getElementTypeOrSelf(cast.getInput())))
      return widen(cast.getInput());
    bool padsWithValue = isa<onnx::PadOp>(op) && cast<onnx::PadOp>(op).getConstantValue();
    if (!movesElements(op) || op->getNumResults() != 1 || padsWithValue)
      return type.getElementType().isF32() ? value
                                           : onnx::CastOp::create(b, value.getLoc(), value, b.getF32Type()).getOutput();
    SmallVector<Value> operands(op->getOperands());
    for (size_t i = 0, moved = movedOperands(op).size(); i < moved; ++i)
      operands[i] = widen(operands[i]);
    if (ValueRange(operands) == ValueRange(op->getOperands()))
      return value;
    Operation *copy = b.clone(*op);
    copy->setOperands(operands);
    copy->getResult(0).setType(type.clone(b.getF32Type()));
    return copy->getResult(0);
  }

  OpBuilder b;
  llvm::DenseMap<Value, Value> wide;
};

struct BlockWeightsPass : caat::impl::RTBlockWeightsPassBase<BlockWeightsPass> {
  using Base::Base;

  /// Gives the weight its form: transposed, and from f32.
  void store(rt::WeightOp weight, rt::BlocksAttr blocks, bool rounded) {
    Block &body = weight.getBody().front();
    OpBuilder b(&body.back());
    Value matrix = Widener(b).widen(weight.getYielded());
    auto type = cast<RankedTensorType>(matrix.getType());
    if (!weight.getTransposed()) {
      type = type.clone({type.getDimSize(1), type.getDimSize(0)});
      matrix = onnx::TransposeOp::create(b, matrix.getLoc(), type, matrix, b.getDenseI64ArrayAttr({1, 0}));
    }
    body.back().setOperand(0, matrix);
    for (Operation &op : llvm::make_early_inc_range(llvm::reverse(body)))
      if (op.use_empty() && !op.hasTrait<OpTrait::IsTerminator>())
        op.erase();
    Type element = weight.getTensorType().getElementType();
    weight.setType(type.clone(element.isF16() && wideHalves ? b.getF32Type() : element));
    weight.setTransposed(true);
    weight.setBlocksAttr(blocks);
    weight.setRounded(rounded);
    remark::passed(weight.getLoc(), remark::RemarkOpts::name("block-weights").category("caat"))
        << "weight '" + weight.getSymName().str() + "' is " + (rounded ? "rounded to" : "kept as") + " codes of " +
               std::to_string(blocks.getBits()) + " bits in blocks of " + std::to_string(blocks.getSize());
  }

  /// The form that `kind` rounds to; nothing where K has no blocks.
  rt::BlocksAttr formOf(WeightRule::Kind kind, int64_t k) {
    if (k % 16 != 0)
      return {};
    Builder b(&getContext());
    bool isFour = kind == WeightRule::FourBits;
    return rt::BlocksAttr::get(&getContext(), isFour ? 4 : 8, k % 32 == 0 ? 32 : 16, cast<FloatType>(b.getF16Type()),
                               isFour ? rt::BlockOffset::Minimum : rt::BlockOffset::Middle);
  }

  void handle(rt::WeightOp weight, const WeightRule *rule) {
    bool hasCodes = !weight.getBody().getOps<onnx::DequantizeLinearOp>().empty();
    auto missed = [&](const Twine &why) {
      remark::missed(weight.getLoc(), remark::RemarkOpts::name("block-weights").category("caat"))
          << "weight '" + weight.getSymName().str() + "' stays float: " + why.str();
    };
    if (!rule && !hasCodes)
      return;
    if (rule && rule->kind == WeightRule::Float)
      return missed("'" + rule->text + "' says so");
    if (weight.getGroup())
      return missed("it travels from rank to rank");
    Type element = weight.getTensorType().getElementType();
    if (!element.isF32() && !element.isBF16() && !element.isF16())
      return missed("its products are not of 16 or 32 bits");
    std::string why;
    std::optional<rt::BlocksAttr> own =
        hasCodes ? findBlocks(weight.getYielded(), weight.getTransposed() ? 1 : 0, why) : std::nullopt;
    unsigned most = rule && rule->kind == WeightRule::FourBits ? 4 : 8;
    if (own && own->getBits() <= most)
      return store(weight, *own, /*rounded=*/false);
    if (!rule)
      return missed(why);
    if (rt::BlocksAttr form = formOf(rule->kind, weight.getK()))
      return store(weight, form, /*rounded=*/true);
    missed("its columns have " + Twine(weight.getK()) + " elements, no multiple of 16");
  }

  void runOnOperation() override {
    SmallVector<WeightRule> parsed;
    for (const std::string &text : rules) {
      llvm::Expected<WeightRule> rule = WeightRule::parse(text);
      if (!rule) {
        getOperation().emitError("rule '") << text << "' for weights: " << llvm::toString(rule.takeError());
        return signalPassFailure();
      }
      parsed.push_back(std::move(*rule));
    }
    SmallVector<bool> used(parsed.size());
    llvm::SetVector<StringRef> names;
    for (auto weight : getOperation().getOps<rt::WeightOp>()) {
      if (!weight.getLinear() || weight.getBlocks())
        continue;
      const WeightRule *last = nullptr;
      llvm::SetVector<StringRef> own;
      for (auto get : weight.getBody().getOps<onnx::GetInitializerOp>())
        own.insert(get.getName());
      for (auto [rule, isUsed] : llvm::zip_equal(parsed, used))
        if (llvm::any_of(own, [&](StringRef name) { return rule.names.match(name); })) {
          isUsed = true;
          last = &rule;
        }
      names.insert_range(own);
      handle(weight, last);
    }
    for (auto [rule, isUsed] : llvm::zip_equal(parsed, used))
      if (!isUsed) {
        getOperation().emitError("rule '")
            << rule.text << "' for weights: no product's weight has a name like this; there are "
            << (names.empty() ? "none" : "'" + llvm::join(names.getArrayRef().take_front(4), "', '") + "'")
            << (names.size() > 4 ? ", …" : "");
        return signalPassFailure();
      }
  }
};

} // namespace
