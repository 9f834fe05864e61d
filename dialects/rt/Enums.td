// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Enums have a file of their own: -gen-enum-decls has no dialect filter and would repeat upstream's.
#ifndef CAAT_DIALECTS_RT_ENUMS_TD
#define CAAT_DIALECTS_RT_ENUMS_TD

include "mlir/IR/EnumAttr.td"

// The numbers are those of caat_activation (runtime/include/caat/runtime/Abi.h).
def RT_Activation : I32EnumAttr<"Activation", "what a product does to each of its elements last", [
    I32EnumAttrCase<"Relu", 1, "relu">,
    I32EnumAttrCase<"Gelu", 2, "gelu">,
    I32EnumAttrCase<"GeluTanh", 3, "gelu_tanh">,
    I32EnumAttrCase<"Swish", 4, "swish">]> {
  let cppNamespace = "::caat::rt";
}

// The numbers are those of caat_gate.
def RT_Gate : I32EnumAttr<"Gate", "which half of a product's columns its gate is", [
    I32EnumAttrCase<"First", 1, "first">,
    I32EnumAttrCase<"Second", 2, "second">]> {
  let cppNamespace = "::caat::rt";
}

def RT_BlockOffset : I32EnumAttr<"BlockOffset", "what is added to a scaled code", [
    I32EnumAttrCase<"Middle", 0, "middle">,
    I32EnumAttrCase<"Zeros", 1, "zeros">,
    I32EnumAttrCase<"Minimum", 2, "minimum">]> {
  let cppNamespace = "::caat::rt";
  let genSpecializedAttr = 0;
}

#endif // CAAT_DIALECTS_RT_ENUMS_TD
