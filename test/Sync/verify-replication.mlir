// RUN: caat-opt %s --split-input-file --verify-diagnostics --pass-pipeline="builtin.module(func.func(tp-verify-replication))"

tp.mesh @mesh <["tp" = 2]>
onnx.initializer @w : tensor<4x4xf32> {file = "m", offset = 0 : i64, length = 64 : i64}

// Good: a reduced product, a sharded result, dimensions of a sharded argument as a shape.
func.func @good(%x: tensor<?x4xf32>, %cache: tensor<?x2xf32> {tp.shard = #tp.shard<dim = 1, global = 4, pieces = [[[0, 2]], [[2, 2]]]>})
    -> (tensor<?x4xf32>, tensor<?x2xf32> {tp.shard = #tp.shard<dim = 1, global = 4, pieces = [[[0, 2]], [[2, 2]]]>}, tensor<?xf32>) {
  %w = onnx.get_initializer @w : tensor<4x4xf32>
  %l = tp.shard %w dim 1 pieces [[[0, 2]], [[2, 2]]] size 2 : tensor<4x4xf32> -> tensor<4x2xf32>
  %m = tp.shard %w dim 0 pieces [[[0, 2]], [[2, 2]]] size 2 : tensor<4x4xf32> -> tensor<2x4xf32>
  %h = onnx.MatMul %x, %l : (tensor<?x4xf32>, tensor<4x2xf32>) -> tensor<?x2xf32>
  %p = onnx.MatMul %h, %m : (tensor<?x2xf32>, tensor<2x4xf32>) -> tensor<?x4xf32>
  %y = tp.all_reduce %p on @mesh ["tp"] {site = "s"} : tensor<?x4xf32>
  %shape = onnx.Shape %cache {start = 0 : i64, end = 1 : i64} : (tensor<?x2xf32>) -> tensor<1xi64>
  %z = onnx.ConstantOfShape %shape : (tensor<1xi64>) -> tensor<?xf32>
  return %y, %h, %z : tensor<?x4xf32>, tensor<?x2xf32>, tensor<?xf32>
}

// -----

tp.mesh @mesh <["tp" = 2]>
// The embedding without its all-reduce.
func.func @unreduced(%x: tensor<?x4xf32>, %w: tensor<4x4xf32>) -> tensor<?x4xf32> {
  // expected-note@below {{this value differs from rank to rank}}
  %m = tp.shard %w dim 0 pieces [[[0, 4]], []] size 4 : tensor<4x4xf32> -> tensor<4x4xf32>
  %p = onnx.MatMul %x, %m : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
  // expected-error@below {{result 0 of @unreduced has no 'tp.shard' and must be equal on all ranks, but it depends on 'tp.shard' without a collective in between}}
  return %p : tensor<?x4xf32>
}

// -----

tp.mesh @mesh <["tp" = 2]>
// What a policy keeps on each rank must not reach a result that all ranks share.
func.func @private(%x: tensor<?x4xf32>, %p: tensor<?x4xf32> {tp.shard = #tp.shard<dim = 1, global = 8, pieces = [[[0, 4]], [[4, 4]]]>}) -> tensor<?x4xf32> {
  // expected-note@below {{this value differs from rank to rank}}
  %y = onnx.Add %x, %p {tp.private = "layers.0.attn"} : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  // expected-error@below {{must be equal on all ranks, but it depends on what the policy of site layers.0.attn keeps on each rank}}
  return %y : tensor<?x4xf32>
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @branch(%x: tensor<?x4xf32>, %c: i1) -> tensor<?x4xf32> {
  // expected-note@below {{this value differs from rank to rank}}
  %r = tp.rank on @mesh : index
  %zero = arith.constant 0 : index
  %first = arith.cmpi eq, %r, %zero : index
  // expected-error@below {{the condition of 'scf.if' must be equal on all ranks, but it depends on 'tp.rank' without a collective in between}}
  scf.if %first {
    %z = tp.broadcast %x root 0 on @mesh ["tp"] : tensor<?x4xf32>
  }
  return %x : tensor<?x4xf32>
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @loop(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  // expected-note@below {{this value differs from rank to rank}}
  %r = tp.rank on @mesh : index
  %zero = arith.constant 0 : index
  %one = arith.constant 1 : index
  // expected-error@below {{a bound of 'scf.for' must be equal on all ranks}}
  scf.for %i = %zero to %r step %one {
  }
  return %x : tensor<?x4xf32>
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @shape(%n: tensor<1xi64> {tp.shard = #tp.shard<dim = 0, global = 2, pieces = [[[0, 1]], [[1, 1]]]>}, %m: tensor<4xf32>) {
  // expected-note@-1 {{this value differs from rank to rank}}
  // expected-error@below {{the shape that 'onnx.ConstantOfShape' takes must be equal on all ranks, but it depends on a sharded argument without a collective in between}}
  %z = onnx.ConstantOfShape %n : (tensor<1xi64>) -> tensor<?xf32>
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @counted_twice(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  // expected-error@below {{site layers.0.mlp sums a value that is equal on all ranks: it would count 2 times}}
  %y = tp.all_reduce %x on @mesh ["tp"] {site = "layers.0.mlp"} : tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

// One rank: everything is equal.
tp.mesh @mesh <["tp" = 1]>
func.func @one_rank(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %y = tp.all_reduce %x on @mesh ["tp"] {site = "layers.0.mlp"} : tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

tp.mesh @mesh <["tp" = 2]>
// The sum of a rounded all-reduce is equal everywhere, its error is not.
func.func @rounded(%p: tensor<?x4xf32> {tp.shard = #tp.shard<dim = 1, global = 8, pieces = [[[0, 4]], [[4, 4]]]>}) -> (tensor<?x4xf32>, tensor<?x4xf32>) {
  // expected-note@below {{this value differs from rank to rank}}
  %s:2 = tp.quantized_all_reduce %p bits 4 block 32 exact [] on @mesh ["tp"] {site = "layers.0.mlp"} : tensor<?x4xf32>
  // expected-error@below {{result 1 of @rounded has no 'tp.shard' and must be equal on all ranks, but it depends on what the policy of site layers.0.mlp keeps on each rank}}
  return %s#0, %s#1 : tensor<?x4xf32>, tensor<?x4xf32>
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @twice(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  // expected-error@below {{site layers.0.mlp sums a value that is equal on all ranks: it would count 2 times}}
  %s:2 = tp.quantized_all_reduce %x bits 4 block 32 exact [] on @mesh ["tp"] {site = "layers.0.mlp"} : tensor<?x4xf32>
  return %s#0 : tensor<?x4xf32>
}

// -----

tp.mesh @mesh <["tp" = 2]>
// A condition of the model, which only some ranks would meet in.
func.func @model_branch(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  // expected-note@below {{this value differs from rank to rank}}
  %r = tp.rank on @mesh : index
  %zero = arith.constant 0 : index
  %first = arith.cmpi eq, %r, %zero : index
  %c = tensor.from_elements %first : tensor<i1>
  // expected-error@below {{the condition of 'onnx.If' must be equal on all ranks, but it depends on 'tp.rank' without a collective in between}}
  %y = onnx.If %c {
    %z = tp.broadcast %x root 0 on @mesh ["tp"] : tensor<?x4xf32>
    onnx.Yield %z : tensor<?x4xf32>
  } else {
    onnx.Yield %x : tensor<?x4xf32>
  } : (tensor<i1>) -> tensor<?x4xf32>
  return %x : tensor<?x4xf32>
}

// -----

tp.mesh @mesh <["tp" = 2]>
// How often it runs all ranks agree on, whatever they carry.
func.func @model_loop(%x: tensor<?x4xf32> {tp.shard = #tp.shard<dim = 1, global = 8, pieces = [[[0, 4]], [[4, 4]]]>}, %m: tensor<i64>, %c: tensor<i1>) -> tensor<?x4xf32> {
  %y = onnx.Loop times %m while %c carry %x {
  ^bb0(%i: tensor<i64>, %go: tensor<i1>, %v: tensor<?x4xf32>):
    %less = onnx.Less %i, %m : (tensor<i64>, tensor<i64>) -> tensor<i1>
    %on = onnx.And %go, %less : (tensor<i1>, tensor<i1>) -> tensor<i1>
    %n = onnx.Neg %v : (tensor<?x4xf32>) -> tensor<?x4xf32>
    onnx.Yield %on, %n : tensor<i1>, tensor<?x4xf32>
  } : (tensor<i64>, tensor<i1>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %s = tp.all_reduce %y on @mesh ["tp"] {site = "s"} : tensor<?x4xf32>
  return %s : tensor<?x4xf32>
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @model_turns(%x: tensor<?x4xf32>, %m: tensor<1xi64> {tp.shard = #tp.shard<dim = 0, global = 2, pieces = [[[0, 1]], [[1, 1]]]>}) -> tensor<?x4xf32> {
  // expected-note@-1 {{this value differs from rank to rank}}
  // expected-error@below {{a bound of 'onnx.Loop' must be equal on all ranks}}
  %y = onnx.Loop times %m carry %x {
  ^bb0(%i: tensor<i64>, %go: tensor<i1>, %v: tensor<?x4xf32>):
    onnx.Yield %go, %v : tensor<i1>, tensor<?x4xf32>
  } : (tensor<1xi64>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return %x : tensor<?x4xf32>
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @model_condition(%x: tensor<1xf32>, %p: tensor<1xf32> {tp.shard = #tp.shard<dim = 0, global = 2, pieces = [[[0, 1]], [[1, 1]]]>}, %m: tensor<i64>) -> tensor<1xf32> {
  // expected-note@-1 {{this value differs from rank to rank}}
  %y = onnx.Loop times %m carry %p {
  ^bb0(%i: tensor<i64>, %go: tensor<i1>, %v: tensor<1xf32>):
    %on = onnx.Less %v, %x : (tensor<1xf32>, tensor<1xf32>) -> tensor<1xi1>
    // expected-error@below {{the condition of 'onnx.Loop' must be equal on all ranks}}
    onnx.Yield %on, %v : tensor<1xi1>, tensor<1xf32>
  } : (tensor<i64>, tensor<1xf32>) -> tensor<1xf32>
  return %x : tensor<1xf32>
}

// -----

tp.mesh @mesh <["tp" = 2]>
// What a turn carries to the next one.
func.func @carried(%x: index, %n: index) -> index {
  // expected-note@below {{this value differs from rank to rank}}
  %r = tp.rank on @mesh : index
  %zero = arith.constant 0 : index
  %one = arith.constant 1 : index
  %y = scf.for %i = %zero to %n step %one iter_args(%v = %x) -> index {
    %even = arith.cmpi eq, %i, %zero : index
    scf.if %even {
    }
    %first = arith.cmpi eq, %v, %zero : index
    // expected-error@below {{the condition of 'scf.if' must be equal on all ranks}}
    scf.if %first {
    }
    scf.yield %r : index
  }
  return %x : index
}

// -----

tp.mesh @mesh <["tp" = 2]>
// An operation with a region of which nothing is known, but that ranks meet inside.
func.func @other_region(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  // expected-note@below {{this value differs from rank to rank}}
  %r = tp.rank on @mesh : index
  %zero = arith.constant 0 : index
  %one = arith.constant 1 : index
  // expected-error@below {{an operand of 'scf.parallel', which may decide over a collective inside, must be equal on all ranks}}
  scf.parallel (%i) = (%zero) to (%r) step (%one) {
    %z = tp.broadcast %x root 0 on @mesh ["tp"] : tensor<?x4xf32>
  }
  return %x : tensor<?x4xf32>
}

// -----

tp.mesh @mesh <["dp" = 2, "tp" = 2]>
// What is summed along one axis may differ along the other.
func.func @some_axes(%x: tensor<?x4xf32> {tp.shard = #tp.shard<dim = 0, global = 4, pieces = [[[0, 1]], [[1, 1]], [[2, 1]], [[3, 1]]]>}) -> tensor<?x4xf32> {
  // expected-error@below {{spans 2 of the 4 ranks of @mesh: what is equal on all ranks is only followed through collectives over the whole mesh}}
  %y = tp.all_reduce %x on @mesh ["tp"] {site = "s"} : tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

tp.mesh @mesh <["dp" = 2, "tp" = 2]>
func.func @some_axes_of_a_site(%x: tensor<?x4xf32>, %p: tensor<?x4xf32>) -> tensor<?x4xf32> {
  // expected-error@below {{spans 2 of the 4 ranks of @mesh}}
  %s:2 = tp.sync_point base(%x) partial(%p) on @mesh ["dp"] {site = "s", policy = #tp.policy<full>} : tensor<?x4xf32>
  return %x : tensor<?x4xf32>
}

// -----

// Good: over both axes, and over the only one along which there are ranks.
tp.mesh @mesh <["dp" = 2, "tp" = 2]>
tp.mesh @flat <["dp" = 1, "tp" = 4]>
func.func @all_axes(%x: tensor<?x4xf32> {tp.shard = #tp.shard<dim = 0, global = 4, pieces = [[[0, 1]], [[1, 1]], [[2, 1]], [[3, 1]]]>}) -> (tensor<?x4xf32>, tensor<?x4xf32>) {
  %y = tp.all_reduce %x on @mesh ["dp", "tp"] {site = "s"} : tensor<?x4xf32>
  %z = tp.all_reduce %x on @flat ["tp"] {site = "t"} : tensor<?x4xf32>
  return %y, %z : tensor<?x4xf32>, tensor<?x4xf32>
}
