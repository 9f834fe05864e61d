// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: caat-opt %s --onnx-raise-rotary --remarks-filter=caat 2>%t.remarks | FileCheck %s
// RUN: FileCheck %s --check-prefix=REMARK < %t.remarks

// CHECK-LABEL: func.func @rotary
// CHECK-SAME: (%[[X:.*]]: tensor<?x4x?x8xf32> {{.*}}, %[[F:.*]]: tensor<?x?x4xf32>
func.func @rotary(%x: tensor<?x4x?x8xf32> {onnx.dims = ["batch", "", "seq", ""]}, %f: tensor<?x?x4xf32> {onnx.dims = ["batch", "seq", ""]}) -> tensor<?x4x?x8xf32> {
  // CHECK-DAG: %[[C:.*]] = onnx.Cos %[[F]] : (tensor<?x?x4xf32>)
  // CHECK-DAG: %[[S:.*]] = onnx.Sin %[[F]] : (tensor<?x?x4xf32>)
  // CHECK: %[[Y:.*]] = onnx.RotaryEmbedding %[[X]], %[[C]], %[[S]] :
  // CHECK: return %[[Y]]
  // REMARK: [Passed] raise-rotary
  %heads = onnx.Constant dense<1> : tensor<1xi64>
  %zero = onnx.Constant dense<0> : tensor<1xi64>
  %four = onnx.Constant dense<4> : tensor<1xi64>
  %end = onnx.Constant dense<9223372036854775807> : tensor<1xi64>
  %last = onnx.Constant dense<3> : tensor<1xi64>
  %ff = onnx.Concat %f, %f {axis = -1 : i64} : (tensor<?x?x4xf32>, tensor<?x?x4xf32>) -> tensor<?x?x8xf32>
  %c = onnx.Cos %ff : (tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %s = onnx.Sin %ff : (tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %cos = onnx.Unsqueeze %c axes %heads : (tensor<?x?x8xf32>, tensor<1xi64>) -> tensor<?x1x?x8xf32>
  %sin = onnx.Unsqueeze %s axes %heads : (tensor<?x?x8xf32>, tensor<1xi64>) -> tensor<?x1x?x8xf32>
  %a = onnx.Slice %x, %zero, %four axes %last : (tensor<?x4x?x8xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x4x?x4xf32>
  %b = onnx.Slice %x, %four, %end axes %last : (tensor<?x4x?x8xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x4x?x4xf32>
  %n = onnx.Neg %b : (tensor<?x4x?x4xf32>) -> tensor<?x4x?x4xf32>
  %r = onnx.Concat %n, %a {axis = 3 : i64} : (tensor<?x4x?x4xf32>, tensor<?x4x?x4xf32>) -> tensor<?x4x?x8xf32>
  %0 = onnx.Mul %x, %cos : (tensor<?x4x?x8xf32>, tensor<?x1x?x8xf32>) -> tensor<?x4x?x8xf32>
  %1 = onnx.Mul %r, %sin : (tensor<?x4x?x8xf32>, tensor<?x1x?x8xf32>) -> tensor<?x4x?x8xf32>
  %2 = onnx.Add %0, %1 : (tensor<?x4x?x8xf32>, tensor<?x4x?x8xf32>) -> tensor<?x4x?x8xf32>
  return %2 : tensor<?x4x?x8xf32>
}

// Angles whose halves need not be equal.
// CHECK-LABEL: func.func @any_angles
func.func @any_angles(%x: tensor<?x4x?x8xf32>, %cos: tensor<?x1x?x8xf32>, %sin: tensor<?x1x?x8xf32>) -> tensor<?x4x?x8xf32> {
  // CHECK-NOT: onnx.RotaryEmbedding
  // CHECK: return
  // REMARK: [Missed] raise-rotary {{.*}}the channels are not rotated in pairs by angles that each pair shares
  %zero = onnx.Constant dense<0> : tensor<1xi64>
  %four = onnx.Constant dense<4> : tensor<1xi64>
  %end = onnx.Constant dense<8> : tensor<1xi64>
  %last = onnx.Constant dense<-1> : tensor<1xi64>
  %a = onnx.Slice %x, %zero, %four axes %last : (tensor<?x4x?x8xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x4x?x4xf32>
  %b = onnx.Slice %x, %four, %end axes %last : (tensor<?x4x?x8xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x4x?x4xf32>
  %n = onnx.Neg %b : (tensor<?x4x?x4xf32>) -> tensor<?x4x?x4xf32>
  %r = onnx.Concat %n, %a {axis = 3 : i64} : (tensor<?x4x?x4xf32>, tensor<?x4x?x4xf32>) -> tensor<?x4x?x8xf32>
  %0 = onnx.Mul %x, %cos : (tensor<?x4x?x8xf32>, tensor<?x1x?x8xf32>) -> tensor<?x4x?x8xf32>
  %1 = onnx.Mul %r, %sin : (tensor<?x4x?x8xf32>, tensor<?x1x?x8xf32>) -> tensor<?x4x?x8xf32>
  %2 = onnx.Add %0, %1 : (tensor<?x4x?x8xf32>, tensor<?x4x?x8xf32>) -> tensor<?x4x?x8xf32>
  return %2 : tensor<?x4x?x8xf32>
}

// GPT-J: [B, S, H, D], neighbours, the first half of the channels; angles from a table of sin | cos, each repeated.
// CHECK-LABEL: func.func @interleaved_partial
// CHECK-SAME: (%[[X:.*]]: tensor<?x?x4x8xf32> {{.*}}, %[[T:.*]]: tensor<?x?x4xf32>
func.func @interleaved_partial(%x: tensor<?x?x4x8xf32> {onnx.dims = ["batch", "seq", "", ""]}, %t: tensor<?x?x4xf32> {onnx.dims = ["batch", "seq", ""]}) -> tensor<?x?x4x8xf32> {
  // CHECK-DAG: %[[C:.*]] = onnx.Slice %[[T]], {{.*}} -> tensor<?x?x2xf32>
  // CHECK: %[[H:.*]] = onnx.Transpose %[[X]] {perm = array<i64: 0, 2, 1, 3>}
  // CHECK: %[[Y:.*]] = onnx.RotaryEmbedding %[[H]], %{{.*}}, %{{.*}} {interleaved = 1 : i64, rotary_embedding_dim = 4 : i64}
  // CHECK: %[[Z:.*]] = onnx.Transpose %[[Y]] {perm = array<i64: 0, 2, 1, 3>}
  // CHECK: return %[[Z]]
  // REMARK: [Passed] raise-rotary {{.*}}RotaryEmbedding, interleaved
  // REMARK: [Passed] raise-rotary {{.*}}RotaryEmbedding, 4 of 8 channels in place of slices
  %zero = onnx.Constant dense<0> : tensor<1xi64>
  %one = onnx.Constant dense<1> : tensor<1xi64>
  %two = onnx.Constant dense<2> : tensor<1xi64>
  %four = onnx.Constant dense<4> : tensor<1xi64>
  %end = onnx.Constant dense<9223372036854775807> : tensor<1xi64>
  %last = onnx.Constant dense<3> : tensor<1xi64>
  %minus = onnx.Constant dense<-1> : tensor<1xi64>
  %axes = onnx.Constant dense<[2, 4]> : tensor<2xi64>
  %twice = onnx.Constant dense<[1, 1, 1, 1, 2]> : tensor<5xi64>
  %flat = onnx.Constant dense<[0, 0, 1, 4]> : tensor<4xi64>
  %flatHeads = onnx.Constant dense<[0, 0, 4, 4]> : tensor<4xi64>
  %sizes = onnx.Constant dense<[2, 2]> : tensor<2xi64>
  %sc:2 = onnx.Split %t sizes %sizes {axis = 2 : i64} : (tensor<?x?x4xf32>, tensor<2xi64>) -> (tensor<?x?x2xf32>, tensor<?x?x2xf32>)
  %s5 = onnx.Unsqueeze %sc#0 axes %axes : (tensor<?x?x2xf32>, tensor<2xi64>) -> tensor<?x?x1x2x1xf32>
  %se = onnx.Expand %s5, %twice : (tensor<?x?x1x2x1xf32>, tensor<5xi64>) -> tensor<?x?x1x2x2xf32>
  %sin = onnx.Reshape %se, %flat : (tensor<?x?x1x2x2xf32>, tensor<4xi64>) -> tensor<?x?x1x4xf32>
  %c5 = onnx.Unsqueeze %sc#1 axes %axes : (tensor<?x?x2xf32>, tensor<2xi64>) -> tensor<?x?x1x2x1xf32>
  %ce = onnx.Expand %c5, %twice : (tensor<?x?x1x2x1xf32>, tensor<5xi64>) -> tensor<?x?x1x2x2xf32>
  %cos = onnx.Reshape %ce, %flat : (tensor<?x?x1x2x2xf32>, tensor<4xi64>) -> tensor<?x?x1x4xf32>
  %r = onnx.Slice %x, %zero, %four axes %last : (tensor<?x?x4x8xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x?x4x4xf32>
  %p = onnx.Slice %x, %four, %end axes %last : (tensor<?x?x4x8xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x?x4x4xf32>
  %even = onnx.Slice %r, %zero, %end axes %last steps %two : (tensor<?x?x4x4xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x?x4x2xf32>
  %odd = onnx.Slice %r, %one, %end axes %last steps %two : (tensor<?x?x4x4xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x?x4x2xf32>
  %n = onnx.Neg %odd : (tensor<?x?x4x2xf32>) -> tensor<?x?x4x2xf32>
  %n5 = onnx.Unsqueeze %n axes %minus : (tensor<?x?x4x2xf32>, tensor<1xi64>) -> tensor<?x?x4x2x1xf32>
  %e5 = onnx.Unsqueeze %even axes %minus : (tensor<?x?x4x2xf32>, tensor<1xi64>) -> tensor<?x?x4x2x1xf32>
  %st = onnx.Concat %n5, %e5 {axis = -1 : i64} : (tensor<?x?x4x2x1xf32>, tensor<?x?x4x2x1xf32>) -> tensor<?x?x4x2x2xf32>
  %turn = onnx.Reshape %st, %flatHeads : (tensor<?x?x4x2x2xf32>, tensor<4xi64>) -> tensor<?x?x4x4xf32>
  %0 = onnx.Mul %r, %cos : (tensor<?x?x4x4xf32>, tensor<?x?x1x4xf32>) -> tensor<?x?x4x4xf32>
  %1 = onnx.Mul %turn, %sin : (tensor<?x?x4x4xf32>, tensor<?x?x1x4xf32>) -> tensor<?x?x4x4xf32>
  %2 = onnx.Add %0, %1 : (tensor<?x?x4x4xf32>, tensor<?x?x4x4xf32>) -> tensor<?x?x4x4xf32>
  %3 = onnx.Concat %2, %p {axis = -1 : i64} : (tensor<?x?x4x4xf32>, tensor<?x?x4x4xf32>) -> tensor<?x?x4x8xf32>
  return %3 : tensor<?x?x4x8xf32>
}

// Both halves computed apart, as complex numbers are multiplied.
// CHECK-LABEL: func.func @halves
// CHECK-SAME: (%[[X:.*]]: tensor<2x4x6x8xf32>, %[[C:.*]]: tensor<2x1x6x4xf32>, %[[S:.*]]: tensor<2x1x6x4xf32>)
func.func @halves(%x: tensor<2x4x6x8xf32>, %c: tensor<2x1x6x4xf32>, %s: tensor<2x1x6x4xf32>) -> tensor<2x4x6x8xf32> {
  // CHECK-DAG: %[[CC:.*]] = onnx.Squeeze %[[C]]
  // CHECK-DAG: %[[SC:.*]] = onnx.Squeeze %[[S]]
  // CHECK: %[[Y:.*]] = onnx.RotaryEmbedding %[[X]], %[[CC]], %[[SC]] :
  // CHECK: return %[[Y]]
  %sizes = onnx.Constant dense<[4, 4]> : tensor<2xi64>
  %h:2 = onnx.Split %x sizes %sizes {axis = -1 : i64} : (tensor<2x4x6x8xf32>, tensor<2xi64>) -> (tensor<2x4x6x4xf32>, tensor<2x4x6x4xf32>)
  %0 = onnx.Mul %h#0, %c : (tensor<2x4x6x4xf32>, tensor<2x1x6x4xf32>) -> tensor<2x4x6x4xf32>
  %1 = onnx.Mul %h#1, %s : (tensor<2x4x6x4xf32>, tensor<2x1x6x4xf32>) -> tensor<2x4x6x4xf32>
  %2 = onnx.Sub %0, %1 : (tensor<2x4x6x4xf32>, tensor<2x4x6x4xf32>) -> tensor<2x4x6x4xf32>
  %3 = onnx.Mul %h#1, %c : (tensor<2x4x6x4xf32>, tensor<2x1x6x4xf32>) -> tensor<2x4x6x4xf32>
  %4 = onnx.Mul %h#0, %s : (tensor<2x4x6x4xf32>, tensor<2x1x6x4xf32>) -> tensor<2x4x6x4xf32>
  %5 = onnx.Add %3, %4 : (tensor<2x4x6x4xf32>, tensor<2x4x6x4xf32>) -> tensor<2x4x6x4xf32>
  %6 = onnx.Concat %2, %5 {axis = -1 : i64} : (tensor<2x4x6x4xf32>, tensor<2x4x6x4xf32>) -> tensor<2x4x6x8xf32>
  return %6 : tensor<2x4x6x8xf32>
}

// The same with a wrong sign is no rotation.
// CHECK-LABEL: func.func @reflection
func.func @reflection(%x: tensor<2x4x6x8xf32>, %c: tensor<2x1x6x4xf32>, %s: tensor<2x1x6x4xf32>) -> tensor<2x4x6x8xf32> {
  // CHECK-NOT: onnx.RotaryEmbedding
  // CHECK: return
  %sizes = onnx.Constant dense<[4, 4]> : tensor<2xi64>
  %h:2 = onnx.Split %x sizes %sizes {axis = -1 : i64} : (tensor<2x4x6x8xf32>, tensor<2xi64>) -> (tensor<2x4x6x4xf32>, tensor<2x4x6x4xf32>)
  %0 = onnx.Mul %h#0, %c : (tensor<2x4x6x4xf32>, tensor<2x1x6x4xf32>) -> tensor<2x4x6x4xf32>
  %1 = onnx.Mul %h#1, %s : (tensor<2x4x6x4xf32>, tensor<2x1x6x4xf32>) -> tensor<2x4x6x4xf32>
  %2 = onnx.Sub %0, %1 : (tensor<2x4x6x4xf32>, tensor<2x4x6x4xf32>) -> tensor<2x4x6x4xf32>
  %3 = onnx.Mul %h#1, %c : (tensor<2x4x6x4xf32>, tensor<2x1x6x4xf32>) -> tensor<2x4x6x4xf32>
  %4 = onnx.Mul %h#0, %s : (tensor<2x4x6x4xf32>, tensor<2x1x6x4xf32>) -> tensor<2x4x6x4xf32>
  %5 = onnx.Sub %3, %4 : (tensor<2x4x6x4xf32>, tensor<2x4x6x4xf32>) -> tensor<2x4x6x4xf32>
  %6 = onnx.Concat %2, %5 {axis = -1 : i64} : (tensor<2x4x6x4xf32>, tensor<2x4x6x4xf32>) -> tensor<2x4x6x8xf32>
  return %6 : tensor<2x4x6x8xf32>
}
