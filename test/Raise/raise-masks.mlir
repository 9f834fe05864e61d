// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: caat-opt %s --onnx-raise-masks --remarks-filter=caat --split-input-file 2>%t.remarks | FileCheck %s
// RUN: FileCheck %s --check-prefix=REMARK < %t.remarks

// key <= query, and the padding gathered by index tuples (torch).
// CHECK-LABEL: func.func @torch
// CHECK-SAME: (%[[X:.*]]: tensor<?x4x?x8xf32> {{.*}}, %[[PAD:.*]]: tensor<?x?xi64>
func.func @torch(%x: tensor<?x4x?x8xf32> {onnx.dims = ["b", "", "s", ""]}, %pad: tensor<?x?xi64> {onnx.dims = ["b", "s"]}) -> tensor<?x4x?x8xf32> {
  // CHECK-NOT: onnx.GatherND
  // CHECK: %[[BOOL:.*]] = onnx.Cast %[[PAD]] to i1
  // CHECK: %[[M:.*]] = onnx.Unsqueeze %[[BOOL]] {{.*}} -> tensor<?x1x1x?xi1>
  // CHECK: onnx.Attention %[[X]], %[[X]], %[[X]] mask %[[M]] {is_causal = 1 : i64
  // REMARK: [Passed] raise-masks {{.*}}causal, with padding
  %zero = onnx.Constant dense<0> : tensor<i64>
  %one = onnx.Constant dense<1> : tensor<i64>
  %a12 = onnx.Constant dense<[1, 2]> : tensor<2xi64>
  %a01 = onnx.Constant dense<[0, 1]> : tensor<2xi64>
  %a2 = onnx.Constant dense<2> : tensor<1xi64>
  %a3 = onnx.Constant dense<3> : tensor<1xi64>
  %last = onnx.Constant dense<-1> : tensor<1xi64>
  %bs = onnx.Shape %pad {end = 1 : i64} : (tensor<?x?xi64>) -> tensor<1xi64>
  %ss = onnx.Shape %pad {start = 1 : i64} : (tensor<?x?xi64>) -> tensor<1xi64>
  %b = onnx.Squeeze %bs : (tensor<1xi64>) -> tensor<i64>
  %s = onnx.Squeeze %ss : (tensor<1xi64>) -> tensor<i64>
  %c1 = onnx.Constant dense<1> : tensor<1xi64>
  %rb = onnx.Range %zero, %b, %one : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<?xi64>
  %rs = onnx.Range %zero, %s, %one : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<?xi64>
  %b3 = onnx.Unsqueeze %rb axes %a12 : (tensor<?xi64>, tensor<2xi64>) -> tensor<?x1x1xi64>
  %b4 = onnx.Unsqueeze %b3 axes %a3 : (tensor<?x1x1xi64>, tensor<1xi64>) -> tensor<?x1x1x1xi64>
  %s3 = onnx.Unsqueeze %rs axes %a01 : (tensor<?xi64>, tensor<2xi64>) -> tensor<1x1x?xi64>
  %q4 = onnx.Unsqueeze %s3 axes %a3 : (tensor<1x1x?xi64>, tensor<1xi64>) -> tensor<1x1x?x1xi64>
  %k4 = onnx.Unsqueeze %s3 axes %a2 : (tensor<1x1x?xi64>, tensor<1xi64>) -> tensor<1x1x1x?xi64>
  %causal = onnx.LessOrEqual %k4, %q4 : (tensor<1x1x1x?xi64>, tensor<1x1x?x1xi64>) -> tensor<1x1x?x?xi1>
  %shape = onnx.Concat %bs, %c1, %c1, %ss {axis = 0 : i64} : (tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<4xi64>
  %be = onnx.Expand %b4, %shape : (tensor<?x1x1x1xi64>, tensor<4xi64>) -> tensor<?x1x1x?xi64>
  %ke = onnx.Expand %k4, %shape : (tensor<1x1x1x?xi64>, tensor<4xi64>) -> tensor<?x1x1x?xi64>
  %b5 = onnx.Unsqueeze %be axes %last : (tensor<?x1x1x?xi64>, tensor<1xi64>) -> tensor<?x1x1x?x1xi64>
  %k5 = onnx.Unsqueeze %ke axes %last : (tensor<?x1x1x?xi64>, tensor<1xi64>) -> tensor<?x1x1x?x1xi64>
  %tuples = onnx.Concat %b5, %k5 {axis = -1 : i64} : (tensor<?x1x1x?x1xi64>, tensor<?x1x1x?x1xi64>) -> tensor<?x1x1x?x2xi64>
  %bool = onnx.Cast %pad to i1 : (tensor<?x?xi64>) -> tensor<?x?xi1>
  %padding = onnx.GatherND %bool, %tuples : (tensor<?x?xi1>, tensor<?x1x1x?x2xi64>) -> tensor<?x1x1x?xi1>
  %mask = onnx.And %causal, %padding : (tensor<1x1x?x?xi1>, tensor<?x1x1x?xi1>) -> tensor<?x1x?x?xi1>
  %y = onnx.Attention %x, %x, %x mask %mask {resultSegmentSizes = array<i32: 1, 0, 0, 0>} : (tensor<?x4x?x8xf32>, tensor<?x4x?x8xf32>, tensor<?x4x?x8xf32>, tensor<?x1x?x?xi1>) -> tensor<?x4x?x8xf32>
  return %y : tensor<?x4x?x8xf32>
}

// -----

// An additive upper triangle, as older exports of OPT have it, is nothing but causal.
// CHECK-LABEL: func.func @triangle
func.func @triangle(%x: tensor<2x4x6x8xf32>) -> tensor<2x4x6x8xf32> {
  // CHECK: onnx.Attention %{{.*}}, %{{.*}}, %{{.*}} {is_causal = 1 : i64
  // REMARK: [Passed] raise-masks {{.*}}causal, without padding
  %k = onnx.Constant dense<1> : tensor<i64>
  %full = onnx.Constant dense<-3.40282347E+38> : tensor<1x1x6x6xf32>
  %mask = onnx.Trilu %full diagonal %k : (tensor<1x1x6x6xf32>, tensor<i64>) -> tensor<1x1x6x6xf32>
  %y = onnx.Attention %x, %x, %x mask %mask {resultSegmentSizes = array<i32: 1, 0, 0, 0>} : (tensor<2x4x6x8xf32>, tensor<2x4x6x8xf32>, tensor<2x4x6x8xf32>, tensor<1x1x6x6xf32>) -> tensor<2x4x6x8xf32>
  return %y : tensor<2x4x6x8xf32>
}

// -----

// Without the diagonal: a query must not see its own key.
// CHECK-LABEL: func.func @strict
func.func @strict(%x: tensor<2x4x6x8xf32>) -> tensor<2x4x6x8xf32> {
  // CHECK: %[[M:.*]] = onnx.Trilu
  // CHECK: onnx.Attention %{{.*}}, %{{.*}}, %{{.*}} mask %[[M]] {resultSegmentSizes
  // REMARK: [Missed] raise-masks {{.*}}the mask is not query + past - left <= key <= query + past + right, a padding mask, or both
  %full = onnx.Constant dense<-3.40282347E+38> : tensor<1x1x6x6xf32>
  %mask = onnx.Trilu %full : (tensor<1x1x6x6xf32>) -> tensor<1x1x6x6xf32>
  %y = onnx.Attention %x, %x, %x mask %mask {resultSegmentSizes = array<i32: 1, 0, 0, 0>} : (tensor<2x4x6x8xf32>, tensor<2x4x6x8xf32>, tensor<2x4x6x8xf32>, tensor<1x1x6x6xf32>) -> tensor<2x4x6x8xf32>
  return %y : tensor<2x4x6x8xf32>
}

// -----

// Small numbers are a bias.
// CHECK-LABEL: func.func @bias
func.func @bias(%x: tensor<2x4x6x8xf32>) -> tensor<2x4x6x8xf32> {
  // CHECK: onnx.Attention %{{.*}}, %{{.*}}, %{{.*}} mask %{{.*}} {resultSegmentSizes
  // REMARK: [Missed] raise-masks {{.*}}the mask holds numbers other than 0 and very small ones
  %k = onnx.Constant dense<1> : tensor<i64>
  %full = onnx.Constant dense<-3.0> : tensor<1x1x6x6xf32>
  %mask = onnx.Trilu %full diagonal %k : (tensor<1x1x6x6xf32>, tensor<i64>) -> tensor<1x1x6x6xf32>
  %y = onnx.Attention %x, %x, %x mask %mask {resultSegmentSizes = array<i32: 1, 0, 0, 0>} : (tensor<2x4x6x8xf32>, tensor<2x4x6x8xf32>, tensor<2x4x6x8xf32>, tensor<1x1x6x6xf32>) -> tensor<2x4x6x8xf32>
  return %y : tensor<2x4x6x8xf32>
}

// -----

// A mask from outside stays.
// CHECK-LABEL: func.func @given
// CHECK-SAME: %[[M:[a-z0-9]+]]: tensor<2x1x6x6xf32>
func.func @given(%x: tensor<2x4x6x8xf32>, %mask: tensor<2x1x6x6xf32>) -> tensor<2x4x6x8xf32> {
  // CHECK: onnx.Attention %{{.*}}, %{{.*}}, %{{.*}} mask %[[M]] {resultSegmentSizes
  // REMARK: [Missed] raise-masks {{.*}}the mask is not computed from places and a padding mask alone
  %y = onnx.Attention %x, %x, %x mask %mask {resultSegmentSizes = array<i32: 1, 0, 0, 0>} : (tensor<2x4x6x8xf32>, tensor<2x4x6x8xf32>, tensor<2x4x6x8xf32>, tensor<2x1x6x6xf32>) -> tensor<2x4x6x8xf32>
  return %y : tensor<2x4x6x8xf32>
}

// -----

// Sliding window, with a cache: key <= query + past and key > query + past - 4.
// CHECK-LABEL: func.func @window
func.func @window(%x: tensor<1x4x?x8xf32> {onnx.dims = ["", "", "s", ""]}, %p: tensor<1x4x?x8xf32> {onnx.dims = ["", "", "p", ""]}) -> tensor<1x4x?x8xf32> {
  // CHECK: onnx.Attention %{{.*}}, %{{.*}}, %{{.*}} past_key %{{.*}} past_value %{{.*}} {is_causal = 1 : i64, left_window_size = 3 : i64
  // REMARK: [Passed] raise-masks {{.*}}causal, 3 keys back, without padding
  %zero = onnx.Constant dense<0> : tensor<i64>
  %one = onnx.Constant dense<1> : tensor<i64>
  %four = onnx.Constant dense<4> : tensor<i64>
  %lastAxis = onnx.Constant dense<-1> : tensor<1xi64>
  %ss = onnx.Shape %x {start = 2 : i64, end = 3 : i64} : (tensor<1x4x?x8xf32>) -> tensor<1xi64>
  %ps = onnx.Shape %p {start = 2 : i64, end = 3 : i64} : (tensor<1x4x?x8xf32>) -> tensor<1xi64>
  %s = onnx.Squeeze %ss : (tensor<1xi64>) -> tensor<i64>
  %past = onnx.Squeeze %ps : (tensor<1xi64>) -> tensor<i64>
  %t = onnx.Add %s, %past : (tensor<i64>, tensor<i64>) -> tensor<i64>
  %q0 = onnx.Range %zero, %s, %one : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<?xi64>
  %q1 = onnx.Add %q0, %past : (tensor<?xi64>, tensor<i64>) -> tensor<?xi64>
  %q = onnx.Unsqueeze %q1 axes %lastAxis : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  %k = onnx.Range %zero, %t, %one : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<?xi64>
  %causal = onnx.LessOrEqual %k, %q : (tensor<?xi64>, tensor<?x1xi64>) -> tensor<?x?xi1>
  %begin = onnx.Sub %q, %four : (tensor<?x1xi64>, tensor<i64>) -> tensor<?x1xi64>
  %near = onnx.Greater %k, %begin : (tensor<?xi64>, tensor<?x1xi64>) -> tensor<?x?xi1>
  %mask = onnx.And %causal, %near : (tensor<?x?xi1>, tensor<?x?xi1>) -> tensor<?x?xi1>
  %y, %nk, %nv = onnx.Attention %x, %x, %x mask %mask past_key %p past_value %p {resultSegmentSizes = array<i32: 1, 1, 1, 0>} : (tensor<1x4x?x8xf32>, tensor<1x4x?x8xf32>, tensor<1x4x?x8xf32>, tensor<?x?xi1>, tensor<1x4x?x8xf32>, tensor<1x4x?x8xf32>) -> (tensor<1x4x?x8xf32>, tensor<1x4x?x8xf32>, tensor<1x4x?x8xf32>)
  return %y : tensor<1x4x?x8xf32>
}

// -----

// ALiBi: a bias of each head and key, and a mask added to it. Only the bias remains.
// CHECK-LABEL: func.func @alibi
// CHECK-SAME: %[[BIAS:[a-z0-9]+]]: tensor<1x4x1x6xf32>
func.func @alibi(%x: tensor<2x4x6x8xf32>, %bias: tensor<1x4x1x6xf32>) -> tensor<2x4x6x8xf32> {
  // CHECK: onnx.Attention %{{.*}}, %{{.*}}, %{{.*}} mask %[[BIAS]] {is_causal = 1 : i64
  // REMARK: [Passed] raise-masks {{.*}}causal, without padding, with a bias
  %k = onnx.Constant dense<1> : tensor<i64>
  %full = onnx.Constant dense<-3.40282347E+38> : tensor<1x1x6x6xf32>
  %triangle = onnx.Trilu %full diagonal %k : (tensor<1x1x6x6xf32>, tensor<i64>) -> tensor<1x1x6x6xf32>
  %mask = onnx.Add %bias, %triangle : (tensor<1x4x1x6xf32>, tensor<1x1x6x6xf32>) -> tensor<1x4x6x6xf32>
  %y = onnx.Attention %x, %x, %x mask %mask {resultSegmentSizes = array<i32: 1, 0, 0, 0>} : (tensor<2x4x6x8xf32>, tensor<2x4x6x8xf32>, tensor<2x4x6x8xf32>, tensor<1x4x6x6xf32>) -> tensor<2x4x6x8xf32>
  return %y : tensor<2x4x6x8xf32>
}

// -----

// Padding and a bias together: the bias where the key is visible, else -inf, for every query the same.
// CHECK-LABEL: func.func @padded_bias
// CHECK-SAME: %[[BIAS:[a-z0-9]+]]: tensor<1x4x1x6xf32>, %[[PAD:[a-z0-9]+]]: tensor<2x6xi1>
func.func @padded_bias(%x: tensor<2x4x6x8xf32>, %bias: tensor<1x4x1x6xf32>, %pad: tensor<2x6xi1>) -> tensor<2x4x6x8xf32> {
  // CHECK: %[[P:.*]] = onnx.Unsqueeze %[[PAD]]
  // CHECK: %[[M:.*]] = onnx.Where %[[P]], %[[BIAS]], %{{.*}} -> tensor<2x4x1x6xf32>
  // CHECK: onnx.Attention %{{.*}}, %{{.*}}, %{{.*}} mask %[[M]] {is_causal = 1 : i64
  // REMARK: [Passed] raise-masks {{.*}}causal, with padding, with a bias
  %k = onnx.Constant dense<1> : tensor<i64>
  %axes = onnx.Constant dense<[1, 2]> : tensor<2xi64>
  %zero = onnx.Constant dense<0.0> : tensor<f32>
  %lowest = onnx.Constant dense<-3.40282347E+38> : tensor<f32>
  %full = onnx.Constant dense<-3.40282347E+38> : tensor<1x1x6x6xf32>
  %triangle = onnx.Trilu %full diagonal %k : (tensor<1x1x6x6xf32>, tensor<i64>) -> tensor<1x1x6x6xf32>
  %p = onnx.Unsqueeze %pad axes %axes : (tensor<2x6xi1>, tensor<2xi64>) -> tensor<2x1x1x6xi1>
  %pf = onnx.Where %p, %zero, %lowest : (tensor<2x1x1x6xi1>, tensor<f32>, tensor<f32>) -> tensor<2x1x1x6xf32>
  %both = onnx.Add %bias, %pf : (tensor<1x4x1x6xf32>, tensor<2x1x1x6xf32>) -> tensor<2x4x1x6xf32>
  %mask = onnx.Add %both, %triangle : (tensor<2x4x1x6xf32>, tensor<1x1x6x6xf32>) -> tensor<2x4x6x6xf32>
  %y = onnx.Attention %x, %x, %x mask %mask {resultSegmentSizes = array<i32: 1, 0, 0, 0>} : (tensor<2x4x6x8xf32>, tensor<2x4x6x8xf32>, tensor<2x4x6x8xf32>, tensor<2x4x6x6xf32>) -> tensor<2x4x6x8xf32>
  return %y : tensor<2x4x6x8xf32>
}
