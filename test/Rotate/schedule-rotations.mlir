// RUN: caat-opt %s --pass-pipeline="builtin.module(func.func(rt-schedule-rotations))" | FileCheck %s
// RUN: caat-opt %s --pass-pipeline="builtin.module(func.func(rt-schedule-rotations{in-place=true}))" | FileCheck %s --check-prefix=INPLACE

tp.mesh @mesh <["tp" = 3]>
rt.weight @w linear group "layers.0.mlp" : tensor<4x4xf32> {
  %0 = arith.constant dense<1.0> : tensor<4x4xf32>
  rt.yield %0 : tensor<4x4xf32>
}
rt.weight @v linear group "layers.1.mlp" : tensor<4x4xf32> {
  %0 = arith.constant dense<1.0> : tensor<4x4xf32>
  rt.yield %0 : tensor<4x4xf32>
}
rt.weight @large linear group "layers.1.attn" : tensor<4x8xf32> {
  %0 = arith.constant dense<1.0> : tensor<4x8xf32>
  rt.yield %0 : tensor<4x8xf32>
}

// The transfer of the shard in use begins before its product, and ends before the next one.
// CHECK-LABEL: func.func @f(
// CHECK:         rt.rotate_start "layers.0.mlp" into 0
// CHECK-NEXT:    rt.copy
// CHECK-NEXT:    rt.linear @w at
// CHECK-NEXT:    rt.rotate_wait "layers.0.mlp"
// CHECK-NEXT:    rt.rotate_start "layers.0.mlp" into 0
// CHECK-NEXT:    %[[J:.*]] = tp.ring_shard step 1
// CHECK-NEXT:    rt.linear @w accumulate at %[[J]]
// CHECK-NEXT:    rt.rotate_wait "layers.0.mlp"
// CHECK-NEXT:    %[[K:.*]] = tp.ring_shard step 2
// CHECK-NEXT:    rt.linear @w accumulate at %[[K]]
// CHECK-NEXT:    return

// INPLACE-LABEL: func.func @f(
// INPLACE:         rt.linear @w at
// INPLACE-NEXT:    rt.rotate "layers.0.mlp"
// INPLACE:         rt.linear @w accumulate
// INPLACE-NEXT:    rt.rotate "layers.0.mlp"
// INPLACE:         rt.linear @w accumulate
// INPLACE-NEXT:    return
func.func @f(%x: memref<2x4xf32>, %y: memref<2x4xf32>) {
  %i = tp.ring_shard step 0 on @mesh : index
  rt.copy %y to %x : memref<2x4xf32> to memref<2x4xf32>
  rt.linear @w at %i ins(%x : memref<2x4xf32>) outs(%y : memref<2x4xf32>)
  %j = tp.rotate "layers.0.mlp" step 1 on @mesh
  rt.linear @w accumulate at %j ins(%x : memref<2x4xf32>) outs(%y : memref<2x4xf32>)
  %k = tp.rotate "layers.0.mlp" step 2 on @mesh
  rt.linear @w accumulate at %k ins(%x : memref<2x4xf32>) outs(%y : memref<2x4xf32>)
  return
}

// Groups one after the other: the first transfer of the second group begins when the spare buffer is free, beside the
// last product of the first one. A group of another size has a buffer of its own: its transfer is begun at once.
// CHECK-LABEL: func.func @chain(
// CHECK:         rt.rotate_start "layers.0.mlp" into 0
// CHECK-NEXT:    rt.rotate_start "layers.1.attn" into 1
// CHECK-NEXT:    rt.linear @w at
// CHECK-NEXT:    rt.rotate_wait "layers.0.mlp"
// CHECK-NEXT:    rt.rotate_start "layers.1.mlp" into 0
// CHECK:         rt.linear @w accumulate
// CHECK-NEXT:    rt.linear @large at
// CHECK-NEXT:    rt.rotate_wait "layers.1.attn"
// CHECK:         rt.linear @large at
// CHECK-NEXT:    rt.linear @v at
// CHECK-NEXT:    rt.rotate_wait "layers.1.mlp"
// CHECK:         rt.linear @v accumulate
func.func @chain(%x: memref<2x4xf32>, %y: memref<2x4xf32>, %z: memref<2x8xf32>) {
  %i = tp.ring_shard step 0 on @mesh : index
  rt.linear @w at %i ins(%x : memref<2x4xf32>) outs(%y : memref<2x4xf32>)
  %j = tp.rotate "layers.0.mlp" step 1 on @mesh
  rt.linear @w accumulate at %j ins(%x : memref<2x4xf32>) outs(%y : memref<2x4xf32>)
  rt.linear @large at %i ins(%y : memref<2x4xf32>) outs(%z : memref<2x8xf32>)
  %k = tp.rotate "layers.1.attn" step 1 on @mesh
  rt.linear @large at %k ins(%y : memref<2x4xf32>) outs(%z : memref<2x8xf32>)
  rt.linear @v at %i ins(%y : memref<2x4xf32>) outs(%x : memref<2x4xf32>)
  %l = tp.rotate "layers.1.mlp" step 1 on @mesh
  rt.linear @v accumulate at %l ins(%y : memref<2x4xf32>) outs(%x : memref<2x4xf32>)
  return
}

// Groups whose steps are mixed: never two transfers into one buffer.
// CHECK-LABEL: func.func @mixed(
// CHECK:         rt.rotate_start "layers.0.mlp" into 0
// CHECK-NEXT:    rt.linear @w at
// CHECK-NEXT:    rt.linear @v at
// CHECK-NEXT:    rt.rotate_wait "layers.0.mlp"
// CHECK-NEXT:    rt.rotate_start "layers.1.mlp" into 0
// CHECK-NEXT:    tp.ring_shard
// CHECK-NEXT:    rt.rotate_wait "layers.1.mlp"
// CHECK-NEXT:    tp.ring_shard
// CHECK-NEXT:    rt.linear @w accumulate
func.func @mixed(%x: memref<2x4xf32>, %y: memref<2x4xf32>, %z: memref<2x4xf32>) {
  %i = tp.ring_shard step 0 on @mesh : index
  rt.linear @w at %i ins(%x : memref<2x4xf32>) outs(%y : memref<2x4xf32>)
  rt.linear @v at %i ins(%x : memref<2x4xf32>) outs(%z : memref<2x4xf32>)
  %j = tp.rotate "layers.0.mlp" step 1 on @mesh
  %k = tp.rotate "layers.1.mlp" step 1 on @mesh
  rt.linear @w accumulate at %j ins(%x : memref<2x4xf32>) outs(%y : memref<2x4xf32>)
  rt.linear @v accumulate at %k ins(%x : memref<2x4xf32>) outs(%z : memref<2x4xf32>)
  return
}
