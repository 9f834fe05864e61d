// RUN: caat-opt %s --split-input-file --pass-pipeline="builtin.module(func.func(rt-schedule-rotations))" --verify-diagnostics

tp.mesh @mesh <["tp" = 2]>
rt.weight @w linear group "layers.0.mlp" : tensor<4x4xf32> {
  %0 = arith.constant dense<1.0> : tensor<4x4xf32>
  rt.yield %0 : tensor<4x4xf32>
}
func.func @late(%x: memref<2x4xf32>, %y: memref<2x4xf32>) {
  %i = tp.ring_shard step 0 on @mesh : index
  // expected-note@below {{the next ones come here}}
  %j = tp.rotate "layers.0.mlp" step 1 on @mesh
  // expected-error@below {{reads shards of group "layers.0.mlp" that have gone on}}
  rt.linear @w at %i ins(%x : memref<2x4xf32>) outs(%y : memref<2x4xf32>)
  rt.linear @w accumulate at %j ins(%x : memref<2x4xf32>) outs(%y : memref<2x4xf32>)
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
rt.weight @b group "layers.0.mlp" : tensor<4xf32> {
  %0 = arith.constant dense<1.0> : tensor<4xf32>
  rt.yield %0 : tensor<4xf32>
}
func.func @late_through_view(%x: memref<2x2xf32>) {
  %i = tp.ring_shard step 0 on @mesh : index
  %b = rt.parameter @b at %i : memref<4xf32>
  %view = memref.expand_shape %b [[0, 1]] output_shape [2, 2] : memref<4xf32> into memref<2x2xf32>
  // expected-note@below {{the next ones come here}}
  %j = tp.rotate "layers.0.mlp" step 1 on @mesh
  // expected-error@below {{reads shards of group "layers.0.mlp" that have gone on}}
  rt.copy %view to %x : memref<2x2xf32> to memref<2x2xf32>
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @nested(%n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %i = tp.rotate "layers.0.attn" step 1 on @mesh
  scf.for %k = %c0 to %n step %c1 {
    // expected-error@below {{is in another block than the rotation before}}
    %j = tp.rotate "layers.0.mlp" step 1 on @mesh
  }
  return
}
