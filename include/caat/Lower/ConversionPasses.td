// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef CAAT_LOWER_CONVERSIONPASSES
#define CAAT_LOWER_CONVERSIONPASSES

include "mlir/Pass/PassBase.td"

def OnnxToLinalgPass : Pass<"onnx-to-linalg", "::mlir::func::FuncOp"> {
  let summary = "Lower executed onnx ops to linalg, tensor and scf";
  let description = [{
    Every onnx op that has to run becomes `linalg.generic`, `tensor` ops and, where several loops must stay one
    kernel (softmax rows, rotary embedding, attention of few tokens), a one-dimensional `scf.forall` over rows.

    ```mlir
    %y = onnx.Sigmoid(%x) : (tensor<?x8xf32>) -> tensor<?x8xf32>
    // becomes
    %y = linalg.generic {...} ins(%x : tensor<?x8xf32>) outs(%e : tensor<?x8xf32>) { ... math.exp ... }
    ```

    Left as they are:
    - weight expressions (ops over `onnx.get_initializer` and constants only), which are evaluated at compile time;
    - `onnx.MatMul` whose B is a weight expression of rank 2, which becomes a product on packed weights;
    - `tp` ops.

    Broadcasting: a static 1 broadcasts, `?` against `?` is taken as equal. An op without a lowering is an error that
    names the node, the op and the opset.
  }];
  let options = [Option<"generateProducts", "generate-products", "bool", "false",
                        "lower products of activations to loops instead of rt.matmul, for programs without the runtime">,
                 Option<"forGPU", "gpu", "bool", "false",
                        "attention in the forms for GPUs: one kernel of the runtime in 16 bits, else few tokens by chunks "
                        "of keys, many in large blocks">];
  let dependentDialects = [
    "::mlir::affine::AffineDialect", "::mlir::arith::ArithDialect", "::mlir::linalg::LinalgDialect",
    "::mlir::math::MathDialect", "::mlir::scf::SCFDialect", "::mlir::tensor::TensorDialect",
    "::mlir::vector::VectorDialect", "::caat::rt::RTDialect"
  ];
}

def ReinterpretExpansionsPass : Pass<"reinterpret-expansions", "::mlir::func::FuncOp"> {
  let summary = "Replace memref.expand_shape that makes several dynamic dimensions of one";
  let description = [{
    Upstream lowers an expansion only where each group has at most one dynamic dimension (`expand-strided-metadata` ends in a
    crash otherwise). Run this between bufferization and it.

    ```mlir
    %1 = memref.expand_shape %0 [[0, 1]] output_shape [%a, %b] : memref<?xf32> into memref<?x?xf32>
    // becomes
    %1 = memref.reinterpret_cast %0 to offset: [0], sizes: [%a, %b], strides: [%b, 1] : memref<?xf32> to memref<?x?xf32, strided<[?, 1]>>
    %2 = memref.cast %1 : memref<?x?xf32, strided<[?, 1]>> to memref<?x?xf32>
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::memref::MemRefDialect"];
}

#endif // CAAT_LOWER_CONVERSIONPASSES
