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
  let dependentDialects = [
    "::mlir::affine::AffineDialect", "::mlir::arith::ArithDialect", "::mlir::linalg::LinalgDialect",
    "::mlir::math::MathDialect", "::mlir::scf::SCFDialect", "::mlir::tensor::TensorDialect",
    "::mlir::vector::VectorDialect", "::caat::rt::RTDialect"
  ];
}

#endif // CAAT_LOWER_CONVERSIONPASSES
