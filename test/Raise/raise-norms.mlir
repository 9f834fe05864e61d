// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: caat-opt %s --onnx-raise-norms --remarks-filter=caat 2>%t.remarks | FileCheck %s
// RUN: FileCheck %s --check-prefix=REMARK < %t.remarks

// torch's exporter: reciprocal of the root, weight first.
// CHECK-LABEL: func.func @rms
// CHECK-SAME: (%[[X:.*]]: tensor<?x8xf32>, %[[W:.*]]: tensor<8xf32>)
func.func @rms(%x: tensor<?x8xf32>, %w: tensor<8xf32>) -> tensor<?x8xf32> {
  // CHECK-NEXT: %[[Y:.*]] = onnx.RMSNormalization %[[X]], %[[W]] {epsilon = 9.99999997E-7 : f32}
  // CHECK-NEXT: return %[[Y]]
  // REMARK: [Passed] raise-norms {{.*}}RMSNormalization
  %two = onnx.Constant dense<2.0> : tensor<f32>
  %last = onnx.Constant dense<-1> : tensor<1xi64>
  %eps = onnx.Constant dense<1.0e-6> : tensor<f32>
  %0 = onnx.Pow %x, %two : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %1 = onnx.ReduceMean %0 axes %last : (tensor<?x8xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %2 = onnx.Add %1, %eps : (tensor<?x1xf32>, tensor<f32>) -> tensor<?x1xf32>
  %3 = onnx.Sqrt %2 : (tensor<?x1xf32>) -> tensor<?x1xf32>
  %4 = onnx.Reciprocal %3 : (tensor<?x1xf32>) -> tensor<?x1xf32>
  %5 = onnx.Mul %x, %4 : (tensor<?x8xf32>, tensor<?x1xf32>) -> tensor<?x8xf32>
  %6 = onnx.Mul %w, %5 : (tensor<8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  return %6 : tensor<?x8xf32>
}

// CHECK-LABEL: func.func @layer
// CHECK-SAME: (%[[X:.*]]: tensor<?x8xf32>, %[[W:.*]]: tensor<8xf32>, %[[B:.*]]: tensor<8xf32>)
func.func @layer(%x: tensor<?x8xf32>, %w: tensor<8xf32>, %b: tensor<8xf32>) -> tensor<?x8xf32> {
  // CHECK-NEXT: %[[Y:.*]] = onnx.LayerNormalization %[[X]], %[[W]] bias %[[B]]
  // CHECK-NEXT: return %[[Y]]
  %last = onnx.Constant dense<1> : tensor<1xi64>
  %eps = onnx.Constant dense<1.0e-5> : tensor<f32>
  %m = onnx.ReduceMean %x axes %last : (tensor<?x8xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %d = onnx.Sub %x, %m : (tensor<?x8xf32>, tensor<?x1xf32>) -> tensor<?x8xf32>
  %0 = onnx.Mul %d, %d : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %1 = onnx.ReduceMean %0 axes %last : (tensor<?x8xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %2 = onnx.Add %1, %eps : (tensor<?x1xf32>, tensor<f32>) -> tensor<?x1xf32>
  %3 = onnx.Sqrt %2 : (tensor<?x1xf32>) -> tensor<?x1xf32>
  %4 = onnx.Div %d, %3 : (tensor<?x8xf32>, tensor<?x1xf32>) -> tensor<?x8xf32>
  %5 = onnx.Mul %4, %w : (tensor<?x8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  %6 = onnx.Add %5, %b : (tensor<?x8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  return %6 : tensor<?x8xf32>
}

// The mean of another value's square.
// CHECK-LABEL: func.func @mixed
func.func @mixed(%x: tensor<?x8xf32>, %z: tensor<?x8xf32>, %w: tensor<8xf32>) -> tensor<?x8xf32> {
  // CHECK-NOT: Normalization
  // CHECK: return
  // REMARK: [Missed] raise-norms {{.*}}the mean is not that of the square of what is normalised
  %last = onnx.Constant dense<-1> : tensor<1xi64>
  %eps = onnx.Constant dense<1.0e-6> : tensor<f32>
  %0 = onnx.Mul %z, %z : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %1 = onnx.ReduceMean %0 axes %last : (tensor<?x8xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %2 = onnx.Add %1, %eps : (tensor<?x1xf32>, tensor<f32>) -> tensor<?x1xf32>
  %3 = onnx.Sqrt %2 : (tensor<?x1xf32>) -> tensor<?x1xf32>
  %4 = onnx.Div %x, %3 : (tensor<?x8xf32>, tensor<?x1xf32>) -> tensor<?x8xf32>
  %5 = onnx.Mul %4, %w : (tensor<?x8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  return %5 : tensor<?x8xf32>
}

// The mean over the rows.
// CHECK-LABEL: func.func @other_axis
func.func @other_axis(%x: tensor<?x8xf32>, %w: tensor<8xf32>) -> tensor<?x8xf32> {
  // CHECK-NOT: Normalization
  // CHECK: return
  %first = onnx.Constant dense<0> : tensor<1xi64>
  %eps = onnx.Constant dense<1.0e-6> : tensor<f32>
  %0 = onnx.Mul %x, %x : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %1 = onnx.ReduceMean %0 axes %first : (tensor<?x8xf32>, tensor<1xi64>) -> tensor<1x8xf32>
  %2 = onnx.Add %1, %eps : (tensor<1x8xf32>, tensor<f32>) -> tensor<1x8xf32>
  %3 = onnx.Sqrt %2 : (tensor<1x8xf32>) -> tensor<1x8xf32>
  %4 = onnx.Div %x, %3 : (tensor<?x8xf32>, tensor<1x8xf32>) -> tensor<?x8xf32>
  %5 = onnx.Mul %4, %w : (tensor<?x8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  return %5 : tensor<?x8xf32>
}

// Half precision with the statistics in f32.
// CHECK-LABEL: func.func @half
// CHECK-SAME: (%[[X:.*]]: tensor<?x8xf16>, %[[W:.*]]: tensor<8xf16>)
func.func @half(%x: tensor<?x8xf16>, %w: tensor<8xf16>) -> tensor<?x8xf16> {
  // CHECK-NEXT: %[[Y:.*]] = onnx.RMSNormalization %[[X]], %[[W]] {{.*}} -> tensor<?x8xf16>
  // CHECK-NEXT: return %[[Y]]
  %two = onnx.Constant dense<2.0> : tensor<f32>
  %last = onnx.Constant dense<-1> : tensor<1xi64>
  %eps = onnx.Constant dense<1.0e-6> : tensor<f32>
  %wide = onnx.Cast %x to f32 : (tensor<?x8xf16>) -> tensor<?x8xf32>
  %0 = onnx.Pow %wide, %two : (tensor<?x8xf32>, tensor<f32>) -> tensor<?x8xf32>
  %1 = onnx.ReduceMean %0 axes %last : (tensor<?x8xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %2 = onnx.Add %1, %eps : (tensor<?x1xf32>, tensor<f32>) -> tensor<?x1xf32>
  %3 = onnx.Sqrt %2 : (tensor<?x1xf32>) -> tensor<?x1xf32>
  %4 = onnx.Reciprocal %3 : (tensor<?x1xf32>) -> tensor<?x1xf32>
  %5 = onnx.Mul %wide, %4 : (tensor<?x8xf32>, tensor<?x1xf32>) -> tensor<?x8xf32>
  %6 = onnx.Cast %5 to f16 : (tensor<?x8xf32>) -> tensor<?x8xf16>
  %7 = onnx.Mul %w, %6 : (tensor<8xf16>, tensor<?x8xf16>) -> tensor<?x8xf16>
  return %7 : tensor<?x8xf16>
}

// No scale, and an epsilon of zero that the exporter dropped.
// CHECK-LABEL: func.func @bare
// CHECK-SAME: (%[[X:.*]]: tensor<?x8xf32>)
func.func @bare(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  // CHECK: %[[ONES:.*]] = onnx.Constant dense<1.000000e+00> : tensor<8xf32>
  // CHECK: %[[Y:.*]] = onnx.RMSNormalization %[[X]], %[[ONES]] {epsilon = 0.000000e+00 : f32}
  // CHECK: return %[[Y]]
  // REMARK: [Passed] raise-norms {{.*}}RMSNormalization without scale
  %last = onnx.Constant dense<-1> : tensor<1xi64>
  %0 = onnx.Mul %x, %x : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %1 = onnx.ReduceMean %0 axes %last : (tensor<?x8xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %2 = onnx.Sqrt %1 : (tensor<?x1xf32>) -> tensor<?x1xf32>
  %3 = onnx.Div %x, %2 : (tensor<?x8xf32>, tensor<?x1xf32>) -> tensor<?x8xf32>
  return %3 : tensor<?x8xf32>
}

// A scale for each head and channel is no scale of the norm, and stays.
// CHECK-LABEL: func.func @per_head
// CHECK-SAME: (%[[X:.*]]: tensor<?x4x?x8xf32>, %[[W:.*]]: tensor<4x1x8xf32>)
func.func @per_head(%x: tensor<?x4x?x8xf32>, %w: tensor<4x1x8xf32>) -> tensor<?x4x?x8xf32> {
  // CHECK: %[[Y:.*]] = onnx.LayerNormalization %[[X]], %{{.*}}
  // CHECK: onnx.Mul %[[Y]], %[[W]]
  // REMARK: [Passed] raise-norms {{.*}}LayerNormalization without scale
  %last = onnx.Constant dense<-1> : tensor<1xi64>
  %eps = onnx.Constant dense<1.0e-5> : tensor<f32>
  %m = onnx.ReduceMean %x axes %last : (tensor<?x4x?x8xf32>, tensor<1xi64>) -> tensor<?x4x?x1xf32>
  %d = onnx.Sub %x, %m : (tensor<?x4x?x8xf32>, tensor<?x4x?x1xf32>) -> tensor<?x4x?x8xf32>
  %0 = onnx.Mul %d, %d : (tensor<?x4x?x8xf32>, tensor<?x4x?x8xf32>) -> tensor<?x4x?x8xf32>
  %1 = onnx.ReduceMean %0 axes %last : (tensor<?x4x?x8xf32>, tensor<1xi64>) -> tensor<?x4x?x1xf32>
  %2 = onnx.Add %1, %eps : (tensor<?x4x?x1xf32>, tensor<f32>) -> tensor<?x4x?x1xf32>
  %3 = onnx.Sqrt %2 : (tensor<?x4x?x1xf32>) -> tensor<?x4x?x1xf32>
  %4 = onnx.Div %d, %3 : (tensor<?x4x?x8xf32>, tensor<?x4x?x1xf32>) -> tensor<?x4x?x8xf32>
  %5 = onnx.Mul %4, %w : (tensor<?x4x?x8xf32>, tensor<4x1x8xf32>) -> tensor<?x4x?x8xf32>
  return %5 : tensor<?x4x?x8xf32>
}

// torch's exporter at opset 23: the mean taken off, then RMSNormalization.
// CHECK-LABEL: func.func @centred
// CHECK-SAME: (%[[X:.*]]: tensor<?x8xf32>, %[[W:.*]]: tensor<8xf32>)
func.func @centred(%x: tensor<?x8xf32>, %w: tensor<8xf32>) -> tensor<?x8xf32> {
  // CHECK-NEXT: %[[Y:.*]] = onnx.LayerNormalization %[[X]], %[[W]] {resultSegmentSizes
  // CHECK-NEXT: return %[[Y]]
  %last = onnx.Constant dense<-1> : tensor<1xi64>
  %m = onnx.ReduceMean %x axes %last : (tensor<?x8xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %d = onnx.Sub %x, %m : (tensor<?x8xf32>, tensor<?x1xf32>) -> tensor<?x8xf32>
  %y = onnx.RMSNormalization %d, %w {epsilon = 1.0e-5 : f32} : (tensor<?x8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}
