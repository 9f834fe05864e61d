// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: caat-opt %s --tp-auto-shard="size=2" --tp-partition 2>/dev/null | FileCheck %s

onnx.initializer @up : tensor<32x8xui8> {file = "w.bin", length = 256 : i64, offset = 0 : i64}
onnx.initializer @down : tensor<16x16xui8> {file = "w.bin", length = 256 : i64, offset = 256 : i64}
onnx.initializer @up_scale : tensor<32x2xf32> {file = "w.bin", length = 256 : i64, offset = 512 : i64}
onnx.initializer @down_scale : tensor<16x4xf32> {file = "w.bin", length = 256 : i64, offset = 768 : i64}

// Quantised weights are sliced before they are unpacked: by columns, and by rows in whole blocks.
// CHECK-LABEL: func.func @main
func.func @main(%x: tensor<?x16xf32>) -> tensor<?x16xf32> {
  %qu = onnx.get_initializer @up : tensor<32x8xui8>
  %su = onnx.get_initializer @up_scale : tensor<32x2xf32>
  // CHECK-DAG: %[[UP:.*]] = tp.shard %{{.*}} dim 0 pieces {{\[\[\[0, 16\]\], \[\[16, 16\]\]\]}} size 16 : tensor<32x8xui8>
  // CHECK-DAG: %[[US:.*]] = tp.shard %{{.*}} dim 0 {{.*}} : tensor<32x2xf32>
  // CHECK-DAG: %[[DOWN:.*]] = tp.shard %{{.*}} dim 1 pieces {{\[\[\[0, 8\]\], \[\[8, 8\]\]\]}} size 8 : tensor<16x16xui8>
  // CHECK-DAG: %[[DS:.*]] = tp.shard %{{.*}} dim 1 pieces {{\[\[\[0, 2\]\], \[\[2, 2\]\]\]}} size 2 : tensor<16x4xf32>
  // CHECK-DAG: %[[QU:.*]] = onnx.unpack %[[UP]] {bits = 4 : i64} : (tensor<16x8xui8>) -> tensor<16x16xui8>
  // CHECK-DAG: onnx.DequantizeLinear %[[QU]], %[[US]] {block_size = 8 : i64} : {{.*}} -> tensor<16x16xf32>
  // CHECK-DAG: %[[QD:.*]] = onnx.unpack %[[DOWN]] {bits = 4 : i64} : (tensor<16x8xui8>) -> tensor<16x16xui8>
  // CHECK-DAG: onnx.DequantizeLinear %[[QD]], %[[DS]] {block_size = 8 : i64} : {{.*}} -> tensor<16x16xf32>
  // CHECK: tp.all_reduce
  %u = onnx.unpack %qu {bits = 4 : i64} : (tensor<32x8xui8>) -> tensor<32x16xui8>
  %du = onnx.DequantizeLinear %u, %su {block_size = 8 : i64} : (tensor<32x16xui8>, tensor<32x2xf32>) -> tensor<32x16xf32>
  %wu = onnx.Transpose %du {perm = array<i64: 1, 0>} : (tensor<32x16xf32>) -> tensor<16x32xf32>
  %h = onnx.MatMul %x, %wu : (tensor<?x16xf32>, tensor<16x32xf32>) -> tensor<?x32xf32>
  %r = onnx.Relu %h : (tensor<?x32xf32>) -> tensor<?x32xf32>
  %qd = onnx.get_initializer @down : tensor<16x16xui8>
  %sd = onnx.get_initializer @down_scale : tensor<16x4xf32>
  %d = onnx.unpack %qd {bits = 4 : i64} : (tensor<16x16xui8>) -> tensor<16x32xui8>
  %dd = onnx.DequantizeLinear %d, %sd {block_size = 8 : i64} : (tensor<16x32xui8>, tensor<16x4xf32>) -> tensor<16x32xf32>
  %wd = onnx.Transpose %dd {perm = array<i64: 1, 0>} : (tensor<16x32xf32>) -> tensor<32x16xf32>
  %y = onnx.MatMul %r, %wd : (tensor<?x32xf32>, tensor<32x16xf32>) -> tensor<?x16xf32>
  return %y : tensor<?x16xf32>
}

// Scales whose number is not known when the model is compiled.
// CHECK-LABEL: func.func @scales_of_any_number
func.func @scales_of_any_number(%x: tensor<?x?xui8>, %s: tensor<?xf32>, %norm: tensor<?xf32>) -> tensor<?x?xf32> {
  // CHECK: onnx.DequantizeLinear
  // CHECK: onnx.RMSNormalization
  %y = onnx.DequantizeLinear %x, %s {axis = 1 : i64} : (tensor<?x?xui8>, tensor<?xf32>) -> tensor<?x?xf32>
  %z = onnx.RMSNormalization %y, %norm : (tensor<?x?xf32>, tensor<?xf32>) -> tensor<?x?xf32>
  return %z : tensor<?x?xf32>
}
