// RUN: caat-opt %s --onnx-to-linalg --canonicalize --split-input-file | FileCheck %s

// Fast-math flags that keep infinities: additive masks hold -inf.
// CHECK-LABEL: func.func @swish
// CHECK: linalg.generic {{.*}} ins(%arg0 : tensor<?x8xf32>)
// CHECK: math.exp {{.*}} fastmath<reassoc,nsz,arcp,contract,afn>
// CHECK-NOT: onnx.Swish
func.func @swish(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %0 = onnx.Swish %x : (tensor<?x8xf32>) -> tensor<?x8xf32>
  return %0 : tensor<?x8xf32>
}

// -----

// A static 1 broadcasts, other dimensions are taken as equal; sizes come from the operand that has them.
// CHECK-DAG: #[[$ROW:.*]] = affine_map<(d0, d1) -> (d0, 0)>
// CHECK-DAG: #[[$ALL:.*]] = affine_map<(d0, d1) -> (d0, d1)>
// CHECK-LABEL: func.func @broadcast
// CHECK: %[[N:.*]] = tensor.dim %arg1, %c1
// CHECK: tensor.empty({{%.*}}, %[[N]])
// CHECK: indexing_maps = [#[[$ROW]], #[[$ALL]], #[[$ALL]]]
func.func @broadcast(%x: tensor<?x1xf32>, %y: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = onnx.Add %x, %y : (tensor<?x1xf32>, tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// -----

// A constant splat is a scalar of the body, not an operand.
// CHECK-LABEL: func.func @splat
// CHECK: linalg.generic {{.*}} ins(%arg0 : tensor<?xf32>)
// CHECK: arith.mulf %{{.*}}, %cst
func.func @splat(%x: tensor<?xf32>) -> tensor<?xf32> {
  %c = onnx.Constant dense<3.0> : tensor<f32>
  %0 = onnx.Mul %x, %c : (tensor<?xf32>, tensor<f32>) -> tensor<?xf32>
  return %0 : tensor<?xf32>
}

// -----

// 16-bit floats are computed in f32.
// CHECK-LABEL: func.func @widened
// CHECK: arith.extf {{.*}} : bf16 to f32
// CHECK: math.tanh {{.*}} : f32
// CHECK: arith.truncf {{.*}} : f32 to bf16
func.func @widened(%x: tensor<?xbf16>) -> tensor<?xbf16> {
  %0 = onnx.Tanh %x : (tensor<?xbf16>) -> tensor<?xbf16>
  return %0 : tensor<?xbf16>
}
