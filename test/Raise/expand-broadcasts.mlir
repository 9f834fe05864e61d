// RUN: caat-opt %s --onnx-expand-broadcasts --split-input-file | FileCheck %s

// Two symbols: either may be 1.
// CHECK-LABEL: func.func @unknown
// CHECK-SAME: (%[[X:.*]]: tensor<?x8xf32> {{.*}}, %[[Y:.*]]: tensor<?x8xf32>
// CHECK-DAG: %[[N:.*]] = tensor.dim %[[X]], %{{.*}}
// CHECK-DAG: %[[M:.*]] = tensor.dim %[[Y]], %{{.*}}
// CHECK: %[[ONE:.*]] = arith.cmpi eq, %[[N]], %{{.*}}
// CHECK: %[[SIZE:.*]] = arith.select %[[ONE]], %[[M]], %[[N]]
// CHECK: %[[ELEMENT:.*]] = arith.index_cast %[[SIZE]]
// CHECK: %[[SHAPE:.*]] = tensor.from_elements %[[ELEMENT]], %c1{{.*}} : tensor<2xi64>
// CHECK: %[[A:.*]] = onnx.Expand %[[X]], %[[SHAPE]]
// CHECK: %[[B:.*]] = onnx.Expand %[[Y]], %{{.*}}
// CHECK: onnx.Add %[[A]], %[[B]]
func.func @unknown(%x: tensor<?x8xf32> {onnx.dims = ["n", ""]}, %y: tensor<?x8xf32> {onnx.dims = ["m", ""]}) -> tensor<?x8xf32> {
  %z = onnx.Add %x, %y : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  return %z : tensor<?x8xf32>
}

// -----

// One symbol, sizes that are 1 in the type, and no dimension at all need nothing.
// CHECK-LABEL: func.func @known
// CHECK-NOT: onnx.Expand
// CHECK: return
func.func @known(%x: tensor<?x8xf32> {onnx.dims = ["n", ""]}, %y: tensor<?x1xf32> {onnx.dims = ["n", ""]}, %s: tensor<f32>,
                 %w: tensor<8xf32>) -> tensor<?x8xf32> {
  %a = onnx.Add %x, %y : (tensor<?x8xf32>, tensor<?x1xf32>) -> tensor<?x8xf32>
  %b = onnx.Mul %a, %s : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %c = onnx.Sub %b, %w : (tensor<?x8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  return %c : tensor<?x8xf32>
}

// -----

// A size of the type is what the other one is broadcast to.
// CHECK-LABEL: func.func @fixed
// CHECK: %[[SHAPE:.*]] = tensor.from_elements %c1{{.*}}, %{{.*}} : tensor<2xi64>
// CHECK: %[[WIDE:.*]] = onnx.Expand %arg0, %[[SHAPE]] : (tensor<3x?xf32>, tensor<2xi64>) -> tensor<3x8xf32>
// CHECK: onnx.Add %[[WIDE]], %arg1
func.func @fixed(%x: tensor<3x?xf32> {onnx.dims = ["", "n"]}, %w: tensor<8xf32>) -> tensor<3x8xf32> {
  %z = onnx.Add %x, %w : (tensor<3x?xf32>, tensor<8xf32>) -> tensor<3x8xf32>
  return %z : tensor<3x8xf32>
}

// -----

// What follows from the product: the scores' keys are the values' rows, so only the mask may be broadcast.
// CHECK-LABEL: func.func @scores
// CHECK: %[[MASK:.*]] = onnx.Expand %arg1
// CHECK: onnx.Add %arg0, %[[MASK]]
// CHECK-NOT: onnx.Expand
func.func @scores(%scores: tensor<2x?xf32> {onnx.dims = ["", "keys"]}, %mask: tensor<2x?xf32> {onnx.dims = ["", "length"]},
                  %values: tensor<?x4xf32> {onnx.dims = ["keys", ""]}) -> tensor<2x4xf32> {
  %s = onnx.Add %scores, %mask : (tensor<2x?xf32>, tensor<2x?xf32>) -> tensor<2x?xf32>
  %w = onnx.Softmax %s {axis = -1 : i64} : (tensor<2x?xf32>) -> tensor<2x?xf32>
  %y = onnx.MatMul %w, %values : (tensor<2x?xf32>, tensor<?x4xf32>) -> tensor<2x4xf32>
  return %y : tensor<2x4xf32>
}

// -----

// Batch dimensions of a product; its rows and columns are nobody else's.
// CHECK-LABEL: func.func @product
// CHECK: %[[A:.*]] = onnx.Expand %arg0, %{{.*}} -> tensor<?x3x5xf32>
// CHECK: %[[B:.*]] = onnx.Expand %arg1, %{{.*}} -> tensor<?x5x4xf32>
// CHECK: onnx.MatMul %[[A]], %[[B]]
func.func @product(%a: tensor<?x3x5xf32> {onnx.dims = ["n", "", ""]}, %b: tensor<?x5x4xf32> {onnx.dims = ["m", "", ""]}) -> tensor<?x3x4xf32> {
  %y = onnx.MatMul %a, %b : (tensor<?x3x5xf32>, tensor<?x5x4xf32>) -> tensor<?x3x4xf32>
  return %y : tensor<?x3x4xf32>
}

// -----

// A mask's own length, and one that is too short for the keys: the rest is hidden.
// CHECK-LABEL: func.func @masks
// CHECK: %[[WIDE:.*]] = onnx.Expand %arg3
// CHECK: onnx.Attention %arg0, %arg1, %arg1 mask %[[WIDE]]
// CHECK: %[[LONG:.*]] = onnx.Pad %arg4
// CHECK: onnx.Attention %arg0, %arg2, %arg2 mask %[[LONG]]
func.func @masks(%q: tensor<1x2x3x4xf32>, %k: tensor<1x2x?x4xf32> {onnx.dims = ["", "", "t", ""]}, %k6: tensor<1x2x6x4xf32>,
                 %mask: tensor<3x?xf32> {onnx.dims = ["", "m"]}, %short: tensor<3x5xf32>) -> (tensor<1x2x3x4xf32>, tensor<1x2x3x4xf32>) {
  %y = onnx.Attention %q, %k, %k mask %mask {resultSegmentSizes = array<i32: 1, 0, 0, 0>}
      : (tensor<1x2x3x4xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>, tensor<3x?xf32>) -> tensor<1x2x3x4xf32>
  %z = onnx.Attention %q, %k6, %k6 mask %short {resultSegmentSizes = array<i32: 1, 0, 0, 0>}
      : (tensor<1x2x3x4xf32>, tensor<1x2x6x4xf32>, tensor<1x2x6x4xf32>, tensor<3x5xf32>) -> tensor<1x2x3x4xf32>
  return %y, %z : tensor<1x2x3x4xf32>, tensor<1x2x3x4xf32>
}
