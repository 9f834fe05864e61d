// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef CAAT_SYNC_PASSES_TD
#define CAAT_SYNC_PASSES_TD

include "mlir/Pass/PassBase.td"

def TPMergeAllReduces : Pass<"tp-merge-all-reduces", "::mlir::func::FuncOp"> {
  let summary = "one all-reduce for partial sums that meet in an add";
  let description = [{
    Where two exact partial sums are added before anything else reads them (parallel attention and MLP), their partial
    values are added first.
    ```mlir
    %a = tp.all_reduce %p …
    %b = tp.all_reduce %q …
    %s = onnx.Add %x, %a …
    %y = onnx.Add %s, %b …
    // becomes
    %pq = onnx.Add %p, %q …
    %r = tp.all_reduce %pq …
    %y = onnx.Add %x, %r …
    ```
  }];
  let dependentDialects = ["::caat::onnx::ONNXDialect", "::caat::tp::TPDialect"];
}

def TPFormSyncPoints : Pass<"tp-form-sync-points", "::mlir::func::FuncOp"> {
  let summary = "finds and names the places where a partial sum joins the residual stream";
  let description = [{
    `residual + (all_reduce(partial) + bias)` becomes a `tp.sync_point` with the policy `full`, read through
    `tp.read_stream`. Sites are named by their order in the graph: `layers.I.attn` where the partial depends on an
    attention since the site before, `layers.I.block` where attention and MLP share the sum, else `layers.I.mlp`. A
    layer starts at an attention, or at an MLP that follows an MLP or a block. Reshapes and constant factors, of
    the whole or of each channel (a layer scale), between the reduction and the addition move in front of the reduction.

    Where the partial is computed from a norm of the stream that it joins, that norm's result is the site's `input`.

    A site whose sum is normalised before it becomes the stream, or whose partial is (`not_deferrable`), can only be
    full or private, and what rounding leaves out is lost there. Collectives that are no sync point and have no name are named `reduce.0`, `reduce.1`, ….
    ```mlir
    %r = tp.all_reduce %p on @mesh ["tp"] : tensor<?x?x64xf32>
    %y = onnx.Add %x, %r : …
    // becomes
    %base, %pending = tp.sync_point base(%x) partial(%p) input(%norm) on @mesh ["tp"]
        {site = "layers.0.attn", policy = #tp.policy<full>} : tensor<?x?x64xf32>
    %y = tp.read_stream %base, %pending : tensor<?x?x64xf32>
    ```
  }];
  let dependentDialects = ["::caat::onnx::ONNXDialect", "::caat::tp::TPDialect"];
}

def TPApplyPlan : Pass<"tp-apply-plan", "::mlir::ModuleOp"> {
  let summary = "sets the policies of sync points from a plan";
  let description = [{
    Reads a plan (docs/plan.schema.json) and sets the policy of each `tp.sync_point`. A plan that does not fit the
    program is an error that names the file and the place in it. Without a plan nothing changes.
  }];
  let options = [
    Option<"plan", "plan", "std::string", "\"\"", "the plan's file">,
    Option<"size", "size", "int64_t", "0", "number of ranks; 0 takes the mesh's">,
  ];
  let dependentDialects = ["::caat::tp::TPDialect"];
}

def TPExpandSyncPoints : Pass<"tp-expand-sync-points", "::mlir::ModuleOp"> {
  let summary = "turns sync points into onnx operations and collectives";
  let description = [{
    Every `tp.sync_point` and `tp.read_stream` goes; an all-reduce named by the site, or where the policy rounds a
    `tp.quantized_all_reduce`, stays where the policy sends something. What is pending is flushed (all-reduce "final" behind the last site, "SITE.flush" elsewhere) where
    the stream is read by anything but the input of a later sync point. Where every policy is full, nothing is ever
    pending and the result is the program before `tp-form-sync-points`. The module's attribute `tp.sync` lists what
    each site sends; operations whose result differs per rank on purpose carry `tp.private`.
    ```mlir
    %base, %pending = tp.sync_point base(%x) partial(%p) on @mesh ["tp"]
        {site = "layers.0.attn", policy = #tp.policy<partial, shared = 0, rest = deferred>} : tensor<?x?x64xf32>
    %y = tp.read_stream %base, %pending : tensor<?x?x64xf32>
    // becomes
    %y = onnx.Add %x, %p {tp.private = "layers.0.attn"} : …
    ```
    With `split-products`, where a site sends a part of the channels of one product with a weight, that becomes two: one with
    the columns of the reduced channels, before the all-reduce, and one with the others, behind it, which can be computed
    while the first is summed.

    With a `message-type` of 16 bits, sums of f32 that no policy rounds travel in it: each rank casts what it sends, and what
    arrives is cast back. Base and pending stay f32.
  }];
  let options = [Option<"messageType", "message-type", "std::string", "\"f32\"",
                        "what sums of f32 travel as: f32, bf16 or f16">,
                 Option<"splitProducts", "split-products", "bool", "false",
                        "compute the reduced channels of a product first, the others behind the all-reduce">];
  let dependentDialects = ["::caat::onnx::ONNXDialect", "::caat::tp::TPDialect"];
}

def TPSwitchSyncPoints : Pass<"tp-switch-sync-points", "::mlir::func::FuncOp"> {
  let summary = "leaves the policies of sync points to run time";
  let description = [{
    Marks every `tp.sync_point` as `switchable`, with what a policy must know of it: whether everything that is pending
    is summed there (`flushes`), and why it may not be private (`not_private`). Takes the place of `tp-apply-plan` and
    `tp-expand-sync-points`.
  }];
  let dependentDialects = ["::caat::tp::TPDialect"];
}

def TPVerifyReplication : Pass<"tp-verify-replication", "::mlir::func::FuncOp"> {
  let summary = "proves that what must be equal on all ranks is";
  let description = [{
    Follows forward which values are equal on all ranks (replicated), which differ by a policy (private), and which
    hold a part or an unreduced sum (sharded). Errors: a function result without `tp.shard`, a branch condition, a
    loop bound (those of `onnx.If` and `onnx.Loop` too) or a shape that is not replicated, such an operand of any other
    operation with a collective in its regions, an all-reduce of a replicated value, and a collective or sync point over
    some of a mesh's ranks: along which axes a value differs is not followed. A remark lists the sites whose policy makes
    values private.
  }];
}

def TPReportCommunication : Pass<"tp-report-communication", "::mlir::ModuleOp"> {
  let summary = "reports what each sync point and collective sends per token";
  let description = [{
    A table on standard error, or JSON. Bytes are those of the reduced elements of one token, before and after the
    plan; a ring moves 2(r-1)/r of them per rank.
  }];
  let options = [
    Option<"json", "json", "bool", "false", "write JSON instead of a table">,
    Option<"file", "file", "std::string", "\"\"", "where to write (\"-\": standard output)">,
  ];
}

#endif // CAAT_SYNC_PASSES_TD
