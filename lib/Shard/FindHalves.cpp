// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Shard/DividedTokens.h"
#include "caat/Shard/IndependentRows.h"
#include "caat/Shard/Passes.h"
#include "mlir/IR/Remarks.h"

namespace caat {
#define GEN_PASS_DEF_TPFINDHALVES
#include "caat/Shard/Passes.h.inc"
} // namespace caat

using namespace mlir;
using namespace caat;
using namespace caat::shard;

static Division divideBatch(func::FuncOp function) {
  StringAttr batch = findBatch(function);
  if (!batch)
    return {{}, "the first dimension of every input has a fixed size"};
  if (std::optional<std::string> reason = whyRowsMeet(function, batch))
    return {{}, *reason};
  return {batch, ""};
}

namespace {
struct FindHalves : caat::impl::TPFindHalvesBase<FindHalves> {
  NamedAttribute describe(func::FuncOp function, StringRef what, const Division &division) {
    Builder b(&getContext());
    auto options = remark::RemarkOpts::name("halves").category("caat");
    std::string text = division.dim ? " may be run in two parts, along '" + division.dim.str() + "'"
                                    : " cannot be run in two parts: " + division.refused;
    if (division.dim)
      remark::passed(function.getLoc(), options) << what.str() + text;
    else
      remark::missed(function.getLoc(), options) << what.str() + text;
    return b.getNamedAttr(
        what, b.getDictionaryAttr(division.dim ? b.getNamedAttr("dim", division.dim)
                                               : b.getNamedAttr("refused", b.getStringAttr(division.refused))));
  }

  void runOnOperation() override {
    auto main = getOperation().lookupSymbol<func::FuncOp>("main");
    if (!main || main.isExternal())
      return;
    getOperation()->setAttr(kHalvesAttrName,
                            DictionaryAttr::get(&getContext(), {describe(main, "batch", divideBatch(main)),
                                                                describe(main, "tokens", divideTokens(main))}));
  }
};
} // namespace
