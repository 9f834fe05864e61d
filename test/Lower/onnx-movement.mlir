// RUN: caat-opt %s --onnx-to-linalg --canonicalize --cse --split-input-file | FileCheck %s

// Splitting the last dimension leaves the dynamic ones alone.
// CHECK-LABEL: func.func @split_heads
// CHECK: tensor.expand_shape %arg0 {{\[}}[0], [1], [2, 3]]
func.func @split_heads(%x: tensor<?x?x192xf32>) -> tensor<?x?x3x64xf32> {
  %s = onnx.Constant dense<[0, 0, 3, 64]> : tensor<4xi64>
  %0 = onnx.Reshape %x, %s : (tensor<?x?x192xf32>, tensor<4xi64>) -> tensor<?x?x3x64xf32>
  return %0 : tensor<?x?x3x64xf32>
}

// -----

// Sizes that the analysis knows are those of arguments; the group of each is found by them.
// CHECK-LABEL: func.func @unflatten
// CHECK-DAG: %[[B:.*]] = tensor.dim %arg0, %c0
// CHECK-DAG: %[[S:.*]] = tensor.dim %arg0, %c1
// CHECK-DAG: tensor.collapse_shape %arg0 {{\[}}[0, 1], [2]]
// CHECK: tensor.expand_shape %{{.*}} {{\[}}[0, 1], [2]] output_shape [%[[B]], %[[S]], 8]
func.func @unflatten(%x: tensor<?x?x8xf32> {onnx.name = "x", onnx.dims = ["batch", "seq", ""]}) -> tensor<?x?x8xf32> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %flat = onnx.Constant dense<[-1, 8]> : tensor<2xi64>
  %0 = onnx.Reshape %x, %flat : (tensor<?x?x8xf32>, tensor<2xi64>) -> tensor<?x8xf32>
  %1 = onnx.Exp %0 : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %b = tensor.dim %x, %c0 : tensor<?x?x8xf32>
  %s = tensor.dim %x, %c1 : tensor<?x?x8xf32>
  %bi = arith.index_cast %b : index to i64
  %si = arith.index_cast %s : index to i64
  %eight = arith.constant 8 : i64
  %shape = tensor.from_elements %bi, %si, %eight : tensor<3xi64>
  %2 = onnx.Reshape %1, %shape : (tensor<?x8xf32>, tensor<3xi64>) -> tensor<?x?x8xf32>
  return %2 : tensor<?x?x8xf32>
}

// -----

// CHECK-LABEL: func.func @slice
// CHECK: tensor.extract_slice %arg0[0, 16] [%{{.*}}, 16] [1, 1]
// CHECK-NOT: linalg
func.func @slice(%x: tensor<?x32xf32>) -> tensor<?x16xf32> {
  %starts = onnx.Constant dense<16> : tensor<1xi64>
  %ends = onnx.Constant dense<9223372036854775807> : tensor<1xi64>
  %axes = onnx.Constant dense<-1> : tensor<1xi64>
  %0 = onnx.Slice %x, %starts, %ends axes %axes : (tensor<?x32xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x16xf32>
  return %0 : tensor<?x16xf32>
}

// -----

// Rows of a table: indices count from the end when negative, and never leave the table.
// CHECK-LABEL: func.func @gather
// CHECK: linalg.generic {{.*}} ins(%arg1 : tensor<?x?xi64>)
// CHECK: arith.select
// CHECK: arith.minsi
// CHECK: arith.maxsi
// CHECK: tensor.extract %arg0
func.func @gather(%table: tensor<100x8xf32>, %ids: tensor<?x?xi64>) -> tensor<?x?x8xf32> {
  %0 = onnx.Gather %table, %ids : (tensor<100x8xf32>, tensor<?x?xi64>) -> tensor<?x?x8xf32>
  return %0 : tensor<?x?x8xf32>
}

// -----

// Appending to a cache writes into it and makes no copy of what is there.
// CHECK-LABEL: func.func @append
// CHECK: %[[NEW:.*]] = tensor.insert_slice %arg1 into %arg0[0, 0, %arg2, 0]
// CHECK: %[[TOTAL:.*]] = arith.addi %arg2,
// CHECK: tensor.extract_slice %[[NEW]][0, 0, 0, 0] [%{{.*}}, 2, %[[TOTAL]], 4]
// CHECK-NOT: tensor.empty
func.func @append(%cache: tensor<?x2x?x4xf32> {rt.cache = "present"}, %new: tensor<?x2x?x4xf32>, %length: index) -> tensor<?x2x?x4xf32> {
  %c0 = arith.constant 0 : index
  %b = tensor.dim %cache, %c0 : tensor<?x2x?x4xf32>
  %past = tensor.extract_slice %cache[0, 0, 0, 0] [%b, 2, %length, 4] [1, 1, 1, 1] : tensor<?x2x?x4xf32> to tensor<?x2x?x4xf32>
  %0 = onnx.Concat %past, %new {axis = 2 : i64} : (tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) -> tensor<?x2x?x4xf32>
  return %0 : tensor<?x2x?x4xf32>
}

// -----

// Without the attribute it is a concatenation like any other.
// CHECK-LABEL: func.func @concat
// CHECK: tensor.empty
// CHECK-COUNT-2: tensor.insert_slice
func.func @concat(%a: tensor<?x2xf32>, %b: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %0 = onnx.Concat %a, %b {axis = 0 : i64} : (tensor<?x2xf32>, tensor<?x2xf32>) -> tensor<?x2xf32>
  return %0 : tensor<?x2xf32>
}
