// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Rotate/Passes.h"
#include "caat/Shard/IndependentRows.h"

namespace caat {
#define GEN_PASS_DEF_TPFINDBATCH
#include "caat/Rotate/Passes.h.inc"
} // namespace caat

using namespace mlir;
using namespace caat;

namespace {
struct FindBatch : caat::impl::TPFindBatchBase<FindBatch> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    auto main = module.lookupSymbol<func::FuncOp>("main");
    if (!main || main.isExternal()) {
      module.emitError("has no function @main");
      return signalPassFailure();
    }
    StringAttr batch = shard::findBatch(main);
    if (!batch) {
      main.emitError(
          "the first dimension of every input has a fixed size: export the model with a dynamic batch, which "
          "--strategy=rtp divides over the ranks");
      return signalPassFailure();
    }
    if (std::optional<std::string> reason = shard::whyRowsMeet(main, batch)) {
      emitError(main.getLoc()) << "the samples along '" << batch.getValue()
                               << "' cannot be divided over the ranks (--strategy=rtp): " << *reason;
      return signalPassFailure();
    }
    module->setAttr("caat.batch", batch);
  }
};
} // namespace
