// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Lower/Passes.h"
#include "dialects/onnx/ONNX.h"
#include "lib/Lower/AttentionCache.h"
#include "mlir/IR/Remarks.h"

namespace caat {
#define GEN_PASS_DEF_RTNARROWCACHESPASS
#include "caat/Lower/Passes.h.inc"
} // namespace caat

using namespace mlir;
using namespace caat;
using namespace caat::lower;

/// `value`, new keys or values for an attention, rounded to `element` by the rotation that makes them, else by a cast,
/// which is one with their copy into the cache.
static Value rounded(Value value, Type element, Operation *attention) {
  if (Value before = beforeWidening(value); before && getElementTypeOrSelf(before) == element)
    return before;
  if (value.getDefiningOp<onnx::RotaryEmbeddingOp>() && value.hasOneUse()) {
    setElementType(value, element);
    return value;
  }
  OpBuilder b(attention);
  return onnx::CastOp::create(b, attention->getLoc(), value, element).getOutput();
}

namespace {

struct NarrowCachesPass : caat::impl::RTNarrowCachesPassBase<NarrowCachesPass> {
  using RTNarrowCachesPassBase::RTNarrowCachesPassBase;

  void runOnOperation() override {
    func::FuncOp function = getOperation();
    if (function.isExternal() || !function.getBody().hasOneBlock())
      return;
    OpBuilder b(function.getContext());
    Type element = llvm::StringSwitch<Type>(type).Case("bf16", b.getBF16Type()).Case("f16", b.getF16Type()).Default({});
    if (!element) {
      function.emitError("rt-narrow-caches: type '") << type << "' is not bf16 or f16";
      return signalPassFailure();
    }
    for (BlockArgument argument : function.getArguments())
      if (function.getArgAttr(argument.getArgNumber(), kCacheArgAttr) && getElementTypeOrSelf(argument).isF32())
        narrow(function, argument, element);
    updateType(function);
  }

  void narrow(func::FuncOp function, BlockArgument argument, Type element) {
    auto options = remark::RemarkOpts::name("narrow-caches").category("caat");
    std::optional<AttentionCache> cache = AttentionCache::find(function, argument);
    if (!cache) {
      remark::missed(argument.getLoc(), options)
          << nameOf(function, argument) +
                 " stays f32: others than the attentions whose past it is read or append to it";
      return;
    }
    for (OpOperand *fresh : cache->appended)
      fresh->set(rounded(fresh->get(), element, fresh->getOwner()));
    cache->setElementType(function, element);
    remark::passed(argument.getLoc(), options) << nameOf(function, argument) + " is stored as " + type;
  }

  static std::string nameOf(func::FuncOp function, BlockArgument argument) {
    auto name = function.getArgAttrOfType<StringAttr>(argument.getArgNumber(), "onnx.name");
    return "'" + (name ? name.str() : "") + "'";
  }
};

} // namespace
