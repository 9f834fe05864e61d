// RUN: caat-opt %s --split-input-file --verify-diagnostics
// One case per constraint of the dialect.

// expected-error@below {{must end in rt.yield}}
rt.weight @w : tensor<2xf32> {
  llvm.unreachable
}

// -----

// expected-error@below {{yields 'tensor<2xf32>', but is declared as 'tensor<3xf32>'}}
rt.weight @w : tensor<3xf32> {
  %0 = arith.constant dense<1.0> : tensor<2xf32>
  rt.yield %0 : tensor<2xf32>
}

// -----

// expected-error@below {{is linear and has 1 dimensions, not 2}}
rt.weight @w linear : tensor<2xf32> {
  %0 = arith.constant dense<1.0> : tensor<2xf32>
  rt.yield %0 : tensor<2xf32>
}

// -----

// expected-error@below {{is transposed, which only linear weights can be}}
rt.weight @w transposed : tensor<2x2xf32> {
  %0 = arith.constant dense<1.0> : tensor<2x2xf32>
  rt.yield %0 : tensor<2x2xf32>
}

// -----

// expected-error@below {{codes have 4 or 8 bits, not 2}}
#blocks = #rt.blocks<bits = 2, size = 32, scales = f16, offset = middle>

// -----

// expected-error@below {{blocks have 16, 32, 64, 128 or 256 elements, not 48}}
#blocks = #rt.blocks<bits = 4, size = 48, scales = f16, offset = zeros>

// -----

// expected-error@below {{scales are f16 or f32, not 'bf16'}}
#blocks = #rt.blocks<bits = 4, size = 32, scales = bf16, offset = minimum>

// -----

// expected-error@below {{yields 'tensor<8x32xbf16>', but is declared as 'tensor<8x32xbf16>' in blocks, which are made from f32}}
rt.weight @w linear transposed blocks(#rt.blocks<bits = 4, size = 32, scales = f16, offset = middle>) : tensor<8x32xbf16> {
  %0 = arith.constant dense<1.0> : tensor<8x32xbf16>
  rt.yield %0 : tensor<8x32xbf16>
}

// -----

// expected-error@below {{is in blocks, which only linear, transposed weights without a group can be}}
rt.weight @w linear blocks(#rt.blocks<bits = 4, size = 32, scales = f16, offset = middle>) : tensor<32x8xf32> {
  %0 = arith.constant dense<1.0> : tensor<32x8xf32>
  rt.yield %0 : tensor<32x8xf32>
}

// -----

// expected-error@below {{is in blocks, which only linear, transposed weights without a group can be}}
rt.weight @w linear transposed group "mlp" blocks(#rt.blocks<bits = 4, size = 32, scales = f16, offset = middle>) : tensor<8x32xf32> {
  %0 = arith.constant dense<1.0> : tensor<8x32xf32>
  rt.yield %0 : tensor<8x32xf32>
}

// -----

// expected-error@below {{is in blocks, whose products are f32, bf16 or f16, not 'f64'}}
rt.weight @w linear transposed blocks(#rt.blocks<bits = 4, size = 32, scales = f16, offset = middle>) : tensor<8x32xf64> {
  %0 = arith.constant dense<1.0> : tensor<8x32xf32>
  rt.yield %0 : tensor<8x32xf32>
}

// -----

// expected-error@below {{has 48 elements a column, which blocks of 32 do not divide}}
rt.weight @w linear transposed blocks(#rt.blocks<bits = 4, size = 32, scales = f16, offset = middle>) : tensor<8x48xf32> {
  %0 = arith.constant dense<1.0> : tensor<8x48xf32>
  rt.yield %0 : tensor<8x48xf32>
}

// -----

// expected-error@below {{is rounded, but not to blocks}}
rt.weight @w linear transposed rounded : tensor<8x32xf32> {
  %0 = arith.constant dense<1.0> : tensor<8x32xf32>
  rt.yield %0 : tensor<8x32xf32>
}

// -----

func.func @f() {
  // expected-error@below {{no rt.weight named @w}}
  %0 = rt.parameter @w : tensor<2xf32>
  return
}

// -----

rt.weight @w linear : tensor<2x2xf32> {
  %0 = arith.constant dense<1.0> : tensor<2x2xf32>
  rt.yield %0 : tensor<2x2xf32>
}
func.func @f() {
  // expected-error@below {{the weight @w is linear: only rt.linear can use it}}
  %0 = rt.parameter @w : tensor<2x2xf32>
  return
}

// -----

rt.weight @w : tensor<2xf32> {
  %0 = arith.constant dense<1.0> : tensor<2xf32>
  rt.yield %0 : tensor<2xf32>
}
func.func @f() {
  // expected-error@below {{is 'tensor<3xf32>', but the weight is 'tensor<2xf32>'}}
  %0 = rt.parameter @w : tensor<3xf32>
  return
}

// -----

func.func @f(%n: index) {
  // expected-error@below {{has 1 sizes for 2 dynamic dimensions}}
  %0 = rt.buffer 0[%n] : memref<?x?xf32>
  return
}

// -----

func.func @f() {
  // expected-error@below {{must have the identity layout}}
  %0 = rt.buffer 0[] : memref<4x4xf32, strided<[8, 1]>>
  return
}

// -----

func.func @f(%x: memref<4x2xf32>, %y: tensor<4x2xf32>) {
  // expected-error@below {{mixes tensors and memrefs}}
  %0 = rt.linear @w ins(%x : memref<4x2xf32>) outs(%y : tensor<4x2xf32>) -> tensor<4x2xf32>
  return
}

// -----

func.func @f(%x: tensor<4x2xf32>, %y: tensor<4x2xf32>) {
  // expected-error@below {{on tensors has one result of type 'tensor<4x2xf32>'}}
  rt.linear @w ins(%x : tensor<4x2xf32>) outs(%y : tensor<4x2xf32>)
  return
}

// -----

func.func @f(%x: tensor<4x2xf64>, %y: tensor<4x2xf32>) {
  // expected-error@below {{element type 'f64' is not f32, bf16 or f16}}
  %0 = rt.linear @w ins(%x : tensor<4x2xf64>) outs(%y : tensor<4x2xf32>) -> tensor<4x2xf32>
  return
}

// -----

func.func @f(%x: tensor<4x2xf32>, %y: tensor<4x8xf32>, %b: tensor<2xf32>) {
  // expected-error@below {{needs a bias of 8 elements of f32 or 'f32', not 'tensor<2xf32>'}}
  %0 = rt.linear @w ins(%x : tensor<4x2xf32>) bias(%b : tensor<2xf32>) outs(%y : tensor<4x8xf32>) -> tensor<4x8xf32>
  return
}

// -----

func.func @f(%x: tensor<4x2xf32>, %y: tensor<4x8xf32>, %b: tensor<8xbf16>) {
  // expected-error@below {{needs a bias of 8 elements of f32 or 'f32', not 'tensor<8xbf16>'}}
  %0 = rt.linear @w ins(%x : tensor<4x2xf32>) bias(%b : tensor<8xbf16>) outs(%y : tensor<4x8xf32>) -> tensor<4x8xf32>
  return
}

// -----

func.func @f(%x: tensor<4x2xf32>, %y: tensor<4x8xf32>) {
  // expected-error@below {{makes only results, which are [batch, tokens, N], not 'tensor<4x8xf32>'}}
  %0 = rt.linear @w ins(%x : tensor<4x2xf32>) outs(%y : tensor<4x8xf32>) {only_results} -> tensor<4x8xf32>
  return
}

// -----

func.func @f(%x: tensor<4x2xf32>, %y: tensor<4x8xf32>) {
  // expected-error@below {{has an alpha of 2.000000e+00 : f32, which only swish takes}}
  %0 = rt.linear @w ins(%x : tensor<4x2xf32>) then gelu outs(%y : tensor<4x8xf32>) {alpha = 2.0 : f32} -> tensor<4x8xf32>
  return
}

// -----

func.func @f(%x: tensor<4x2xf32>, %y: tensor<4x8xf32>) {
  // expected-error@below {{has a gate and accumulates}}
  %0 = rt.linear @w accumulate ins(%x : tensor<4x2xf32>) then gelu gate first outs(%y : tensor<4x8xf32>) -> tensor<4x8xf32>
  return
}

// -----

func.func @f(%x: tensor<4x2xf32>, %y: tensor<4x8xf32>, %b: tensor<8xf32>) {
  // expected-error@below {{needs a bias of 16 elements of f32 or 'f32', not 'tensor<8xf32>'}}
  %0 = rt.linear @w ins(%x : tensor<4x2xf32>) bias(%b : tensor<8xf32>) then gelu gate first outs(%y : tensor<4x8xf32>) -> tensor<4x8xf32>
  return
}

// -----

rt.weight @w linear : tensor<2x8xf32> {
  %0 = arith.constant dense<1.0> : tensor<2x8xf32>
  rt.yield %0 : tensor<2x8xf32>
}
func.func @f(%x: tensor<4x2xf32>, %y: tensor<4x8xf32>) {
  // expected-error@below {{x has 2 columns and y 8, one half, but the weight is 2 by 8}}
  %0 = rt.linear @w ins(%x : tensor<4x2xf32>) then gelu gate second outs(%y : tensor<4x8xf32>) -> tensor<4x8xf32>
  return
}

// -----

rt.weight @w linear : tensor<2x7xf32> {
  %0 = arith.constant dense<1.0> : tensor<2x7xf32>
  rt.yield %0 : tensor<2x7xf32>
}
func.func @f(%x: tensor<4x2xf32>, %y: tensor<4x?xf32>) {
  // expected-error@below {{has a gate, but the weight has 7 columns, which are no two halves}}
  %0 = rt.linear @w ins(%x : tensor<4x2xf32>) then gelu gate second outs(%y : tensor<4x?xf32>) -> tensor<4x?xf32>
  return
}

// -----

func.func @f(%a: tensor<4x2xf16>, %b: tensor<2x3xf32>, %c: tensor<4x3xf32>) {
  // expected-error@below {{has operands of element types 'f16' and 'f32'}}
  %0 = rt.matmul ins(%a, %b : tensor<4x2xf16>, tensor<2x3xf32>) outs(%c : tensor<4x3xf32>) -> tensor<4x3xf32>
  return
}

// -----

func.func @f(%x: tensor<3x2xf32>, %y: tensor<4x2xf32>) {
  // expected-error@below {{dimension 0 is 3 in x and 4 in y}}
  %0 = rt.linear @w ins(%x : tensor<3x2xf32>) outs(%y : tensor<4x2xf32>) -> tensor<4x2xf32>
  return
}

// -----

func.func @f(%x: tensor<2xf32>, %y: tensor<4x2xf32>) {
  // expected-error@below {{x has 1 dimensions and y 2; both need the same, at least 1}}
  %0 = rt.linear @w ins(%x : tensor<2xf32>) outs(%y : tensor<4x2xf32>) -> tensor<4x2xf32>
  return
}

// -----

rt.weight @w linear transposed : tensor<8x4xf32> {
  %0 = arith.constant dense<1.0> : tensor<8x4xf32>
  rt.yield %0 : tensor<8x4xf32>
}
func.func @f(%x: tensor<?x8xf32>, %y: tensor<?x4xf32>) {
  // expected-error@below {{x has 8 columns and y 4, but the weight is 4 by 8}}
  %0 = rt.linear @w ins(%x : tensor<?x8xf32>) outs(%y : tensor<?x4xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @f(%x: tensor<?x8xf32>, %y: tensor<?x4xf32>) {
  // expected-error@below {{no linear rt.weight named @w}}
  %0 = rt.linear @w ins(%x : tensor<?x8xf32>) outs(%y : tensor<?x4xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @f(%a: tensor<4x2xbf16>, %b: tensor<2x3xf32>, %c: tensor<4x3xf32>) {
  // expected-error@below {{has operands of element types 'bf16' and 'f32'}}
  %0 = rt.matmul ins(%a, %b : tensor<4x2xbf16>, tensor<2x3xf32>) outs(%c : tensor<4x3xf32>) -> tensor<4x3xf32>
  return
}

// -----

func.func @f(%a: tensor<4x2xf16>, %c: tensor<4x4xf32>) {
  // expected-error@below {{has factors of element type 'f16' and sums of 'f32'}}
  %0 = rt.matmul ins(%a, %a : tensor<4x2xf16>, tensor<4x2xf16>) outs(%c : tensor<4x4xf32>) {transpose_b} -> tensor<4x4xf32>
  return
}

// -----

func.func @f(%a: tensor<2x4xf32>, %b: tensor<1x2x4xf32>, %c: tensor<2x4xf32>) {
  // expected-error@below {{operands have 2, 3 and 2 dimensions; all need the same, at least 2}}
  %0 = rt.matmul ins(%a, %b : tensor<2x4xf32>, tensor<1x2x4xf32>) outs(%c : tensor<2x4xf32>) -> tensor<2x4xf32>
  return
}

// -----

func.func @f(%a: tensor<2x4xf32>, %b: tensor<5x3xf32>, %c: tensor<2x3xf32>) {
  // expected-error@below {{sizes do not fit: a is 2 by 4, b 5 by 3, c 2 by 3}}
  %0 = rt.matmul ins(%a, %b : tensor<2x4xf32>, tensor<5x3xf32>) outs(%c : tensor<2x3xf32>) -> tensor<2x3xf32>
  return
}

// -----

func.func @f(%a: tensor<3x2x4xf32>, %b: tensor<1x4x3xf32>, %c: tensor<5x2x3xf32>) {
  // expected-error@below {{batch dimension 0 is 3 in an input and 5 in c}}
  %0 = rt.matmul ins(%a, %b : tensor<3x2x4xf32>, tensor<1x4x3xf32>) outs(%c : tensor<5x2x3xf32>) -> tensor<5x2x3xf32>
  return
}

// -----

func.func @f(%q: tensor<?x?x4x8xf32>, %k: tensor<?x2x?x8xf32>, %v: tensor<?x2x?x8xf32>, %y: tensor<?x?x4x8xf32>, %n: index) {
  // expected-error@below {{multiplies in bf16 or f16, not in }}
  %0 = rt.attention via f32 query(%q : tensor<?x?x4x8xf32>) keys(%k : tensor<?x2x?x8xf32>) values(%v : tensor<?x2x?x8xf32>) total(%n) past(%n)
         outs(%y : tensor<?x?x4x8xf32>) {scale = 1.0 : f32} -> tensor<?x?x4x8xf32>
  return
}

// -----

func.func @f(%q: tensor<?x?x4x8xf32>, %k: tensor<?x2x?x8xbf16>, %v: tensor<?x2x?x8xbf16>, %y: tensor<?x?x4x8xf32>, %n: index) {
  // expected-error@below {{takes elements of that type or of f32, not 'bf16'}}
  %0 = rt.attention via f16 query(%q : tensor<?x?x4x8xf32>) keys(%k : tensor<?x2x?x8xbf16>) values(%v : tensor<?x2x?x8xbf16>) total(%n) past(%n)
         outs(%y : tensor<?x?x4x8xf32>) {scale = 1.0 : f32} -> tensor<?x?x4x8xf32>
  return
}

// -----

func.func @f(%q: tensor<?x?x4x8xf32>, %k: tensor<?x2x?x8xf32>, %v: tensor<?x2x?x8xbf16>, %y: tensor<?x?x4x8xf32>, %n: index) {
  // expected-error@below {{has keys of 'f32' and values of 'bf16'}}
  %0 = rt.attention via bf16 query(%q : tensor<?x?x4x8xf32>) keys(%k : tensor<?x2x?x8xf32>) values(%v : tensor<?x2x?x8xbf16>) total(%n) past(%n)
         outs(%y : tensor<?x?x4x8xf32>) {scale = 1.0 : f32} -> tensor<?x?x4x8xf32>
  return
}

// -----

func.func @f(%q: tensor<?x?x4x8xf32>, %k: tensor<?x2x8xf32>, %v: tensor<?x2x?x8xf32>, %y: tensor<?x?x4x8xf32>, %n: index) {
  // expected-error@below {{needs four dimensions, not those of }}
  %0 = rt.attention via bf16 query(%q : tensor<?x?x4x8xf32>) keys(%k : tensor<?x2x8xf32>) values(%v : tensor<?x2x?x8xf32>) total(%n) past(%n)
         outs(%y : tensor<?x?x4x8xf32>) {scale = 1.0 : f32} -> tensor<?x?x4x8xf32>
  return
}

// -----

func.func @f(%q: tensor<?x?x?x8xf32>, %k: tensor<?x2x?x8xf32>, %v: tensor<?x2x?x8xf32>, %y: tensor<?x?x?x8xf32>, %n: index) {
  // expected-error@below {{needs static numbers of heads and sizes of heads}}
  %0 = rt.attention via bf16 query(%q : tensor<?x?x?x8xf32>) keys(%k : tensor<?x2x?x8xf32>) values(%v : tensor<?x2x?x8xf32>) total(%n) past(%n)
         outs(%y : tensor<?x?x?x8xf32>) {scale = 1.0 : f32} -> tensor<?x?x?x8xf32>
  return
}

// -----

func.func @f(%q: tensor<?x?x4x8xf32>, %k: tensor<?x3x?x8xf32>, %v: tensor<?x3x?x8xf32>, %y: tensor<?x?x4x8xf32>, %n: index) {
  // expected-error@below {{has 4 query heads, which is no multiple of 3}}
  %0 = rt.attention via bf16 query(%q : tensor<?x?x4x8xf32>) keys(%k : tensor<?x3x?x8xf32>) values(%v : tensor<?x3x?x8xf32>) total(%n) past(%n)
         outs(%y : tensor<?x?x4x8xf32>) {scale = 1.0 : f32} -> tensor<?x?x4x8xf32>
  return
}

// -----

func.func @f(%q: tensor<?x?x4x8xf32>, %k: tensor<?x2x?x16xf32>, %v: tensor<?x2x?x8xf32>, %y: tensor<?x?x4x8xf32>, %n: index) {
  // expected-error@below {{sizes do not fit: query }}
  %0 = rt.attention via bf16 query(%q : tensor<?x?x4x8xf32>) keys(%k : tensor<?x2x?x16xf32>) values(%v : tensor<?x2x?x8xf32>) total(%n) past(%n)
         outs(%y : tensor<?x?x4x8xf32>) {scale = 1.0 : f32} -> tensor<?x?x4x8xf32>
  return
}

// -----

func.func @f(%q: tensor<?x?x4x8xf32>, %k: tensor<?x2x?x8xf32>, %v: tensor<?x2x?x8xf32>, %y: tensor<?x?x4x8xf32>, %n: index, %m: tensor<4x4xf16>) {
  // expected-error@below {{needs a mask of f32 with at most four dimensions, not }}
  %0 = rt.attention via bf16 query(%q : tensor<?x?x4x8xf32>) keys(%k : tensor<?x2x?x8xf32>) values(%v : tensor<?x2x?x8xf32>) mask(%m : tensor<4x4xf16>) total(%n) past(%n)
         outs(%y : tensor<?x?x4x8xf32>) {scale = 1.0 : f32} -> tensor<?x?x4x8xf32>
  return
}

// -----

func.func @f(%q: tensor<?x?x4x8xf32>, %k: tensor<?x2x?x8xf32>, %v: tensor<?x2x?x8xf32>, %y: tensor<?x?x4x8xf32>, %n: index, %m: tensor<4xf32>) {
  // expected-error@below {{needs lengths of i32 or i64 in one dimension, not }}
  %0 = rt.attention via bf16 query(%q : tensor<?x?x4x8xf32>) keys(%k : tensor<?x2x?x8xf32>) values(%v : tensor<?x2x?x8xf32>) lengths(%m : tensor<4xf32>) total(%n) past(%n)
         outs(%y : tensor<?x?x4x8xf32>) {scale = 1.0 : f32} -> tensor<?x?x4x8xf32>
  return
}

// -----

func.func @f(%q: tensor<?x?x4x8xf32>, %k: tensor<?x2x?x8xf32>, %v: tensor<?x2x?x8xf32>, %y: tensor<?x?x4x8xf32>, %n: index) {
  // expected-error@below {{appends by row, but has no lengths}}
  %0 = rt.attention via bf16 query(%q : tensor<?x?x4x8xf32>) keys(%k : tensor<?x2x?x8xf32>) values(%v : tensor<?x2x?x8xf32>) total(%n) past(%n)
         outs(%y : tensor<?x?x4x8xf32>) {scale = 1.0 : f32, appends_by_row} -> tensor<?x?x4x8xf32>
  return
}

// -----

func.func private @k(index, index)
func.func @f(%n: index, %x: memref<4x2xf32, strided<[8, 1]>>) {
  // expected-error@below {{buffers need the identity layout}}
  rt.launch @k grid(%n) buffers(%x : memref<4x2xf32, strided<[8, 1]>>) dims()
  return
}

// -----

func.func @f(%n: index) {
  // expected-error@below {{no kernel function named @k}}
  rt.launch @k grid(%n) buffers() dims()
  return
}

// -----

func.func @f(%x: memref<4x2xf32, strided<[8, 1]>>, %y: memref<4x2xf32>) {
  // expected-error@below {{copies dense buffers only}}
  rt.copy %x to %y : memref<4x2xf32, strided<[8, 1]>> to memref<4x2xf32>
  return
}

// -----

func.func @f(%x: memref<4x2xi32>, %y: memref<4x2xf32>) {
  // expected-error@below {{copies 'i32' to 'f32'}}
  rt.copy %x to %y : memref<4x2xi32> to memref<4x2xf32>
  return
}

// -----

// expected-error@below {{has an empty group name}}
rt.weight @w group "" : tensor<2xf32> {
  %0 = arith.constant dense<1.0> : tensor<2xf32>
  rt.yield %0 : tensor<2xf32>
}

// -----

rt.weight @w group "layers.0.mlp" : tensor<2xf32> {
  %0 = arith.constant dense<1.0> : tensor<2xf32>
  rt.yield %0 : tensor<2xf32>
}
func.func @f() {
  // expected-error@below {{must name a shard of "w", which has a group}}
  %0 = rt.parameter @w : tensor<2xf32>
  return
}

// -----

rt.weight @w linear : tensor<4x4xf32> {
  %0 = arith.constant dense<1.0> : tensor<4x4xf32>
  rt.yield %0 : tensor<4x4xf32>
}
func.func @f(%x: memref<2x4xf32>, %y: memref<2x4xf32>, %i: index) {
  // expected-error@below {{names a shard of "w", which has no group}}
  rt.linear @w at %i ins(%x : memref<2x4xf32>) outs(%y : memref<2x4xf32>)
  return
}

// -----

func.func @f(%m: memref<?x4xf32>) {
  // expected-error@below {{has 2 destinations, not 3: stream, base, pending}}
  rt.sync_point "a" partial(%m : memref<?x4xf32>) outs(%m, %m : memref<?x4xf32>, memref<?x4xf32>)
  return
}

// -----

func.func @f(%m: memref<?x4xf32>, %n: memref<?x8xf32>) {
  // expected-error@below {{has a partial of 'memref<?x4xf32>' and a destination of 'memref<?x8xf32>'}}
  rt.sync_point "a" partial(%m : memref<?x4xf32>) outs(%m, %n, %m : memref<?x4xf32>, memref<?x8xf32>, memref<?x4xf32>)
  return
}

// -----

func.func @f(%m: memref<4x?xf32>) {
  // expected-error@below {{needs channels of known number in the last dimension, in f32}}
  rt.sync_point "a" partial(%m : memref<4x?xf32>) outs(%m, %m, %m : memref<4x?xf32>, memref<4x?xf32>, memref<4x?xf32>)
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @strided(%m: memref<4x2xf32, strided<[8, 1]>>) {
  // expected-error@below {{sums dense buffers only}}
  %0 = rt.all_reduce_start %m on @mesh ["tp"] : memref<4x2xf32, strided<[8, 1]>>
  rt.all_reduce_wait %0 for %m : memref<4x2xf32, strided<[8, 1]>>
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @no_axis(%m: memref<4xf32>) {
  // expected-error@below {{uses axis "dp", which mesh @mesh does not have}}
  %0 = rt.all_reduce_start %m on @mesh ["dp"] : memref<4xf32>
  rt.all_reduce_wait %0 for %m : memref<4xf32>
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @never_waited(%m: memref<4xf32>) {
  // expected-error@below {{needs one rt.all_reduce_wait for the same buffer, or one rt.launch, behind it in its block}}
  %0 = rt.all_reduce_start %m on @mesh ["tp"] : memref<4xf32>
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @waited_twice(%m: memref<4xf32>) {
  // expected-error@below {{needs one rt.all_reduce_wait for the same buffer, or one rt.launch, behind it in its block}}
  %0 = rt.all_reduce_start %m on @mesh ["tp"] : memref<4xf32>
  rt.all_reduce_wait %0 for %m : memref<4xf32>
  rt.all_reduce_wait %0 for %m : memref<4xf32>
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @other_buffer(%m: memref<4xf32>, %n: memref<4xf32>) {
  // expected-error@below {{needs one rt.all_reduce_wait for the same buffer, or one rt.launch, behind it in its block}}
  %0 = rt.all_reduce_start %m on @mesh ["tp"] : memref<4xf32>
  rt.all_reduce_wait %0 for %n : memref<4xf32>
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @read_between(%m: memref<2x2xf32>, %n: memref<4xf32>) {
  %view = memref.collapse_shape %m [[0, 1]] : memref<2x2xf32> into memref<4xf32>
  // expected-note@below {{the sum begins here}}
  %0 = rt.all_reduce_start %m on @mesh ["tp"] : memref<2x2xf32>
  // expected-error@below {{uses a buffer that is being summed}}
  rt.copy %view to %n : memref<4xf32> to memref<4xf32>
  rt.all_reduce_wait %0 for %m : memref<2x2xf32>
  return
}

// -----

tp.mesh @mesh <["tp" = 2]>
func.func @part(%m: memref<4xf32>) {
  // expected-error@below {{is part 2 of 2}}
  %0 = rt.all_reduce_start %m on @mesh ["tp"] {part = 2 : i64, parts = 2 : i64} : memref<4xf32>
  rt.all_reduce_wait %0 for %m : memref<4xf32>
  return
}

// -----

func.func @no_start(%t: !rt.token, %m: memref<4xf32>) {
  // expected-error@below {{waits for what is no rt.all_reduce_start}}
  rt.all_reduce_wait %t for %m : memref<4xf32>
  return
}

// -----

func.func private @k(index, index, memref<f32>)
func.func @sums_of_nobody(%t: !rt.token, %n: index, %m: memref<4xf32>) {
  // expected-error@below {{waits for what is no rt.all_reduce_start}}
  rt.launch @k grid(%n) buffers(%m : memref<4xf32>) dims() sums(%t) by @k
  return
}

// -----

func.func private @k(index, index, memref<f32>)
tp.mesh @mesh <["tp" = 2]>
func.func @no_summing_kernel(%n: index, %m: memref<4xf32>) {
  %0 = rt.all_reduce_start %m on @mesh ["tp"] : memref<4xf32>
  // expected-error@below {{no kernel function named @k_sum}}
  rt.launch @k grid(%n) buffers(%m : memref<4xf32>) dims() sums(%0) by @k_sum
  return
}

// -----

func.func private @k(index, index, memref<f32>)
func.func @no_sums(%n: index, %m: memref<4xf32>) {
  // expected-error@below {{waits for sums by a kernel that makes them, or for none}}
  "rt.launch"(%n, %m) {kernel = @k, summing = @k, operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (index, memref<4xf32>) -> ()
  return
}
