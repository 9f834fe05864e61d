// RUN: caat-opt %s -onnx-expand-masks | FileCheck %s

tp.mesh @mesh <["tp" = 2]>

// The number of queries is the argument's, so that equal masks of layers become one.
// CHECK-LABEL: func @padding
// CHECK-SAME: (%[[IDS:.*]]: tensor<?x?xi64>
func.func @padding(%ids: tensor<?x?xi64> {onnx.dims = ["batch", "seq"], onnx.name = "ids"}, %table: tensor<8x8xf32>, %m: tensor<?x1x1x?xi1> {onnx.dims = ["batch", "", "", "seq"]}) -> tensor<?x2x?x4xf32> {
  %shape = onnx.Constant dense<[0, 0, 2, 4]> : tensor<4xi64>
  %p = onnx.Gather %table, %ids : (tensor<8x8xf32>, tensor<?x?xi64>) -> tensor<?x?x8xf32>
  %x = tp.all_reduce %p on @mesh ["tp"] : tensor<?x?x8xf32>
  %r = onnx.Reshape %x, %shape : (tensor<?x?x8xf32>, tensor<4xi64>) -> tensor<?x?x2x4xf32>
  %q = onnx.Transpose %r {perm = array<i64: 0, 2, 1, 3>} : (tensor<?x?x2x4xf32>) -> tensor<?x2x?x4xf32>
  // CHECK: %[[S:.*]] = tensor.dim %[[IDS]], %{{.*}}
  // CHECK: %[[I:.*]] = arith.index_cast %[[S]]
  // CHECK: %[[TARGET:.*]] = tensor.from_elements %[[ONE:.*]], %[[ONE]], %[[I]], %[[ONE]]
  // CHECK: %[[WIDE:.*]] = onnx.Expand %arg2, %[[TARGET]] : (tensor<?x1x1x?xi1>, tensor<4xi64>) -> tensor<?x1x?x?xi1>
  // CHECK: onnx.Attention {{.*}} mask %[[WIDE]]
  %y = onnx.Attention %q, %q, %q mask %m {resultSegmentSizes = array<i32: 1, 0, 0, 0>} : (tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>, tensor<?x1x1x?xi1>) -> tensor<?x2x?x4xf32>
  return %y : tensor<?x2x?x4xf32>
}

// CHECK-LABEL: func @whole
// CHECK-NOT: onnx.Expand
func.func @whole(%q: tensor<1x2x?x4xf32>, %m: tensor<?x?xi1>, %one: tensor<1x2x1x4xf32>, %row: tensor<1x6xi1>) -> (tensor<1x2x?x4xf32>, tensor<1x2x1x4xf32>) {
  %y = onnx.Attention %q, %q, %q mask %m {resultSegmentSizes = array<i32: 1, 0, 0, 0>} : (tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>, tensor<?x?xi1>) -> tensor<1x2x?x4xf32>
  %z = onnx.Attention %one, %q, %q mask %row {resultSegmentSizes = array<i32: 1, 0, 0, 0>} : (tensor<1x2x1x4xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>, tensor<1x6xi1>) -> tensor<1x2x1x4xf32>
  return %y, %z : tensor<1x2x?x4xf32>, tensor<1x2x1x4xf32>
}
