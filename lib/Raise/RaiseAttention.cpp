// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "OnnxBuilder.h"
#include "caat/Raise/Passes.h"
namespace caat {
#define GEN_PASS_DEF_ONNXRAISEATTENTIONPASS
#include "caat/Raise/Passes.h.inc"
} // namespace caat
using namespace mlir;
using namespace caat;
namespace {
class RaiseAttention : public caat::impl::ONNXRaiseAttentionPassBase<RaiseAttention> {
  void runOnOperation() override {}
};
} // namespace
