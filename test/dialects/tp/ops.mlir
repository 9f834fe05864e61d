// RUN: caat-opt %s | caat-opt | FileCheck %s
// RUN: caat-opt %s --mlir-print-op-generic | caat-opt | FileCheck %s

// CHECK: tp.mesh @mesh <["dp" = 1, "tp" = 2]>
tp.mesh @mesh <["dp" = 1, "tp" = 2]>

// CHECK-LABEL: func.func @collectives(
// CHECK-SAME:    %[[X:.*]]: tensor<?x?x4xf32> {tp.shard = #tp.shard<dim = 2, global = 7, pieces = {{\[\[\[0, 4\]\], \[\[4, 1\], \[5, 2\]\]\]}}>}
func.func @collectives(%x: tensor<?x?x4xf32> {tp.shard = #tp.shard<dim = 2, global = 7, pieces = [[[0, 4]], [[4, 1], [5, 2]]]>})
    -> (tensor<?x?x4xf32> {tp.shard = #tp.shard<dim = 2, global = 7, pieces = [[[0, 4]], [[4, 3]]]>}) {
  // CHECK: %[[A:.*]] = tp.all_reduce %[[X]] on @mesh ["tp"] {site = "layers.0.attn"} : tensor<?x?x4xf32>
  %a = tp.all_reduce %x on @mesh ["tp"] {site = "layers.0.attn"} : tensor<?x?x4xf32>
  // CHECK: %[[B:.*]] = tp.all_gather %[[A]] dim 2 on @mesh ["tp"] : tensor<?x?x4xf32> -> tensor<?x?x8xf32>
  %b = tp.all_gather %a dim 2 on @mesh ["tp"] : tensor<?x?x4xf32> -> tensor<?x?x8xf32>
  // CHECK: %[[C:.*]] = tp.reduce_scatter %[[B]] dim 2 on @mesh ["dp", "tp"] : tensor<?x?x8xf32> -> tensor<?x?x4xf32>
  %c = tp.reduce_scatter %b dim 2 on @mesh ["dp", "tp"] : tensor<?x?x8xf32> -> tensor<?x?x4xf32>
  // CHECK: %[[D:.*]] = tp.broadcast %[[C]] root 1 on @mesh ["tp"] : tensor<?x?x4xf32>
  %d = tp.broadcast %c root 1 on @mesh ["tp"] : tensor<?x?x4xf32>
  // CHECK: %[[E:.*]] = tp.permute %[[D]] shift -1 on @mesh ["tp"] : tensor<?x?x4xf32> -> tensor<?x?x4xf32>
  %e = tp.permute %d shift -1 on @mesh ["tp"] : tensor<?x?x4xf32> -> tensor<?x?x4xf32>
  // CHECK: tp.all_to_all %[[E]] on @mesh ["tp"] : tensor<?x?x4xf32> -> tensor<?x?x4xf32>
  %f = tp.all_to_all %e on @mesh ["tp"] : tensor<?x?x4xf32> -> tensor<?x?x4xf32>
  // CHECK: tp.rank on @mesh : index
  %r = tp.rank on @mesh : index
  return %f : tensor<?x?x4xf32>
}

// CHECK-LABEL: func.func @buffers(
// CHECK-SAME:    %[[M:.*]]: memref<4xf32>, %[[O:.*]]: memref<8xf32>, %[[N:.*]]: memref<4xf32>
func.func @buffers(%m: memref<4xf32>, %o: memref<8xf32>, %n: memref<4xf32>) {
  // CHECK: tp.all_reduce %[[M]] on @mesh ["tp"] : memref<4xf32>
  tp.all_reduce %m on @mesh ["tp"] : memref<4xf32>
  // CHECK: tp.quantized_all_reduce %[[M]] bits 8 block 32 exact [] on @mesh ["tp"] : memref<4xf32>
  tp.quantized_all_reduce %m bits 8 block 32 exact [] on @mesh ["tp"] : memref<4xf32>
  // CHECK: tp.quantized_all_reduce %[[M]] error(%[[N]]) bits 3 block 8 exact [0, 2] on @mesh ["tp"] : memref<4xf32>
  tp.quantized_all_reduce %m error(%n) bits 3 block 8 exact [0, 2] on @mesh ["tp"] : memref<4xf32>
  // CHECK: tp.broadcast %[[M]] root 0 on @mesh ["tp"] : memref<4xf32>
  tp.broadcast %m root 0 on @mesh ["tp"] : memref<4xf32>
  // CHECK: tp.all_gather %[[M]] into %[[O]] dim 0 on @mesh ["tp"] : memref<4xf32> into memref<8xf32>
  tp.all_gather %m into %o dim 0 on @mesh ["tp"] : memref<4xf32> into memref<8xf32>
  // CHECK: tp.reduce_scatter %[[O]] into %[[M]] dim 0 on @mesh ["tp"] : memref<8xf32> into memref<4xf32>
  tp.reduce_scatter %o into %m dim 0 on @mesh ["tp"] : memref<8xf32> into memref<4xf32>
  // CHECK: tp.permute %[[M]] into %[[N]] shift 1 on @mesh ["tp"] : memref<4xf32> into memref<4xf32>
  tp.permute %m into %n shift 1 on @mesh ["tp"] : memref<4xf32> into memref<4xf32>
  // CHECK: tp.all_to_all %[[M]] into %[[N]] on @mesh ["tp"] : memref<4xf32> into memref<4xf32>
  tp.all_to_all %m into %n on @mesh ["tp"] : memref<4xf32> into memref<4xf32>
  return
}

// CHECK-LABEL: func.func @stream(
// CHECK-SAME:    %[[X:.*]]: tensor<?x4xf32>, %[[P:.*]]: tensor<?x4xf32>, %[[B:.*]]: tensor<4xf32>, %[[W:.*]]: tensor<6x4xf32>
func.func @stream(%x: tensor<?x4xf32>, %p: tensor<?x4xf32>, %b: tensor<4xf32>, %w: tensor<6x4xf32>) -> tensor<?x4xf32> {
  // The second rank's slice is [row 5, zeros].
  // CHECK: tp.shard %[[W]] dim 0 pieces {{\[\[\[0, 2\], \[3, 2\]\], \[\[5, 1\]\]\]}} size 4 : tensor<6x4xf32> -> tensor<4x4xf32>
  %l = tp.shard %w dim 0 pieces [[[0, 2], [3, 2]], [[5, 1]]] size 4 : tensor<6x4xf32> -> tensor<4x4xf32>
  // CHECK: %[[B0:.*]], %[[P0:.*]] = tp.sync_point base(%[[X]]) partial(%[[P]]) bias(%[[B]]) on @mesh ["tp"] {policy = #tp.policy<full>, site = "layers.0.attn"} : tensor<?x4xf32>, tensor<4xf32>
  %s:2 = tp.sync_point base(%x) partial(%p) bias(%b) on @mesh ["tp"] {site = "layers.0.attn", policy = #tp.policy<full>} : tensor<?x4xf32>, tensor<4xf32>
  // CHECK: tp.sync_point base(%[[B0]]) pending(%[[P0]]) partial(%[[P]]) on @mesh ["tp"]
  // CHECK-SAME: #tp.policy<partial, shared = 2, rest = private, scale = 1.500000e+00, order = [3, 1, 0, 2]>
  %t:2 = tp.sync_point base(%s#0) pending(%s#1) partial(%p) on @mesh ["tp"]
      {site = "layers.0.mlp", policy = #tp.policy<partial, shared = 2, rest = private, scale = 1.5, order = [3, 1, 0, 2]>} : tensor<?x4xf32>
  // CHECK: tp.sync_point partial(%[[P]]) on @mesh ["tp"]
  // CHECK-SAME: not_deferrable = "a norm"
  %u:2 = tp.sync_point partial(%p) on @mesh ["tp"] {site = "layers.1.attn", policy = #tp.policy<full>, not_deferrable = "a norm"} : tensor<?x4xf32>
  // CHECK: estimate = [dense<1.000000e+00> : tensor<2x4xf32>, dense<0.000000e+00> : tensor<2x4xf32>]
  %v:2 = tp.sync_point base(%t#0) pending(%t#1) partial(%p) on @mesh ["tp"]
      {site = "layers.1.mlp", policy = #tp.policy<partial, shared = 0, rest = deferred, estimate = [dense<1.0> : tensor<2x4xf32>, dense<0.0> : tensor<2x4xf32>]>} : tensor<?x4xf32>
  // CHECK: tp.sync_point base(%{{.*}}) pending(%{{.*}}) partial(%[[P]]) input(%[[X]]) on @mesh ["tp"]
  // CHECK-SAME: #tp.policy<full, order = [3, 1, 0, 2], rounding = <bits = 4, block = 32, exact = [1, 2], feedback = true>>
  %w0:2 = tp.sync_point base(%v#0) pending(%v#1) partial(%p) input(%x) on @mesh ["tp"]
      {site = "layers.2.attn", policy = #tp.policy<full, order = [3, 1, 0, 2], rounding = <bits = 4, exact = [1, 2]>>} : tensor<?x4xf32>
  // CHECK: rounding = <bits = 8, block = 64, feedback = false>
  // CHECK: low_rank = <u = dense<1.000000e+00> : tensor<2x4x1xf32>, v = dense<5.000000e-01> : tensor<2x1x8xf32>, feature = pending_and_input>
  %w1:2 = tp.sync_point base(%w0#0) pending(%w0#1) partial(%p) input(%x) bias(%b) on @mesh ["tp"]
      {site = "layers.2.mlp", policy = #tp.policy<partial, shared = 1, rest = private, rounding = <bits = 8, block = 64, feedback = false>>} : tensor<?x4xf32>, tensor<4xf32>
  %w2:2 = tp.sync_point base(%w1#0) pending(%w1#1) partial(%p) input(%x) on @mesh ["tp"]
      {site = "layers.3.mlp", policy = #tp.policy<partial, shared = 0, rest = deferred, estimate = [dense<1.0> : tensor<2x4xf32>, dense<0.0> : tensor<2x4xf32>],
       low_rank = <u = dense<1.0> : tensor<2x4x1xf32>, v = dense<0.5> : tensor<2x1x8xf32>, feature = pending_and_input>>} : tensor<?x4xf32>
  // CHECK: tp.quantized_all_reduce %[[X]] bits 4 block 32 exact [3] on @mesh ["tp"] {site = "s"} : tensor<?x4xf32>
  %q:2 = tp.quantized_all_reduce %x bits 4 block 32 exact [3] on @mesh ["tp"] {site = "s"} : tensor<?x4xf32>
  // CHECK: tp.read_stream %{{.*}}, %{{.*}} : tensor<?x4xf32>
  %y = tp.read_stream %v#0, %v#1 : tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// CHECK-LABEL: func.func private @shardings
// CHECK-SAME: a = #tp.sharding<{{\[\[\], \["tp"\]\]}}>
// CHECK-SAME: b = #tp.sharding<{{\[\[\], \[\]\]}}, unreduced = ["tp"]>
// CHECK-SAME: c = #tp.sharding<{{\[\["dp"\], \[\]\]}}, unreduced = ["x"], private = ["tp"]>
func.func private @shardings() attributes {
  a = #tp.sharding<[[], ["tp"]]>,
  b = #tp.sharding<[[], []], unreduced = ["tp"]>,
  c = #tp.sharding<[["dp"], []], unreduced = ["x"], private = ["tp"]>}

// CHECK-LABEL: func.func @rotation(
// CHECK-SAME:    %[[X:.*]]: tensor<?x4xf32>, %[[W:.*]]: tensor<4x4xf32>
func.func @rotation(%x: tensor<?x4xf32>, %w: tensor<4x4xf32>) -> tensor<?x4xf32> {
  // CHECK: %[[I:.*]] = tp.ring_shard step 0 on @mesh : index
  %i = tp.ring_shard step 0 on @mesh : index
  // CHECK: %[[J:.*]] = tp.rotate "layers.0.mlp" step 1 on @mesh after(%[[X]] : tensor<?x4xf32>)
  %j = tp.rotate "layers.0.mlp" step 1 on @mesh after(%x : tensor<?x4xf32>)
  // CHECK: tp.rotate "layers.0.mlp" step 1 on @mesh{{$}}
  %k = tp.rotate "layers.0.mlp" step 1 on @mesh
  // CHECK: tp.held %[[W]] of "layers.0.mlp" at %[[J]] : tensor<4x4xf32>
  %h = tp.held %w of "layers.0.mlp" at %j : tensor<4x4xf32>
  // CHECK: tp.block %[[X]] at %[[I]] : tensor<?x4xf32>
  %b = tp.block %x at %i : tensor<?x4xf32>
  // CHECK: tp.blocks %{{.*}}, %[[X]] at %[[I]], %[[J]] : tensor<?x4xf32>
  %r = tp.blocks %b, %x at %i, %j : tensor<?x4xf32>
  return %r : tensor<?x4xf32>
}
