// RUN: caat-opt %s --onnx-to-linalg --canonicalize --split-input-file | FileCheck %s
// RUN: caat-opt %s --onnx-to-linalg=generate-products --canonicalize --split-input-file | FileCheck %s --check-prefix=LOOPS

// A product by a weight, and what makes the weight, are left alone.
// CHECK-LABEL: func.func @weight
// CHECK: %[[W:.*]] = onnx.Transpose
// CHECK: onnx.MatMul %arg0, %[[W]]
// CHECK-NOT: rt.matmul
// LOOPS-LABEL: func.func @weight
// LOOPS: onnx.MatMul
onnx.initializer @w : tensor<8x4xf32> {file = "w.bin", offset = 0 : i64, length = 128 : i64}
func.func @weight(%x: tensor<?x4xf32>) -> tensor<?x8xf32> {
  %w = onnx.get_initializer @w : tensor<8x4xf32>
  %t = onnx.Transpose %w : (tensor<8x4xf32>) -> tensor<4x8xf32>
  %0 = onnx.MatMul %x, %t : (tensor<?x4xf32>, tensor<4x8xf32>) -> tensor<?x8xf32>
  return %0 : tensor<?x8xf32>
}

// -----

// CHECK-LABEL: func.func @activations
// CHECK: rt.matmul ins(%arg0, %arg1 : tensor<?x?x4xf32>, tensor<?x4x?xf32>)
// LOOPS-LABEL: func.func @activations
// LOOPS: linalg.generic {{.*}}"reduction"
// LOOPS-NOT: rt.matmul
func.func @activations(%a: tensor<?x?x4xf32>, %b: tensor<?x4x?xf32>) -> tensor<?x?x?xf32> {
  %0 = onnx.MatMul %a, %b : (tensor<?x?x4xf32>, tensor<?x4x?xf32>) -> tensor<?x?x?xf32>
  return %0 : tensor<?x?x?xf32>
}
