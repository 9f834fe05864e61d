// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Attention as one kernel of the runtime, on a GPU's tensor cores.
#include "dialects/rt/RT.h"
#include "lib/Lower/Attention.h"

using namespace mlir;

namespace caat::lower {

Value attentionFused(ScalarBuilder s, const AttentionProblem &p, Type via, Value out) {
  auto f32 = [&](double value) { return s.b.getF32FloatAttr(static_cast<float>(value)); };
  auto flag = [&](bool set) { return set ? s.b.getUnitAttr() : UnitAttr(); };
  return rt::AttentionOp::create(s.b, s.loc, TypeRange(out.getType()), TypeAttr::get(via), p.query, p.keys, p.values,
                                 p.mask, p.lengths, s.value(p.total), s.value(p.past), out, f32(p.scale),
                                 f32(p.softcap), s.b.getI64IntegerAttr(p.left), s.b.getI64IntegerAttr(p.right),
                                 flag(p.causal), flag(p.appendsByRow))
      .getResult(0);
}

} // namespace caat::lower
