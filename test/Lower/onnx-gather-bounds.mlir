// RUN: caat-opt %s --onnx-to-linalg --canonicalize --split-input-file --verify-diagnostics | FileCheck %s

// Where the model does not say that there is such an element, the run does.
// CHECK-LABEL: func.func @constant_index(
// CHECK:         %[[N:.*]] = tensor.dim
// CHECK:         %[[HOLDS:.*]] = arith.cmpi sge, %[[N]], %{{.*}} : index
// CHECK:         rt.check %[[HOLDS]], "the index 5 is outside of axis 0"
func.func @constant_index(%x: tensor<?x4xf32>) -> tensor<4xf32> {
  %i = onnx.Constant dense<5> : tensor<i64>
  %0 = onnx.Gather %x, %i {axis = 0 : i64} : (tensor<?x4xf32>, tensor<i64>) -> tensor<4xf32>
  return %0 : tensor<4xf32>
}

// -----

// CHECK-LABEL: func.func @from_the_end(
// CHECK:         rt.check %{{.*}}, "the index -2 is outside of axis 0"
func.func @from_the_end(%x: tensor<?x4xf32>) -> tensor<4xf32> {
  %i = onnx.Constant dense<-2> : tensor<i64>
  %0 = onnx.Gather %x, %i {axis = 0 : i64} : (tensor<?x4xf32>, tensor<i64>) -> tensor<4xf32>
  return %0 : tensor<4xf32>
}

// -----

// CHECK-LABEL: func.func @known(
// CHECK-NOT:     rt.check
func.func @known(%x: tensor<6x4xf32>, %i: tensor<?xi64>) -> (tensor<4xf32>, tensor<?x4xf32>) {
  %last = onnx.Constant dense<5> : tensor<i64>
  %0 = onnx.Gather %x, %last {axis = 0 : i64} : (tensor<6x4xf32>, tensor<i64>) -> tensor<4xf32>
  %1 = onnx.Gather %x, %i {axis = 0 : i64} : (tensor<6x4xf32>, tensor<?xi64>) -> tensor<?x4xf32>
  return %0, %1 : tensor<4xf32>, tensor<?x4xf32>
}

// -----

// Indices are clamped, but an axis without elements has no place for that.
// CHECK-LABEL: func.func @empty_axis(
// CHECK:         rt.check %{{.*}}, "an index into an axis without elements"
// CHECK:         rt.check %{{.*}}, "an index into an axis without elements"
func.func @empty_axis(%x: tensor<?x4xf32>, %i: tensor<?xi64>, %e: tensor<?x4xi64>) -> (tensor<?x4xf32>, tensor<?x4xf32>) {
  %0 = onnx.Gather %x, %i {axis = 0 : i64} : (tensor<?x4xf32>, tensor<?xi64>) -> tensor<?x4xf32>
  %1 = onnx.GatherElements %x, %e {axis = 0 : i64} : (tensor<?x4xf32>, tensor<?x4xi64>) -> tensor<?x4xf32>
  return %0, %1 : tensor<?x4xf32>, tensor<?x4xf32>
}

// -----

func.func @never(%x: tensor<3x4xf32>) -> tensor<4xf32> {
  %i = onnx.Constant dense<5> : tensor<i64>
  // expected-error @below {{must be executed but has no lowering: the index 5 is outside of axis 0}}
  %0 = onnx.Gather %x, %i {axis = 0 : i64} : (tensor<3x4xf32>, tensor<i64>) -> tensor<4xf32>
  return %0 : tensor<4xf32>
}
