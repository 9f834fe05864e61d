// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: caat-opt %s --onnx-raise-attention --remarks-filter=caat --split-input-file 2>%t.remarks | FileCheck %s
// RUN: FileCheck %s --check-prefix=REMARK < %t.remarks

// Grouped heads, a cache, half of the scale on each side, the guard against NaN.
// CHECK-LABEL: func.func @grouped_with_cache
// CHECK-SAME: (%[[Q:.*]]: tensor<?x4x?x8xf32> {{.*}}, %[[K:.*]]: tensor<?x2x?x8xf32> {{.*}}, %[[V:.*]]: tensor<?x2x?x8xf32> {{.*}}, %[[PK:.*]]: tensor<?x2x?x8xf32> {{.*}}, %[[PV:.*]]: tensor<?x2x?x8xf32> {{.*}}, %[[M:.*]]: tensor<?x1x?x?xi1>
func.func @grouped_with_cache(%q: tensor<?x4x?x8xf32> {onnx.dims = ["b", "", "s", ""]}, %k: tensor<?x2x?x8xf32> {onnx.dims = ["b", "", "s", ""]},
    %v: tensor<?x2x?x8xf32> {onnx.dims = ["b", "", "s", ""]}, %pk: tensor<?x2x?x8xf32> {onnx.dims = ["b", "", "p", ""]},
    %pv: tensor<?x2x?x8xf32> {onnx.dims = ["b", "", "p", ""]}, %mask: tensor<?x1x?x?xi1> {onnx.dims = ["b", "", "s", "p + s"]})
    -> (tensor<?x4x?x8xf32>, tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>) {
  // CHECK-NOT: onnx.Softmax
  // CHECK: %[[Y:.*]], %[[NK:.*]], %[[NV:.*]] = onnx.Attention %[[Q]], %[[K]], %[[V]] mask %[[M]] past_key %[[PK]] past_value %[[PV]]
  // CHECK-SAME: scale = 2.500000e-01
  // CHECK: return %[[Y]], %[[NK]], %[[NV]]
  // REMARK: [Passed] raise-attention {{.*}}Attention, 4 query and 2 key heads, with a cache
  %half = onnx.Constant dense<0.5> : tensor<f32>
  %zero = onnx.Constant dense<0.0> : tensor<f32>
  %hidden = onnx.Constant dense<0xFF800000> : tensor<f32>
  %two = onnx.Constant dense<2> : tensor<1xi64>
  %times = onnx.Constant dense<[1, 1, 2, 1, 1]> : tensor<5xi64>
  %merge = onnx.Constant dense<[0, 4, -1, 8]> : tensor<4xi64>
  %nk = onnx.Concat %pk, %k {axis = -2 : i64} : (tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>) -> tensor<?x2x?x8xf32>
  %nv = onnx.Concat %pv, %v {axis = 2 : i64} : (tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>) -> tensor<?x2x?x8xf32>
  %k5 = onnx.Unsqueeze %nk axes %two : (tensor<?x2x?x8xf32>, tensor<1xi64>) -> tensor<?x2x1x?x8xf32>
  %ke = onnx.Expand %k5, %times : (tensor<?x2x1x?x8xf32>, tensor<5xi64>) -> tensor<?x2x2x?x8xf32>
  %k4 = onnx.Reshape %ke, %merge : (tensor<?x2x2x?x8xf32>, tensor<4xi64>) -> tensor<?x4x?x8xf32>
  %v5 = onnx.Unsqueeze %nv axes %two : (tensor<?x2x?x8xf32>, tensor<1xi64>) -> tensor<?x2x1x?x8xf32>
  %ve = onnx.Expand %v5, %times : (tensor<?x2x1x?x8xf32>, tensor<5xi64>) -> tensor<?x2x2x?x8xf32>
  %v4 = onnx.Reshape %ve, %merge : (tensor<?x2x2x?x8xf32>, tensor<4xi64>) -> tensor<?x4x?x8xf32>
  %kt = onnx.Transpose %k4 {perm = array<i64: 0, 1, 3, 2>} : (tensor<?x4x?x8xf32>) -> tensor<?x4x8x?xf32>
  %qs = onnx.Mul %q, %half : (tensor<?x4x?x8xf32>, tensor<f32>) -> tensor<?x4x?x8xf32>
  %ks = onnx.Mul %kt, %half : (tensor<?x4x8x?xf32>, tensor<f32>) -> tensor<?x4x8x?xf32>
  %s = onnx.MatMul %qs, %ks : (tensor<?x4x?x8xf32>, tensor<?x4x8x?xf32>) -> tensor<?x4x?x?xf32>
  %bias = onnx.Where %mask, %zero, %hidden : (tensor<?x1x?x?xi1>, tensor<f32>, tensor<f32>) -> tensor<?x1x?x?xf32>
  %sm = onnx.Add %s, %bias : (tensor<?x4x?x?xf32>, tensor<?x1x?x?xf32>) -> tensor<?x4x?x?xf32>
  %w = onnx.Softmax %sm {axis = -1 : i64} : (tensor<?x4x?x?xf32>) -> tensor<?x4x?x?xf32>
  %nan = onnx.IsNaN %w : (tensor<?x4x?x?xf32>) -> tensor<?x4x?x?xi1>
  %safe = onnx.Where %nan, %zero, %w : (tensor<?x4x?x?xi1>, tensor<f32>, tensor<?x4x?x?xf32>) -> tensor<?x4x?x?xf32>
  %y = onnx.MatMul %safe, %v4 : (tensor<?x4x?x?xf32>, tensor<?x4x?x8xf32>) -> tensor<?x4x?x8xf32>
  return %y, %nk, %nv : tensor<?x4x?x8xf32>, tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>
}

// -----

// torch transposes the keys with batch and heads merged; a bias that is no mask stays a bias.
// CHECK-LABEL: func.func @merged_transpose
// CHECK-SAME: (%[[Q:.*]]: tensor<?x4x?x8xf32> {{.*}}, %[[K:.*]]: tensor<?x4x?x8xf32> {{.*}}, %[[V:.*]]: tensor<?x4x?x8xf32> {{.*}}, %[[BIAS:.*]]: tensor<1x4x?x?xf32>
func.func @merged_transpose(%q: tensor<?x4x?x8xf32> {onnx.dims = ["b", "", "s", ""]}, %k: tensor<?x4x?x8xf32> {onnx.dims = ["b", "", "s", ""]},
    %v: tensor<?x4x?x8xf32> {onnx.dims = ["b", "", "s", ""]}, %bias: tensor<1x4x?x?xf32> {onnx.dims = ["", "", "s", "s"]}) -> tensor<?x4x?x8xf32> {
  // CHECK: onnx.Attention %[[Q]], %[[K]], %[[V]] mask %[[BIAS]] {
  // CHECK-SAME: scale = 1.000000e+00
  %ks = onnx.Shape %k : (tensor<?x4x?x8xf32>) -> tensor<4xi64>
  %minus = onnx.Constant dense<-1> : tensor<1xi64>
  %b = onnx.Constant dense<0> : tensor<1xi64>
  %h = onnx.Constant dense<1> : tensor<1xi64>
  %t = onnx.Constant dense<2> : tensor<1xi64>
  %d = onnx.Constant dense<3> : tensor<1xi64>
  %sb = onnx.Gather %ks, %b : (tensor<4xi64>, tensor<1xi64>) -> tensor<1xi64>
  %sh = onnx.Gather %ks, %h : (tensor<4xi64>, tensor<1xi64>) -> tensor<1xi64>
  %st = onnx.Gather %ks, %t : (tensor<4xi64>, tensor<1xi64>) -> tensor<1xi64>
  %sd = onnx.Gather %ks, %d : (tensor<4xi64>, tensor<1xi64>) -> tensor<1xi64>
  %s3 = onnx.Concat %minus, %st, %sd {axis = 0 : i64} : (tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<3xi64>
  %s4 = onnx.Concat %sb, %sh, %sd, %st {axis = 0 : i64} : (tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<4xi64>
  %k3 = onnx.Reshape %k, %s3 : (tensor<?x4x?x8xf32>, tensor<3xi64>) -> tensor<?x?x8xf32>
  %kt3 = onnx.Transpose %k3 {perm = array<i64: 0, 2, 1>} : (tensor<?x?x8xf32>) -> tensor<?x8x?xf32>
  %kt = onnx.Reshape %kt3, %s4 : (tensor<?x8x?xf32>, tensor<4xi64>) -> tensor<?x4x8x?xf32>
  %s = onnx.MatMul %q, %kt : (tensor<?x4x?x8xf32>, tensor<?x4x8x?xf32>) -> tensor<?x4x?x?xf32>
  %sm = onnx.Add %bias, %s : (tensor<1x4x?x?xf32>, tensor<?x4x?x?xf32>) -> tensor<?x4x?x?xf32>
  %w = onnx.Softmax %sm : (tensor<?x4x?x?xf32>) -> tensor<?x4x?x?xf32>
  %y = onnx.MatMul %w, %v : (tensor<?x4x?x?xf32>, tensor<?x4x?x8xf32>) -> tensor<?x4x?x8xf32>
  return %y : tensor<?x4x?x8xf32>
}

// -----

// Soft-cap as Gemma 2 has it.
// CHECK-LABEL: func.func @softcap
func.func @softcap(%q: tensor<?x4x?x8xf32>, %k: tensor<?x4x?x8xf32>, %v: tensor<?x4x?x8xf32>) -> tensor<?x4x?x8xf32> {
  // CHECK: onnx.Attention
  // CHECK-SAME: scale = 2.500000e-01 : f32, softcap = 5.000000e+01 : f32
  %scale = onnx.Constant dense<0.25> : tensor<f32>
  %cap = onnx.Constant dense<50.0> : tensor<f32>
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (tensor<?x4x?x8xf32>) -> tensor<?x4x8x?xf32>
  %p = onnx.MatMul %q, %kt : (tensor<?x4x?x8xf32>, tensor<?x4x8x?xf32>) -> tensor<?x4x?x?xf32>
  %s = onnx.Mul %p, %scale : (tensor<?x4x?x?xf32>, tensor<f32>) -> tensor<?x4x?x?xf32>
  %0 = onnx.Div %s, %cap : (tensor<?x4x?x?xf32>, tensor<f32>) -> tensor<?x4x?x?xf32>
  %1 = onnx.Tanh %0 : (tensor<?x4x?x?xf32>) -> tensor<?x4x?x?xf32>
  %2 = onnx.Mul %1, %cap : (tensor<?x4x?x?xf32>, tensor<f32>) -> tensor<?x4x?x?xf32>
  %w = onnx.Softmax %2 : (tensor<?x4x?x?xf32>) -> tensor<?x4x?x?xf32>
  %y = onnx.MatMul %w, %v : (tensor<?x4x?x?xf32>, tensor<?x4x?x8xf32>) -> tensor<?x4x?x8xf32>
  return %y : tensor<?x4x?x8xf32>
}

// -----

// Rank 3 becomes rank 4.
// CHECK-LABEL: func.func @flat
func.func @flat(%q: tensor<?x?x32xf32> {onnx.dims = ["b", "s", ""]}, %k: tensor<?x?x16xf32> {onnx.dims = ["b", "s", ""]}, %v: tensor<?x?x16xf32> {onnx.dims = ["b", "s", ""]}) -> tensor<?x?x32xf32> {
  // CHECK: %[[Y:.*]] = onnx.Attention %{{.*}}, %{{.*}}, %{{.*}} {is_causal = 1 : i64, resultSegmentSizes = array<i32: 1, 0, 0, 0>}
  // CHECK-SAME: (tensor<?x4x?x8xf32>, tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>) -> tensor<?x4x?x8xf32>
  // CHECK: onnx.Transpose %[[Y]]
  // CHECK: onnx.Reshape {{.*}} -> tensor<?x?x32xf32>
  // REMARK: [Passed] raise-attention {{.*}}operands of rank 3 split into heads
  %y = onnx.Attention %q, %k, %v {is_causal = 1 : i64, q_num_heads = 4 : i64, kv_num_heads = 2 : i64, resultSegmentSizes = array<i32: 1, 0, 0, 0>}
    : (tensor<?x?x32xf32>, tensor<?x?x16xf32>, tensor<?x?x16xf32>) -> tensor<?x?x32xf32>
  return %y : tensor<?x?x32xf32>
}

// -----

// The keys are not transposed: they are, for Attention.
// CHECK-LABEL: func.func @untransposed
// CHECK-SAME: (%[[Q:.*]]: tensor<2x4x8x8xf32>, %[[K:.*]]: tensor<2x4x8x8xf32>, %[[V:.*]]: tensor<2x4x8x8xf32>)
func.func @untransposed(%q: tensor<2x4x8x8xf32>, %k: tensor<2x4x8x8xf32>, %v: tensor<2x4x8x8xf32>) -> tensor<2x4x8x8xf32> {
  // CHECK: %[[T:.*]] = onnx.Transpose %[[K]] {perm = array<i64: 0, 1, 3, 2>}
  // CHECK: onnx.Attention %[[Q]], %[[T]], %[[V]]
  %s = onnx.MatMul %q, %k : (tensor<2x4x8x8xf32>, tensor<2x4x8x8xf32>) -> tensor<2x4x8x8xf32>
  %w = onnx.Softmax %s : (tensor<2x4x8x8xf32>) -> tensor<2x4x8x8xf32>
  %y = onnx.MatMul %w, %v : (tensor<2x4x8x8xf32>, tensor<2x4x8x8xf32>) -> tensor<2x4x8x8xf32>
  return %y : tensor<2x4x8x8xf32>
}

// -----

// One head of keys for all queries (Falcon); hidden keys by Where, a bias below it.
// CHECK-LABEL: func.func @one_key_head
// CHECK-SAME: (%[[Q:.*]]: tensor<2x4x6x8xf32>, %[[K:.*]]: tensor<2x1x6x8xf32>, %[[V:.*]]: tensor<2x1x6x8xf32>, %[[M:.*]]: tensor<6x6xi1>, %[[BIAS:.*]]: tensor<1x4x1x6xf32>)
func.func @one_key_head(%q: tensor<2x4x6x8xf32>, %k: tensor<2x1x6x8xf32>, %v: tensor<2x1x6x8xf32>, %m: tensor<6x6xi1>, %bias: tensor<1x4x1x6xf32>) -> tensor<2x4x6x8xf32> {
  // CHECK: %[[N:.*]] = onnx.Not %[[M]]
  // CHECK: %[[MASK:.*]] = onnx.Where %[[N]], %[[BIAS]], %{{.*}} -> tensor<1x4x6x6xf32>
  // CHECK: onnx.Attention %[[Q]], %[[K]], %[[V]] mask %[[MASK]] {{.*}}scale = 5.000000e-01
  // REMARK: [Passed] raise-attention {{.*}}Attention, 4 query and 1 key heads
  %half = onnx.Constant dense<0.5> : tensor<f32>
  %lowest = onnx.Constant dense<-3.40282347E+38> : tensor<f32>
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (tensor<2x1x6x8xf32>) -> tensor<2x1x8x6xf32>
  %s = onnx.MatMul %q, %kt : (tensor<2x4x6x8xf32>, tensor<2x1x8x6xf32>) -> tensor<2x4x6x6xf32>
  %0 = onnx.Mul %s, %half : (tensor<2x4x6x6xf32>, tensor<f32>) -> tensor<2x4x6x6xf32>
  %1 = onnx.Add %0, %bias : (tensor<2x4x6x6xf32>, tensor<1x4x1x6xf32>) -> tensor<2x4x6x6xf32>
  %2 = onnx.Where %m, %lowest, %1 : (tensor<6x6xi1>, tensor<f32>, tensor<2x4x6x6xf32>) -> tensor<2x4x6x6xf32>
  %w = onnx.Softmax %2 : (tensor<2x4x6x6xf32>) -> tensor<2x4x6x6xf32>
  %y = onnx.MatMul %w, %v : (tensor<2x4x6x6xf32>, tensor<2x1x6x8xf32>) -> tensor<2x4x6x8xf32>
  return %y : tensor<2x4x6x8xf32>
}

// -----

// Batch and heads merged throughout (XGLM, BLOOM).
// CHECK-LABEL: func.func @merged
// CHECK-SAME: (%[[Q:.*]]: tensor<?x4x?x8xf32> {{.*}}, %[[K:.*]]: tensor<?x4x?x8xf32> {{.*}}, %[[V:.*]]: tensor<?x4x?x8xf32> {{.*}}, %[[M:.*]]: tensor<?x1x?x?xf32>
func.func @merged(%q: tensor<?x4x?x8xf32> {onnx.dims = ["b", "", "s", ""]}, %k: tensor<?x4x?x8xf32> {onnx.dims = ["b", "", "s", ""]}, %v: tensor<?x4x?x8xf32> {onnx.dims = ["b", "", "s", ""]},
    %m: tensor<?x1x?x?xf32> {onnx.dims = ["b", "", "s", "s"]}) -> tensor<?x4x?x8xf32> {
  // CHECK: %[[Y:.*]] = onnx.Attention %[[Q]], %[[K]], %[[V]] mask %[[M]]
  %qs = onnx.Shape %q : (tensor<?x4x?x8xf32>) -> tensor<4xi64>
  %i0 = onnx.Constant dense<[0]> : tensor<1xi64>
  %i2 = onnx.Constant dense<[2]> : tensor<1xi64>
  %four = onnx.Constant dense<[4]> : tensor<1xi64>
  %minus = onnx.Constant dense<[-1]> : tensor<1xi64>
  %eight = onnx.Constant dense<[8]> : tensor<1xi64>
  %b = onnx.Gather %qs, %i0 : (tensor<4xi64>, tensor<1xi64>) -> tensor<1xi64>
  %s = onnx.Gather %qs, %i2 : (tensor<4xi64>, tensor<1xi64>) -> tensor<1xi64>
  %three = onnx.Concat %minus, %s, %eight {axis = 0 : i64} : (tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<3xi64>
  %whole = onnx.Concat %b, %four, %s, %s {axis = 0 : i64} : (tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<4xi64>
  %flat = onnx.Concat %minus, %s, %s {axis = 0 : i64} : (tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<3xi64>
  %out = onnx.Concat %b, %four, %s, %eight {axis = 0 : i64} : (tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<4xi64>
  %q3 = onnx.Reshape %q, %three : (tensor<?x4x?x8xf32>, tensor<3xi64>) -> tensor<?x?x8xf32>
  %k3 = onnx.Reshape %k, %three : (tensor<?x4x?x8xf32>, tensor<3xi64>) -> tensor<?x?x8xf32>
  %v3 = onnx.Reshape %v, %three : (tensor<?x4x?x8xf32>, tensor<3xi64>) -> tensor<?x?x8xf32>
  %kt = onnx.Transpose %k3 {perm = array<i64: 0, 2, 1>} : (tensor<?x?x8xf32>) -> tensor<?x8x?xf32>
  %p3 = onnx.MatMul %q3, %kt : (tensor<?x?x8xf32>, tensor<?x8x?xf32>) -> tensor<?x?x?xf32>
  %p4 = onnx.Reshape %p3, %whole : (tensor<?x?x?xf32>, tensor<4xi64>) -> tensor<?x?x?x?xf32>
  %ma = onnx.Add %p4, %m : (tensor<?x?x?x?xf32>, tensor<?x1x?x?xf32>) -> tensor<?x?x?x?xf32>
  %m3 = onnx.Reshape %ma, %flat : (tensor<?x?x?x?xf32>, tensor<3xi64>) -> tensor<?x?x?xf32>
  %w = onnx.Softmax %m3 : (tensor<?x?x?xf32>) -> tensor<?x?x?xf32>
  %y3 = onnx.MatMul %w, %v3 : (tensor<?x?x?xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %y = onnx.Reshape %y3, %out : (tensor<?x?x8xf32>, tensor<4xi64>) -> tensor<?x4x?x8xf32>
  return %y : tensor<?x4x?x8xf32>
}

// -----

// A softmax of something else.
// CHECK-LABEL: func.func @pooled
func.func @pooled(%x: tensor<2x8xf32>) -> tensor<2x8xf32> {
  // CHECK-NOT: onnx.Attention
  // CHECK: return
  // REMARK: [Missed] raise-attention {{.*}}the softmax's result is no left operand of a product with values
  %w = onnx.Softmax %x : (tensor<2x8xf32>) -> tensor<2x8xf32>
  return %w : tensor<2x8xf32>
}

// -----

// CHECK-LABEL: func.func @other_axis
func.func @other_axis(%q: tensor<2x4x8x8xf32>, %k: tensor<2x4x8x8xf32>, %v: tensor<2x4x8x8xf32>) -> tensor<2x4x8x8xf32> {
  // CHECK-NOT: onnx.Attention
  // CHECK: return
  // REMARK: [Missed] raise-attention {{.*}}the softmax is not over the last of four dimensions, or of three with batch and heads merged
  %kt = onnx.Transpose %k {perm = array<i64: 0, 1, 3, 2>} : (tensor<2x4x8x8xf32>) -> tensor<2x4x8x8xf32>
  %s = onnx.MatMul %q, %kt : (tensor<2x4x8x8xf32>, tensor<2x4x8x8xf32>) -> tensor<2x4x8x8xf32>
  %w = onnx.Softmax %s {axis = 2 : i64} : (tensor<2x4x8x8xf32>) -> tensor<2x4x8x8xf32>
  %y = onnx.MatMul %w, %v : (tensor<2x4x8x8xf32>, tensor<2x4x8x8xf32>) -> tensor<2x4x8x8xf32>
  return %y : tensor<2x4x8x8xf32>
}
