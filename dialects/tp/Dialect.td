// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef CAAT_DIALECTS_TP_DIALECT_TD
#define CAAT_DIALECTS_TP_DIALECT_TD

include "mlir/IR/OpBase.td"

def TP_Dialect : Dialect {
  let name = "tp";
  let cppNamespace = "::caat::tp";
  let summary = "Tensor parallelism: meshes, shards, collectives and sync points";
  let description = [{
    What an SPMD program needs and no upstream dialect has. Every rank runs the same function on values of local
    shape; collectives are explicit and named by their site, and an approximation exists only as the policy of a
    `tp.sync_point`.

    Discardable attributes:
    - `tp.shard = #tp.shard<…>` on a function argument or result: which part of the whole value a rank holds.
    - `tp.private = "site"` on an operation: its result differs from rank to rank on purpose, by that site's policy.
    - `tp.sync = [{…}, …]` on the module: what each sync point sends, left by the expansion for reports and manifests.
    - `tp.plan = "…"` on the module: the SHA-256 of the plan that was applied.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::memref::MemRefDialect"];
  let useDefaultAttributePrinterParser = 1;
  let extraClassDeclaration = "void registerAttributes();";
  let hasOperationAttrVerify = 1;
  let hasRegionArgAttrVerify = 1;
  let hasRegionResultAttrVerify = 1;
}

#endif // CAAT_DIALECTS_TP_DIALECT_TD
