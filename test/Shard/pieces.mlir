// A piece at -1 stands for zeros between segments; any other start has to lie inside the dimension.
// RUN: caat-opt %s -split-input-file -verify-diagnostics | FileCheck %s

// CHECK-LABEL: @zeros
// CHECK: tp.shard %{{.*}} dim 0 pieces {{\[\[\[0, 2\], \[-1, 1\], \[4, 2\]\]\]}} size 6
func.func @zeros(%w: tensor<6xf32>) -> tensor<6xf32> {
  %0 = tp.shard %w dim 0 pieces [[[0, 2], [-1, 1], [4, 2]]] size 6 : tensor<6xf32> -> tensor<6xf32>
  return %0 : tensor<6xf32>
}

// -----

func.func @start(%w: tensor<6xf32>) -> tensor<6xf32> {
  // expected-error @below {{piece [-2, 1] of rank 0 lies outside [0, 6)}}
  %0 = tp.shard %w dim 0 pieces [[[0, 2], [-2, 1]]] size 6 : tensor<6xf32> -> tensor<6xf32>
  return %0 : tensor<6xf32>
}

// -----

func.func @length(%w: tensor<6xf32>) -> tensor<6xf32> {
  // expected-error @below {{piece [-1, -3] of rank 0 lies outside [0, 6)}}
  %0 = tp.shard %w dim 0 pieces [[[-1, -3]]] size 6 : tensor<6xf32> -> tensor<6xf32>
  return %0 : tensor<6xf32>
}

// -----

func.func @total(%w: tensor<6xf32>) -> tensor<6xf32> {
  // expected-error @below {{gives rank 0 7 elements, more than size 6}}
  %0 = tp.shard %w dim 0 pieces [[[0, 3], [-1, 4]]] size 6 : tensor<6xf32> -> tensor<6xf32>
  return %0 : tensor<6xf32>
}
