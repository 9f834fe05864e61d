// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Enums have a file of their own: -gen-enum-decls has no dialect filter and would repeat upstream's.
#ifndef CAAT_DIALECTS_TP_ENUMS_TD
#define CAAT_DIALECTS_TP_ENUMS_TD

include "mlir/IR/EnumAttr.td"

def TP_SyncKind : I32EnumAttr<"SyncKind", "what a sync point puts on the wire", [
    I32EnumAttrCase<"Full", 0, "full">,
    I32EnumAttrCase<"Partial", 1, "partial">]> {
  let cppNamespace = "::caat::tp";
  let genSpecializedAttr = 0;
}

def TP_Rest : I32EnumAttr<"Rest", "what becomes of the channels that stay off the wire", [
    I32EnumAttrCase<"Deferred", 0, "deferred">,
    I32EnumAttrCase<"Private", 1, "private">]> {
  let cppNamespace = "::caat::tp";
  let genSpecializedAttr = 0;
}

def TP_Feature : I32EnumAttr<"Feature", "what an estimate of small rank reads", [
    I32EnumAttrCase<"Pending", 0, "pending">,
    I32EnumAttrCase<"Input", 1, "input">,
    I32EnumAttrCase<"Both", 2, "pending_and_input">]> {
  let cppNamespace = "::caat::tp";
  let genSpecializedAttr = 0;
}

#endif // CAAT_DIALECTS_TP_ENUMS_TD
