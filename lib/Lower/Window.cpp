// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "lib/Lower/Window.h"

using namespace mlir;

namespace caat::lower {

SmallVector<int64_t> listOr(std::optional<ArrayRef<int64_t>> given, int64_t count, int64_t otherwise) {
  return given ? llvm::to_vector(*given) : SmallVector<int64_t>(count, otherwise);
}

/// Positions from the first to the last of one window: dilation * (kernel - 1) + 1.
static OpFoldResult reach(ScalarBuilder &s, const Window &window, int64_t i) {
  OpFoldResult one = s.b.getIndexAttr(1), dilation = s.b.getIndexAttr(window.dilations[i]);
  return s.add(s.mul(s.sub(window.kernel[i], one), dilation), one);
}

void padAutomatically(ScalarBuilder &s, StringRef autoPad, Window &window, ArrayRef<OpFoldResult> input) {
  for (int64_t i = 0; i < window.rank(); ++i) {
    OpFoldResult &before = window.padBefore[i], &after = window.padAfter[i];
    if (autoPad == "VALID")
      before = after = s.b.getIndexAttr(0);
    if (!autoPad.starts_with("SAME"))
      continue;
    // ceil(size / stride) outputs; an odd pad goes to the end, or to the front with SAME_LOWER.
    Value stride = s.index(window.strides[i]), size = s.value(input[i]), one = s.index(1);
    Value outputs = arith::CeilDivUIOp::create(s.b, s.loc, size, stride);
    Value total = s.sub(s.add(s.mul(s.sub(outputs, one), stride), s.value(reach(s, window, i))), size);
    total = arith::MaxSIOp::create(s.b, s.loc, total, s.index(0));
    Value half = arith::DivUIOp::create(s.b, s.loc, total, s.index(2)), rest = s.sub(total, half);
    bool lower = autoPad == "SAME_LOWER";
    before = lower ? rest : half;
    after = lower ? half : rest;
  }
}

OpFoldResult windowCount(ScalarBuilder &s, const Window &window, int64_t i, OpFoldResult size, bool ceil) {
  // (size + pads - reach) / stride + 1
  OpFoldResult padded = s.add(s.add(size, window.padBefore[i]), window.padAfter[i]),
               left = s.sub(padded, reach(s, window, i));
  if (!getConstantIntValue(left)) {
    Value zero = s.index(0), fits = arith::CmpIOp::create(s.b, s.loc, arith::CmpIPredicate::sge, s.value(left), zero);
    checkAtRunTime(s, window.op, fits, "the window is larger than its input");
    left = arith::MaxSIOp::create(s.b, s.loc, s.value(left), zero).getResult(); // so that sizes are none that overflow
  }
  Value room = s.value(left), stride = s.index(window.strides[i]), one = s.index(1);
  if (!ceil)
    return s.add(arith::DivUIOp::create(s.b, s.loc, room, stride), one);
  Value count = s.add(arith::CeilDivUIOp::create(s.b, s.loc, room, stride), one);
  // A last window that begins in the padding at the end is none.
  Value begin = s.mul(s.sub(count, one), stride), end = s.value(s.add(size, window.padBefore[i]));
  return s.select(s.less(begin, end), count, s.sub(count, one));
}

Value windowPlace(ScalarBuilder &s, const Window &window, int64_t i, Value position, Value k) {
  Value place = s.add(s.mul(position, s.index(window.strides[i])), s.mul(k, s.index(window.dilations[i])));
  return s.value(s.sub(OpFoldResult(place), window.padBefore[i]));
}

} // namespace caat::lower
