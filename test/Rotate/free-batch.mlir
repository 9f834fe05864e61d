// RUN: caat-opt %s --split-input-file --tp-free-batch | FileCheck %s

// Sizes of arguments, values and shapes; weights stay.
// CHECK: caat.fixed_batch = 4
// CHECK-LABEL: func.func @main(
// CHECK-SAME:    %[[X:.*]]: tensor<?x6x8xf32> {onnx.dims = ["batch", "", ""]}, %[[M:.*]]: tensor<6x4xf32> {onnx.dims = ["", ""]})
// CHECK-SAME:    -> (tensor<?x48xf32> {onnx.dims = ["batch", ""]})
// CHECK:         %[[SIZE:.*]] = onnx.Shape %[[X]] {end = 1 : i64{{.*}}} : (tensor<?x6x8xf32>) -> tensor<1xi64>
// CHECK:         onnx.Constant {{.*}} : tensor<4xf32>
// CHECK:         %[[REST:.*]] = onnx.Constant dense<48> : tensor<1xi64>
// CHECK:         %[[SHAPE:.*]] = onnx.Concat %[[SIZE]], %[[REST]] {axis = 0 : i64}
// CHECK:         %[[Y:.*]] = onnx.Reshape %[[X]], %[[SHAPE]] : (tensor<?x6x8xf32>, tensor<2xi64>) -> tensor<?x48xf32>
// CHECK:         onnx.Relu %[[Y]] : (tensor<?x48xf32>) -> tensor<?x48xf32>
func.func @main(%x: tensor<4x6x8xf32> {onnx.dims = ["", "", ""]}, %m: tensor<6x4xf32> {onnx.dims = ["", ""]})
    -> (tensor<4x48xf32> {onnx.dims = ["", ""]}) {
  %weight = onnx.Constant dense<1.0> : tensor<4xf32>
  %shape = onnx.Constant dense<[4, 48]> : tensor<2xi64>
  %0 = onnx.Reshape %x, %shape : (tensor<4x6x8xf32>, tensor<2xi64>) -> tensor<4x48xf32>
  %1 = onnx.Relu %0 : (tensor<4x48xf32>) -> tensor<4x48xf32>
  return %1 : tensor<4x48xf32>
}

// -----

// A batch that has a name already.
// CHECK-NOT: fixed_batch
// CHECK-LABEL: func.func @main(
// CHECK-SAME:    tensor<?x4xf32> {onnx.dims = ["rows", ""]}, %{{.*}}: tensor<4xf32>
func.func @main(%x: tensor<?x4xf32> {onnx.dims = ["rows", ""]}, %m: tensor<4xf32> {onnx.dims = [""]}) -> tensor<?x4xf32> {
  %0 = onnx.Relu %x : (tensor<?x4xf32>) -> tensor<?x4xf32>
  return %0 : tensor<?x4xf32>
}
