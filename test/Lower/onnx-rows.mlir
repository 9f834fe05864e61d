// RUN: caat-opt %s --onnx-to-linalg --canonicalize --cse --split-input-file | FileCheck %s

// A norm is one generic for the row's sum and one for the rest.
// CHECK-LABEL: func.func @rmsnorm
// CHECK: linalg.generic {{.*}}iterator_types = ["parallel", "parallel", "reduction"]
// CHECK: arith.mulf %[[X:.*]], %[[X]]
// CHECK: linalg.generic {{.*}}iterator_types = ["parallel", "parallel", "parallel"]
// CHECK: math.rsqrt
// CHECK-NOT: linalg.generic
func.func @rmsnorm(%x: tensor<?x?x64xf32>, %w: tensor<64xf32>) -> tensor<?x?x64xf32> {
  %0 = onnx.RMSNormalization %x, %w {epsilon = 1.0e-5 : f32} : (tensor<?x?x64xf32>, tensor<64xf32>) -> tensor<?x?x64xf32>
  return %0 : tensor<?x?x64xf32>
}

// -----

// Softmax is one kernel over rows; only the maximum has nnan.
// CHECK-LABEL: func.func @softmax
// CHECK: scf.forall (%{{.*}}) in (%{{.*}})
// CHECK: arith.maxnumf {{.*}} fastmath<reassoc,nnan,nsz,arcp,contract,afn>
// CHECK: arith.subf {{.*}} fastmath<reassoc,nsz,arcp,contract,afn>
// CHECK: math.exp
// CHECK-NOT: scf.forall (
func.func @softmax(%x: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %0 = onnx.Softmax %x : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// -----

// Rotary embedding works on [B, S, H, D]: the graph's transposes cancel.
// CHECK-LABEL: func.func @rotary
// CHECK-NOT: linalg.transpose
// CHECK: scf.forall
// CHECK: tensor.extract %arg3
// CHECK: arith.subf
// CHECK: arith.addf
// CHECK: scf.forall.in_parallel
// CHECK-NOT: linalg.generic
// CHECK: return
func.func @rotary(%x: tensor<?x?x3x64xf32>, %cos: tensor<128x32xf32>, %sin: tensor<128x32xf32>, %ids: tensor<?x?xi64>) -> tensor<?x?x3x64xf32> {
  %0 = onnx.Transpose %x {perm = array<i64: 0, 2, 1, 3>} : (tensor<?x?x3x64xf32>) -> tensor<?x3x?x64xf32>
  %1 = onnx.RotaryEmbedding %0, %cos, %sin positions %ids : (tensor<?x3x?x64xf32>, tensor<128x32xf32>, tensor<128x32xf32>, tensor<?x?xi64>) -> tensor<?x3x?x64xf32>
  %2 = onnx.Transpose %1 {perm = array<i64: 0, 2, 1, 3>} : (tensor<?x3x?x64xf32>) -> tensor<?x?x3x64xf32>
  return %2 : tensor<?x?x3x64xf32>
}
