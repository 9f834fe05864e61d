// RUN: caat-opt %s | caat-opt | FileCheck %s

// CHECK-LABEL: func @reduce
func.func @reduce(%x: tensor<?x4x8xf32>, %axis: tensor<i64>, %k: tensor<1xi64>) {
  %axes = onnx.Constant dense<[-1, 1]> : tensor<2xi64>
  // CHECK: %[[AXES:.*]] = onnx.Constant
  // CHECK: onnx.ReduceMean %{{.*}} axes %[[AXES]] : (tensor<?x4x8xf32>, tensor<2xi64>) -> tensor<?x1x1xf32>
  %0 = onnx.ReduceMean %x axes %axes : (tensor<?x4x8xf32>, tensor<2xi64>) -> tensor<?x1x1xf32>
  // CHECK: onnx.ReduceSum %{{.*}} axes %[[AXES]] {keepdims = 0 : i64} : {{.*}} -> tensor<?xf32>
  %1 = onnx.ReduceSum %x axes %axes {keepdims = 0 : i64} : (tensor<?x4x8xf32>, tensor<2xi64>) -> tensor<?xf32>
  // CHECK: onnx.ReduceMax %{{.*}} {keepdims = 0 : i64} : {{.*}} -> tensor<f32>
  %2 = onnx.ReduceMax %x {keepdims = 0 : i64} : (tensor<?x4x8xf32>) -> tensor<f32>
  // CHECK: onnx.ReduceL2 %{{.*}} {noop_with_empty_axes = 1 : i64} : {{.*}} -> tensor<?x4x8xf32>
  %3 = onnx.ReduceL2 %x {noop_with_empty_axes = 1 : i64} : (tensor<?x4x8xf32>) -> tensor<?x4x8xf32>
  // CHECK: onnx.ArgMax %{{.*}} {axis = 1 : i64, keepdims = 0 : i64} : {{.*}} -> tensor<?x8xi64>
  %4 = onnx.ArgMax %x {axis = 1 : i64, keepdims = 0 : i64} : (tensor<?x4x8xf32>) -> tensor<?x8xi64>
  // CHECK: onnx.CumSum %{{.*}}, %{{.*}} {exclusive = 1 : i64}
  %5 = onnx.CumSum %x, %axis {exclusive = 1 : i64} : (tensor<?x4x8xf32>, tensor<i64>) -> tensor<?x4x8xf32>
  // CHECK: %Values, %Indices = onnx.TopK %{{.*}}, %{{.*}} : {{.*}} -> (tensor<?x4x?xf32>, tensor<?x4x?xi64>)
  %6:2 = onnx.TopK %x, %k : (tensor<?x4x8xf32>, tensor<1xi64>) -> (tensor<?x4x?xf32>, tensor<?x4x?xi64>)
  // CHECK: onnx.NonZero {{.*}} -> tensor<3x?xi64>
  %7 = onnx.NonZero %x : (tensor<?x4x8xf32>) -> tensor<3x?xi64>
  // CHECK: onnx.Softmax %{{.*}} :
  %8 = onnx.Softmax %x {axis = -1 : i64} : (tensor<?x4x8xf32>) -> tensor<?x4x8xf32>
  // CHECK: onnx.LogSoftmax %{{.*}} {axis = 1 : i64}
  %9 = onnx.LogSoftmax %x {axis = 1 : i64} : (tensor<?x4x8xf32>) -> tensor<?x4x8xf32>
  return
}

// CHECK-LABEL: func @running
func.func @running(%x: tensor<?x4xf32>, %axis: tensor<i64>) {
  // CHECK: onnx.CumProd %{{.*}}, %{{.*}} {reverse = 1 : i64}
  %0 = onnx.CumProd %x, %axis {reverse = 1 : i64} : (tensor<?x4xf32>, tensor<i64>) -> tensor<?x4xf32>
  return
}
