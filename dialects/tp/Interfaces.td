// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef CAAT_DIALECTS_TP_INTERFACES_TD
#define CAAT_DIALECTS_TP_INTERFACES_TD

include "mlir/IR/OpBase.td"

def TP_CollectiveOpInterface : OpInterface<"CollectiveOpInterface"> {
  let cppNamespace = "::caat::tp";
  let description = [{
    An operation that every rank of a group takes part in. In tensor form it has value semantics (one result, no
    `out`); in memref form it has no result, works in place or writes `out`.

    **Constraints:**
    - `mesh` names a `tp.mesh`.
    - `axes` is not empty, and names axes of the mesh, each once.
    - `site`, where given, is not empty.
    - The tensor form has as many results as the operation gives (one, if it does not say otherwise) and no `out`
      operand; the memref form has no result, and has `out` where the operation does not work in place.

    What concerns the mesh is the operation's `verifySymbolUses` to check, with `verifyGroup`.
  }];
  let methods = [
    InterfaceMethod<"The mesh that the ranks are numbered by.", "::mlir::FlatSymbolRefAttr", "getMeshAttr">,
    InterfaceMethod<"The axes along which ranks take part.", "::mlir::ArrayAttr", "getAxesAttr">,
    InterfaceMethod<"Name for reports, traces and errors; may be null.", "::mlir::StringAttr", "getSiteAttr">,
    InterfaceMethod<"Sets the name.", "void", "setSiteAttr", (ins "::mlir::StringAttr":$site)>,
    InterfaceMethod<"What this rank contributes.", "::mlir::Value", "getInput">,
    InterfaceMethod<"True where the memref form overwrites its input.", "bool", "worksInPlace">,
    InterfaceMethod<"The buffer beside its input that the memref form writes; null in tensor form, and where there is none.", "::mlir::Value", "getDestination">,
    InterfaceMethod<"Number of results of the tensor form.", "unsigned", "getNumTensorResults", (ins), [{}], [{ return 1; }]>,
    InterfaceMethod<"Number of ranks that take part.", "int64_t", "getGroupSize", (ins), [{}], [{
      return ::caat::tp::detail::getGroupSize($_op, $_op.getMeshAttr(), $_op.getAxesAttr());
    }]>,
    InterfaceMethod<"The site's name, or the operation's where it has none.", "::llvm::StringRef", "getSiteName", (ins), [{}], [{
      ::mlir::StringAttr site = $_op.getSiteAttr();
      return site ? site.getValue() : $_op->getName().stripDialect();
    }]>,
    InterfaceMethod<"True in tensor form.", "bool", "hasTensorForm", (ins), [{}], [{
      return ::llvm::isa<::mlir::TensorType>($_op.getInput().getType());
    }]>,
  ];
  let verify = [{ return ::caat::tp::detail::verifyCollective(::llvm::cast<CollectiveOpInterface>($_op)); }];
}

#endif // CAAT_DIALECTS_TP_INTERFACES_TD
