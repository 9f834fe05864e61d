// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "BlockFormat.h"

using namespace caat;

static runtime::BlockOffset blockOffset(rt::BlockOffset offset) {
  switch (offset) {
  case rt::BlockOffset::Middle:
    return runtime::BlockOffset::Middle;
  case rt::BlockOffset::Zeros:
    return runtime::BlockOffset::Zeros;
  case rt::BlockOffset::Minimum:
    return runtime::BlockOffset::Minimum;
  }
  llvm_unreachable("all offsets are above");
}

runtime::BlockFormat caat::blockFormat(rt::BlocksAttr blocks) {
  return {static_cast<int>(blocks.getBits()), blocks.getSize(),
          blocks.getScales().isF16() ? runtime::DType::F16 : runtime::DType::F32, blockOffset(blocks.getOffset())};
}
