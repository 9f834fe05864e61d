// RUN: caat-opt %s --split-input-file --tp-rotate-weights --verify-diagnostics

// expected-error@below {{needs one tp.mesh, but has 0; run tp-auto-shard and tp-partition first}}
module {
  func.func @f() { return }
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f(%x: tensor<4xf32> {tp.shard = #tp.shard<dim = 0, global = 8, pieces = [[[0, 4]], [[4, 4]]]>}) -> tensor<4xf32> {
  // expected-error@below {{has no form with rotated weights; use tensor parallelism}}
  %0 = tp.permute %x shift 1 on @mesh ["tp"] : tensor<4xf32> -> tensor<4xf32>
  return %0 : tensor<4xf32>
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f(%x: tensor<8xf32>) -> tensor<4xf32> {
  // expected-error@below {{cuts a value that is no weight}}
  %0 = tp.shard %x dim 0 pieces [[[0, 4]], [[4, 4]]] size 4 : tensor<8xf32> -> tensor<4xf32>
  return %0 : tensor<4xf32>
}
