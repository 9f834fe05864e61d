// RUN: caat-opt %s --split-input-file --verify-diagnostics
// One case per constraint of the dialect's attributes and operations.

// expected-error@below {{a mesh has at least one axis}}
tp.mesh @mesh <[]>

// -----

// expected-error@below {{the name of an axis must not be empty}}
tp.mesh @mesh <["" = 2]>

// -----

// expected-error@below {{axis "tp" is named twice}}
tp.mesh @mesh <["tp" = 2, "tp" = 2]>

// -----

// expected-error@below {{axis "tp" has size 0, below 1}}
tp.mesh @mesh <["tp" = 0]>

// -----

// Their product is 0 in 64 bits.
// expected-error@below {{a mesh has at most 1024 ranks}}
tp.mesh @mesh <["dp" = 4294967296, "tp" = 4294967296]>

// -----

// expected-error@below {{pieces of rank 0 have more elements than can be counted}}
func.func private @f() attributes {a = #tp.shard<dim = 0, global = 9223372036854775807, pieces = [[[0, 9223372036854775807], [0, 1]]]>}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f(%x: tensor<9223372036854775807xi8>) {
  // expected-error@below {{gathers more elements than can be counted}}
  %0 = tp.all_gather %x dim 0 on @mesh ["tp"] : tensor<9223372036854775807xi8> -> tensor<4xi8>
  return
}

// -----

func.func @f(%x: tensor<4xf32>) {
  // expected-error@below {{gives rank 0 more elements than can be counted}}
  %0 = tp.shard %x dim 0 pieces [[[-1, 9223372036854775807], [-1, 9223372036854775807]]] size 2 : tensor<4xf32> -> tensor<2xf32>
  return
}

// -----

// expected-error@below {{dim -1 is negative}}
func.func private @f() attributes {a = #tp.shard<dim = -1, global = 3, pieces = [[[0, 1]]]>}

// -----

// expected-error@below {{global is 0, below 1}}
func.func private @f() attributes {a = #tp.shard<dim = 0, global = 0, pieces = [[[0, 1]]]>}

// -----

// expected-error@below {{pieces must be given for at least one rank}}
func.func private @f() attributes {a = #tp.shard<dim = 0, global = 3, pieces = []>}

// -----

// expected-error@below {{piece [2, 2] of rank 1 lies outside [0, 3)}}
func.func private @f() attributes {a = #tp.shard<dim = 0, global = 3, pieces = [[[0, 1]], [[2, 2]]]>}

// -----

// expected-error@below {{axis "tp" is used twice}}
func.func private @f() attributes {a = #tp.sharding<[["tp"], []], private = ["tp"]>}

// -----

// expected-error@below {{the name of an axis must be a string that is not empty}}
func.func private @f() attributes {a = #tp.sharding<[[""]]>}

// -----

// expected-error@below {{expected 'unreduced' or 'private', not 'public'}}
func.func private @f() attributes {a = #tp.sharding<[[]], public = ["tp"]>}

// -----

// expected-error@below {{expected 'full' or 'partial', not 'half'}}
func.func private @f() attributes {a = #tp.policy<half>}

// -----

// expected-error@below {{a full policy has no other parameter}}
func.func private @f() attributes {a = #tp.policy<full, shared = 3>}

// -----

// expected-error@below {{shared is -1, below 0}}
func.func private @f() attributes {a = #tp.policy<partial, shared = -1>}

// -----

// expected-error@below {{order is no permutation of 0 to 2: channel 1 occurs twice}}
func.func private @f() attributes {a = #tp.policy<partial, shared = 1, order = [0, 1, 1]>}

// -----

// expected-error@below {{order is no permutation of 0 to 2: channel 3 is out of range}}
func.func private @f() attributes {a = #tp.policy<partial, shared = 1, order = [0, 1, 3]>}

// -----

// expected-error@below {{scale 2.000000e+00 needs private channels: deferred ones are not scaled}}
func.func private @f() attributes {a = #tp.policy<partial, shared = 1, rest = deferred, scale = 2.0>}

// -----

// expected-error@below {{an estimate needs deferred channels}}
func.func private @f() attributes {a = #tp.policy<partial, shared = 1, rest = private, estimate = [dense<1.0> : tensor<2x4xf32>, dense<1.0> : tensor<2x4xf32>]>}

// -----

// expected-error@below {{an estimate needs two matrices of one floating-point type}}
func.func private @f() attributes {a = #tp.policy<partial, shared = 1, rest = deferred, estimate = [dense<1.0> : tensor<2x4xf32>, dense<1.0> : tensor<4xf32>]>}

// -----

// expected-error@below {{unknown parameter 'size' of a policy}}
func.func private @f() attributes {a = #tp.policy<partial, size = 1>}

// -----

// expected-error@below {{expected 'deferred' or 'private', not 'lost'}}
func.func private @f() attributes {a = #tp.policy<partial, rest = lost>}

// -----

// expected-error@below {{'tp.private' must name a site}}
func.func private @f() attributes {tp.private = 3 : i64}

// -----

// expected-error@below {{'tp.sync' must be a list of dictionaries}}
module attributes {tp.sync = ["a"]} {}

// -----

// expected-error@below {{'tp.plan' must be a digest}}
module attributes {tp.plan = 5} {}

// -----

// expected-error@below {{unknown attribute 'tp.other' of the tp dialect}}
func.func private @f() attributes {tp.other = 3 : i64}

// -----

// expected-error@below {{'tp.shard' of argument 0 must be a #tp.shard on a ranked tensor}}
func.func private @f(index {tp.shard = #tp.shard<dim = 0, global = 3, pieces = [[[0, 3]]]>})

// -----

// expected-error@below {{'tp.shard' of argument 0 splits dimension 1 of 'tensor<3xf32>'}}
func.func private @f(tensor<3xf32> {tp.shard = #tp.shard<dim = 1, global = 3, pieces = [[[0, 3]]]>})

// -----

// expected-error@below {{'tp.shard' of result 0 gives rank 1 2 elements, more than 'tensor<1xf32>' holds}}
func.func private @f() -> (tensor<1xf32> {tp.shard = #tp.shard<dim = 0, global = 3, pieces = [[[0, 1]], [[1, 2]]]>})

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f(%x: tensor<?x4xf32>) {
  // expected-error@below {{uses @none, which is no tp.mesh}}
  %0 = tp.all_reduce %x on @none ["tp"] : tensor<?x4xf32>
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f(%x: tensor<?x4xf32>) {
  // expected-error@below {{needs at least one axis}}
  %0 = tp.all_reduce %x on @mesh [] : tensor<?x4xf32>
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f(%x: tensor<?x4xf32>) {
  // expected-error@below {{uses axis "dp", which mesh @mesh does not have}}
  %0 = tp.all_reduce %x on @mesh ["dp"] : tensor<?x4xf32>
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f(%x: tensor<?x4xf32>) {
  // expected-error@below {{uses axis "tp" twice}}
  %0 = tp.all_reduce %x on @mesh ["tp", "tp"] : tensor<?x4xf32>
  return
}

// -----

func.func @f(%x: tensor<?x4xf32>) {
  // expected-error@below {{uses @none, which is no tp.mesh}}
  %0:2 = tp.quantized_all_reduce %x bits 4 block 32 exact [] on @none ["tp"] : tensor<?x4xf32>
  return
}

// -----

func.func @f(%x: tensor<?x4xf32>) {
  // expected-error@below {{uses @none, which is no tp.mesh}}
  %0 = tp.broadcast %x root 0 on @none ["tp"] : tensor<?x4xf32>
  return
}

// -----

func.func @f(%x: tensor<?x4xf32>) {
  // expected-error@below {{uses @none, which is no tp.mesh}}
  %0 = tp.permute %x shift 1 on @none ["tp"] : tensor<?x4xf32> -> tensor<?x4xf32>
  return
}

// -----

func.func @f(%x: tensor<?x4xf32>) {
  // expected-error@below {{uses @none, which is no tp.mesh}}
  %0 = tp.all_gather %x dim 1 on @none ["tp"] : tensor<?x4xf32> -> tensor<?x8xf32>
  return
}

// -----

func.func @f(%x: tensor<?x4xf32>) {
  // expected-error@below {{uses @none, which is no tp.mesh}}
  %0 = tp.reduce_scatter %x dim 1 on @none ["tp"] : tensor<?x4xf32> -> tensor<?x2xf32>
  return
}

// -----

func.func @f(%x: tensor<?x4xf32>) {
  // expected-error@below {{uses @none, which is no tp.mesh}}
  %0 = tp.all_to_all %x on @none ["tp"] : tensor<?x4xf32> -> tensor<?x4xf32>
  return
}

// -----

// A symbol that is something else, and one in a module of its own.
func.func private @callee()
func.func @f(%x: tensor<?x4xf32>) {
  // expected-error@below {{uses @callee, which is no tp.mesh}}
  %0 = tp.all_reduce %x on @callee ["tp"] : tensor<?x4xf32>
  return
}

// -----

module @inner {
  tp.mesh @mesh <["tp" = 2]>
}
func.func @f(%x: tensor<?x4xf32>) {
  // expected-error@below {{uses @mesh, which is no tp.mesh}}
  %0 = tp.all_reduce %x on @mesh ["tp"] : tensor<?x4xf32>
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f(%x: tensor<?x4xf32>) {
  // expected-error@below {{has an empty site name}}
  %0 = tp.all_reduce %x on @mesh ["tp"] {site = ""} : tensor<?x4xf32>
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f(%x: tensor<?x4xf32>) {
  // expected-error@below {{on a tensor has one result and no 'into'}}
  "tp.all_reduce"(%x) {mesh = @mesh, axes = ["tp"]} : (tensor<?x4xf32>) -> ()
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f(%x: memref<4xf32>) {
  // expected-error@below {{on a memref has no result}}
  %0 = "tp.all_reduce"(%x) {mesh = @mesh, axes = ["tp"]} : (memref<4xf32>) -> tensor<4xf32>
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f(%x: memref<4xf32>) {
  // expected-error@below {{on a memref needs 'into'}}
  "tp.permute"(%x) {mesh = @mesh, axes = ["tp"], shift = 1 : i64} : (memref<4xf32>) -> ()
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f(%x: tensor<?x4xf32>) {
  // expected-error@below {{turns 'tensor<?x4xf32>' into 'tensor<?x8xf32>', expected the shape of 'tensor<?x4xf32>'}}
  %0 = "tp.all_reduce"(%x) {mesh = @mesh, axes = ["tp"]} : (tensor<?x4xf32>) -> tensor<?x8xf32>
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f(%x: tensor<?x4xf32>) {
  // expected-error@below {{expected the shape of 'tensor<?x4xf32>'}}
  %0 = "tp.broadcast"(%x) {mesh = @mesh, axes = ["tp"], root = 0 : i64} : (tensor<?x4xf32>) -> tensor<?x8xf32>
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f(%x: tensor<?x4xf32>) {
  // expected-error@below {{has root 2, outside [0, 2)}}
  %0 = tp.broadcast %x root 2 on @mesh ["tp"] : tensor<?x4xf32>
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f(%x: tensor<?x4xf32>) {
  // expected-error@below {{expected the shape of 'tensor<?x4xf32>'}}
  %0 = tp.permute %x shift 1 on @mesh ["tp"] : tensor<?x4xf32> -> tensor<?x4xf64>
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f(%x: tensor<?x4xf32>) {
  // expected-error@below {{has dim 2, outside [0, 2)}}
  %0 = tp.all_gather %x dim 2 on @mesh ["tp"] : tensor<?x4xf32> -> tensor<?x8xf32>
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f(%x: tensor<?x4xf32>) {
  // expected-error@below {{expected the shape of 'tensor<?x8xf32>'}}
  %0 = tp.all_gather %x dim 1 on @mesh ["tp"] : tensor<?x4xf32> -> tensor<?x4xf32>
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f(%x: tensor<?x4xf32>) {
  // expected-error@below {{has dim -1, outside [0, 2)}}
  %0 = tp.reduce_scatter %x dim -1 on @mesh ["tp"] : tensor<?x4xf32> -> tensor<?x2xf32>
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f(%x: tensor<?x3xf32>) {
  // expected-error@below {{splits 3 elements over 2 ranks}}
  %0 = tp.reduce_scatter %x dim 1 on @mesh ["tp"] : tensor<?x3xf32> -> tensor<?x2xf32>
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f(%x: tensor<?x4xf32>) {
  // expected-error@below {{expected the shape of 'tensor<?x2xf32>'}}
  %0 = tp.reduce_scatter %x dim 1 on @mesh ["tp"] : tensor<?x4xf32> -> tensor<?x4xf32>
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f(%x: tensor<f32>) {
  // expected-error@below {{needs a value with at least one dimension}}
  %0 = tp.all_to_all %x on @mesh ["tp"] : tensor<f32> -> tensor<f32>
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f(%x: tensor<3xf32>) {
  // expected-error@below {{splits 3 elements over 2 ranks}}
  %0 = tp.all_to_all %x on @mesh ["tp"] : tensor<3xf32> -> tensor<3xf32>
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f(%x: tensor<4xf32>) {
  // expected-error@below {{expected the shape of 'tensor<4xf32>'}}
  %0 = tp.all_to_all %x on @mesh ["tp"] : tensor<4xf32> -> tensor<2xf32>
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f() {
  // expected-error@below {{uses @none, which is no tp.mesh}}
  %0 = tp.rank on @none : index
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f(%x: tensor<4xf32>) {
  // expected-error@below {{has dim 1, outside [0, 1)}}
  %0 = tp.shard %x dim 1 pieces [[[0, 2]]] size 2 : tensor<4xf32> -> tensor<2xf32>
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f(%x: tensor<4xf32>) {
  // expected-error@below {{pieces must be given for at least one rank}}
  %0 = tp.shard %x dim 0 pieces [] size 2 : tensor<4xf32> -> tensor<2xf32>
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f(%x: tensor<4xf32>) {
  // expected-error@below {{piece [3, 2] of rank 0 lies outside [0, 4)}}
  %0 = tp.shard %x dim 0 pieces [[[3, 2]]] size 2 : tensor<4xf32> -> tensor<2xf32>
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f(%x: tensor<4xf32>) {
  // expected-error@below {{pieces of rank 0 must be pairs of start and length}}
  %0 = "tp.shard"(%x) {dim = 0 : i64, pieces = [array<i64: 0>], size = 2 : i64} : (tensor<4xf32>) -> tensor<2xf32>
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f(%x: tensor<4xf32>) {
  // expected-error@below {{gives rank 1 3 elements, more than size 2}}
  %0 = tp.shard %x dim 0 pieces [[[0, 2]], [[0, 3]]] size 2 : tensor<4xf32> -> tensor<2xf32>
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f(%x: tensor<4xf32>) {
  // expected-error@below {{must give 'tensor<2xf32>', not 'tensor<4xf32>'}}
  %0 = tp.shard %x dim 0 pieces [[[0, 2]], [[2, 2]]] size 2 : tensor<4xf32> -> tensor<4xf32>
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f(%x: tensor<?x4xf32>, %p: tensor<?x4xf32>, %b: tensor<3xf32>) {
  // expected-error@below {{uses @none, which is no tp.mesh}}
  %0:2 = tp.sync_point base(%x) partial(%p) on @none ["tp"] {site = "s", policy = #tp.policy<full>} : tensor<?x4xf32>
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f(%x: tensor<?x4xf32>, %p: tensor<?x4xf32>, %b: tensor<3xf32>) {
  // expected-error@below {{uses axis "dp", which mesh @mesh does not have}}
  %0:2 = tp.sync_point base(%x) partial(%p) on @mesh ["dp"] {site = "s", policy = #tp.policy<full>} : tensor<?x4xf32>
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f(%x: tensor<?x4xf32>, %p: tensor<?x4xf32>) {
  // expected-error@below {{uses axis "tp" twice}}
  %0:2 = tp.sync_point base(%x) partial(%p) on @mesh ["tp", "tp"] {site = "s", policy = #tp.policy<full>} : tensor<?x4xf32>
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f(%x: tensor<?x4xf32>, %p: tensor<2x4xf32>) {
  // expected-error@below {{has a partial of 'tensor<2x4xf32>' beside 'tensor<?x4xf32>'}}
  %0:2 = "tp.sync_point"(%x, %p) {mesh = @mesh, axes = ["tp"], site = "s", policy = #tp.policy<full>, operandSegmentSizes = array<i32: 1, 0, 1, 0, 0>} : (tensor<?x4xf32>, tensor<2x4xf32>) -> (tensor<2x4xf32>, tensor<2x4xf32>)
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f(%x: tensor<4x?xf32>) {
  // expected-error@below {{needs channels of known number in the last dimension, not 'tensor<4x?xf32>'}}
  %0:2 = tp.sync_point partial(%x) on @mesh ["tp"] {site = "s", policy = #tp.policy<full>} : tensor<4x?xf32>
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f(%x: tensor<?x4xf32>, %p: tensor<?x4xf32>, %b: tensor<3xf32>) {
  // expected-error@below {{needs a bias with 4 channels, not 'tensor<3xf32>'}}
  %0:2 = tp.sync_point base(%x) partial(%p) bias(%b) on @mesh ["tp"] {site = "s", policy = #tp.policy<full>} : tensor<?x4xf32>, tensor<3xf32>
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f(%x: tensor<?x4xf32>, %p: tensor<?x4xf32>, %b: tensor<3xf32>) {
  // expected-error@below {{shares 5 of 4 channels}}
  %0:2 = tp.sync_point base(%x) partial(%p) on @mesh ["tp"] {site = "s", policy = #tp.policy<partial, shared = 5>} : tensor<?x4xf32>
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f(%x: tensor<?x4xf32>, %p: tensor<?x4xf32>, %b: tensor<3xf32>) {
  // expected-error@below {{orders 2 of 4 channels}}
  %0:2 = tp.sync_point base(%x) partial(%p) on @mesh ["tp"] {site = "s", policy = #tp.policy<partial, shared = 1, order = [1, 0]>} : tensor<?x4xf32>
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f(%x: tensor<?x4xf32>, %p: tensor<?x4xf32>, %b: tensor<3xf32>) {
  // expected-error@below {{has an estimate of 'tensor<3x4xf32>' for 2 ranks and 4 channels}}
  %0:2 = tp.sync_point base(%x) partial(%p) on @mesh ["tp"] {site = "s", policy = #tp.policy<partial, shared = 1, estimate = [dense<1.0> : tensor<3x4xf32>, dense<1.0> : tensor<3x4xf32>]>} : tensor<?x4xf32>
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f(%x: tensor<?x4xf32>, %p: tensor<?x4xf32>, %b: tensor<3xf32>) {
  // expected-error@below {{cannot defer: a norm}}
  %0:2 = tp.sync_point base(%x) partial(%p) on @mesh ["tp"] {site = "s", policy = #tp.policy<partial, shared = 1>, not_deferrable = "a norm"} : tensor<?x4xf32>
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f(%x: tensor<?x4xf32>, %p: tensor<?x4xf32>, %b: tensor<3xf32>) {
  // expected-error@below {{has something pending but no base}}
  %0:2 = tp.sync_point pending(%x) partial(%p) on @mesh ["tp"] {site = "s", policy = #tp.policy<full>} : tensor<?x4xf32>
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f(%x: tensor<?x4xf32>, %p: tensor<?x4xf32>, %b: tensor<3xf32>) {
  // expected-error@below {{has an empty site name}}
  %0:2 = tp.sync_point base(%x) partial(%p) on @mesh ["tp"] {site = "", policy = #tp.policy<full>} : tensor<?x4xf32>
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f(%x: tensor<?x4xf32>, %p: tensor<2x2xf32>) {
  // expected-error@below {{requires the same type for all operands and results}}
  %0 = "tp.read_stream"(%x, %p) : (tensor<?x4xf32>, tensor<2x2xf32>) -> tensor<?x4xf32>
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f() {
  // expected-error@below {{has step 2, outside [0, 2)}}
  %0 = tp.ring_shard step 2 on @mesh : index
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f() {
  // expected-error@below {{has step 0, outside [1, 2)}}
  %0 = tp.rotate "a" step 0 on @mesh
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f() {
  // expected-error@below {{has an empty group name}}
  %0 = tp.rotate "" step 1 on @mesh
  return
}

// -----

func.func @f() {
  // expected-error@below {{uses @mesh, which is no tp.mesh}}
  %0 = tp.rotate "a" step 1 on @mesh
  return
}

// -----

func.func @f(%w: tensor<4xf32>, %i: index) {
  // expected-error@below {{has an empty group name}}
  %0 = tp.held %w of "" at %i : tensor<4xf32>
  return
}

// -----

func.func @f(%i: index) {
  %0 = arith.constant dense<0.0> : tensor<4xf32>
  // expected-error@below {{takes an argument of a function}}
  %1 = tp.block %0 at %i : tensor<4xf32>
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f(%x: tensor<?x4xf32>, %p: tensor<?x4xf32>, %w: tensor<?xf32>, %i: tensor<?x4xf64>, %m: memref<?x4xf32>, %n: memref<4x4xf32>) {
  // expected-error@below {{bits is 5, not 8, 4 or 3}}
  %0:2 = tp.quantized_all_reduce %x bits 5 block 32 exact [] on @mesh ["tp"] : tensor<?x4xf32>
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f(%x: tensor<?x4xf32>, %p: tensor<?x4xf32>, %w: tensor<?xf32>, %i: tensor<?x4xf64>, %m: memref<?x4xf32>, %n: memref<4x4xf32>) {
  // expected-error@below {{block is 12, no multiple of 8 in [8, 1024]}}
  %0:2 = tp.quantized_all_reduce %x bits 4 block 12 exact [] on @mesh ["tp"] : tensor<?x4xf32>
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f(%x: tensor<?x4xf32>, %p: tensor<?x4xf32>, %w: tensor<?xf32>, %i: tensor<?x4xf64>, %m: memref<?x4xf32>, %n: memref<4x4xf32>) {
  // expected-error@below {{exact must list channels in ascending order, and has 1 at 1}}
  %0:2 = tp.quantized_all_reduce %x bits 4 block 32 exact [2, 1] on @mesh ["tp"] : tensor<?x4xf32>
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f(%x: tensor<?x4xf32>, %p: tensor<?x4xf32>, %w: tensor<?xf32>, %i: tensor<?x4xf64>, %m: memref<?x4xf32>, %n: memref<4x4xf32>) {
  // expected-error@below {{exempts channel 4 of 4}}
  %0:2 = tp.quantized_all_reduce %x bits 4 block 32 exact [4] on @mesh ["tp"] : tensor<?x4xf32>
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f(%x: tensor<?x4xf32>, %p: tensor<?x4xf32>, %w: tensor<?xf32>, %i: tensor<?x4xf64>, %m: memref<?x4xf32>, %n: memref<4x4xf32>) {
  // expected-error@below {{needs elements of f32 and channels of known number in the last dimension, not 'tensor<?x4xf64>'}}
  %0:2 = tp.quantized_all_reduce %i bits 4 block 32 exact [] on @mesh ["tp"] : tensor<?x4xf64>
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f(%x: tensor<?x4xf32>, %p: tensor<?x4xf32>, %w: tensor<?xf32>, %i: tensor<?x4xf64>, %m: memref<?x4xf32>, %n: memref<4x4xf32>) {
  // expected-error@below {{needs elements of f32 and channels of known number in the last dimension, not 'tensor<?xf32>'}}
  %0:2 = tp.quantized_all_reduce %w bits 4 block 32 exact [] on @mesh ["tp"] : tensor<?xf32>
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f(%x: tensor<?x4xf32>, %p: tensor<?x4xf32>, %w: tensor<?xf32>, %i: tensor<?x4xf64>, %m: memref<?x4xf32>, %n: memref<4x4xf32>) {
  // expected-error@below {{has an error of 'memref<4x4xf32>' beside 'memref<?x4xf32>'}}
  "tp.quantized_all_reduce"(%m, %n) {bits = 4 : i64, block = 32 : i64, exact = array<i64>, mesh = @mesh, axes = ["tp"]} : (memref<?x4xf32>, memref<4x4xf32>) -> ()
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f(%x: tensor<?x4xf32>, %p: tensor<?x4xf32>, %w: tensor<?xf32>, %i: tensor<?x4xf64>, %m: memref<?x4xf32>, %n: memref<4x4xf32>) {
  // expected-error@below {{on a tensor has two results and no 'error'}}
  %0 = "tp.quantized_all_reduce"(%x) {bits = 4 : i64, block = 32 : i64, exact = array<i64>, mesh = @mesh, axes = ["tp"]} : (tensor<?x4xf32>) -> tensor<?x4xf32>
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f(%x: tensor<?x4xf32>, %p: tensor<?x4xf32>, %w: tensor<?xf32>, %i: tensor<?x4xf64>, %m: memref<?x4xf32>, %n: memref<4x4xf32>) {
  // expected-error@below {{exempts channel 3, which it does not reduce, from rounding}}
  %0:2 = tp.sync_point base(%x) partial(%p) on @mesh ["tp"] {site = "s", policy = #tp.policy<partial, shared = 2, rest = deferred, rounding = <bits = 4, exact = [3]>>} : tensor<?x4xf32>
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f(%x: tensor<?x4xf32>, %p: tensor<?x4xf32>, %w: tensor<?xf32>, %i: tensor<?x4xf64>, %m: memref<?x4xf32>, %n: memref<4x4xf32>) {
  // expected-error@below {{exempts channel 1, which it does not reduce, from rounding}}
  %0:2 = tp.sync_point base(%x) partial(%p) on @mesh ["tp"] {site = "s", policy = #tp.policy<partial, shared = 1, rest = deferred, order = [3, 1, 0, 2], rounding = <bits = 4, exact = [1]>>} : tensor<?x4xf32>
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f(%x: tensor<?x4xf32>, %p: tensor<?x4xf32>, %w: tensor<?xf32>, %i: tensor<?x4xf64>, %m: memref<?x4xf32>, %n: memref<4x4xf32>) {
  // expected-error@below {{cannot defer: a norm}}
  %0:2 = tp.sync_point base(%x) partial(%p) on @mesh ["tp"] {site = "s", policy = #tp.policy<full, rounding = <bits = 4, feedback = true>>, not_deferrable = "a norm"} : tensor<?x4xf32>
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f(%x: tensor<?x4xf32>, %p: tensor<?x4xf32>, %w: tensor<?xf32>, %i: tensor<?x4xf64>, %m: memref<?x4xf32>, %n: memref<4x4xf32>) {
  // expected-error@below {{a full policy has no other parameter than rounding and, beside it, order}}
  %0:2 = tp.sync_point base(%x) partial(%p) on @mesh ["tp"] {site = "s", policy = #tp.policy<full, order = [1, 0, 2, 3]>} : tensor<?x4xf32>
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f(%x: tensor<?x4xf32>, %p: tensor<?x4xf32>, %w: tensor<?xf32>, %i: tensor<?x4xf64>, %m: memref<?x4xf32>, %n: memref<4x4xf32>) {
  // expected-error@below {{bits is 2, not 8, 4 or 3}}
  %0:2 = tp.sync_point base(%x) partial(%p) on @mesh ["tp"] {site = "s", policy = #tp.policy<full, rounding = <bits = 2>>} : tensor<?x4xf32>
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f(%x: tensor<?x4xf32>, %p: tensor<?x4xf32>, %w: tensor<?xf32>, %i: tensor<?x4xf64>, %m: memref<?x4xf32>, %n: memref<4x4xf32>) {
  // expected-error@below {{unknown parameter 'byte' of a rounding}}
  %0:2 = tp.sync_point base(%x) partial(%p) on @mesh ["tp"] {site = "s", policy = #tp.policy<full, rounding = <byte = 2>>} : tensor<?x4xf32>
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f(%x: tensor<?x4xf32>, %p: tensor<?x4xf32>, %w: tensor<?xf32>, %i: tensor<?x4xf64>, %m: memref<?x4xf32>, %n: memref<4x4xf32>) {
  // expected-error@below {{expected 'true' or 'false', not 'maybe'}}
  %0:2 = tp.sync_point base(%x) partial(%p) on @mesh ["tp"] {site = "s", policy = #tp.policy<full, rounding = <bits = 4, feedback = maybe>>} : tensor<?x4xf32>
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f(%x: tensor<?x4xf32>, %p: tensor<?x4xf32>, %w: tensor<?xf32>, %i: tensor<?x4xf64>, %m: memref<?x4xf32>, %n: memref<4x4xf32>) {
  // expected-error@below {{low_rank needs an estimate of the same ranks, channels and type}}
  %0:2 = tp.sync_point base(%x) partial(%p) on @mesh ["tp"] {site = "s", policy = #tp.policy<partial, shared = 0, rest = deferred, low_rank = <u = dense<1.0> : tensor<2x4x1xf32>, v = dense<1.0> : tensor<2x1x4xf32>, feature = pending>>} : tensor<?x4xf32>
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f(%x: tensor<?x4xf32>, %p: tensor<?x4xf32>, %w: tensor<?xf32>, %i: tensor<?x4xf64>, %m: memref<?x4xf32>, %n: memref<4x4xf32>) {
  // expected-error@below {{u of 'tensor<2x4x1xf32>' needs a v of [2, 1, 8], not 'tensor<2x1x4xf32>'}}
  %0:2 = tp.sync_point base(%x) partial(%p) on @mesh ["tp"] {site = "s", policy = #tp.policy<partial, shared = 0, rest = deferred, low_rank = <u = dense<1.0> : tensor<2x4x1xf32>, v = dense<1.0> : tensor<2x1x4xf32>, feature = pending_and_input>>} : tensor<?x4xf32>
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f(%x: tensor<?x4xf32>, %p: tensor<?x4xf32>, %w: tensor<?xf32>, %i: tensor<?x4xf64>, %m: memref<?x4xf32>, %n: memref<4x4xf32>) {
  // expected-error@below {{u and v need three dimensions and one floating-point type}}
  %0:2 = tp.sync_point base(%x) partial(%p) on @mesh ["tp"] {site = "s", policy = #tp.policy<partial, shared = 0, rest = deferred, low_rank = <u = dense<1.0> : tensor<2x4xf32>, v = dense<1.0> : tensor<2x1x4xf32>, feature = pending>>} : tensor<?x4xf32>
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f(%x: tensor<?x4xf32>, %p: tensor<?x4xf32>, %w: tensor<?xf32>, %i: tensor<?x4xf64>, %m: memref<?x4xf32>, %n: memref<4x4xf32>) {
  // expected-error@below {{has an estimate that reads its input, which it does not have}}
  %0:2 = tp.sync_point base(%x) partial(%p) on @mesh ["tp"] {site = "s", policy = #tp.policy<partial, shared = 0, rest = deferred, estimate = [dense<1.0> : tensor<2x4xf32>, dense<0.0> : tensor<2x4xf32>], low_rank = <u = dense<1.0> : tensor<2x4x1xf32>, v = dense<1.0> : tensor<2x1x4xf32>, feature = input>>} : tensor<?x4xf32>
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f(%x: tensor<?x4xf32>, %p: tensor<?x4xf32>, %w: tensor<?xf32>, %i: tensor<?x4xf64>, %m: memref<?x4xf32>, %n: memref<4x4xf32>) {
  // expected-error@below {{rounds elements of f32 only, not of 'f64'}}
  %0:2 = tp.sync_point base(%i) partial(%i) on @mesh ["tp"] {site = "s", policy = #tp.policy<full, rounding = <bits = 4>>} : tensor<?x4xf64>
  return
}

// -----

// expected-error@below {{scale must be finite}}
func.func private @f() attributes {a = #tp.policy<partial, shared = 1, rest = private, scale = 0x7FF0000000000000>}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @f(%x: tensor<4xf32>) {
  // expected-error@below {{expected '->' and a tensor, or 'into' and a memref}}
  %0 = tp.permute %x shift 1 on @mesh ["tp"] : tensor<4xf32> to tensor<4xf32>
  return
}

// -----

func.func @f() {
  // expected-error@below {{needs at least one value}}
  %0 = "tp.blocks"() : () -> tensor<4xf32>
  return
}
