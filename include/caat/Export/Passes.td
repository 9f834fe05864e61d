// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Passes of the Export stage: onnx, tp and index arithmetic in; onnx alone out.
#ifndef CAAT_EXPORT_PASSES_TD
#define CAAT_EXPORT_PASSES_TD

include "mlir/Pass/PassBase.td"

def ONNXBindRankPass : Pass<"onnx-bind-rank", "::mlir::func::FuncOp"> {
  let summary = "Make the program of one rank from that of all";
  let description = [{
    - `tp.rank` becomes a constant;
    - collectives become the operators of ONNX Runtime's NCCL build: `AllReduce`, `AllGather` and `AllToAll` of domain
      com.microsoft, with a Cast on both sides for element types that those do not take; `tp.reduce_scatter` is an AllReduce
      and a Slice. They have no groups, so a collective over some of a mesh's axes is an error, as are `tp.broadcast` and
      `tp.permute`;
    - `tp.shard` of a value that is computed becomes a Slice or a Gather. On weights it stays: the writer evaluates it.

    ```mlir
    %s = tp.all_reduce %p on @mesh ["tp"] {site = "layers.0.attn"} : tensor<?x64xf32>
    // becomes
    %s = onnx.Custom "com.microsoft" "AllReduce" (%p) : (tensor<?x64xf32>) -> tensor<?x64xf32>
    ```
  }];
  let options = [Option<"rank", "rank", "int64_t", /*default=*/"0", "Number of the rank">];
  let dependentDialects = ["::caat::onnx::ONNXDialect", "::mlir::arith::ArithDialect"];
}

def ONNXExpandMasksPass : Pass<"onnx-expand-masks", "::mlir::func::FuncOp"> {
  let summary = "Give masks of attention a row for each query";
  let description = [{
    ONNX broadcasts the mask of an Attention; ONNX Runtime's kernels want the number of queries in its last dimension but one.

    ```mlir
    %y = onnx.Attention %q, %k, %v mask %m : (…, tensor<?x1x1x?xi1>) -> …
    // becomes
    %e = onnx.Expand %m, %shape : (tensor<?x1x1x?xi1>, tensor<4xi64>) -> tensor<?x1x?x?xi1>
    %y = onnx.Attention %q, %k, %v mask %e : (…, tensor<?x1x?x?xi1>) -> …
    ```
  }];
  let dependentDialects = ["::caat::onnx::ONNXDialect", "::mlir::arith::ArithDialect", "::mlir::tensor::TensorDialect"];
}

def ONNXConvertIndexPass : Pass<"onnx-convert-index", "::mlir::func::FuncOp"> {
  let summary = "Turn index arithmetic into operators";
  let description = [{
    `tensor.dim`, `arith` on integers and `tensor.from_elements`, which shape folding makes, become Shape, Add, Sub, Mul, Div,
    Mod and Concat on tensors of one i64. Any other operation outside the onnx and tp dialects is an error.

    ```mlir
    %d = tensor.dim %x, %c1 : tensor<?x?xi64>
    %i = arith.index_cast %d : index to i64
    %s = tensor.from_elements %i, %c96 : tensor<2xi64>
    // becomes
    %d = onnx.Shape %x {start = 1 : i64, end = 2 : i64} : (tensor<?x?xi64>) -> tensor<1xi64>
    %s = onnx.Concat %d, %c96 {axis = 0 : i64} : (tensor<1xi64>, tensor<1xi64>) -> tensor<2xi64>
    ```
  }];
  let dependentDialects = ["::caat::onnx::ONNXDialect"];
}

def ONNXGuardChecksPass : Pass<"onnx-guard-checks", "::mlir::func::FuncOp"> {
  let summary = "Make checks fail in any runtime";
  let description = [{
    ONNX has no assertion. An `onnx.check` becomes a Reshape of a zero, to a shape that fits where the condition holds and does
    not where it fails, so that the run ends in an error that names the node, which is named by the check's message. The zero is
    added to an argument, behind the computation of the condition.

    ```mlir
    onnx.check %ok, "rows must have equal length" : tensor<i1>
    // becomes
    %s = onnx.Where %ok, %one, %two : (tensor<i1>, tensor<1xi64>, tensor<1xi64>) -> tensor<1xi64>
    %z = onnx.Reshape %zero, %s : (tensor<1xi64>, tensor<1xi64>) -> tensor<1xi64>
    %a = onnx.Add %arg0, %z : (tensor<?x?xi64>, tensor<1xi64>) -> tensor<?x?xi64>
    ```
  }];
  let dependentDialects = ["::caat::onnx::ONNXDialect"];
}

#endif // CAAT_EXPORT_PASSES_TD
