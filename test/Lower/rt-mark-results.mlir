// RUN: caat-opt %s --pass-pipeline="builtin.module(func.func(rt-mark-results))" | FileCheck %s

rt.weight @head linear : tensor<4x8xf32> {
  %0 = arith.constant dense<1.0> : tensor<4x8xf32>
  rt.yield %0 : tensor<4x8xf32>
}

// Results themselves, and behind a soft-cap.
// CHECK-LABEL: func.func @results
// CHECK:         rt.linear @head {{.*}} {only_results}
// CHECK:         rt.linear @head {{.*}} {only_results}
func.func @results(%x: tensor<?x?x4xf32>, %e: tensor<?x?x8xf32>) -> (tensor<?x?x8xf32>, tensor<?x?x8xf32>) {
  %0 = rt.linear @head ins(%x : tensor<?x?x4xf32>) outs(%e : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %1 = rt.linear @head ins(%x : tensor<?x?x4xf32>) outs(%e : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %cap = onnx.Constant dense<3.0> : tensor<f32>
  %2 = onnx.Div %1, %cap : (tensor<?x?x8xf32>, tensor<f32>) -> tensor<?x?x8xf32>
  %3 = onnx.Tanh %2 : (tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %4 = onnx.Mul %3, %cap : (tensor<?x?x8xf32>, tensor<f32>) -> tensor<?x?x8xf32>
  return %0, %4 : tensor<?x?x8xf32>, tensor<?x?x8xf32>
}

// What another product reads too, what becomes a cache, what mixes tokens on the way, what has no tokens, and what
// nobody reads.
// CHECK-LABEL: func.func @others
// CHECK-NOT:     only_results
func.func @others(%x: tensor<?x?x4xf32>, %flat: tensor<?x4xf32>, %e: tensor<?x?x8xf32>, %f: tensor<?x8xf32>, %g: tensor<8x8xf32>)
    -> (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x8xf32> {rt.cache = 0 : i64}, tensor<?x?x8xf32>, tensor<?x8xf32>) {
  %axis = onnx.Constant dense<1> : tensor<i64>
  %0 = rt.linear @head ins(%x : tensor<?x?x4xf32>) outs(%e : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %1 = onnx.MatMul %0, %g : (tensor<?x?x8xf32>, tensor<8x8xf32>) -> tensor<?x?x8xf32>
  %2 = rt.linear @head ins(%x : tensor<?x?x4xf32>) outs(%e : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %3 = rt.linear @head ins(%x : tensor<?x?x4xf32>) outs(%e : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %4 = onnx.CumSum %3, %axis : (tensor<?x?x8xf32>, tensor<i64>) -> tensor<?x?x8xf32>
  %5 = rt.linear @head ins(%flat : tensor<?x4xf32>) outs(%f : tensor<?x8xf32>) -> tensor<?x8xf32>
  %6 = rt.linear @head ins(%x : tensor<?x?x4xf32>) outs(%e : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  return %0, %1, %2, %4, %5 : tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x8xf32>
}
