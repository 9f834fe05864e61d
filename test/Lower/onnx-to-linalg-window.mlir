// RUN: caat-opt %s --pass-pipeline='builtin.module(func.func(onnx-to-linalg))' | FileCheck %s

// Whether a window fits into an input of unknown size is checked when the program runs.
// CHECK-LABEL: func.func @conv
// CHECK: arith.cmpi sge
// CHECK: rt.check %{{.*}}, "the window is larger than its input"
// CHECK: arith.maxsi
func.func @conv(%x: tensor<?x1x?xf32>, %w: tensor<4x1x8xf32>) -> tensor<?x4x?xf32> {
  %y = onnx.Conv %x, %w {kernel_shape = array<i64: 8>, strides = array<i64: 4>} : (tensor<?x1x?xf32>, tensor<4x1x8xf32>) -> tensor<?x4x?xf32>
  return %y : tensor<?x4x?xf32>
}

// CHECK-LABEL: func.func @pool
// CHECK: rt.check %{{.*}}, "the window is larger than its input"
func.func @pool(%x: tensor<1x4x?xf32>) -> tensor<1x4x?xf32> {
  %y = onnx.AveragePool %x {kernel_shape = array<i64: 3>} : (tensor<1x4x?xf32>) -> tensor<1x4x?xf32>
  return %y : tensor<1x4x?xf32>
}

// CHECK-LABEL: func.func @known
// CHECK-NOT: rt.check
func.func @known(%x: tensor<?x1x16xf32>, %w: tensor<4x1x8xf32>) -> tensor<?x4x3xf32> {
  %y = onnx.Conv %x, %w {kernel_shape = array<i64: 8>, strides = array<i64: 4>} : (tensor<?x1x16xf32>, tensor<4x1x8xf32>) -> tensor<?x4x3xf32>
  return %y : tensor<?x4x3xf32>
}
